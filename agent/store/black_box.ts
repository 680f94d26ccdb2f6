/**
 * What happened in the last minutes before the lights went out?
 *
 * An append-only log in files of bounded size, the oldest dropped. Age is flight time, not calendar time: a board may have
 * no clock that survives a power cut, so what is kept, and what `recent` shows, is counted back over the runs' own time.
 */
import { type BoxRecord, decodeRecords, encodeRecord } from "./log_format.ts";
import { replaceFile, type StoreFiles } from "./store_files.ts";
import { messageOf, type Warn } from "./sections.ts";

export interface BoxLimits {
  /** In all. */
  maxBytes: number;
  /** Of flight time, in all. */
  maxAgeNs: number;
  /** Of one file; at most `maxBytes / 4`. */
  segmentBytes: number;
}

export const BOX_LIMITS: BoxLimits = {
  maxBytes: 16 * 2 ** 20,
  maxAgeNs: 60 * 60e9,
  segmentBytes: 2 ** 20,
};

interface Segment {
  number: number;
  bytes: number;
  spanNs: number;
}

/** A record before it has its number. */
export type BoxEntry = { timeNs: number; kind: string; [field: string]: unknown };

const NAME = /^box-(\d{8})\.log$/;
/** A file also ends after this part of `maxAgeNs`, so that dropping the oldest drops little. */
const SEGMENTS_PER_AGE = 8;
const NEWLINE = new Uint8Array([0x0a]);

export class BlackBox {
  /** The start of the agent that writes now, from 1. */
  run = 1;
  readonly #files: StoreFiles;
  readonly #warn: Warn;
  readonly #limits: BoxLimits;
  /** Oldest first; the last is written. */
  #segments: Segment[] = [];
  #nextN = 1;
  /** Of this run, in the present file. */
  #firstNs: number | undefined;
  #lastNs: number | undefined;
  #torn = false;
  /** The folder was synced since the last file was made, as far as is known. */
  #named = false;

  constructor(files: StoreFiles, warn: Warn, limits: BoxLimits = BOX_LIMITS) {
    this.#files = files;
    this.#warn = warn;
    this.#limits = limits;
  }

