/**
 * How is a mission put on the stage for faults? A folder with frames, queues and outputs of its own, an agent that is started
 * as `./calypte` starts it, and a way to get rid of all of it.
 *
 * Every wait is bounded. Nothing outlives `close`.
 */
import { V8_FLAGS } from "../../agent/assets/place.ts";
import { defaultTokenFile, readToken } from "../../agent/http/token.ts";
import { path } from "../../agent/std/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { openLibrary } from "../../ffi/mod.ts";
import { hit, lives, pidsOf, processesOf, type Role, type SeenProcess, strike } from "./processes.ts";

export const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const LIBRARY = path.resolve(libraryPath());
const library = openLibrary(LIBRARY);

/** The clock of results and of the engine. */
export const nowNs = (): number => library.nowNs();

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** False: it did not come true in time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
  everyMs = 10,
): Promise<boolean> {
  for (const giveUp = performance.now() + withinMs;;) {
    if (await condition()) return true;
    if (performance.now() > giveUp) return false;
    await pause(everyMs);
  }
}

export interface SceneOptions {
  name: string;
  backend: "cuda" | "sim";
  seed: number;
  /** The mission as an object; paths relative to the scene's folder. */
  mission: Record<string, unknown>;
  /** Of its processes, beside their own. */
  env?: Record<string, string>;
}

// deno-lint-ignore no-explicit-any
export type Status = any;

export const READY_WITHIN_MS = 30_000;
const EXIT_WITHIN_MS = 15_000;
/** A file that may not grow is an error for who writes it, and not his end. */
const LAUNCH = 'trap "" XFSZ; exec "$@" >>"$FAULTS_OUT" 2>>"$FAULTS_ERR"';

export class Scene {
  readonly dir: string;
  readonly runDir: string;
  readonly #options: SceneOptions;
  #starts = 0;
  #agent:
    | { child: Deno.ChildProcess; pid: number; ended: boolean; errFile: string; outFile: string }
    | undefined;
  #url: string | undefined;

  private constructor(dir: string, options: SceneOptions) {
    this.dir = dir;
    this.runDir = path.join(dir, "run");
    this.#options = options;
  }

  /** Makes the folder; starts nothing. */
  static async open(options: SceneOptions): Promise<Scene> {
    const scene = new Scene(await Deno.makeTempDir({ prefix: `calypte-${options.name}-` }), options);
    for (const dir of ["run", "out"]) await Deno.mkdir(scene.path(dir), { recursive: true, mode: 0o700 });
    await Deno.writeTextFile(scene.path("mission.yaml"), JSON.stringify(options.mission, null, 1));
    return scene;
  }

  path(...parts: string[]): string {
    return path.join(this.dir, ...parts);
  }

  /** Starts an agent; does not wait for it. */
  start(): void {
    const number = ++this.#starts;
    const errFile = this.path(`agent-${String(number).padStart(3, "0")}.err`);
    const outFile = this.path(`agent-${String(number).padStart(3, "0")}.out`);
    const { backend, seed, env = {} } = this.#options;
    const deno = Deno.execPath();
    const child = new Deno.Command("sh", {
      args: [
        ...["-c", LAUNCH, "sh"],
        ...[
          deno,
          "run",
          "--quiet",
          "--no-prompt",
          "--cached-only",
          V8_FLAGS,
          "--config",
          `${ROOT}/deno.json`,
        ],
        ...["--allow-read", "--allow-write", "--allow-env", allowRun(deno, env), "--allow-sys=uid"],
        ...["--allow-net=127.0.0.1,localhost,[::1]", `--allow-ffi=${LIBRARY}`, `${ROOT}/agent/entry.ts`],
        ...["run", this.path("mission.yaml"), "--backend", backend, "--seed", String(seed), "--json"],
      ],
      env: {
        CALYPTE_LIBRARY: LIBRARY,
        CALYPTE_RUN_DIR: this.runDir,
        CALYPTE_CACHE: path.join(ROOT, "build", "faults-cache"),
        XDG_STATE_HOME: this.path("state-home"),
        FAULTS_OUT: outFile,
        FAULTS_ERR: errFile,
        NO_COLOR: "1",
        ...env,
      },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const agent = { child, pid: child.pid, ended: false, errFile, outFile };
    child.status.then(() => agent.ended = true);
    this.#agent = agent;
    this.#url = undefined;
  }

  /** Why not, if it is not ready in time or has ended. */
  async ready(withinMs = READY_WITHIN_MS): Promise<string | undefined> {
    const agent = this.#agent!;
    const isReady = async () => {
      if (agent.ended) return true;
      const status = await this.status();
      return status?.state === "ready";
    };
    if (!await until(isReady, withinMs, 20)) {
      return `the agent was not ready within ${withinMs} ms: ${this.lastWords()}`;
    }
    return agent.ended ? `the agent ended by itself: ${this.lastWords()}` : undefined;
  }

  /** `undefined`: nobody answers. */
  async status(): Promise<Status | undefined> {
    const url = this.url();
    if (url === undefined) return undefined;
    try {
      const response = await fetch(`${url}/v1/status`, { signal: AbortSignal.timeout(1000) });
      return await response.json();
    } catch {
      return undefined;
    }
  }

  url(): string | undefined {
    return this.#url ??= /status on (http:\/\/\S+?)\/v1\/status/.exec(this.said())?.[1];
  }

  /** A request to a critical task, whose result is not waited for. The answer's HTTP status. */
  async submit(task: string, body: Uint8Array<ArrayBuffer>): Promise<number> {
    const url = this.url();
    if (url === undefined) return 0;
    try {
      const token = await readToken(defaultTokenFile(this.runDir));
      const response = await fetch(`${url}/v1/tasks/${task}/infer`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, prefer: "respond-async" },
        body,
        signal: AbortSignal.timeout(1000),
      });
      await response.body?.cancel();
      return response.status;
    } catch {
      return 0;
    }
  }

