/**
 * What do the threads of a warp find out from each other, and who has to be there for it?
 *
 * `shfl.sync`, `vote.sync` and `bar.warp.sync` wait for all threads that their mask names and that have not ended. Those
 * must stand at the same instruction with the same mask. What a thread reads from one that does not take part is random.
 */

import type { Instruction } from "../../ptx/ast.ts";
import type { Executor } from "./interpreter_executor.ts";
import { advance, current, stands, type Thread, type ThreadBlock } from "./interpreter_thread.ts";
import { unknown } from "./interpreter_values.ts";

/** Whether an instruction waits for threads of the warp only. */
export function isOfWarp({ opcode, modifiers }: Instruction): boolean {
  return opcode === "shfl" || opcode === "vote" ||
    ((opcode === "bar" || opcode === "barrier") && modifiers.includes(".warp"));
}

/** A thread has come to such an instruction. Returns those who may go on. */
export function meetInWarp(executor: Executor, thread: Thread): Thread[] {
  const { block, warp } = thread;
  const here = stands(thread);
  const mask = maskOf(executor, thread);
  if (((mask >>> thread.lane) & 1) === 0) {
    throw new Error(`Lane ${thread.lane} is not in its own mask (line ${here.instruction.line})`);
  }
  const named: Thread[] = [];
  for (const t of lanesOf(block, warp)) {
    if (t.state === "done" || ((mask >>> t.lane) & 1) === 0) continue;
    if (t.state !== "warp" || stands(t) !== here) return [];
    named.push(t);
  }
  if (named.some((t) => maskOf(executor, t) !== mask)) {
    throw new Error(`Threads of a warp give different masks (line ${here.instruction.line})`);
  }
  exchange(executor, named, here.instruction);
  named.forEach(advance);
  return named;
}

/** A thread of the warp has ended, which others may have waited for. Returns those who may go on. */
export function leaveWarp(executor: Executor, block: ThreadBlock, warp: number): Thread[] {
  const gone: Thread[] = [];
  for (const t of lanesOf(block, warp)) if (t.state === "warp") gone.push(...meetInWarp(executor, t));
  return gone;
}

const lanesOf = (block: ThreadBlock, warp: number) => block.threads.slice(32 * warp, 32 * warp + 32);

function maskOf(executor: Executor, thread: Thread): number {
  return Number(executor.value(thread, current(thread).operands.at(-1), ".b32"));
}

function exchange(executor: Executor, lanes: readonly Thread[], instruction: Instruction): void {
  if (instruction.opcode === "shfl") shuffle(executor, lanes, instruction);
  else if (instruction.opcode === "vote") vote(executor, lanes, instruction);
}

function vote(executor: Executor, lanes: readonly Thread[], instruction: Instruction): void {
  const { modifiers, operands } = instruction;
  const yes = lanes.filter((t) => Boolean(executor.value(t, operands[1], ".pred")));
  const results: Readonly<Record<string, number | boolean>> = {
    ".any": yes.length > 0,
    ".all": yes.length === lanes.length,
    ".uni": yes.length === 0 || yes.length === lanes.length,
    ".ballot": yes.reduce((bits, t) => (bits | (1 << t.lane)) >>> 0, 0),
  };
  const result = results[modifiers[1] ?? ""] ?? unknown(instruction);
  for (const t of lanes) executor.set(t, operands[0], result);
}

function shuffle(executor: Executor, lanes: readonly Thread[], instruction: Instruction): void {
  const { modifiers, operands } = instruction;
  const values = new Map(lanes.map((t) => [t.lane, executor.value(t, operands[1], ".b32")] as const));
  for (const t of lanes) {
    const by = Number(executor.value(t, operands[2], ".b32")) & 31;
    const limits = Number(executor.value(t, operands[3], ".b32"));
    const segment = (limits >>> 8) & 31;
    const least = t.lane & segment;
    const most = least | (limits & 31 & ~segment);
    let from: number;
    let isInside: boolean;
    if (modifiers.includes(".idx")) isInside = (from = least | (by & ~segment)) <= most;
    else if (modifiers.includes(".bfly")) isInside = (from = t.lane ^ by) <= most;
    else if (modifiers.includes(".down")) isInside = (from = t.lane + by) <= most;
    else if (modifiers.includes(".up")) isInside = (from = t.lane - by) >= most;
    else return unknown(instruction);
    if (!isInside) from = t.lane;
    const target = operands[0];
    const value = values.get(from) ?? executor.launch.random(0xffffffff);
    executor.set(t, target?.kind === "pair" ? target.first : target, value);
    if (target?.kind === "pair") executor.set(t, target.second, isInside);
  }
}
