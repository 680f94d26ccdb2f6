/**
 * How does a dispatcher drive rewritten kernels? The other two parties of docs/PREEMPTION.md, for tests: memory, entries,
 * grants and a gate that closes at random moments. It decides nothing that a dispatcher would have to decide well.
 */

import { divisionBy } from "../../ptx/mod.ts";
import { isKernel, type Module } from "../../ptx/ast.ts";
import { BASE, GlobalMemory, run } from "./interpreter.ts";

export interface Step {
  readonly kernel: string;
  readonly grid: readonly [number, number, number];
  readonly block: readonly [number, number, number];
  readonly args: readonly (number | bigint)[];
  readonly dynamicSharedBytes?: number;
}

const GATE = BASE;
const CONTROL = BASE + 128;
const MIRROR = BASE + 384;
const STORED = BASE + 392;
const RECORDS = BASE + 512;
/** Where a job's own buffers begin. */
export const DATA = BASE + 4096;
const DATA_BYTES = 16384;
const MAX_WORKERS = 16;
/** So many entries without getting units done count as for ever: the longest good run of the tests takes about 20. */
const MAX_ENTRIES = 80;

/** A step's own arguments, and those that a rewritten kernel takes behind them, by the names that it gives them. */
function argumentsOf(
  module: Module,
  step: Step,
  added: Readonly<Record<string, number>>,
): (number | bigint)[] {
  const item = module.items.find((i) => isKernel(i) && i.name === step.kernel);
  const parameters = item?.kind === "function" ? item.parameters : [];
  const values = parameters.slice(step.args.length).map((p) => {
    const name = p.names[0]?.name ?? "";
    const value = added[name.replace(/^calypte[0-9]*_/, "")];
    if (value === undefined) throw new Error(`${step.kernel} has a parameter ${name}`);
    return value;
  });
  return [...step.args, ...values];
}

function gridOf({ grid: [x, y, z] }: Step) {
  return {
    total: x * y * z,
    grid_x: x,
    magic_x: divisionBy(x).magic,
    shift_x: divisionBy(x).shift,
    magic_y: divisionBy(y).magic,
    shift_y: divisionBy(y).shift,
    grid_y: y,
    grid_z: z,
  };
}

export class Job {
  readonly memory = new GlobalMemory(4096 + DATA_BYTES);
  workers = 1;
  /** One less than the number of blocks, a power of two, that a worker takes at a time. */
  runMask = 0;
  /** What lies between two reads of the gate in a kernel at level loop, in its own units of cost. */
  period = 1;
  /** Turns of the scheduler in the longest entry so far. */
  private longest = 100;

  constructor(
    readonly module: Module,
    readonly steps: readonly Step[],
    readonly random: (n: number) => number,
  ) {
    this.memory.setU64(CONTROL + 64, BigInt(MIRROR));
    // No step word is all ones, while 0 is the first one: a record of zeros would say that step 0 of unit 0 is under way.
    for (let w = 0; w < MAX_WORKERS; w++) this.memory.setU64(RECORDS + 16 * w, 2n ** 64n - 1n);
    this.setWorkers(1);
  }

  get stepWord(): bigint {
    return this.memory.u64(CONTROL + 16);
  }
  get mirror(): bigint {
    return this.memory.u64(MIRROR);
  }
  get leaves(): number {
    return Number(this.memory.u64(CONTROL + 40));
  }
  get abandoned(): number {
    return Number(this.memory.u64(CONTROL + 48));
  }
  get completed(): number {
    return this.memory.u32(CONTROL + 32);
  }
  get sticksIn(): number {
    return this.memory.u32(CONTROL + 4);
  }
  get units(): number {
    return Number(this.stepWord >> 16n);
  }

