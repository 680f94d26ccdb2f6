/**
 * Who writes, and what if the disk is full?
 *
 * One queue for the whole store. Values wait here, the latest of each, and records, up to a bound; `flush` writes them one
 * after the other. Whoever hands something over never waits and never fails: what could not be written is kept and tried
 * again, with one warning for the whole time that it goes on.
 */
import type { BlackBox, BoxEntry } from "./black_box.ts";
import type { BoxRecord } from "./log_format.ts";
import { messageOf, type Sections, type Warn } from "./sections.ts";

/** Records that wait for a disk that takes them: some minutes' worth. Then the oldest are dropped. */
const MAX_WAITING = 2000;

export interface WriterOptions {
  sections: Pick<Sections, "write">;
  box: Pick<BlackBox, "append" | "number">;
  warn: Warn;
  /** Takes the news that the disk takes writes again. */
  note: (text: string) => void;
}

export class StoreWriter {
  /** Writes that failed. */
  errors = 0;
  /** Records that were dropped because they could not be written. */
  recordsLost = 0;
  readonly #options: WriterOptions;
  readonly #values = new Map<string, { version: number; bytes: Uint8Array }>();
  readonly #written = new Map<string, Uint8Array>();
  #records: BoxRecord[] = [];
  #running: Promise<void> | undefined;
  #failing = false;
  #closed = false;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** `bytes` must not change afterwards. The latest value of a name is the one that is written. */
  put(name: string, version: number, bytes: Uint8Array): void {
    this.#values.set(name, { version, bytes });
  }

  putJson(name: string, version: number, value: unknown): void {
    this.put(name, version, new TextEncoder().encode(JSON.stringify(value)));
  }

  record(entry: BoxEntry): void {
    this.#records.push(this.#options.box.number(entry));
    if (this.#records.length <= MAX_WAITING) return;
    this.#records.shift();
    this.recordsLost++;
  }

  /** Resolves when all that waits now was tried once. Never rejects. */
  async flush(): Promise<void> {
    // What was handed over since the flush that is under way began waits for the next one.
    while (this.#running !== undefined) await this.#running;
    if (this.#closed) return;
    this.#running = this.#write();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** The last flush. What comes later goes nowhere. */
  async close(): Promise<void> {
    await this.flush();
    this.#closed = true;
  }

  async #write(): Promise<void> {
    let failure: unknown;
    for (const [name, value] of [...this.#values]) {
      try {
        if (!isEqual(this.#written.get(name), value.bytes)) {
          await this.#options.sections.write(name, value.version, value.bytes);
        }
        this.#written.set(name, value.bytes);
        if (this.#values.get(name) === value) this.#values.delete(name);
      } catch (error) {
        failure ??= error;
        this.errors++;
      }
    }
    const records = this.#records.slice();
    try {
      await this.#options.box.append(records);
      const done = records.at(-1)?.n ?? 0;
      this.#records = this.#records.filter(({ n }) => n > done);
    } catch (error) {
      failure ??= error;
      this.errors++;
    }
    this.#tell(failure);
  }

  #tell(failure: unknown): void {
    const { warn, note } = this.#options;
    if (failure !== undefined && !this.#failing) {
      warn(`state cannot be written; the run goes on, and it is tried again: ${messageOf(failure)}`);
    } else if (failure === undefined && this.#failing) {
      note(`state can be written again; ${this.recordsLost} records of the black box were lost`);
    }
    this.#failing = failure !== undefined;
  }
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && a.length === b.length && a.every((byte, index) => byte === b[index]);
}
