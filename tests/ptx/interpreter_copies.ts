/**
 * When do asynchronous copies to shared memory land?
 *
 * `cp.async`: any time between the instruction and a wait for it, in any order; without a wait perhaps long after, when the
 * thread runs something else.
 */

import type { Instruction } from "../../ptx/ast.ts";
import type { Executor } from "./interpreter_executor.ts";
import type { Thread } from "./interpreter_thread.ts";
import { unknown } from "./interpreter_values.ts";

/** What a thread has under way. */
export interface Copies {
  readonly pending: { readonly group: number; readonly land: () => void }[];
  /** Groups that were committed: the number of the open one. */
  groups: number;
}

/** Executes one of the `cp.async` instructions. */
export function executeCopy(executor: Executor, thread: Thread, instruction: Instruction): void {
  const { modifiers, operands } = instruction;
  const { copies } = thread;
  if (
    modifiers[0] !== ".async" || modifiers.some((m) => m.startsWith(".bulk") || m.startsWith(".mbarrier"))
  ) {
    return unknown(instruction);
  }
  switch (modifiers[1]) {
    case ".commit_group":
      copies.groups++;
      return;
    case ".wait_all":
      return landBelow(copies, Infinity);
    case ".wait_group":
      return landBelow(copies, copies.groups - Number(executor.value(thread, operands[0], ".u32")));
  }
  if (!modifiers.includes(".shared") || !modifiers.includes(".global")) return unknown(instruction);
  const to = executor.locate(thread, operands[0], [".shared"]);
  const from = executor.locate(thread, operands[1], [".global"]);
  const bytes = Number(executor.value(thread, operands[2], ".u32"));
  const land = () => {
    for (let i = 0; i < bytes; i++) to.view.setUint8(to.at + i, from.view.getUint8(from.at + i));
  };
  copies.pending.push({ group: copies.groups, land });
}

/** Lets one copy of a thread land, if there is any. */
export function landOne({ pending }: Copies, random: (n: number) => number): void {
  if (pending.length > 0) pending.splice(random(pending.length), 1)[0]?.land();
}

function landBelow(copies: Copies, group: number): void {
  const rest = copies.pending.filter((copy) => copy.group >= group);
  copies.pending.filter((copy) => copy.group < group).forEach((copy) => copy.land());
  copies.pending.splice(0, copies.pending.length, ...rest);
}
