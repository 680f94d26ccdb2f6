/** `calypte status`: asks a running agent how it is. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";
import type { ResponseUs } from "../metrics.ts";
import { formatDurationNs } from "../quantity.ts";
import { table } from "../summary.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const HELP = `Usage: calypte status [options]

Asks the running agent over HTTP. Exit status 1 if none answers or if it is not ready.

Options:
  --address HOST:PORT  where it listens; default ${DEFAULT_LISTEN}
  --json               its whole answer as JSON

Example:
  calypte status --address 127.0.0.1:8717
`;

/** The part of `/v1/status` that is shown. */
interface Status {
  version: string;
  mission: string;
  state: string;
  backend?: string;
  holds?: string[];
  agent?: { uptimeNs: number };
  critical?: Record<
    string,
    { requests: number; misses: Record<string, number>; longestMissRun: number; response: ResponseUs }
  >;
  background?: Record<string, { units: number; preemptions: number; gpuNs: Record<string, number> }>;
}

const TIMEOUT_MS = 5000;

export const statusCommand: Command = {
  name: "status",
  summary: "ask the running agent how it is",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("status", args, {
      boolean: ["json"],
      string: ["address"],
      positional: [],
    });
    const address = values.address ?? DEFAULT_LISTEN;
    if (!/^(\[[0-9a-f:]+\]|[\w.-]+):\d{1,5}$/i.test(address)) {
      throw new InputError({
        file: "",
        field: "--address",
        rule: `must be host:port such as ${DEFAULT_LISTEN}`,
      });
    }
    let status: Status;
    try {
      const response = await fetch(`http://${address}/v1/status`, {
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      status = await response.json() as Status;
      if (!response.ok) throw new Error(`it answered ${response.status}`);
    } catch (error) {
      const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
      terminal.err(`no agent answers on ${address}: ${why}\n`);
      return 1;
    }
    terminal.out(flags.json ? JSON.stringify(status) + "\n" : asText(status));
    return status.state === "ready" ? 0 : 1;
  },
};

function asText(
  { version, mission, state, backend, holds = [], agent, critical = {}, background = {} }: Status,
): string {
  const up = agent === undefined ? "" : ` for ${formatDurationNs(agent.uptimeNs)}`;
  const held = holds.length === 0 ? "" : `, background held: ${holds.join(", ")}`;
  const on = backend === undefined ? "" : ` on ${backend}`;
  const us = (value: number) => formatDurationNs(value * 1000);
  const sum = (of: Record<string, number>) => Object.values(of).reduce((a, b) => a + b, 0);
  const tasks = Object.entries(critical).map(([name, { requests, misses, longestMissRun, response }]) => [
    name,
    `${requests}`,
    `${sum(misses)}`,
    `${longestMissRun}`,
    us(response.p50Us),
    us(response.p99Us),
    us(response.maxUs),
  ]);
  const jobs = Object.entries(background).map(([name, { units, preemptions, gpuNs }]) => [
    name,
    `${units}`,
    `${preemptions}`,
    formatDurationNs(sum(gpuNs)),
  ]);
  return lines([
    `calypte ${version}, ${mission}: ${state}${on}${up}${held}`,
    ...(tasks.length === 0
      ? []
      : ["", ...table(["critical", "requests", "misses", "in a row", "p50", "p99", "max"], tasks)]),
    ...(jobs.length === 0 ? [] : ["", ...table(["background", "units", "preempted", "GPU time"], jobs)]),
  ]);
}
