/**
 * What was recorded of requests and slices, over the restarts of an engine?
 *
 * Each engine records from position 0 on, and under its own numbers. Here positions go on, and numbers are those that the
 * results have. What an engine that was lost had recorded is given to whoever asks next.
 */
import type { TracePart, TraceRecord } from "../../ffi/mod.ts";
import type { Totals } from "./totals.ts";

/** Of a lost engine: some seconds. */
const KEPT = 4_096;

export class Traces {
  /** Where the present engine's records begin. */
  #base = 0;
  /** Of the engine before it, in front of `#base`. */
  #before: TraceRecord[] = [];

  /** `take` asks the present engine, `undefined` if there is none. */
  take(from: number, take: (from: number) => TracePart | undefined, totals: Totals): TracePart {
    const old = from < this.#base
      ? this.#before.slice(Math.max(0, this.#before.length - (this.#base - from)))
      : [];
    const gone = from === 0 ? 0 : Math.max(0, this.#base - this.#before.length - from);
    const now = take(Math.max(0, from - this.#base));
    if (now === undefined) return { records: old, next: Math.max(from, this.#base), lost: gone };
    return {
      records: [...old, ...now.records.map((record) => renumber(record, totals))],
      next: this.#base + now.next,
      lost: gone + now.lost,
    };
  }

  /** The present engine is lost: `last` is all that it had recorded. Before `totals.lose`. */
  lose(last: TracePart, totals: Totals): void {
    this.#before = last.records.slice(-KEPT).map((record) => renumber(record, totals));
    this.#base += last.next;
  }
}

function renumber(record: TraceRecord, totals: Totals): TraceRecord {
  return record.kind === "request"
    ? { ...record, number: totals.numberOf("critical", record.task, record.number) }
    : { ...record, unit: totals.numberOf("background", record.job, record.unit) };
}
