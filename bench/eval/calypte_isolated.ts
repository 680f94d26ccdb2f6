/**
 * How does a cell's background live in a process of its own?
 *
 * Starts calypte_worker.ts, adds the job that it describes, and lets it join. Results of the job are taken there: they come
 * back when the worker is told to end.
 */
import { CONSTANTS, type Engine, EngineError, type Result } from "../../ffi/mod.ts";

const WORKER = new URL("./calypte_worker.ts", import.meta.url).pathname;

/** A line that the worker writes. */
export type WorkerLine =
  | { job: number[]; expected: string | null }
  | { done: { doneNs: number; digest: string }[] };

export class IsolatedJob implements AsyncDisposable {
  /** Of the job in the engine. */
  readonly id: number;
  readonly pid: number;
  readonly expected: bigint | undefined;
  readonly #engine: Engine;
  readonly #dir: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<WorkerLine, undefined>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  private constructor(
    engine: Engine,
    dir: string,
    child: Deno.ChildProcess,
    lines: AsyncGenerator<WorkerLine, undefined>,
    about: { job: number[]; expected: string | null },
  ) {
    this.#engine = engine;
    this.#dir = dir;
    this.#child = child;
    this.#lines = lines;
    this.#input = child.stdin.getWriter();
    this.pid = child.pid;
    this.expected = about.expected === null ? undefined : BigInt(about.expected);
    this.id = engine.addIsolated(Uint8Array.from(about.job), `${dir}/page`);
  }

  /** Before the engine is ready, behind the other works. Throws if the worker cannot load the bundle. */
  static async start(engine: Engine, backend: "sim" | "cuda", folder: string): Promise<IsolatedJob> {
    const dir = await Deno.makeTempDir();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--cached-only", WORKER, folder, backend, `${dir}/page`],
      ...{ stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    const lines = linesOf(child.stdout);
    const { value } = await lines.next();
    if (value === undefined || !("job" in value)) {
      throw new Error(`the worker of ${folder} ended before it was loaded`);
    }
    return new IsolatedJob(engine, dir, child, lines, value);
  }

  /** Once the engine is ready. */
  async join(): Promise<void> {
    this.#engine.admit(this.id, this.pid);
    await this.#tell("join");
    const endMs = performance.now() + 10_000;
    while (this.#engine.snapshot().jobs[this.id]!.worker !== "present") {
      if (performance.now() > endMs) {
        throw new EngineError(CONSTANTS.E_TIMEOUT, "join", "the worker did not join within 10 s");
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** Ends the worker. Digests and times only. */
  async results(): Promise<Result[]> {
    await this.#tell("end");
    const { value } = await this.#lines.next();
    if (value === undefined || !("done" in value)) throw new Error("the worker ended without its results");
    return value.done.map(({ doneNs, digest }, number): Result => ({
      ...{ kind: "background", work: this.id, number, frameSeq: 0, frameIndex: 0, sensorNs: 0, arrivalNs: 0 },
      ...{ startNs: 0, doneNs, deadlineNs: 0, digest: BigInt(digest), complete: true, late: false },
      ...{ dropped: false, failed: false, simulated: false, payload: new Uint8Array(), position: 0 },
    }));
  }

  async #tell(word: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${word}\n`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    await this.#child.status;
    await this.#lines.return(undefined);
    await this.#input.abort().catch(() => {}); // the pipe's end is gone
    await Deno.remove(this.#dir, { recursive: true });
  }
}

async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<WorkerLine, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line);
  }
  return undefined;
}
