/**
 * Who makes, watches and starts again the processes of isolated background jobs?
 *
 * Each job has an `EngineHost` of its own, opened as a worker, which the engine's host closes and asks for results. A process that
 * ends is started again after a wait that doubles from failure to failure, until the quarantine says no more. Beside an engine
 * that serves nothing is measured: see docs/decisions/0020.
 */
import type { IsolatedJob, NativeEngine, OpenOptions } from "../../ffi/mod.ts";
import type { Logger } from "../log.ts";
import type { Seat } from "../prepare.ts";
import type { HostWorld } from "./connect.ts";
import { EngineHost } from "./engine_host.ts";
import type { Probation } from "./probation.ts";

export interface SeatOptions {
  /** The engine that schedules the jobs. */
  engine: EngineHost;
  /** For the process of this job. */
  world: (job: string) => HostWorld;
  /** Of the page that the job and the engine share. */
  page: (job: string) => string;
  open: OpenOptions;
  log: Logger;
  key: string;
  probation: Probation;
}

/** Makes a process for a job, or takes over the one that an agent before this one left. Throws `EngineError`, `InputError`. */
export async function makeSeat(job: string, options: SeatOptions): Promise<Seat> {
  const { engine, world, page, open, log, key, probation } = options;
  const surroundings = world(job);
  let id = -1;
  let known: IsolatedJob | undefined;
  const worker = {
    world: surroundings,
    open: { ...open, worker: true },
    log,
    key: `${key} ${job}`,
    what: `the process of job ${job}`,
    continues: true,
    begin(native: NativeEngine) {
      engine.admit(id, native.process());
      native.join(page(job));
      known ??= native.isolatedOf();
    },
    whenPossible: () => engine.serving(),
    pauseMs(_restarts: number, reason: string): number | undefined {
      const nowNs = surroundings.nowNs();
      // An engine that was lost takes its workers with it, which is not their fault.
      if (engine.lostNs !== undefined && nowNs < engine.lostNs + BLAMELESS_NS) return 0;
      const pauseNs = probation.failed(job, reason, nowNs);
      return pauseNs === undefined ? undefined : pauseNs / 1e6;
    },
  };
  const adopted = await EngineHost.adopt(worker);
  // Asked now, as it may be gone when the next engine is to be told: it ends with the engine that it serves.
  known = adopted?.isolatedOf();
  const host = adopted ?? await EngineHost.start(worker);
  return {
    engine: host,
    take() {
      const describe = () => {
        host.warmUp();
        return known ??= host.isolatedOf();
      };
      // An engine that was taken over serves already: what is measured beside it would keep the GPU from its requests. It
      // knows the job, and the process that joins learns it there.
      id = engine.addIsolated(engine.adopted ? describe : describe(), page(job));
      engine.addWorker(id, host);
      return id;
    },
    forgive: () => probation.forgive(job),
  };
}

const BLAMELESS_NS = 5_000_000_000;
