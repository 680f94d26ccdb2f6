/**
 * What is a thread of an interpreted kernel: its code with resolved branches, its frames, its block?
 */

import type { Callable, Instruction, Statement } from "../../ptx/ast.ts";
import { typeBytes } from "../../ptx/layout.ts";
import type { Meeting } from "./interpreter_barriers.ts";
import type { Copies } from "./interpreter_copies.ts";
import type { MBarrier } from "./interpreter_mbarrier.ts";
import { constant, type Value } from "./interpreter_values.ts";

export interface Item {
  readonly instruction: Instruction;
  /** Of a branch: where it may go. */
  readonly targets: readonly number[];
}

export interface Code {
  readonly name: string;
  readonly at: readonly Item[];
  readonly shared: ReadonlyMap<string, number>;
  readonly sharedBytes: number;
  readonly callable: Callable;
}

export interface Frame {
  readonly code: Code;
  pc: number;
  readonly registers: Map<string, Value>;
  readonly parameters: Map<string, DataView>;
  /** Where the caller wants the result. */
  readonly result: { from: string; to: DataView } | undefined;
}

export interface Thread {
  readonly index: readonly [number, number, number];
  readonly lane: number;
  readonly warp: number;
  readonly block: ThreadBlock;
  readonly frames: Frame[];
  readonly copies: Copies;
  /** Sleeping: waiting at an mbarrier whose phase is under way. */
  state: "running" | "barrier" | "warp" | "sleeping" | "done";
}

export interface ThreadBlock {
  readonly index: readonly [number, number, number];
  readonly shared: DataView;
  readonly threads: Thread[];
  /** Those that can go on, in any order. */
  running: Thread[];
  readonly sleeping: Thread[];
  /** How often sleeping threads asked in vain since anybody else could go on. */
  asked: number;
  /** Threads that have not ended, in all and by warp. */
  alive: number;
  readonly aliveIn: number[];
  /** Barriers by number, from the first thread that comes to the moment when all go on. */
  readonly barriers: Map<number, Meeting>;
  /** By warp: where its threads stand that wait at barriers. */
  readonly standing: { readonly at: Item; readonly isAligned: boolean; threads: number }[];
  /** By address in shared memory. */
  readonly mbarriers: Map<number, MBarrier>;
  mbarriersMade: number;
}

const codes = new WeakMap<Callable, Code>();

/** The code of a function, compiled once. */
export function compile(callable: Callable): Code {
  const known = codes.get(callable);
  if (known !== undefined) return known;
  const at: { instruction: Instruction; targets: number[]; scope: Map<string, number>[] }[] = [];
  const tables = new Map<string, readonly string[]>();
  const shared = new Map<string, number>();
  let sharedBytes = 0;
  const flatten = (body: readonly Statement[], outer: Map<string, number>[]) => {
    const scope = [new Map<string, number>(), ...outer];
    for (const s of body) {
      if (s.kind === "instruction") at.push({ instruction: s, targets: [], scope });
      else if (s.kind === "label") scope[0]?.set(s.name, at.length);
      else if (s.kind === "targets") tables.set(s.name, s.labels);
      else if (s.kind === "scope") flatten(s.body, scope);
      else if (s.kind === "variable" && s.space === ".shared") {
        for (const d of s.names) {
          sharedBytes = Math.ceil(sharedBytes / 16) * 16;
          shared.set(d.name, sharedBytes);
          const count = d.dimensions.reduce((n, e) => n * (e === null ? 0 : Number(constant(e))), 1);
          sharedBytes += count * (typeBytes(s.type) ?? 0);
        }
      }
    }
  };
  flatten(callable.body ?? [], []);
  for (const item of at) {
    const { opcode, operands } = item.instruction;
    const target = operands[opcode === "brx" ? 1 : 0];
    if ((opcode !== "bra" && opcode !== "brx") || target?.kind !== "name") continue;
    for (const label of opcode === "bra" ? [target.name] : tables.get(target.name) ?? []) {
      const to = item.scope.find((s) => s.has(label))?.get(label);
      if (to === undefined) throw new Error(`No label ${label}`);
      item.targets.push(to);
    }
  }
  const code = { name: callable.name, at, shared, sharedBytes: Math.ceil(sharedBytes / 16) * 16, callable };
  codes.set(callable, code);
  return code;
}

export function top(thread: Thread): Frame {
  const frame = thread.frames.at(-1);
  if (frame === undefined) throw new Error("The thread has ended");
  return frame;
}

/** The instruction that a thread is in front of; the same object for all threads of all blocks that stand there. */
export function stands(thread: Thread): Item {
  const frame = top(thread);
  const item = frame.code.at[frame.pc];
  if (item === undefined) throw new Error(`${frame.code.name} runs past its end`);
  return item;
}

export function current(thread: Thread | undefined): Instruction {
  if (thread === undefined) throw new Error("There is no thread");
  return stands(thread).instruction;
}

export function advance(thread: Thread): void {
  top(thread).pc++;
  thread.state = "running";
}
