/**
 * The one executable, made if it is not up to date, and a world for it in which there is nothing else: an empty folder, an empty
 * environment, and a file system that can be read only, apart from its TMPDIR and that folder.
 */
import { libraryPath } from "../../ffi/mod.ts";
import { compile, HOST_LIBRARY, HOST_OUTPUT, hostTarget } from "../../tools/compile.ts";
import { exists, NoRuntime } from "../../tools/denort.ts";

/** Why there is no executable to test; `undefined`: there is one. */
async function whyNone(): Promise<string | undefined> {
  if (!exists(libraryPath())) {
    return (Deno.env.get("CI") ?? "") === "" ? "there is no build/libcalypte.so" : undefined;
  }
  try {
    await compile({ target: hostTarget(), library: HOST_LIBRARY, output: HOST_OUTPUT });
    return undefined;
  } catch (error) {
    if (error instanceof NoRuntime) return error.message;
    throw error;
  }
}

const none = await whyNone();
if (none !== undefined) console.warn(`The executable is not tested: ${none}`);

/** A file system that is read-only but for two folders takes a mount namespace of its own. */
const CAN_UNSHARE = await works("unshare", ["--mount", "true"]);
if (none === undefined && !CAN_UNSHARE) {
  console.warn("The executable is not tested on a read-only file system: no unshare here");
}

async function works(program: string, args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Everything apart from `$0` and `$1` is read-only, then the rest of the arguments is run. */
const READ_ONLY = `
set -e
for folder in "$0" "$1"; do mount --bind "$folder" "$folder"; done
mount -o remount,ro,bind /
cd "$1"
shift
exec "$@"`;

export interface Ended {
  code: number;
  out: string;
  err: string;
}

/** A running executable whose words are read as they come. */
export interface Running {
  pid: number;
  /** Resolves with the first match in what it wrote to standard error; throws if it ends without, or takes a minute. */
  said(pattern: RegExp): Promise<RegExpMatchArray>;
  ended: Promise<Ended>;
  kill(signal: Deno.Signal): void;
}

export class Scene implements AsyncDisposable {
  readonly #running = new Set<Running>();

  private constructor(readonly dir: string, readonly tmp: string, readonly program: string) {}

  static async make(): Promise<Scene> {
    const tmp = await Deno.makeTempDir({ prefix: "calypte-tmp-" });
    return new Scene(await Deno.makeTempDir({ prefix: "calypte-cwd-" }), tmp, HOST_OUTPUT);
  }

  /** A copy of the executable that may be replaced. */
  async copyProgram(): Promise<string> {
    const copy = `${this.dir}/calypte`;
    await Deno.copyFile(this.program, copy);
    return copy;
  }

  start(args: readonly string[], env: Record<string, string> = {}, program = this.program): Running {
    const command = CAN_UNSHARE
      ? new Deno.Command("unshare", {
        args: ["--mount", "sh", "-c", READ_ONLY, this.tmp, this.dir, program, ...args],
        ...this.#options(env),
      })
      : new Deno.Command(program, { args: [...args], cwd: this.dir, ...this.#options(env) });
    const running = follow(command.spawn());
    this.#running.add(running);
    return running;
  }

  async run(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    return await this.start(args, env).ended;
  }

  #options(env: Record<string, string>): Deno.CommandOptions {
    // PATH is for unshare, mount and the shell; the executable does not look at it.
    const path = CAN_UNSHARE ? { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } : {};
    return {
      clearEnv: true,
      env: { TMPDIR: this.tmp, ...path, ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) running.kill("SIGTERM");
    for (const { ended } of this.#running) await ended;
    await Deno.remove(this.dir, { recursive: true });
    await Deno.remove(this.tmp, { recursive: true });
  }
}

const LONGEST_MS = 60_000;

function follow(child: Deno.ChildProcess): Running {
  let err = "";
  let open = true;
  const waiting = new Set<() => void>();
  const wake = () => waiting.forEach((call) => call());
  const read = async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) {
      err += decoder.decode(chunk, { stream: true });
      wake();
    }
  };
  const ended = (async () => {
    const [out, , { code }] = await Promise.all([new Response(child.stdout).text(), read(), child.status]);
    open = false;
    wake();
    return { code, out, err };
  })();
  return {
    pid: child.pid,
    ended,
    async said(pattern) {
      const signal = AbortSignal.timeout(LONGEST_MS);
      for (;;) {
        const match = err.match(pattern);
        if (match !== null) return match;
        if (!open || signal.aborted) throw new Error(`it did not say ${pattern}, but: ${err}`);
        await new Promise<void>((done) => {
          const call = () => (waiting.delete(call), done());
          waiting.add(call);
          signal.addEventListener("abort", call, { once: true });
        });
      }
    },
    kill(signal) {
      if (open) child.kill(signal);
    },
  };
}

/** Child processes of a process, oldest first. */
export function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter((word) => word !== "").map(Number);
}

/** Its own arguments, without the program. */
export function argumentsOf(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").slice(1, -1);
}

export function residentBytes(pid: number): number {
  const kib = Deno.readTextFileSync(`/proc/${pid}/status`).match(/^VmRSS:\s+(\d+) kB/m)?.[1];
  return Number(kib) * 1024;
}

export function executableTest(name: string, test: (scene: Scene) => Promise<void>): void {
  Deno.test({
    name: `the executable ${name}`,
    ignore: none !== undefined,
    async fn() {
      await using scene = await Scene.make();
      await test(scene);
    },
  });
}
