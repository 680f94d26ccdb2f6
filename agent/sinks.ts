/**
 * Where do results go?
 *
 * To a file of JSON lines, to a folder of binaries or of masks, or nowhere. A sink takes results at once and writes them
 * later, off the path of the loops, and says of each when it is settled: durable, or reported as lost. A write that fails
 * (such as on a full disk) is reported and counted, and the next one is tried again: results never end the agent. What an
 * earlier run left is set aside, never overwritten; or, for an agent that goes on with an engine that runs, it is gone
 * on with, and what is there already is not written again.
 */
import type { Result, WorkKind } from "../ffi/engine.ts";
import { InputError, reasonOf } from "./errors.ts";
import type { MaskOptions } from "./mask_files.ts";
import { openFolder } from "./sink_folder.ts";
import { openJsonl } from "./sink_jsonl.ts";
import type { OutputField } from "./values.ts";

/** One result with all that a reader needs to know where it came from. */
export interface ResultRecord {
  /** Name of the task or job. */
  work: string;
  /** SHA-256 of the bundle, in hexadecimal. */
  bundle: string;
  fields: readonly OutputField[];
  result: Result;
  /** The output blob; `undefined`: there is none (dropped, failed, or a simulated one that was not computed). */
  payload: Uint8Array | undefined;
  /** The file that a queue took it from. */
  input?: InputMark;
}

export interface InputMark {
  name: string;
  /** See `QueueUnit`. */
  id: string;
}

export type SinkTarget =
  | { kind: "jsonl"; file: string }
  /** `masks`: as pictures and outlines. Absent: as binaries. */
  | { kind: "dir"; dir: string; masks?: MaskOptions }
  | { kind: "drop" };

export interface Sink {
  /** Takes a record at once; never throws. */
  put(record: ResultRecord): void;
  /** Whether a result of this input is there already, durable. */
  holdsInput(input: InputMark): Promise<boolean>;
  /** Waits until all that was put is durable or reported as lost. */
  flush(): Promise<void>;
  /** Flushes and closes. May be called twice. */
  close(): Promise<void>;
  /** Instead of `close`, for a run that did not start: takes back what opening did, if nothing was put. */
  discard(): Promise<void>;
}

export interface SinkOptions {
  /** A write failed or too much was waiting: why, and how many results were lost by it. */
  onLost: (reason: string, results: number) => void;
  /** Once for each record that was put: it is durable or was there already, or it is lost. `position` is the result's. */
  onSettled?: (position: number, durable: boolean) => void;
  /** What opening found and did, such as a torn line that was cut off. */
  onNote?: (text: string) => void;
  /** Bytes of payload that may wait to be written. Default 64 MiB. */
  maxWaitingBytes?: number;
  /**
   * Goes on with what lies there, for an agent that takes over an engine: nothing is set aside, a torn end is cut off, and
   * a result that is there already (same number, arrival and completion) is settled without being written. Default false.
   */
  resume?: boolean;
  /** Results of a queue's files: found again by their inputs, and files in a folder named after those. */
  queue?: boolean;
  /** False, for virtual time: what is written counts as settled, and no disk is waited for. Default true. */
  durable?: boolean;
}

/** What a kind of sink does to the file system. One call at a time but `sync`, which may overlap `write`. */
export interface Writer {
  /** Whether this very result is there, durable. Asked only when resuming. */
  holds(record: ResultRecord): Promise<boolean>;
  holdsInput(input: InputMark): Promise<boolean>;
  /** `holds` will not be asked again. */
  forget(): void;
  /** Throws if none of them was written; else calls `lose` for those that were not. */
  write(
    records: readonly ResultRecord[],
    lose: (record: ResultRecord, error: unknown) => void,
  ): Promise<void>;
  /** Makes durable what was written before the call. */
  sync(): Promise<void>;
  end(): void;
  /** Takes back what opening did, after `end`. */
  undo(): Promise<void>;
}

const MAX_WAITING_BYTES = 64 * 2 ** 20;
/** What a record weighs besides its payload. */
const RECORD_BYTES = 512;
const MOST_IN_A_WRITE = 256;
/** Disks take much longer for a sync than for a line: one serves all lines of this time. */
const SYNC_EVERY_MS = 100;
/** But not beyond this: the engine's store waits for it. */
const SYNC_EVERY_BYTES = 2 * 2 ** 20;
/** Results come again in order, but for a few: after so many new ones in a row, no old one follows. */
const NEW_IN_A_ROW = 1000;

/** Opens a target; throws `InputError` if it cannot be written. `field` names it in messages. */
export async function openSink(target: SinkTarget, field: string, options: SinkOptions): Promise<Sink> {
  try {
    switch (target.kind) {
      case "drop":
        return dropSink(options);
      case "jsonl":
        return queueTo(await openJsonl(target.file, options), options);
      case "dir":
        return queueTo(await openFolder(target.dir, options, target.masks), options);
    }
  } catch (error) {
    if (error instanceof InputError) {
      throw error.field === "" ? new InputError({ ...error.problems[0]!, field }, { cause: error }) : error;
    }
    const rule = `must be a place for results: ${written(error)}`;
    const file = target.kind === "jsonl" ? target.file : target.kind === "dir" ? target.dir : "";
    throw new InputError({ file, field, rule }, { cause: error });
  }
}

function written(error: unknown): string {
  return reasonOf(error).replace("be read", "be written");
}

function dropSink({ onSettled }: SinkOptions): Sink {
  return {
    put: ({ result }) => onSettled?.(result.position, true),
    holdsInput: () => Promise.resolve(false),
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
    discard: () => Promise.resolve(),
  };
}

