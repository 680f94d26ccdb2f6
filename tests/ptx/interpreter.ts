/**
 * What does a PTX kernel do to memory, when its threads run in any order?
 *
 * A small interpreter for the part of PTX that the fixtures and the wrapper use. A seeded scheduler picks which thread
 * goes on and how far. Memory is sequentially consistent: missing fences do not show here. An instruction that it does
 * not know is an error, never a guess.
 */

import { Executor, type Launch } from "./interpreter_executor.ts";
import { advance, compile, current, place, type Thread, type ThreadBlock } from "./interpreter_thread.ts";
import { unknown } from "./interpreter_values.ts";

export type { Launch } from "./interpreter_executor.ts";
export { BASE, GlobalMemory } from "./interpreter_memory.ts";

/** xorshift32: numbers below `n`, the same for the same seed. */
export function randomFrom(seed: number): (n: number) => number {
  let state = (seed | 0) === 0 ? 1 : seed | 0;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** Runs a launch to its end. Throws on an unknown instruction, a wild address, a hang. */
export function run(launch: Launch): void {
  new Machine(launch).run();
}

class Machine {
  private readonly executor: Executor;
  private executed = 0;

  constructor(private readonly launch: Launch) {
    this.executor = new Executor(launch);
  }

  run(): void {
    const { grid, random } = this.launch;
    const waiting: [number, number, number][] = [];
    for (let z = 0; z < grid[2]; z++) {
      for (let y = 0; y < grid[1]; y++) for (let x = 0; x < grid[0]; x++) waiting.push([x, y, z]);
    }
    // Hardware starts blocks in any order and keeps some of them resident at a time.
    const resident = 1 + random(waiting.length);
    let blocks: ThreadBlock[] = [];
    while (waiting.length > 0 || blocks.length > 0) {
      while (blocks.length < resident && waiting.length > 0) {
        const [index] = waiting.splice(random(waiting.length), 1);
        if (index !== undefined) blocks.push(this.start(index));
      }
      const block = blocks[random(blocks.length)];
      if (block === undefined) continue;
      this.turn(block);
      if (block.running.length === 0 && block.threads.every((t) => t.state === "done")) {
        blocks = blocks.filter((b) => b !== block);
      }
      this.launch.between?.();
    }
  }

  private start(index: [number, number, number]): ThreadBlock {
    const { kernel, block: shape, args, dynamicSharedBytes = 0 } = this.launch;
    const callable = this.executor.functions.get(kernel);
    if (callable === undefined) throw new Error(`No kernel ${kernel}`);
    if (callable.parameters.length !== args.length) {
      throw new Error(`${kernel} takes ${callable.parameters.length} arguments`);
    }
    const code = compile(callable);
    const shared = new DataView(new ArrayBuffer(code.sharedBytes + dynamicSharedBytes));
    // Shared memory begins as anything.
    for (let i = 0; i < shared.byteLength; i++) shared.setUint8(i, this.launch.random(256));
    const block: ThreadBlock = { index, shared, threads: [], running: [] };
    const parameters = new Map(callable.parameters.map((p, i) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, BigInt.asUintN(64, BigInt(args[i] ?? 0)), true);
      return [p.names[0]?.name ?? "", view] as const;
    }));
    let n = 0;
    for (let z = 0; z < shape[2]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        for (let x = 0; x < shape[0]; x++, n++) {
          const frame = {
            code,
            pc: 0,
            registers: new Map(),
            parameters: new Map(parameters),
            result: undefined,
          };
          block.threads.push({
            index: [x, y, z],
            lane: n % 32,
            warp: n >> 5,
            block,
            frames: [frame],
            state: "running",
          });
        }
      }
    }
    block.running = [...block.threads];
    return block;
  }

  private turn(block: ThreadBlock): void {
    const { random, limit = 600_000 } = this.launch;
    const { running } = block;
    const at = random(running.length || 1);
    const thread = running[at];
    if (thread === undefined) {
      if (!this.meet(block)) {
        throw new Error(`Block ${block.index} hangs: its threads wait at different places`);
      }
      return;
    }
    const burst = random(8) === 0 ? 1 + random(4) : 1 + random(120);
    for (let i = 0; i < burst && thread.state === "running"; i++) {
      this.executor.step(thread);
      if (++this.executed > limit) throw new Error(`Kernel ${this.launch.kernel} does not end`);
    }
    if (thread.state === "running") return;
    running[at] = running[running.length - 1] ?? thread;
    running.pop();
    this.meet(block);
  }

  /** Lets shuffles and barriers happen whose threads have all come. */
  private meet(block: ThreadBlock): boolean {
    const met = this.release(block);
    if (met) block.running = block.threads.filter((t) => t.state === "running");
    return met;
  }

  private release(block: ThreadBlock): boolean {
    let met = false;
    const shuffling = block.threads.filter((t) => t.state === "shuffle").map((t) => t.warp);
    for (const warp of new Set(shuffling)) {
      const lanes = block.threads.filter((t) => t.warp === warp && t.state !== "done");
      if (lanes.every((t) => t.state === "shuffle" && place(t) === place(lanes[0]))) {
        this.shuffle(lanes);
        met = true;
      }
    }
    const alive = block.threads.filter((t) => t.state !== "done");
    if (alive.length > 0 && alive.every((t) => t.state === "barrier")) {
      if (new Set(alive.map(place)).size !== 1) {
        throw new Error("Threads of a block wait at different barriers");
      }
      this.barrier(alive);
      met = true;
    }
    return met;
  }

  private shuffle(lanes: Thread[]): void {
    const values = new Map(
      lanes.map((t) => [t.lane, this.executor.value(t, current(t).operands[1], ".b32")] as const),
    );
    for (const t of lanes) {
      const instruction = current(t);
      const by = Number(this.executor.value(t, instruction.operands[2], ".b32"));
      const isIndex = instruction.modifiers.includes(".idx");
      if (!isIndex && !instruction.modifiers.includes(".bfly")) unknown(instruction);
      const from = isIndex ? by : t.lane ^ by;
      const target = instruction.operands[0];
      this.executor.set(
        t,
        target?.kind === "pair" ? target.first : target,
        values.get(from) ?? values.get(t.lane) ?? 0,
      );
      if (target?.kind === "pair") this.executor.set(t, target.second, values.has(from));
    }
    for (const t of lanes) advance(t);
  }

  private barrier(threads: Thread[]): void {
    const instruction = current(threads[0]);
    if (instruction.modifiers.includes(".red")) {
      const inputs = threads.map((t) => Boolean(this.executor.value(t, current(t).operands[2], ".pred")));
      const isAnd = instruction.modifiers.includes(".and");
      const result = isAnd ? inputs.every((v) => v) : inputs.some((v) => v);
      for (const t of threads) this.executor.set(t, current(t).operands[0], result);
    }
    for (const t of threads) advance(t);
  }
}
