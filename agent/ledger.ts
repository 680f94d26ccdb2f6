/**
 * Which results may the engine forget?
 *
 * Results come in the order of their positions and are settled in any order: written where they are safe, reported as lost,
 * or not wanted. The engine forgets by position, so what may go is the longest run from the oldest on that is settled
 * throughout. Pure; holds one number for each result that is not settled, which the engine's store bounds.
 */
export class Ledger {
  /** Positions that were taken, oldest first; those before `#begin` are done with. */
  #taken: number[] = [];
  #begin = 0;
  /** Settled, but something older is not. */
  readonly #settled = new Set<number>();
  #releasable: number | undefined;

  /** A result was taken. `position` is larger than all before. */
  take(position: number): void {
    this.#taken.push(position);
  }

  /** It needs the engine's copy no longer. Once for each result that was taken. */
  settle(position: number): void {
    this.#settled.add(position);
    for (let oldest = this.#taken[this.#begin]; oldest !== undefined; oldest = this.#taken[this.#begin]) {
      if (!this.#settled.delete(oldest)) break;
      this.#releasable = oldest;
      this.#begin++;
    }
    if (this.#begin > 1024 && this.#begin * 2 > this.#taken.length) {
      this.#taken = this.#taken.slice(this.#begin);
      this.#begin = 0;
    }
  }

  /** Results that were taken and are not yet covered by a release. */
  get waiting(): number {
    return this.#taken.length - this.#begin;
  }

  /** The position up to which all may be released, each once; `undefined`: no more than before. */
  releasable(): number | undefined {
    const position = this.#releasable;
    this.#releasable = undefined;
    return position;
  }
}
