/**
 * What is a thread of an interpreted kernel: its code with resolved branches, its frames, its block?
 */

import type { Callable, Instruction, Statement } from "../../ptx/ast.ts";
import { typeBytes } from "../../ptx/layout.ts";
import { constant, type Value } from "./interpreter_values.ts";

export interface Code {
  readonly name: string;
  readonly at: readonly { instruction: Instruction; targets: readonly number[] }[];
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
  state: "running" | "barrier" | "shuffle" | "done";
}

export interface ThreadBlock {
  readonly index: readonly [number, number, number];
  readonly shared: DataView;
  readonly threads: Thread[];
  /** Those that can go on, in any order. */
  running: Thread[];
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

export function current(thread: Thread | undefined): Instruction {
  const frame = thread === undefined ? undefined : top(thread);
  const instruction = frame?.code.at[frame.pc]?.instruction;
  if (instruction === undefined) throw new Error("The thread has ended");
  return instruction;
}

export const place = (thread: Thread | undefined) => thread === undefined ? -1 : top(thread).pc;

export function advance(thread: Thread): void {
  top(thread).pc++;
  thread.state = "running";
}
