/**
 * How does a check run bundles on an engine of its own, without the agent around it?
 *
 * Loads bundles as the agent does, keeps a plan in force, and collects what comes back. It judges nothing.
 */
import {
  type Engine,
  type EngineSnapshot,
  type FeatureName,
  NativeEngine,
  openLibrary,
  type Result,
} from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import { loadBundle } from "../agent/bundle.ts";
import { checkpointCompiler } from "../agent/checkpoint.ts";
import type { Frames } from "../agent/frames.ts";
import { Loader } from "../agent/load.ts";

const LEASE_NS = 2e9;

export interface JobRun {
  bundle: string;
  /** Frames that are its input, in a loop; `undefined`: it has no input. */
  frames: Frames | undefined;
}

export interface SessionOptions {
  backend: "cuda" | "sim";
  jobs: readonly JobRun[];
  /** A critical task beside them, at this period. */
  critical?: JobRun & { periodNs: number; keepOutput?: boolean };
  disableFeatures?: readonly FeatureName[];
}

export class Session implements Disposable {
  readonly engine: Engine;
  readonly #jobs: number[] = [];
  readonly #digests = new Map<number, bigint[]>();
  readonly requests: Result[] = [];
  #planId = 0;
  #planNs = 0;

  private constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Loads everything; `start` makes it run. */
  static async open(options: SessionOptions): Promise<Session> {
    const { backend, disableFeatures = [] } = options;
    const session = new Session(NativeEngine.open(openLibrary(libraryPath()), { backend, disableFeatures }));
    try {
      const loader = new Loader({
        engine: session.engine,
        checkpoint: checkpointCompiler,
        preemptionBoundNs: Infinity,
      });
      for (const { bundle: dir, frames } of options.jobs) {
        const bundle = await loadBundle(dir);
        const source = frames === undefined
          ? { kind: "none" as const }
          : { kind: "frames" as const, periodNs: 0 };
        const name = bundle.manifest.name;
        session.#jobs.push(
          loader.add({ kind: "background", name, source, keepOutput: false }, bundle, frames).id,
        );
      }
      if (options.critical !== undefined) {
        const { bundle: dir, frames, periodNs, keepOutput = false } = options.critical;
        const bundle = await loadBundle(dir);
        const name = bundle.manifest.name;
        loader.add(
          {
            kind: "critical",
            name,
            source: { kind: "frames", periodNs },
            keepOutput,
            deadlineNs: periodNs,
            from: "arrival",
            queue: "latest",
            queueDepth: 1,
            onMiss: "publish-late",
            maxBlockingNs: 0,
            yield: "always",
            anticipate: false,
          },
          bundle,
          frames,
        );
      }
      for (const job of session.#jobs) session.#digests.set(job, []);
      return session;
    } catch (error) {
      session.engine.close();
      throw error;
    }
  }

  start(): void {
    this.engine.ready();
  }

  /** Digests of a job's outputs, by unit. */
  digests(job: number): readonly bigint[] {
    return this.#digests.get(job) ?? [];
  }

  /** Lets everything run for a while, with all jobs at equal weight. Throws if the engine has stopped. */
  run(milliseconds: number): EngineSnapshot {
    let snapshot = this.engine.snapshot();
    const endNs = snapshot.nowNs + milliseconds * 1e6;
    while (snapshot.nowNs < endNs) {
      if (snapshot.nowNs > this.#planNs + LEASE_NS / 4) {
        const entries = this.#jobs.map((job) => ({ job, weight: 1, maxUnits: 0 }));
        this.engine.setPlan({ id: ++this.#planId, leaseNs: LEASE_NS, entries });
        this.#planNs = snapshot.nowNs;
      }
      pause(2);
      this.#collect();
      snapshot = this.engine.snapshot();
      if (snapshot.state !== "ready") {
        throw new Error(`the engine stopped: ${this.engine.takeEvents().map((e) => e.text).join("; ")}`);
      }
    }
    return snapshot;
  }

  #collect(): void {
    for (let results = this.engine.takeResults(); results.length > 0; results = this.engine.takeResults()) {
      for (const result of results) {
        if (result.kind === "critical") {
          this.requests.push(result);
          continue;
        }
        const digests = this.#digests.get(result.work)!;
        if (result.number !== digests.length) {
          throw new Error(`job ${result.work}: unit ${result.number} came where ${digests.length} was due`);
        }
        digests.push(result.digest);
      }
      this.engine.releaseResults(results.at(-1)!.position);
    }
  }

  [Symbol.dispose](): void {
    this.engine.close();
  }
}

/** Blocks this thread, as the agent's planner would be asleep; the engine has threads of its own. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** FNV-1a, 64 bit, as the engine digests outputs. */
export function fnv1a(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash;
}
