/**
 * How is the process that holds the engine started, and where is it found?
 *
 * It is this program again (`calypte engine`), with leave to load the library and nothing else. It is not tied to the
 * agent's life: an agent that dies leaves it running, and the next one finds it by its socket.
 */
import { InputError } from "../errors.ts";
import { path } from "../std/mod.ts";

/** Names another folder for the sockets of engines. */
export const RUN_VARIABLE = "CALYPTE_RUN_DIR";

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
export function spawnEngine({ socket, library, keepNs }: SpawnOptions): EngineProcess {
  const args = [...ownCommand(library), "engine", "--socket", socket, "--keep", `${keepNs / 1e9}s`];
  const command = new Deno.Command(Deno.execPath(), {
    args,
    env: { CALYPTE_LIBRARY: library },
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
      remedy:
        `add --allow-run=${Deno.execPath()} (or --allow-run, if LD_LIBRARY_PATH or the like is set), or take ` +
        "--engine in-process",
    }, { cause: error });
  }
  // The agent may end, and leave it running.
  child.unref();
  const exited = child.status.then(({ code, signal }) => signal === null ? `exit status ${code}` : signal);
  return {
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

/** What starts this program again, up to its first own argument. */
function ownCommand(library: string): string[] {
  // A compiled program is its own runtime, and has its permissions built in.
  if ((Deno.build as { standalone?: boolean }).standalone === true) return [];
  const entry = path.fromFileUrl(new URL("../entry.ts", import.meta.url));
  const config = path.fromFileUrl(new URL("../../deno.json", import.meta.url));
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--cached-only",
    "--config",
    config,
    `--allow-ffi=${library}`,
    "--allow-env=CALYPTE_LIBRARY",
    entry,
  ];
}

/**
 * Where the engine of a mission is found: `engine-<12 hex digits>.sock` in $CALYPTE_RUN_DIR, else in `calypte` below
 * $XDG_RUNTIME_DIR, else in a folder of this user's below /tmp. Makes the folder, which is for its owner only. `key`
 * stands for the mission. Throws `InputError`.
 */
export async function engineSocket(key: string): Promise<string> {
  const folder = runFolder();
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode, uid } = await Deno.stat(folder);
  if (uid !== Deno.uid() && Deno.uid() !== 0 || ((mode ?? 0) & 0o022) !== 0) {
    throw new InputError({
      file: folder,
      field: "",
      rule: "must belong to this user, and nobody else may write there: engines are reached through it",
      remedy: `name another folder with ${RUN_VARIABLE}`,
    });
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  const hex = [...new Uint8Array(digest, 0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${folder}/engine-${hex}.sock`;
}

function runFolder(): string {
  const named = Deno.env.get(RUN_VARIABLE);
  if (named !== undefined && named !== "") return path.resolve(named);
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  if (runtime !== undefined && runtime !== "") return `${runtime}/calypte`;
  return `/tmp/calypte-${Deno.uid()}`;
}
