/**
 * What is a line of the black box?
 *
 * `CRC LENGTH JSON`, so that each line stands for itself: one that is torn or rotten costs itself and no other. Numbers only
 * grow; what was written twice, as after a full disk, is read once.
 */
import { crc32Hex } from "./crc32.ts";

/** One entry of the black box; plain data. */
export interface BoxRecord {
  /** Grows over the whole life of the store. */
  n: number;
  /** Which start of the agent it belongs to, from 1. */
  run: number;
  /** Monotonic within one run. */
  timeNs: number;
  kind: string;
  [field: string]: unknown;
}

const encoder = new TextEncoder();
const NEWLINE = 0x0a;

export function encodeRecord(record: BoxRecord): Uint8Array {
  const json = encoder.encode(JSON.stringify(record));
  const head = encoder.encode(`${crc32Hex(json)} ${json.length} `);
  const line = new Uint8Array(head.length + json.length + 1);
  line.set(head);
  line.set(json, head.length);
  line[line.length - 1] = NEWLINE;
  return line;
}

export interface Decoded {
  records: BoxRecord[];
  /** In lines that are no records. */
  badBytes: number;
  /** Behind the last end of a line. */
  tornBytes: number;
}

/** Never throws. `afterN`: records up to this number are known already and left out. */
export function decodeRecords(bytes: Uint8Array, afterN = 0): Decoded {
  const records: BoxRecord[] = [];
  let [badBytes, lastN, at] = [0, afterN, 0];
  for (let end; (end = bytes.indexOf(NEWLINE, at)) >= 0; at = end + 1) {
    const record = decodeLine(bytes.subarray(at, end));
    if (record === undefined) badBytes += end - at;
    else if (record.n > lastN) {
      records.push(record);
      lastN = record.n;
    }
  }
  return { records, badBytes, tornBytes: bytes.length - at };
}

function decodeLine(line: Uint8Array): BoxRecord | undefined {
  const head = /^([0-9a-f]{8}) (\d{1,9}) /.exec(new TextDecoder().decode(line.subarray(0, 20)));
  if (head === null) return undefined;
  const json = line.subarray(head[0].length);
  if (json.length !== Number(head[2]) || crc32Hex(json) !== head[1]) return undefined;
  try {
    const record = JSON.parse(new TextDecoder().decode(json));
    const known = [record.n, record.run, record.timeNs].every(Number.isFinite);
    return known && typeof record.kind === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}
