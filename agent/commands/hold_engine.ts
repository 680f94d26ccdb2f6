/**
 * What does the process do that holds the engine? One native call, which blocks until the engine is not needed any more.
 *
 * From then on no JavaScript runs here: whatever happens to a heap or an event loop, it is not in the way of critical work.
 */
import { keepNothing } from "../assets/permissions.ts";
import { EngineError, libraryPath, openLibrary, serve } from "../../ffi/mod.ts";

const HELP = `Usage: calypte engine --socket PATH [--keep DURATION]

Holds an engine for an agent. calypte run starts it; there is no need to do so by hand.

Options:
  --socket PATH    where the agent finds it
  --keep DURATION  how long it goes on without an agent, such as 600s; default 600s

Exit status: 0: closed by the agent, told to end by SIGTERM, or left alone for too long; 1: the engine has stopped.
`;

/** Returns the exit status. */
export function holdEngine(args: readonly string[]): number {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  const socket = valueOf(args, "--socket");
  const keepS = Number((valueOf(args, "--keep") ?? "600s").replace(/s$/, ""));
  if (socket === undefined || !(keepS > 0) || !Number.isFinite(keepS)) {
    console.error("calypte: engine: needs --socket PATH and, if given, --keep DURATION above 0; see --help");
    return 2;
  }
  try {
    const library = openLibrary(libraryPath());
    keepNothing();
    serve(library, socket, Math.round(keepS * 1e9));
    return 0;
  } catch (error) {
    // A fault has been told to the agent already, with its events.
    if (error instanceof EngineError && error.codeName === "E_FAULT") return 1;
    console.error(`calypte: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

function valueOf(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at < 0 ? undefined : args[at + 1];
}
