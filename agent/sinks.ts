/**
 * Where do results go?
 *
 * To a file of JSON lines, to a folder of binaries, or nowhere. A sink takes results at once and writes them
 * later, off the path of the loops; a write that fails (such as on a full disk) is reported and counted, and the next
 * one is tried again: results never end the agent. What an earlier run left is set aside, never overwritten.
 */
import type { Result, WorkKind } from "../ffi/engine.ts";
import { InputError, reasonOf } from "./errors.ts";
import { path } from "./std/mod.ts";
import { decodeOutputs, type OutputField } from "./values.ts";

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
}

export type SinkTarget = { kind: "jsonl"; file: string } | { kind: "dir"; dir: string } | { kind: "drop" };

export interface Sink {
  /** Takes a record at once; never throws. */
  put(record: ResultRecord): void;
  /** Waits until all that was put is written or reported as lost. */
  flush(): Promise<void>;
  /** Flushes and closes. May be called twice. */
  close(): Promise<void>;
  /** Instead of `close`, for a run that did not start: takes back what opening did, if nothing was put. */
  discard(): Promise<void>;
}

export interface SinkOptions {
  /** A write failed or too much was waiting: why, and how many results were lost by it. */
  onLost: (reason: string, results: number) => void;
  /** Bytes of payload that may wait to be written. Default 64 MiB. */
  maxWaitingBytes?: number;
}

const MAX_WAITING_BYTES = 64 * 2 ** 20;
/** What a record weighs besides its payload. */
const RECORD_BYTES = 512;

