/** What has happened lately, for whoever asks later? The last events, each with an id by which a reader goes on. */

export interface PastEvent {
  /** `RUN-NUMBER`; numbers grow by one. */
  id: string;
  timeNs: number;
  kind: string;
  /** Name of a task or job. */
  source: string | null;
  text: string;
}

const KEPT = 1_000;

export class EventHistory {
  readonly #run: string;
  readonly #kept: PastEvent[] = [];
  readonly #readers = new Set<(event: PastEvent) => void>();
  #next = 1;

  /** `run` tells this run from those before it. */
  constructor(run: string) {
    this.#run = run;
  }

  add(event: Omit<PastEvent, "id">): void {
    const whole = { id: `${this.#run}-${this.#next++}`, ...event };
    this.#kept.push(whole);
    if (this.#kept.length > KEPT) this.#kept.shift();
    for (const reader of this.#readers) reader(whole);
  }

  /** Those behind the event with this id; all that are kept if it is of another run, or too old. */
  since(id: string | undefined): readonly PastEvent[] {
    const at = id === undefined ? -1 : this.#kept.findIndex((event) => event.id === id);
    return this.#kept.slice(at + 1);
  }

  /** Returns what ends it. */
  subscribe(reader: (event: PastEvent) => void): () => void {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }
}