  /** Cuts off what a power cut left half-written, and goes on behind it. Never rejects. */
  async open(): Promise<void> {
    try {
      let lastRun = 0;
      let isWhole = false;
      for (const { number, bytes } of await readSegments(this.#files, this.#warn)) {
        const { records, badBytes, tornBytes } = decodeRecords(bytes, this.#nextN - 1);
        const lost = { badBytes, tornBytes };
        isWhole = bytes.length > 0 && badBytes + tornBytes === 0 ||
          (badBytes + tornBytes > 0 && await this.#mend(nameOf(number), records, lost));
        this.#segments.push({
          number,
          bytes: bytes.length - badBytes - tornBytes,
          spanNs: flightNs(records),
        });
        this.#nextN = (records.at(-1)?.n ?? this.#nextN - 1) + 1;
        lastRun = Math.max(lastRun, records.at(-1)?.run ?? 0);
      }
      this.run = lastRun + 1;
      // An agent that is started every second must not make a file every second.
      if (isWhole) return;
    } catch (error) {
      this.#warn(`state: the black box cannot be read: ${messageOf(error)}`);
    }
    this.#begin();
  }

  /** Numbers are given once: entries that could not be written are passed again as they come back. */
  number(entry: BoxEntry): BoxRecord {
    return { n: this.#nextN++, run: this.run, ...entry };
  }

  /** Once it resolves they stay. If it rejects, some may be there; passing them again does no harm. */
  async append(records: readonly BoxRecord[]): Promise<void> {
    if (records.length === 0) return;
    let segment = this.#segments.at(-1)!;
    const firstNs = records[0]!.timeNs;
    const isOld = firstNs - (this.#firstNs ?? firstNs) > this.#limits.maxAgeNs / SEGMENTS_PER_AGE;
    if (segment.bytes >= this.#limits.segmentBytes || (isOld && segment.bytes > 0)) segment = this.#begin();
    const lines = records.map(encodeRecord);
    // What stands there after an append that failed is not known: an end of line keeps it apart.
    const parts = this.#torn ? [NEWLINE, ...lines] : lines;
    const name = nameOf(segment.number);
    const bytes = join(parts);
    this.#torn = true;
    await this.#files.append(name, bytes);
    await this.#files.sync(name);
    if (!this.#named) await this.#files.syncFolder();
    this.#torn = false;
    this.#named = true;
    segment.bytes += bytes.length;
    this.#firstNs ??= firstNs;
    const lastNs = records.at(-1)!.timeNs;
    segment.spanNs += Math.max(0, lastNs - (this.#lastNs ?? firstNs));
    this.#lastNs = lastNs;
    await this.#drop();
  }

  /** Leaves nothing in the file but its records, so that this is said once and not at every start. False: it could not. */
  async #mend(
    name: string,
    records: readonly BoxRecord[],
    { badBytes, tornBytes }: { badBytes: number; tornBytes: number },
  ): Promise<boolean> {
    const what = [
      ...(tornBytes > 0 ? [`ended in the middle of a record: its last ${tornBytes} bytes are cut off`] : []),
      ...(badBytes > 0 ? [`has ${badBytes} bytes that are no records: they are left out`] : []),
    ].join(", and it ");
    try {
      await replaceFile(this.#files, name, join(records.map(encodeRecord)));
      this.#warn(`state: ${name} ${what}`);
      return true;
    } catch (error) {
      this.#warn(`state: ${name} ${what}; the file stays as it is: ${messageOf(error)}`);
      return false;
    }
  }

  #begin(): Segment {
    const segment = { number: (this.#segments.at(-1)?.number ?? 0) + 1, bytes: 0, spanNs: 0 };
    this.#segments.push(segment);
    this.#firstNs = undefined;
    this.#named = false;
    this.#torn = false;
    return segment;
  }

  /** The oldest files, until the others keep the limits. */
  async #drop(): Promise<void> {
    const sum = (of: (segment: Segment) => number, from: number) =>
      this.#segments.slice(from).reduce((all, segment) => all + of(segment), 0);
    while (
      this.#segments.length > 1 && (sum(({ bytes }) => bytes, 0) > this.#limits.maxBytes ||
        sum(({ spanNs }) => spanNs, 1) > this.#limits.maxAgeNs)
    ) {
      await this.#files.remove(nameOf(this.#segments[0]!.number));
      // Or else the next one's removal may stay and this one's not: a hole.
      await this.#files.syncFolder();
      this.#segments.shift();
    }
  }
}

/** Everything that can be read, oldest first; changes nothing, so that it may be called while an agent writes. */
export async function readBlackBox(
  files: Pick<StoreFiles, "list" | "read">,
): Promise<{ records: BoxRecord[]; lostBytes: number }> {
  const records: BoxRecord[] = [];
  let lostBytes = 0;
  for (const { bytes } of await readSegments(files)) {
    const found = decodeRecords(bytes, records.at(-1)?.n ?? 0);
    for (const record of found.records) records.push(record);
    lostBytes += found.badBytes + found.tornBytes;
  }
  return { records, lostBytes };
}

/** Those of the last `lastNs` of flight time. */
export function recent(records: readonly BoxRecord[], lastNs: number): BoxRecord[] {
  let ageNs = 0;
  let first = records.length;
  while (first > 0) {
    const [before, after] = [records[first - 1]!, records[first]];
    if (after !== undefined && after.run === before.run) ageNs += Math.max(0, after.timeNs - before.timeNs);
    if (ageNs > lastNs) break;
    first--;
  }
  return records.slice(first);
}

/** Time between runs is not known and counts as none. */
function flightNs(records: readonly BoxRecord[]): number {
  let ns = 0;
  for (const [index, record] of records.entries()) {
    const before = records[index - 1];
    if (before?.run === record.run) ns += Math.max(0, record.timeNs - before.timeNs);
  }
  return ns;
}

/** One that cannot be read has no bytes, but its number is taken. */
async function readSegments(files: Pick<StoreFiles, "list" | "read">, warn: Warn = () => {}) {
  const numbers = (await files.list()).flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
  const found: { number: number; bytes: Uint8Array }[] = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    try {
      found.push({ number, bytes: await files.read(nameOf(number)) ?? new Uint8Array() });
    } catch (error) {
      warn(`state: ${nameOf(number)} cannot be read: ${messageOf(error)}`);
      found.push({ number, bytes: new Uint8Array() });
    }
  }
  return found;
}

function nameOf(number: number): string {
  return `box-${`${number}`.padStart(8, "0")}.log`;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
