/**
 * How do two processes share the GPU under MPS? A control daemon of the harness's own, under a private directory: it touches no
 * compute mode, no clocks and no MIG, and who does not know its directory does not meet it. It lives as long as one cell.
 */
import { path } from "../../agent/std/mod.ts";
import { within } from "./process.ts";

const CONTROL = "nvidia-cuda-mps-control";
const STOP_MS = 10_000;
const START_MS = 20_000;
/** Behind it stands the harness's process id. */
const PREFIX = "calypte-mps-";

export class Mps implements AsyncDisposable {
  /** For clients. Background has the lower of the two client priorities. */
  readonly env: { critical: Record<string, string>; background: Record<string, string> };
  readonly #dir: string;
  readonly #control: string;
  readonly #env: Record<string, string>;

  private constructor(dir: string, control: string, env: Record<string, string>) {
    this.#dir = dir;
    this.#control = control;
    this.#env = env;
    this.env = {
      critical: { ...env, CUDA_MPS_CLIENT_PRIORITY: "0" },
      background: { ...env, CUDA_MPS_CLIENT_PRIORITY: "1" },
    };
  }

  /** Throws where there is no daemon, or with its words. `control`: another program, in tests. */
  static async start(control = CONTROL): Promise<Mps> {
    await endForgotten(control);
    const dir = await Deno.makeTempDir({ prefix: `${PREFIX}${Deno.pid}-` });
    const env = envOf(dir);
    for (const folder of Object.values(env)) await Deno.mkdir(folder);
    try {
      // It forks: its output must not be a pipe of ours, which would stay open as long as it lives.
      const child = new Deno.Command(control, { args: ["-d"], env, stdout: "null", stderr: "null" }).spawn();
      const status = await within(child.status, START_MS);
      if (status === undefined) {
        child.kill("SIGKILL");
        throw new Error(`${control} -d did not return: ${await logOf(dir)}`);
      }
      if (!status.success) throw new Error(`${control} -d ended with ${status.code}: ${await logOf(dir)}`);
    } catch (error) {
      await Deno.remove(dir, { recursive: true });
      if (error instanceof Deno.errors.NotFound) {
        throw new Error(`there is no ${control}: MPS cannot be measured`);
      }
      throw error;
    }
    return new Mps(dir, control, env);
  }

  /** Asks the daemon to end, and waits until it has. Its clients must have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await quit(this.#control, this.#env);
    await Deno.remove(this.#dir, { recursive: true }).catch(() => {}); // a server that is slow to end still writes there
  }
}

function envOf(dir: string): Record<string, string> {
  return { CUDA_MPS_PIPE_DIRECTORY: path.join(dir, "pipe"), CUDA_MPS_LOG_DIRECTORY: path.join(dir, "log") };
}

async function quit(control: string, env: Record<string, string>): Promise<void> {
  const child = new Deno.Command(control, { env, stdin: "piped", stdout: "null", stderr: "null" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("quit\n")).catch(() => {}); // it may have ended
  await writer.close().catch(() => {});
  if (await within(child.status, STOP_MS) !== undefined) return;
  child.kill("SIGKILL");
  await within(child.status, STOP_MS);
}

/** Daemons of harnesses that were killed: nobody else would end them. */
async function endForgotten(control: string): Promise<void> {
  const parent = Deno.env.get("TMPDIR") ?? "/tmp";
  for await (const { name } of Deno.readDir(parent)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || await isAlive(pid)) continue;
    const dir = path.join(parent, name);
    await quit(control, envOf(dir));
    await Deno.remove(dir, { recursive: true }).catch(() => {});
  }
}

async function isAlive(pid: string): Promise<boolean> {
  try {
    return (await Deno.stat(`/proc/${pid}`)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function logOf(dir: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path.join(dir, "log", "control.log"))).trim().split("\n").slice(-3).join(
      "; ",
    );
  } catch {
    return "it left no log";
  }
}
