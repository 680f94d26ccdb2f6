/**
 * In which situation are inserted instructions tried: what is in memory, what was passed, which thread is it?
 *
 * A made-up worker in the middle of a made-up step, all numbers different, so that no mistake is right by accident. What
 * is not named here is not known, and nothing may depend on it.
 */

/** Where things lie in the made-up memory. */
export const GATE = 0x1_0000;
export const CONTROL = 0x2_0000;
export const RECORDS = 0x3_0000;
export const STORED = 0x4_0000;
export const MIRROR = 0x5_0000;
export const GIVEN_UP = 0x6_0000;

export const WORKER = 5;
export const STEP = 3;
export const UNIT = 77;
export const ENTRY = 9;
export const WORKERS = 6;
export const TOTAL = 240;
export const GRID = [5, 8, 6] as const;
export const PERIOD = 100_000;
export const STEP_WORD = (BigInt(UNIT) << 16n) | BigInt(STEP);
/** Of this worker. */
export const RECORD = RECORDS + 16 * WORKER;
/** Threads of a block that are tried: a whole row of readers, another warp, and other rows. */
export const THREADS: readonly (readonly [number, number, number])[] = [
  ...Array.from({ length: 8 }, (_, x) => [x, 0, 0] as const),
  [40, 0, 0],
  [0, 1, 0],
  [3, 1, 0],
  [0, 0, 1],
  [4, 0, 1],
];
const BLOCK = [64, 2, 2] as const;

/** By address, 32 bits at a time. */
export type Memory = ReadonlyMap<number, bigint>;

export function words(
  entries: readonly (readonly [address: number, value: bigint | number, bytes: 4 | 8])[],
): Map<
  number,
  bigint
> {
  const memory = new Map<number, bigint>();
  for (const [address, value, bytes] of entries) writeTo(memory, address, BigInt(value), bytes);
  return memory;
}

export function writeTo(memory: Map<number, bigint>, address: number, value: bigint, bytes: number): void {
  memory.set(address, BigInt.asUintN(32, value));
  if (bytes === 8) memory.set(address + 4, BigInt.asUintN(64, value) >> 32n);
}

export function readFrom(memory: Memory, address: number, bytes: number): bigint | undefined {
  const low = memory.get(address);
  const high = bytes === 8 ? memory.get(address + 4) : 0n;
  return low === undefined || high === undefined ? undefined : low | (high << 32n);
}

/** Everything open, this worker's turn, a record from an earlier step. */
export function openMemory(): Map<number, bigint> {
  return new Map(OPEN);
}

const OPEN = makeMemory();

function makeMemory(): Memory {
  const gate = Array.from({ length: 32 }, (_, i) => [GATE + 4 * i, 0, 4] as const);
  return words([
    ...gate,
    [CONTROL, ENTRY, 4],
    [CONTROL + 4, ENTRY - 1, 4],
    [CONTROL + 8, 0, 4],
    [CONTROL + 12, 0, 4],
    [CONTROL + 16, STEP_WORD, 8],
    [CONTROL + 24, UNIT + 1, 8],
    [CONTROL + 32, 20, 4],
    [CONTROL + 36, 0, 4],
    [CONTROL + 40, 2, 8],
    [CONTROL + 48, 4, 8],
    [CONTROL + 64, MIRROR, 8],
    [CONTROL + 128, 30, 4],
    [STORED, WORKERS, 4],
    [RECORD, STEP_WORD - 1n, 8],
    [RECORD + 8, 17, 4],
    [RECORD + 12, 0, 4],
    [MIRROR, STEP_WORD, 8],
    [GIVEN_UP, 0, 4],
  ]);
}

export type Parameters = ReadonlyMap<string, bigint>;

/** Parameters behind the prefix, of all levels. */
export function parametersOf(change: Readonly<Record<string, number>> = {}): Parameters {
  const [x, y, z] = GRID;
  const all = {
    ...{ control: CONTROL, gate: GATE, records: RECORDS, stored: STORED },
    ...{ step: STEP, steps: STEP + 4, total: TOTAL, workers: WORKERS },
    ...{ grid_x: x, grid_y: y, grid_z: z, run_mask: 0, period: PERIOD },
    ...change,
  };
  const [byX, byY] = [divisor(all.grid_x), divisor(all.grid_y)];
  const division = { magic_x: byX.magic, shift_x: byX.shift, magic_y: byY.magic, shift_y: byY.shift };
  return new Map(Object.entries({ ...all, ...division }).map(([name, value]) => [name, BigInt(value)]));
}

/** Parameters of a launch in which nothing is special. */
export const PARAMETERS = parametersOf();

/** `n / by` is `(n * magic >> 32) >> shift` for all n below 2^31, or n itself where `magic` is 0. */
function divisor(by: number): { magic: bigint; shift: number } {
  if (by === 1) return { magic: 0n, shift: 0 };
  let shift = 0;
  while (2 ** (shift + 1) < by) shift++;
  const whole = 1n << BigInt(32 + shift);
  return { magic: (whole + BigInt(by) - 1n) / BigInt(by), shift };
}

/** What the hardware tells a thread. */
export function specialOf(
  name: string,
  thread: readonly [number, number, number],
  clock: number,
): bigint | undefined {
  const [register, axis] = name.split(".");
  const at = ["x", "y", "z"].indexOf(axis ?? "");
  if (register === "%clock") return BigInt(clock);
  const of = register === "%tid"
    ? thread
    : register === "%ntid"
    ? BLOCK
    : register === "%ctaid"
    ? [WORKER, 0, 0]
    : register === "%nctaid"
    ? [WORKERS, 1, 1]
    : undefined;
  const value = of?.[at];
  return value === undefined ? undefined : BigInt(value);
}

/** What stands at an address, in the words of docs/PREEMPTION.md. */
export function placeOf(address: number): string {
  if (address >= GATE && address < GATE + 128) return `gate + ${address - GATE}`;
  if (address >= CONTROL && address < CONTROL + 256) {
    return FIELDS.get(address - CONTROL) ?? "a reserved word of the control block";
  }
  if (address >= RECORDS && address < RECORDS + 16 * WORKERS) {
    if (address < RECORD || address >= RECORD + 16) return "the record of another worker";
    return address === RECORD
      ? "record"
      : address === RECORD + 8
      ? "next of the record"
      : "a reserved word of the record";
  }
  if (address === STORED) return "the stored workers";
  if (address === MIRROR) return "*mirror";
  if (address === GIVEN_UP) return "given_up";
  return "memory that is not its own";
}

const FIELDS = new Map([
  [0, "entry"],
  [4, "left"],
  [8, "pause"],
  [16, "step_word"],
  [24, "granted"],
  [32, "completed"],
  [40, "leaves"],
  [48, "abandoned"],
  [64, "mirror"],
  [128, "ticket"],
]);
