/** `calypte status`: asks a running agent how it is. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import type { ResponseUs } from "../metrics.ts";
import { formatDurationNs, formatPowerW, formatTemperatureC } from "../quantity.ts";
import type { SafeModeStatus } from "../safe_mode.ts";
import { table } from "../summary.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { safeModeText } from "./safe_mode.ts";

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
  safeMode?: SafeModeStatus;
  timing?: "measured" | "simulated";
  foreign?: { withheld: string | null } | null;
  readings?: { powerWatts: number | null; temperatureCelsius: number | null };
  agent?: { uptimeNs: number };
  critical?: Record<
    string,
    { requests: number; misses: Record<string, number>; longestMissRun: number; response: ResponseUs }
  >;
  background?: Record<
    string,
    { state?: string; why?: string | null; units: number; preemptions: number; gpuNs: Record<string, number> }
  >;
}

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
    const address = parseAddress(values.address);
    const status = await ask<Status>(address, "/v1/status");
    if (status instanceof Error) {
      terminal.err(noAnswer(address, status));
      return 1;
    }
    terminal.out(flags.json ? JSON.stringify(status) + "\n" : asText(status));
    return status.state === "ready" ? 0 : 1;
  },
};

function asText(status: Status): string {
  const { version, mission, state, backend, holds = [], safeMode, agent } = status;
  const { critical = {}, background = {}, timing, foreign, readings } = status;
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
  const sensors = [
    ...(readings?.powerWatts == null ? [] : [formatPowerW(readings.powerWatts)]),
    ...(readings?.temperatureCelsius == null ? [] : [formatTemperatureC(readings.temperatureCelsius)]),
  ];
  const missed = tasks.some(([, , misses]) => misses !== "0");
  const jobs = Object.entries(background).map(([name, { state, why, units, preemptions, gpuNs }]) => [
    name,
    state === undefined ? "-" : why == null ? state : `${state} (${why})`,
    `${units}`,
    `${preemptions}`,
    formatDurationNs(sum(gpuNs)),
  ]);
  return lines([
    `calypte ${version}, ${mission}: ${state}${on}${up}${held}`,
    ...(timing === "simulated" ? ["timing is simulated: no GPU takes part"] : []),
    ...(safeMode?.on === true ? [safeModeText(safeMode)] : []),
    ...(foreign?.withheld == null ? [] : [`no attainment is claimed: ${foreign.withheld}`]),
    ...(sensors.length === 0 ? [] : [sensors.join(", ")]),
    ...(tasks.length === 0
      ? []
      : ["", ...table(["critical", "requests", "misses", "in a row", "p50", "p99", "max"], tasks)]),
    ...(jobs.length === 0
      ? []
      : ["", ...table(["background", "state", "units", "preempted", "GPU time"], jobs)]),
    ...(missed ? ["", "calypte explain says where the time of late requests went"] : []),
  ]);
}
