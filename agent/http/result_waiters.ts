/** Who waits for the result of one request? The slow door (`/infer`) does; what nobody waits for costs nothing. */
import type { Result } from "../../ffi/mod.ts";

export class ResultWaiters {
  readonly #waiting = new Map<string, (result: Result) => void>();

  /** Resolves with `undefined` if it does not come within the time. Ask before results are taken again. */
  async wait(task: number, number: number, withinMs: number): Promise<Result | undefined> {
    const key = `${task}/${number}`;
    const { promise, resolve } = Promise.withResolvers<Result | undefined>();
    this.#waiting.set(key, resolve);
    const timer = setTimeout(() => resolve(undefined), withinMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(key);
    }
  }

  /** Each critical result passes here. Its payload is copied: the engine takes its memory back. */
  take(result: Result): void {
    if (this.#waiting.size === 0 || result.kind !== "critical") return;
    this.#waiting.get(`${result.work}/${result.number}`)?.({ ...result, payload: result.payload.slice() });
  }
}
