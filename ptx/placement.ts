/**
 * Where may a loop's checkpoint stand, and what may have run when a block is left there?
 *
 * By control flow alone: which barriers threads meet, and whether all of them turn a loop alike. Whether what has run may run
 * again is restart.ts's question.
 */

import type { Instruction, Module } from "./ast.ts";
import { findUncommitted } from "./asynchronous.ts";
import { isBarrier, isPlain, isWarpSync } from "./barriers.ts";
import { type Loop, reachable } from "./cfg.ts";
import type { PlanInput } from "./checkpoints.ts";

export interface Together {
  readonly kind: "together";
  /** Blocks of the graph of which any thread may have run a part when the block is abandoned. */
  readonly done: ReadonlySet<number>;
  /** In its block of the graph only what stands ahead of it counts as run; undefined: all of every block does. */
  readonly ahead?: Instruction;
}

export type Place = Together | Alone;

export interface Alone {
  readonly kind: "alone";
  readonly meeting?: Instruction;
  readonly done: ReadonlySet<number>;
  readonly ahead?: Instruction;
  /** Blocks of the graph between the loop and the meeting. */
  readonly until: ReadonlySet<number>;
}

export function placeTogether(
  { graph }: PlanInput,
  loop: Loop,
  alone: ReadonlySet<number>,
): Together | { reason: string } {
  if (alone.has(loop.header)) {
    return { reason: "threads may give up one by one in another loop, and not come there" };
  }
  const uncommitted = findUncommitted(graph, loop.header);
  if (uncommitted !== undefined) {
    return { reason: `the product at line ${uncommitted} cannot be waited for there` };
  }
  const from = graph.blocks[loop.header]?.predecessors ?? [];
  return { kind: "together", done: reachable(graph.blocks, from, (b) => b.predecessors) };
}

/** Where threads that leave a loop one by one meet the others, or why they cannot. */
export function placeAlone(
  { graph, returns, module, kernel }: PlanInput,
  loop: Loop,
  together: ReadonlySet<number>,
): Alone | { reason: string } {
  const no = (why: string) => ({ reason: `threads leave it one by one, and ${why}` });
  if (returns === "counted") return no("return before barriers that others meet");
  if (hasDynamicShared(module)) return no("dynamic shared memory leaves no room to tell each other");
  const withBarrier = new Set(graph.blocks.filter((b) => b.instructions.some(isBarrier)).map((b) => b.index));
  const reached = reachable(graph.blocks, [loop.header], (b) => b.successors, withBarrier);
  if ([...reached].some((index) => together.has(index))) {
    return no("then meet at the checkpoint of another loop");
  }
  // Of a block with a barrier only what stands ahead of it is met on the way.
  const onTheWay = (index: number) => {
    const instructions = graph.blocks[index]?.instructions ?? [];
    const end = instructions.findIndex(isBarrier);
    return end < 0 ? instructions : instructions.slice(0, end);
  };
  const lanesMeet = [...reached].flatMap((index) => onTheWay(index).filter(isWarpSync))[0];
  if (lanesMeet !== undefined) {
    return no(`lanes of a warp wait for each other at line ${lanesMeet.line} before all threads meet`);
  }
  const awaited = [...reached].flatMap((index) => onTheWay(index).filter(waitsForThreads))[0];
  if (awaited !== undefined) return no(`may wait for each other at line ${awaited.line} on the way`);
  const met = [...reached].filter((index) => withBarrier.has(index));
  const [at, second] = met;
  if (at === undefined) {
    return { kind: "alone", done: new Set(graph.blocks.map((b) => b.index)), until: reached };
  }
  const meeting = graph.blocks[at]?.instructions.find(isBarrier);
  if (meeting === undefined || second !== undefined || reached.has(graph.exit)) {
    return no("then meet different barriers");
  }
  if (!isPlain(meeting) || meeting.guard !== undefined) {
    return no(`the barrier at line ${meeting.line} is no plain one`);
  }
  if (!(kernel.body ?? []).includes(meeting)) {
    return no(`the barrier at line ${meeting.line} stands in a scope of its own`);
  }
  // Behind the meeting nothing has run yet, unless the way leads back to it.
  const again = reachable(graph.blocks, graph.blocks[at]?.successors ?? []).has(at);
  return {
    kind: "alone",
    meeting,
    done: reachable(graph.blocks, [at], (b) => b.predecessors),
    ...(again ? {} : { ahead: meeting }),
    until: reached,
  };
}

function hasDynamicShared(module: Module): boolean {
  return module.items.some((item) =>
    item.kind === "variable" && item.space === ".shared" && item.linkage.includes(".extern")
  );
}

/** Whether a thread may wait there for others of its block, other than at a barrier. */
function waitsForThreads({ opcode, modifiers }: Instruction): boolean {
  if (opcode === "mbarrier") return true;
  const isShared = !modifiers.some((m) => /^\.(global|local|param|const)(::|$)/.test(m));
  const isStrong = opcode === "atom" ||
    modifiers.some((m) => [".volatile", ".relaxed", ".acquire"].includes(m));
  return isShared && isStrong && (opcode === "ld" || opcode === "atom");
}