  /** All that the present agent has said. */
  said(): string {
    return readOrEmpty(this.#agent?.errFile);
  }

  lastWords(): string {
    return this.said().trim().split("\n").slice(-3).join(" | ").slice(-600);
  }

  /** All that all agents have said. */
  allSaid(): string {
    const texts: string[] = [];
    for (let n = 1; n <= this.#starts; n++) {
      texts.push(readOrEmpty(this.path(`agent-${String(n).padStart(3, "0")}.err`)));
    }
    return texts.join("");
  }

  agentPid(): number | undefined {
    return this.#agent === undefined || this.#agent.ended ? undefined : this.#agent.pid;
  }

  processes(): SeenProcess[] {
    return processesOf(this.runDir);
  }

  pids(role: Role): number[] {
    return pidsOf(this.runDir, role);
  }

  /** Ends the agent by a signal that it cannot refuse, and waits until it is gone. */
  async killAgent(signal: Deno.Signal): Promise<void> {
    const agent = this.#agent!;
    strike(agent.pid, signal);
    if (await until(() => agent.ended, EXIT_WITHIN_MS, 1)) return;
    hit(agent.pid, "SIGKILL");
    await agent.child.status;
  }

  /** Ends the run in order. Its summary; `undefined`: it gave none. */
  async stop(): Promise<Record<string, Status> | undefined> {
    const agent = this.#agent;
    if (agent === undefined || agent.ended) return undefined;
    hit(agent.pid, "SIGTERM");
    if (!await until(() => agent.ended, EXIT_WITHIN_MS)) return undefined;
    try {
      return JSON.parse(readOrEmpty(agent.outFile).trim().split("\n").at(-1) ?? "");
    } catch {
      return undefined;
    }
  }

  /** Kills all of its processes and, unless it is to be looked at, removes the folder. Says what had to be killed. */
  async close(keep = false): Promise<string[]> {
    const left: string[] = [];
    // The agent first: it would start others.
    for (const role of ["agent", "worker", "engine"] as const) {
      for (const pid of this.pids(role)) {
        left.push(`${role} ${pid}`);
        hit(pid, "SIGCONT");
        hit(pid, "SIGKILL");
      }
    }
    await until(() => processesOf(this.runDir).every(({ pid }) => !lives(pid)), 5000);
    if (!keep) await Deno.remove(this.dir, { recursive: true }).catch(() => {});
    return left;
  }
}

function readOrEmpty(file: string | undefined): string {
  try {
    return file === undefined ? "" : Deno.readTextFileSync(file);
  } catch {
    return "";
  }
}

/** Where the loader is told where to look, Deno starts programs only with leave to start any. */
function allowRun(deno: string, env: Record<string, string>): string {
  const told = Object.keys({ ...Deno.env.toObject(), ...env }).some((name) => name.startsWith("LD_"));
  return told ? "--allow-run" : `--allow-run=${deno}`;
}
