/**
 * What does a PTX kernel do to memory, when its threads run in any order?
 *
 * A small interpreter for the part of PTX that the fixtures and the wrapper use. A seeded scheduler picks which thread
 * goes on and how far. Memory is sequentially consistent: missing fences do not show here. An instruction that it does
 * not know is an error, never a guess.
 */

import { Executor, type Launch } from "./interpreter_executor.ts";
import { comeToBarrier, leaveBarriers } from "./interpreter_barriers.ts";
import { landOne } from "./interpreter_copies.ts";
import { compile, current, type Thread, type ThreadBlock } from "./interpreter_thread.ts";
import { leaveWarp, meetInWarp } from "./interpreter_warp.ts";

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
      if (block.alive === 0) {
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
    const block: ThreadBlock = {
      index,
      shared,
      threads: [],
      running: [],
      sleeping: [],
      asked: 0,
      alive: shape[0] * shape[1] * shape[2],
      aliveIn: [],
      barriers: new Map(),
      standing: [],
      mbarriers: new Map(),
      mbarriersMade: 0,
    };
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
            copies: { pending: [], groups: 0 },
            state: "running",
          });
          block.aliveIn[n >> 5] = 1 + n % 32;
        }
      }
    }
    block.running = [...block.threads];
    return block;
  }

  private turn(block: ThreadBlock): void {
    const { random, limit = 600_000 } = this.launch;
    const { running, sleeping } = block;
    if (sleeping.length > 0 && (running.length === 0 || random(8) === 0)) this.wake(block);
    if (running.length === 0) throw new Error(`Block ${block.index} hangs: ${describe(block)}`);
    const at = random(running.length);
    const thread = running[at];
    if (thread === undefined) return;
    const burst = random(8) === 0 ? 1 + random(4) : 1 + random(120);
    for (let i = 0; i < burst && thread.state === "running"; i++) {
      this.executor.step(thread);
      if (++this.executed > limit) throw new Error(`Kernel ${this.launch.kernel} does not end`);
    }
    if (thread.copies.pending.length > 0 && random(8) === 0) landOne(thread.copies, random);
    if (thread.state === "running") return;
    running[at] = running[running.length - 1] ?? thread;
    running.pop();
    running.push(...this.stopped(block, thread));
  }

  /** Tells a thread that waits at an mbarrier "not yet"; hardware may at any moment. */
  private wake(block: ThreadBlock): void {
    const { running, sleeping, threads } = block;
    // Where nobody else can go on, asking again and again does not help.
    block.asked = running.length === 0 ? block.asked + 1 : 0;
    if (block.asked > 20 * threads.length) throw new Error(`Block ${block.index} hangs: ${describe(block)}`);
    const [thread] = sleeping.splice(this.launch.random(sleeping.length), 1);
    if (thread === undefined) return;
    thread.state = "running";
    this.executor.step(thread, false);
    running.push(thread);
  }

  /** A thread cannot go on. Returns those who now can, as it was the last that they waited for. */
  private stopped(block: ThreadBlock, thread: Thread): Thread[] {
    switch (thread.state) {
      case "barrier":
        return comeToBarrier(this.executor, thread);
      case "warp":
        return meetInWarp(this.executor, thread);
      case "sleeping":
        block.sleeping.push(thread);
        return [];
      default:
        block.alive--;
        block.aliveIn[thread.warp] = (block.aliveIn[thread.warp] ?? 1) - 1;
        return [
          ...leaveBarriers(this.executor, block),
          ...leaveWarp(this.executor, block, thread.warp),
        ];
    }
  }
}

function describe(block: ThreadBlock): string {
  const lines = block.threads.filter((t) => t.state !== "done").map((t) => current(t).line);
  return `its threads wait at different places (lines ${[...new Set(lines)].join(", ")})`;
}
