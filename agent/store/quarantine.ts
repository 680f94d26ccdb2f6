/**
 * Which jobs failed so often that they are not tried any more?
 *
 * Pure: time is an argument, monotonic within one start of the agent. A job that fails is started again after a pause that
 * doubles each time, and is forgiven after a good while; one that fails too often within a window is in quarantine, over
 * restarts too, until somebody releases it or its bundle is another one. Failures are kept as ages in flight time: what
 * lay between two starts of the agent counts as none.
 */

export interface QuarantineOptions {
  /** So many failures within `windowNs` are too many. Default 5. */
  maxFailures?: number;
  /** Default 10 minutes. */
  windowNs?: number;
  /** The pause after the first failure. Default 1 s. */
  firstPauseNs?: number;
  /** Default 60 s. */
  longestPauseNs?: number;
  /** The pause begins with `firstPauseNs` again after so long without a failure, from the restart on. Default 2 minutes. */
  goodNs?: number;
  /** For people: when it happened, such as a date. Default: not said. */
  stamp?: () => string;
}

export interface Quarantined {
  job: string;
  /** SHA-256 of the bundle that failed. */
  digest: string;
  reason: string;
  /** As `stamp` said. */
  since: string;
  /** Failures that led to it. */
  count: number;
}

export type Verdict = { kind: "restart"; restartAfterNs: number } | {
  kind: "quarantined";
  entry: Quarantined;
};

/** As JSON keeps it. */
export interface QuarantineState {
  quarantined: Quarantined[];
  failures: { job: string; digest: string; agesNs: number[] }[];
}

interface History {
  atNs: number[];
  /** Failures in a row, as the pause counts them. */
  inARow: number;
  goodFromNs: number;
}

const DEFAULTS = {
  maxFailures: 5,
  windowNs: 600e9,
  firstPauseNs: 1e9,
  longestPauseNs: 60e9,
  goodNs: 120e9,
  stamp: () => "",
};

export class Quarantine {
  readonly #options: Required<QuarantineOptions>;
  readonly #digests: ReadonlyMap<string, string>;
  readonly #quarantined = new Map<string, Quarantined>();
  readonly #histories = new Map<string, History>();

  /** `digests`: of the bundles of all jobs there are, by their names. Of `state` only what is of these bundles counts. */
  constructor(
    digests: ReadonlyMap<string, string>,
    state: QuarantineState | undefined,
    nowNs: number,
    options: QuarantineOptions = {},
  ) {
    this.#options = { ...DEFAULTS, ...options };
    this.#digests = digests;
    for (const entry of state?.quarantined ?? []) {
      if (digests.get(entry.job) === entry.digest) this.#quarantined.set(entry.job, entry);
    }
    for (const { job, digest, agesNs } of state?.failures ?? []) {
      if (digests.get(job) !== digest) continue;
      const atNs = agesNs.map((ageNs) => nowNs - ageNs).sort((a, b) => a - b);
      this.#histories.set(job, { atNs, inARow: atNs.length, goodFromNs: nowNs });
    }
  }

  /** The job is lost, whatever took it. Throws `RangeError` if there is no such job. */
  failed(job: string, reason: string, nowNs: number): Verdict {
    const digest = this.#digests.get(job);
    if (digest === undefined) throw new RangeError(`Cannot judge a failure: there is no job ${job}`);
    const known = this.#quarantined.get(job);
    if (known !== undefined) return { kind: "quarantined", entry: known };
    const { maxFailures, windowNs, firstPauseNs, longestPauseNs, goodNs, stamp } = this.#options;
    const history = this.#histories.get(job) ?? { atNs: [], inARow: 0, goodFromNs: nowNs };
    if (nowNs - history.goodFromNs >= goodNs) history.inARow = 0;
    history.atNs = [...history.atNs.filter((atNs) => nowNs - atNs < windowNs), nowNs];
    if (history.atNs.length >= maxFailures) {
      const entry = { job, digest, reason, since: stamp(), count: history.atNs.length };
      this.#quarantined.set(job, entry);
      this.#histories.delete(job);
      return { kind: "quarantined", entry };
    }
    const restartAfterNs = Math.min(longestPauseNs, firstPauseNs * 2 ** Math.min(history.inARow, 40));
    history.inARow++;
    history.goodFromNs = nowNs + restartAfterNs;
    this.#histories.set(job, history);
    return { kind: "restart", restartAfterNs };
  }

  /** `undefined`: it may run. */
  of(job: string): Quarantined | undefined {
    return this.#quarantined.get(job);
  }

  all(): Quarantined[] {
    return [...this.#quarantined.values()];
  }

  /** Its failures count no more. One that is in quarantine stays there. */
  forgive(job: string): void {
    this.#histories.delete(job);
  }

  /** It may run again, and starts without a history. False: it was not in quarantine. */
  release(job: string): boolean {
    this.#histories.delete(job);
    return this.#quarantined.delete(job);
  }

  /** To be kept; old failures are left out. */
  state(nowNs: number): QuarantineState {
    const failures = [...this.#histories].flatMap(([job, { atNs }]) => {
      const agesNs = atNs.map((at) => nowNs - at).filter((age) => age < this.#options.windowNs);
      return agesNs.length === 0 ? [] : [{ job, digest: this.#digests.get(job)!, agesNs }];
    });
    return { quarantined: this.all(), failures };
  }
}

/** The state without one job, for releasing it while no agent runs. `undefined`: it was not in quarantine. */
export function released(state: QuarantineState, job: string): QuarantineState | undefined {
  if (!state.quarantined.some((entry) => entry.job === job)) return undefined;
  return {
    quarantined: state.quarantined.filter((entry) => entry.job !== job),
    failures: state.failures.filter((entry) => entry.job !== job),
  };
}

/** Throws `TypeError` if `value` is not what `state` gave. */
export function parseQuarantine(value: unknown): QuarantineState {
  const { quarantined, failures } = (value ?? {}) as Record<string, unknown>;
  const isText = (...texts: unknown[]) => texts.every((text) => typeof text === "string");
  const good = Array.isArray(quarantined) && Array.isArray(failures) &&
    quarantined.every((entry) =>
      isText(entry?.job, entry?.digest, entry?.reason, entry?.since) && Number.isFinite(entry?.count)
    ) &&
    failures.every((entry) =>
      isText(entry?.job, entry?.digest) && Array.isArray(entry?.agesNs) && entry.agesNs.every(Number.isFinite)
    );
  if (!good) throw new TypeError("it is no list of jobs in quarantine");
  return { quarantined, failures };
}
