/**
 * How is the process that holds the engine started, and where is it found?
 *
 * It is this program again (`calypte engine`), with leave to load the library and nothing else. It is not tied to the
 * agent's life: an agent that dies leaves it running, and the next one finds it by its socket.
 */
import { ownCommand, ownEnvironment } from "../assets/place.ts";
import { privateFolder } from "../assets/private_folder.ts";
import { InputError } from "../errors.ts";
import { RUN_VARIABLE, runFolder } from "../run_folder.ts";

export interface EngineProcess {
  /** Resolves when it has ended, with how. */
  exited: Promise<string>;
  kill(): void;
}

export interface SpawnOptions {
  socket: string;
  /** Path of libcalypte.so. */
  library: string;
  /** How long it goes on without an agent. */
  keepNs: number;
}

/** Starts the process. Throws `InputError` if this program may not start itself. */
export function spawnEngine(
  { socket, library, keepNs }: SpawnOptions,
): EngineProcess & { processId: number } {
  const { program, args } = ownCommand([`--allow-ffi=${library}`, "--allow-env=CALYPTE_LIBRARY"]);
  const environment = ownEnvironment();
  const command = new Deno.Command(program, {
    args: [...args, "engine", "--socket", socket, "--keep", `${keepNs / 1e9}s`],
    clearEnv: environment !== undefined,
    env: { ...environment, CALYPTE_LIBRARY: library },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  });
  let child: Deno.ChildProcess;
  try {
    child = command.spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new InputError({
      file: "",
      field: "--engine",
      rule: "needs leave to start a process for the engine, and Deno was started without it",
      remedy: `add --allow-run=${program} (or --allow-run, if LD_LIBRARY_PATH or the like is set), or take ` +
        "--engine in-process",
    }, { cause: error });
  }
  // The agent may end, and leave it running.
  child.unref();
  const exited = child.status.then(({ code, signal }) => signal === null ? `exit status ${code}` : signal);
  return {
    processId: child.pid,
    exited,
    kill() {
      try {
        child.kill("SIGKILL");
      } catch (error) {
        if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
      }
    },
  };
}

/**
 * Where the engine of a mission is found: `engine-<12 hex digits>.sock` in $CALYPTE_RUN_DIR, else in `calypte` below
 * $XDG_RUNTIME_DIR, else in a folder of this user's below $TMPDIR or /tmp. Makes the folder, which is for its owner only. `key`
 * stands for the mission. Throws `InputError`.
 */
export async function engineSocket(key: string): Promise<string> {
  const folder = runFolder();
  privateFolder(folder, { remedy: `name another folder with ${RUN_VARIABLE}`, anyOwnerForRoot: true });
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  const hex = [...new Uint8Array(digest, 0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${folder}/engine-${hex}.sock`;
}