  grant(units: number): void {
    this.memory.setU64(CONTROL + 24, BigInt(units));
  }
  /** Stores the number of workers for all steps, as a dispatcher may while no granted unit is under way. */
  setWorkers(n: number): void {
    if (n > MAX_WORKERS) throw new Error(`At most ${MAX_WORKERS} workers`);
    this.workers = n;
    this.steps.forEach((_, s) => this.memory.setU32(STORED + 4 * s, n));
  }
  setGate(word: number, value: number): void {
    this.memory.setU32(GATE + 4 * word, value);
  }
  setPause(value: number): void {
    this.memory.setU32(CONTROL + 8, value);
  }
  newEntry(): number {
    const entry = this.memory.u32(CONTROL) + 1;
    this.memory.setU32(CONTROL, entry);
    return entry;
  }

  /** One launch of one step. */
  launch(s: number, options: { workers?: number; between?: () => void } = {}): void {
    const step = this.steps[s];
    if (step === undefined) throw new Error(`No step ${s}`);
    const n = options.workers ?? this.workers;
    const args = argumentsOf(this.module, step, {
      control: CONTROL,
      gate: GATE,
      records: RECORDS,
      stored: STORED + 4 * s,
      step: s,
      steps: this.steps.length,
      workers: n,
      period: this.period,
      run_mask: this.runMask,
      ...gridOf(step),
    });
    const { between } = options;
    run({
      ...step,
      module: this.module,
      grid: [n, 1, 1],
      args,
      memory: this.memory,
      random: this.random,
      ...(between === undefined ? {} : { between }),
    });
  }

  /** An entry: all steps in order, with the gate closing and opening at random on the way. */
  preemptedEntry(): void {
    this.newEntry();
    const words = [
      () => this.setGate(0, 1),
      () => this.setGate(1 + this.random(7), 1),
      () => this.setPause(1),
    ];
    const close = () => words[this.random(3)]?.();
    const open = () => {
      for (let w = 0; w < 8; w++) this.setGate(w, 0);
      this.setPause(0);
    };
    // Spread over an entry, however long entries of this job are.
    let closings = this.random(3);
    let left = this.random(this.longest);
    let turns = 0;
    let isClosed = false;
    const between = () => {
      this.longest = Math.max(this.longest, ++turns);
      if (left-- > 0 || (closings === 0 && !isClosed)) return;
      if (isClosed) open();
      else {
        closings--;
        close();
      }
      isClosed = !isClosed;
      left = this.random(this.longest);
    };
    open();
    if (this.random(8) === 0) close();
    this.steps.forEach((_, s) => this.launch(s, { between }));
    open();
  }

  /** One launch of the untouched kernel, on this job's memory. */
  runUntouched(module: Module, step: Step): void {
    run({ ...step, module, memory: this.memory, random: this.random });
  }

  /** One run of a step at level slice, in launches of random length. */
  runSliced(s: number): void {
    const step = this.steps[s];
    if (step === undefined) throw new Error(`No step ${s}`);
    const { module, memory, random } = this;
    const grid = gridOf(step);
    for (let first = 0, count = 0; first < grid.total; first += count) {
      count = 1 + random(grid.total - first);
      const args = argumentsOf(module, step, { first, ...grid });
      run({ ...step, module, grid: [count, 1, 1], args, memory, random });
    }
  }

  /** Entries until so many units are done. Throws when that takes for ever. */
  finish(units: number): number {
    this.grant(units);
    let entries = 0;
    while (this.units < units) {
      if (++entries > MAX_ENTRIES) {
        throw new Error(`After ${entries} entries unit ${this.units} of ${units} is still under way`);
      }
      this.preemptedEntry();
    }
    return entries;
  }

  /** The job's own buffers, as they are now. */
  data(): Uint8Array {
    return new Uint8Array(this.memory.view.buffer.slice(DATA - BASE));
  }
  /** Random words, down to their lowest bits: kernels branch on those. */
  fill(seed: number): void {
    for (let i = 0; i < DATA_BYTES; i += 4) {
      let word = Math.imul(i + 1, 2654435761) ^ seed;
      word = Math.imul(word ^ (word >>> 16), 0x45d9f3b);
      this.memory.setU32(DATA + i, (word ^ (word >>> 16)) >>> 0);
    }
  }
}
