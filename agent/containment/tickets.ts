/**
 * Which results of which engine may be forgotten?
 *
 * Results come from several stores: of the engine, of its jobs' processes, and of those that were lost. Here each gets a
 * position in one order, and a release in that order becomes one for each store.
 */
import type { Result } from "../../ffi/engine.ts";

export interface ResultStore {
  releaseResults(position: number): void;
}

export class Tickets {
  /** Handed out and not released, oldest first. */
  #waiting: { ticket: number; store: ResultStore; position: number }[] = [];
  #next = 1;

  /** The results under their new positions. */
  hand(results: readonly Result[], store: ResultStore): Result[] {
    return results.map((result) => {
      const ticket = this.#next++;
      this.#waiting.push({ ticket, store, position: result.position });
      return { ...result, position: ticket };
    });
  }

  /** All up to this position are safe elsewhere. */
  release(upTo: number): void {
    const last = new Map<ResultStore, number>();
    let count = 0;
    for (const { ticket, store, position } of this.#waiting) {
      if (ticket > upTo) break;
      last.set(store, position);
      count++;
    }
    if (count === 0) return;
    this.#waiting = this.#waiting.slice(count);
    for (const [store, position] of last) store.releaseResults(position);
  }

  /** This store is gone, and with it what it still held. */
  forget(store: ResultStore): void {
    this.#waiting = this.#waiting.filter((each) => each.store !== store);
  }
}
