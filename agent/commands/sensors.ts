/**
 * What does the process do that reads sensors? It answers the agent, line by line, until the agent is gone.
 *
 * Signals that go to the whole group of processes are not for it: it ends with its input, as it has clocks to put back.
 */
import { EngineError, openLibrary, systemAccessBy } from "../../ffi/mod.ts";
import type { SystemAccess } from "../../jetson/board_files.ts";
import { openNvml } from "../../jetson/telemetry_nvml.ts";
import { keepReading } from "../assets/permissions.ts";
import { libraryFile } from "../assets/library.ts";
import { InputError } from "../errors.ts";
import { OwnSensors, serveSensors } from "../board_process.ts";
import { findForeign } from "../foreign/foreign.ts";

const HELP = `Usage: calypte sensors [DIR]

Reads the board's sensors, and looks who else uses the GPU, for an agent that must not wait for either. calypte run
and calypte board start it; there is no need to do so by hand. DIR: read there instead of this machine's /sys and
/proc; then no library is loaded.

Exit status: 0: the agent has ended.
`;

/** Returns the exit status. */
export async function answerForSensors(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.addSignalListener(signal, () => {});
  const answer = (line: string) => {
    const bytes = new TextEncoder().encode(line + "\n");
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  };
  const sensors = args[0] === undefined ? await ofThisMachine() : new OwnSensors(args[0]);
  try {
    await serveSensors(Deno.stdin.readable, answer, sensors);
  } catch (error) {
    // The agent is gone, or talks nonsense: nobody is left to be told.
    if (!(error instanceof Deno.errors.BrokenPipe) && !(error instanceof SyntaxError)) throw error;
  }
  return 0;
}

/** Loads what there is to load, and gives back the leave to load anything else. */
async function ofThisMachine(): Promise<OwnSensors> {
  const files = kernelFiles();
  const machine = { files, nvml: openNvml(), foreign: await findForeign(files) };
  keepReading();
  return new OwnSensors(machine);
}

function kernelFiles(): SystemAccess | undefined {
  try {
    const library = openLibrary(libraryFile());
    return systemAccessBy(() => library);
  } catch (error) {
    if (!(error instanceof EngineError) && !(error instanceof InputError)) throw error;
    const why = error instanceof EngineError ? error.reason : error.message;
    console.error(`calypte: sensors: nothing is known of the board: ${why}`);
    return undefined;
  }
}
