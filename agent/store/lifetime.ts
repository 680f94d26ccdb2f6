/**
 * How much was it since the first start?
 *
 * Sums of counts that begin again with each start. Pure. A count may also go on over a start, where its counter outlived
 * the agent: then `epoch`, which tells one counter's life from another's, is the same as at the end of the last one.
 */

/** By a name that says what is counted. */
export type Counts = Readonly<Record<string, number>>;

export interface LifetimeState {
  epoch: string;
  last: Record<string, number>;
  total: Record<string, number>;
}

/** Names that nobody counts any more are forgotten beyond so many. */
const MAX_NAMES = 4000;

export class Lifetime {
  #epoch: string | undefined;
  #last: Record<string, number>;
  #total: Record<string, number>;
  readonly #before: LifetimeState | undefined;

  constructor(state: LifetimeState | undefined) {
    this.#before = state;
    this.#last = {};
    this.#total = { ...state?.total };
  }

  /** What the counters say now. One that is less than before has begun again. */
  update(epoch: string, counts: Counts): void {
    if (this.#epoch === undefined && this.#before?.epoch === epoch) this.#last = { ...this.#before.last };
    this.#epoch = epoch;
    for (const [name, count] of Object.entries(counts)) {
      const last = this.#last[name] ?? 0;
      this.#total[name] = (this.#total[name] ?? 0) + (count >= last ? count - last : count);
      this.#last[name] = count;
    }
  }

  get total(): Counts {
    return this.#total;
  }

  state(): LifetimeState {
    const names = Object.keys(this.#total);
    const total = names.length <= MAX_NAMES
      ? { ...this.#total }
      : Object.fromEntries(Object.entries(this.#total).filter(([name]) => name in this.#last));
    const known = this.#epoch !== undefined;
    const { epoch = "", last = {} } = known ? { epoch: this.#epoch, last: this.#last } : this.#before ?? {};
    return { epoch, last: { ...last }, total };
  }
}

/** Throws `TypeError` if `value` is not what `state` gave. */
export function parseLifetime(value: unknown): LifetimeState {
  const { epoch, last, total } = (value ?? {}) as Record<string, unknown>;
  const isCounts = (counts: unknown) =>
    typeof counts === "object" && counts !== null &&
    Object.values(counts).every((count) => Number.isFinite(count) && count >= 0);
  if (typeof epoch !== "string" || !isCounts(last) || !isCounts(total)) {
    throw new TypeError("these are no counts");
  }
  return { epoch, last: last as Record<string, number>, total: total as Record<string, number> };
}
