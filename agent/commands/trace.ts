/** `calypte trace`: what ran on the GPU lately, into a file for a viewer. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";
import { formatBytes, formatDurationNs, parseDurationNs } from "../quantity.ts";
import { noAnswer, open, parseAddress } from "./address.ts";
import { type Command, parseCommand } from "./command.ts";

const HELP = `Usage: calypte trace [--for DURATION] -o FILE [options]

Writes the last requests and slices of background as a trace in Chrome's format: open it at
https://ui.perfetto.dev or chrome://tracing. One lane for each task and job, with deadlines, waits and drains.

Options:
  --for DURATION       how far back, such as 500ms; default 2s. The agent keeps the last 16384 requests and
                       slices, which may be less
  -o, --output FILE    where to write it; - for standard output. A file that is there is replaced
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               end with one JSON object on what was written

Exit status 1 if no agent answers.

Example:
  calypte trace --for 2s -o trace.json
`;

interface Trace {
  traceEvents: { ph: string; ts?: number; dur?: number }[];
  otherData?: { timing?: string };
}

export const traceCommand: Command = {
  name: "trace",
  summary: "write what ran on the GPU lately, for a viewer",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("trace", args, {
      boolean: ["json"],
      string: ["for", "output", "address"],
      positional: [],
    });
    const length = values.for ?? "2s";
    parseDurationNs(length, { where: { file: "", field: "--for" } });
    const { output: file } = values;
    if (file === undefined) {
      throw new InputError({ file: "", field: "-o", rule: "must be given", remedy: "such as -o trace.json" });
    }
    const address = parseAddress(values.address);
    const text = await textOf(address, `/v1/trace?for=${encodeURIComponent(length)}`);
    if (text instanceof Error) {
      terminal.err(noAnswer(address, text));
      return 1;
    }
    if (file === "-") {
      terminal.out(text);
      return 0;
    }
    await write(file, text);
    const { traceEvents, otherData } = JSON.parse(text) as Trace;
    const spans = traceEvents.filter(({ ph }) => ph === "X");
    const fromUs = spans.reduce((least, { ts = 0 }) => Math.min(least, ts), Infinity);
    const untilUs = spans.reduce((most, { ts = 0, dur = 0 }) => Math.max(most, ts + dur), 0);
    const coveredNs = spans.length === 0 ? 0 : Math.round(1000 * (untilUs - fromUs));
    const timing = otherData?.timing ?? "measured";
    const written = {
      file,
      bytes: new TextEncoder().encode(text).length,
      spans: spans.length,
      coveredNs,
      timing,
    };
    terminal.out(flags.json ? JSON.stringify(written) + "\n" : writtenText(written));
    return 0;
  },
};

function writtenText(
  written: { file: string; bytes: number; spans: number; coveredNs: number; timing: string },
): string {
  const { file, bytes, spans, coveredNs, timing } = written;
  const simulated = timing === "simulated" ? ", simulated" : "";
  return `${file}: ${spans} spans of ${formatDurationNs(coveredNs)}${simulated}, ${
    formatBytes(bytes)
  }; ui.perfetto.dev opens it\n`;
}

async function textOf(address: string, page: string): Promise<string | Error> {
  const response = await open(address, page, { signal: AbortSignal.timeout(30_000) });
  if (response instanceof Error) return response;
  try {
    return await response.text();
  } catch (error) {
    return new Error(error instanceof Error ? error.message : String(error));
  }
}

/** Whole or not at all. */
async function write(file: string, text: string): Promise<void> {
  const next = `${file}.new`;
  try {
    await Deno.writeTextFile(next, text);
    await Deno.rename(next, file);
  } catch (error) {
    await Deno.remove(next).catch(() => {});
    throw new InputError({
      file,
      field: "-o",
      rule: `must be a file that can be written: ${error instanceof Error ? error.message : String(error)}`,
    }, { cause: error });
  }
}