/** Where a result came from and how it went: the same keys in JSON lines and beside binaries. */
export function describeRecord(
  { work, bundle, result, payload, input }: ResultRecord,
): Record<string, unknown> {
  const critical = result.kind === "critical";
  return {
    work,
    kind: result.kind,
    [numberKey(result.kind)]: result.number,
    frameSeq: result.frameSeq,
    sensorNs: result.sensorNs,
    arrivalNs: result.arrivalNs,
    doneNs: result.doneNs,
    ...(input === undefined ? {} : { inputId: input.id, input: input.name }),
    ...(critical
      ? { deadlineNs: result.deadlineNs, late: result.late, dropped: result.dropped, failed: result.failed }
      : {}),
    complete: result.complete && payload !== undefined,
    simulated: result.simulated,
    bundle,
    ...(result.digest === 0n ? {} : { digest: result.digest.toString(16).padStart(16, "0") }),
  };
}

function numberKey(kind: WorkKind): string {
  return kind === "critical" ? "number" : "unit";
}

/** A sink over what a kind of sink does to the file system. */
export function queueTo(writer: Writer, options: SinkOptions): Sink {
  return new Queue(writer, options);
}

/** Keeps what was put until a write succeeds or fails; one write at a time, in order. */
class Queue implements Sink {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  readonly #durable: boolean;
  #waiting: ResultRecord[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  /** Positions of what is written and not durable. */
  #unsynced: number[] = [];
  #unsyncedBytes = 0;
  #syncing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** New records in a row that may still be followed by one that is there; `undefined`: not resuming. */
  #newInARow: number | undefined;
  #used = false;
  #closed = false;

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
    this.#durable = options.durable ?? true;
    this.#newInARow = options.resume === true ? 0 : undefined;
  }

  put(record: ResultRecord): void {
    if (this.#waitingBytes > (this.#options.maxWaitingBytes ?? MAX_WAITING_BYTES)) {
      this.#options.onLost("more results wait to be written than the limit allows", 1);
      this.#settle(record.result.position, false);
      return;
    }
    this.#used = true;
    this.#waiting.push(record);
    this.#waitingBytes += weigh(record);
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    // One turn later, so that all results of one look are one write.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const records = this.#waiting.splice(0, MOST_IN_A_WRITE);
      const lost = new Set<ResultRecord>();
      const lose = (record: ResultRecord, error: unknown) => {
        if (lost.has(record)) return;
        lost.add(record);
        this.#options.onLost(written(error), 1);
        this.#settle(record.result.position, false);
      };
      const fresh = await this.#fresh(records, lose);
      try {
        if (fresh.length > 0) await this.#writer.write(fresh, lose);
      } catch (error) {
        const all = fresh.filter((record) => !lost.has(record));
        this.#options.onLost(written(error), all.length);
        for (const record of all) {
          lost.add(record);
          this.#settle(record.result.position, false);
        }
      }
      for (const record of fresh) {
        if (lost.has(record)) continue;
        if (!this.#durable) this.#settle(record.result.position, true);
        else {
          this.#unsynced.push(record.result.position);
          this.#unsyncedBytes += weigh(record);
        }
      }
      for (const record of records) this.#waitingBytes -= weigh(record);
      if (this.#unsynced.length > 0) this.#syncSoon();
    }
    this.#writing = undefined;
  }

  /** Those that are not there yet; the others are settled. */
  async #fresh(
    records: readonly ResultRecord[],
    lose: (record: ResultRecord, error: unknown) => void,
  ): Promise<readonly ResultRecord[]> {
    if (this.#newInARow === undefined) return records;
    const fresh: ResultRecord[] = [];
    for (const record of records) {
      try {
        if (await this.#writer.holds(record)) {
          this.#newInARow = 0;
          this.#settle(record.result.position, true);
          continue;
        }
        this.#newInARow++;
        fresh.push(record);
      } catch (error) {
        lose(record, error);
      }
    }
    if (this.#newInARow > NEW_IN_A_ROW) {
      this.#newInARow = undefined;
      this.#writer.forget();
    }
    return fresh;
  }

  #syncSoon(): void {
    if (this.#syncing !== undefined) return;
    if (this.#unsyncedBytes >= SYNC_EVERY_BYTES) void this.#sync();
    else this.#timer ??= setTimeout(() => void this.#sync(), SYNC_EVERY_MS);
  }

  /** What is written during a sync is the next one's. */
  #sync(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return this.#syncing ??= this.#syncOnce().finally(() => {
      this.#syncing = undefined;
      if (this.#unsynced.length > 0) this.#syncSoon();
    });
  }

  async #syncOnce(): Promise<void> {
    const positions = this.#unsynced.splice(0);
    this.#unsyncedBytes = 0;
    if (positions.length === 0) return;
    let durable = true;
    try {
      await this.#writer.sync();
    } catch (error) {
      // Nobody knows what of it is on the disk, and asking again would be answered with yes.
      durable = false;
      this.#options.onLost(`may not have reached the disk: ${written(error)}`, positions.length);
    }
    for (const position of positions) this.#settle(position, durable);
  }

  #settle(position: number, durable: boolean): void {
    this.#options.onSettled?.(position, durable);
  }

  holdsInput(input: InputMark): Promise<boolean> {
    return this.#writer.holdsInput(input);
  }

  async flush(): Promise<void> {
    while (this.#writing !== undefined || this.#syncing !== undefined || this.#unsynced.length > 0) {
      await this.#writing;
      await this.#sync();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.flush();
    clearTimeout(this.#timer);
    this.#writer.end();
  }

  async discard(): Promise<void> {
    await this.close();
    if (!this.#used) await this.#writer.undo();
  }
}

function weigh(record: ResultRecord): number {
  return RECORD_BYTES + (record.payload?.byteLength ?? 0);
}