/** Opens a target; throws `InputError` if it cannot be written. `field` names it in messages. */
export async function openSink(target: SinkTarget, field: string, options: SinkOptions): Promise<Sink> {
  try {
    switch (target.kind) {
      case "drop":
        return DROP;
      case "jsonl":
        return await openJsonl(target.file, options);
      case "dir":
        return await openFolder(target.dir, options);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    const rule = `must be a place for results: ${reasonOf(error).replace("be read", "be written")}`;
    const file = target.kind === "jsonl" ? target.file : target.kind === "dir" ? target.dir : "";
    throw new InputError({ file, field, rule }, { cause: error });
  }
}

const DROP: Sink = {
  put() {},
  flush: () => Promise.resolve(),
  close: () => Promise.resolve(),
  discard: () => Promise.resolve(),
};

/** Where a result came from and how it went: the same keys in JSON lines and beside binaries. */
export function describeRecord({ work, bundle, result, payload }: ResultRecord): Record<string, unknown> {
  const critical = result.kind === "critical";
  return {
    work,
    kind: result.kind,
    [numberKey(result.kind)]: result.number,
    frameSeq: result.frameSeq,
    sensorNs: result.sensorNs,
    arrivalNs: result.arrivalNs,
    doneNs: result.doneNs,
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

/** Keeps what was put until a write succeeds or fails; one write at a time, in order. */
class Queue implements Sink {
  #waiting: ResultRecord[] = [];
  #waitingBytes = 0;
  #draining: Promise<void> | undefined;
  #used = false;
  #closed = false;

  constructor(
    readonly write: (records: readonly ResultRecord[]) => Promise<void>,
    readonly end: () => void,
    /** Takes back what opening did, after `end`. */
    readonly undo: () => Promise<void>,
    readonly options: SinkOptions,
  ) {}

  put(record: ResultRecord): void {
    if (this.#waitingBytes > (this.options.maxWaitingBytes ?? MAX_WAITING_BYTES)) {
      this.options.onLost("more results wait to be written than the limit allows", 1);
      return;
    }
    this.#used = true;
    this.#waiting.push(record);
    this.#waitingBytes += weigh(record);
    this.#draining ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // One turn later, so that all results of one look are one write.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const records = this.#waiting.splice(0, 256);
      try {
        await this.write(records);
      } catch (error) {
        this.options.onLost(reasonOf(error).replace("be read", "be written"), records.length);
      }
      for (const record of records) this.#waitingBytes -= weigh(record);
    }
    this.#draining = undefined;
  }

  async flush(): Promise<void> {
    await this.#draining;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.flush();
    this.end();
  }

  async discard(): Promise<void> {
    await this.close();
    if (!this.#used) await this.undo();
  }
}

function weigh(record: ResultRecord): number {
  return RECORD_BYTES + (record.payload?.byteLength ?? 0);
}

async function openJsonl(file: string, options: SinkOptions): Promise<Sink> {
  const unmake = await makeFolder(path.dirname(file));
  const restore = await setAside(file);
  const undo = async () => {
    await Deno.remove(file);
    await restore();
    await unmake();
  };
  const handle = await Deno.open(file, { write: true, createNew: true });
  const encoder = new TextEncoder();
  let goodBytes = 0;
  const write = async (records: readonly ResultRecord[]) => {
    const bytes = encoder.encode(records.map(lineOf).join(""));
    try {
      for (let at = 0; at < bytes.length;) at += await handle.write(bytes.subarray(at));
      goodBytes += bytes.length;
    } catch (error) {
      // No torn line: what follows starts where the last good line ended.
      await handle.truncate(goodBytes).catch(() => {});
      await handle.seek(goodBytes, Deno.SeekMode.Start);
      throw error;
    }
  };
  return new Queue(write, () => handle.close(), undo, options);
}

function lineOf(record: ResultRecord): string {
  const values = record.payload === undefined ? null : decodeOutputs(record.fields, record.payload);
  return JSON.stringify({ ...describeRecord(record), values }) + "\n";
}

const NOTHING_TO_UNDO = () => Promise.resolve();

/** Makes a folder and those above it. Returns how to remove those that were not there, as far as they are empty. */
async function makeFolder(dir: string): Promise<() => Promise<void>> {
  const made: string[] = [];
  for (let at = path.resolve(dir); !await exists(at); at = path.dirname(at)) made.push(at);
  await Deno.mkdir(dir, { recursive: true });
  return async () => {
    for (const folder of made) {
      // Another work's results may lie there: what is not empty stays, with all above it.
      if (await isEmpty(folder)) await Deno.remove(folder);
    }
  };
}

async function exists(file: string): Promise<boolean> {
  try {
    await Deno.lstat(file);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function isEmpty(dir: string): Promise<boolean> {
  for await (const _ of Deno.readDir(dir)) return false;
  return true;
}

/**
 * Renames `out.jsonl` of an earlier run to the first free `out.N.jsonl`; an empty one is removed. Returns how to
 * rename it back.
 */
async function setAside(file: string): Promise<() => Promise<void>> {
  let size: number;
  try {
    const found = await Deno.lstat(file);
    if (!found.isFile) {
      throw new InputError({ file, field: "", rule: "must be a file for results, or absent" });
    }
    size = found.size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return NOTHING_TO_UNDO;
    throw error;
  }
  if (size === 0) {
    await Deno.remove(file);
    return NOTHING_TO_UNDO;
  }
  const extension = path.extname(file);
  const stem = file.slice(0, file.length - extension.length);
  const aside = await firstFree((n) => `${stem}.${n}${extension}`);
  await Deno.rename(file, aside);
  return () => Deno.rename(aside, file);
}

async function openFolder(dir: string, options: SinkOptions): Promise<Sink> {
  const unmake = await makeFolder(dir);
  const restore = await setFolderAside(dir);
  const undo = async () => {
    await restore();
    await unmake();
  };
  const write = async (records: readonly ResultRecord[]) => {
    for (const record of records) await writeFiles(dir, record);
  };
  return new Queue(write, () => {}, undo, options);
}

/** The binary first: a sidecar is there only if its binary is whole. */
async function writeFiles(dir: string, record: ResultRecord): Promise<void> {
  if (record.payload === undefined) return;
  const stem = String(record.result.number).padStart(8, "0");
  await writeWhole(dir, `${stem}.bin`, record.payload);
  const sidecar = {
    ...describeRecord(record),
    file: `${stem}.bin`,
    buffers: record.fields.map(({ name, offset, sizeBytes, dtype, shape }) => ({
      name,
      offset,
      bytes: sizeBytes,
      ...(dtype === undefined ? {} : { dtype, shape }),
    })),
  };
  await writeWhole(dir, `${stem}.json`, new TextEncoder().encode(JSON.stringify(sidecar, null, 2) + "\n"));
}

/** By way of a temporary name, so that nobody reads half a file. */
async function writeWhole(dir: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = path.join(dir, `.${name}.part`);
  try {
    await Deno.writeFile(temporary, bytes);
    await Deno.rename(temporary, path.join(dir, name));
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/**
 * Moves the results of an earlier run, and nothing else, to the first free subfolder `earlier-N`. Returns how to move
 * them back.
 */
async function setFolderAside(dir: string): Promise<() => Promise<void>> {
  const earlier: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (isFile && /^\d{8,}\.(bin|json)$/.test(name)) earlier.push(name);
  }
  if (earlier.length === 0) return NOTHING_TO_UNDO;
  const target = await firstFree((n) => path.join(dir, `earlier-${n}`));
  await Deno.mkdir(target);
  for (const name of earlier) await Deno.rename(path.join(dir, name), path.join(target, name));
  return async () => {
    for (const name of earlier) await Deno.rename(path.join(target, name), path.join(dir, name));
    await Deno.remove(target);
  };
}

async function firstFree(nameOf: (n: number) => string): Promise<string> {
  for (let n = 1;; n++) {
    const name = nameOf(n);
    if (!await exists(name)) return name;
  }
}
