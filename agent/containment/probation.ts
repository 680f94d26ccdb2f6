/**
 * Which background jobs wait after a failure, and which do not come back?
 *
 * What a failure means is the quarantine's to say (agent/store/quarantine.ts), which may be kept on disk; here it becomes a pause,
 * or none ever. Time is an argument, monotonic, in ns.
 */
import type { Verdict } from "../store/quarantine.ts";

export interface Judge {
  failed(job: string, reason: string, nowNs: number): Verdict;
  /** What happened to the job until now was not its fault. */
  forgive(job: string): void;
}

export class Probation {
  readonly #judge: Judge;
  readonly #untilNs = new Map<string, number>();

  constructor(judge: Judge) {
    this.#judge = judge;
  }

  /** A job has failed. How long it waits, in ns; `undefined`: it is in quarantine. */
  failed(job: string, reason: string, nowNs: number): number | undefined {
    const verdict = this.#judge.failed(job, reason, nowNs);
    const pauseNs = verdict.kind === "restart" ? verdict.restartAfterNs : undefined;
    this.#untilNs.set(job, pauseNs === undefined ? Infinity : nowNs + pauseNs);
    return pauseNs;
  }

  /** Its failures until now were another's: they count no more. */
  forgive(job: string): void {
    this.#judge.forgive(job);
    if (this.#untilNs.get(job) !== Infinity) this.#untilNs.delete(job);
  }

  /** It gets nothing now, whatever a plan says. */
  suspended(job: string, nowNs: number): boolean {
    return nowNs < (this.#untilNs.get(job) ?? 0);
  }
}
