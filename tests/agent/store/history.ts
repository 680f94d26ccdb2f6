/** A scripted life of a store, and what may be found after it was cut short. */
import type { BoxLimits } from "../../../agent/store/black_box.ts";
import { readBlackBox } from "../../../agent/store/black_box.ts";
import type { BoxRecord } from "../../../agent/store/log_format.ts";
import { Store } from "../../../agent/store/store.ts";
import { assert, assertEquals } from "../../assert.ts";
import { type CrashFiles, PowerCut, type Random } from "./crash_files.ts";

export const NAMES = ["quarantine", "learned", "counters", "progress"] as const;
/** Small, so that files end and are dropped within a short life. */
export const LIMITS: BoxLimits = { maxBytes: 900, maxAgeNs: 1e15, segmentBytes: 250 };

export type Operation =
  | { kind: "put"; name: string; value: Uint8Array }
  | { kind: "records"; texts: string[] }
  | { kind: "reopen" };

export function script(random: Random, count: number): Operation[] {
  return Array.from({ length: count }, (_, index): Operation => {
    const what = random();
    if (what < 0.08) return { kind: "reopen" };
    if (what < 0.45) {
      const texts = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) => `text ${index}.${i}`);
      return { kind: "records", texts };
    }
    const name = NAMES[Math.floor(random() * NAMES.length)]!;
    const value = Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256));
    return { kind: "put", name, value };
  });
}

/** What was promised, and what was under way. */
export interface Life {
  promised: Map<string, Uint8Array>;
  underWay: { name: string; value: Uint8Array } | undefined;
  records: BoxRecord[];
  recordsUnderWay: BoxRecord[];
  /** Everything was done. */
  whole: boolean;
}

export async function open(files: CrashFiles, warnings: string[] = []): Promise<Store> {
  const warn = (text: string) => void warnings.push(text);
  return await Store.over(files, { warn, note: warn, limits: LIMITS });
}

/** Lives until the end or until the power goes. */
export async function live(files: CrashFiles, operations: readonly Operation[]): Promise<Life> {
  const life: Life = {
    promised: new Map(),
    underWay: undefined,
    records: [],
    recordsUnderWay: [],
    whole: false,
  };
  try {
    let store = await open(files);
    let timeNs = 0;
    for (const operation of operations) {
      if (operation.kind === "reopen") store = await open(files);
      else if (operation.kind === "put") {
        life.underWay = operation;
        await store.sections.write(operation.name, 1, operation.value);
        life.promised.set(operation.name, operation.value);
        life.underWay = undefined;
      } else {
        life.recordsUnderWay = operation.texts.map((text) =>
          store.box.number({ timeNs: timeNs++, kind: "test", text })
        );
        await store.box.append(life.recordsUnderWay);
        life.records.push(...life.recordsUnderWay);
        life.recordsUnderWay = [];
      }
    }
    life.whole = true;
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error;
  }
  return life;
}

/** Opens what a cut left: the last value of each section or the one under way, and every record that was promised. */
export async function checkAfterCut(files: CrashFiles, life: Life): Promise<void> {
  const store = await open(files);
  for (const name of NAMES) {
    const found = await store.sections.read(name, 1);
    const promised = life.promised.get(name);
    const meant = life.underWay?.name === name ? life.underWay.value : undefined;
    const good = isEqual(found, promised) || (meant !== undefined && isEqual(found, meant));
    assert(good, `${name} holds ${found}, not ${promised}${meant === undefined ? "" : ` or ${meant}`}`);
  }
  await checkRecords(files, life);
  const warnings: string[] = [];
  await open(files, warnings);
  assertEquals(warnings, [], "what was cut off is gone at the next start");
}

async function checkRecords(files: CrashFiles, life: Life): Promise<void> {
  const { records, lostBytes } = await readBlackBox(files);
  const given = new Map([...life.records, ...life.recordsUnderWay].map((record) => [record.n, record]));
  for (const record of records) assertEquals(record, given.get(record.n));
  assert(lostBytes === 0 || life.recordsUnderWay.length > 0, `${lostBytes} bytes are no records`);
  const last = life.records.at(-1)?.n ?? 0;
  const numbers = records.map(({ n }) => n).filter((n) => n <= last);
  const first = numbers[0] ?? last + 1;
  assertEquals(numbers, Array.from({ length: last + 1 - first }, (_, index) => first + index));
  const bytesOf = (some: readonly BoxRecord[]) => some.reduce((sum, r) => sum + JSON.stringify(r).length, 0);
  const dropped = life.records.filter(({ n }) => n < first);
  const enough = bytesOf(life.records) - bytesOf(dropped) >= LIMITS.maxBytes / 3;
  assert(dropped.length === 0 || enough, `only ${numbers.length} records are left`);
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
