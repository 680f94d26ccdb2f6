/**
 * When may a job that went wrong try again, and when not any more?
 *
 * After each failure it waits twice as long as after the one before; a job that fails too often is left out until somebody
 * releases it, or its bundle changes. Pure: time is an argument, monotonic, in ns.
 */

export interface QuarantineRules {
  /** The wait after the first failure; it doubles from failure to failure, up to `longestNs`. */
  firstNs: number;
  longestNs: number;
  /** So many failures within `withinNs` are too many. */
  failures: number;
  withinNs: number;
  /** Without a failure for so long everything is forgotten. */
  goodNs: number;
}

export const DEFAULT_RULES: QuarantineRules = {
  firstNs: 1_000_000_000,
  longestNs: 60_000_000_000,
  failures: 5,
  withinNs: 600_000_000_000,
  goodNs: 300_000_000_000,
};

/** What becomes of a job: it may run, it waits, or it is left out. */
export type Standing =
  | { kind: "free" }
  | { kind: "waiting"; untilNs: number; reason: string }
  | { kind: "quarantined"; sinceNs: number; reason: string };

interface Entry {
  /** Of the failures that count. */
  timesNs: number[];
  untilNs: number;
  reason: string;
  quarantinedNs: number | undefined;
}

export class Quarantine {
  readonly #rules: QuarantineRules;
  readonly #jobs = new Map<string, Entry>();

  constructor(rules: QuarantineRules = DEFAULT_RULES) {
    this.#rules = rules;
  }

  /** A job has failed. Returns how it stands then. */
  failed(job: string, reason: string, nowNs: number): Standing {
    const { firstNs, longestNs, failures, withinNs, goodNs } = this.#rules;
    const entry = this.#jobs.get(job) ?? { timesNs: [], untilNs: 0, reason, quarantinedNs: undefined };
    const last = entry.timesNs.at(-1);
    if (last !== undefined && nowNs >= last + goodNs) entry.timesNs = [];
    entry.timesNs = [...entry.timesNs.filter((timeNs) => timeNs > nowNs - withinNs), nowNs];
    entry.reason = reason;
    entry.untilNs = nowNs + Math.min(longestNs, firstNs * 2 ** (entry.timesNs.length - 1));
    if (entry.timesNs.length >= failures) entry.quarantinedNs ??= nowNs;
    this.#jobs.set(job, entry);
    return this.standing(job, nowNs);
  }

  standing(job: string, nowNs: number): Standing {
    const entry = this.#jobs.get(job);
    if (entry === undefined) return { kind: "free" };
    const { reason, untilNs, quarantinedNs } = entry;
    if (quarantinedNs !== undefined) return { kind: "quarantined", sinceNs: quarantinedNs, reason };
    return nowNs < untilNs ? { kind: "waiting", untilNs, reason } : { kind: "free" };
  }

  /** Somebody says that it may try again, with nothing held against it. */
  release(job: string): void {
    this.#jobs.delete(job);
  }

  /** It was found in quarantine by an agent before this one. */
  restore(job: string, reason: string, nowNs: number): void {
    this.#jobs.set(job, { timesNs: [], untilNs: 0, reason, quarantinedNs: nowNs });
  }
}
