/**
 * Do all threads of a block meet the same barriers, and can they therefore meet one more at the end?
 *
 * A return of the original kernel becomes a jump to a barrier. Threads that returned early no longer counted at the
 * barriers that others met later; at the new barrier they would count, and be taken for the others. The answer is
 * conservative, and it takes for granted that the original kernel uses its barriers correctly.
 */

import type { Instruction } from "./ast.ts";
import { type Block, type Graph, reachable } from "./cfg.ts";
import { findDivergence, region } from "./divergence.ts";

export interface Complaint {
  readonly reason: string;
  readonly line: number;
}

/** Whether this is a barrier of the block: not of a warp, not of a cluster. */
export function isBarrier(instruction: Instruction): boolean {
  return (instruction.opcode === "bar" || instruction.opcode === "barrier") &&
    !instruction.modifiers.includes(".warp") && !instruction.modifiers.includes(".cluster");
}

/** What stands against a common barrier behind the kernel's own ones, or undefined. */
export function checkBarriers(graph: Graph, parameters: ReadonlySet<string>): Complaint | undefined {
  const barriers = graph.blocks.flatMap((block) => block.instructions.filter(isBarrier));
  for (const barrier of barriers) {
    const complaint = checkForm(barrier);
    if (complaint !== undefined) return { reason: complaint, line: barrier.line };
    // A guarded barrier is a branch around it that the graph does not show.
    if (barrier.guard !== undefined) {
      return { reason: `the barrier at line ${barrier.line} stands under a condition`, line: barrier.line };
    }
  }
  if (barriers.length === 0) return undefined;

  const divergence = findDivergence(graph, parameters);
  for (const index of divergence.branches) {
    const block = graph.blocks[index];
    const branch = block?.instructions.at(-1);
    if (block === undefined || branch === undefined) continue;
    const between = region(graph, block);
    const met = graph.blocks.flatMap((b) => between.has(b.index) ? b.instructions.filter(isBarrier) : [])[0];
    if (met === undefined) continue;
    const early = meetsOnlyToReturn(graph, index) ? returnBeforeBarrier(graph, block) : undefined;
    return {
      line: branch.line,
      reason: early === undefined
        ? `only some threads may meet the barrier at line ${met.line}, by the branch at line ${branch.line}`
        : `threads may return at line ${early} before a barrier at line ${met.line} that others meet`,
    };
  }
  return undefined;
}

/** Barriers that all threads meet with a number known here; the others may leave some threads out. */
function checkForm(barrier: Instruction): string | undefined {
  if (barrier.modifiers.includes(".arrive")) {
    return `the barrier at line ${barrier.line} is one that threads pass without waiting`;
  }
  const isReduction = barrier.modifiers.includes(".red");
  const number = barrier.operands[isReduction ? 1 : 0];
  const isFixed = number?.kind === "constant" && number.value.kind === "number";
  if (!isFixed) return `the number of the barrier at line ${barrier.line} is not a constant`;
  if (barrier.operands.length !== (isReduction ? 3 : 1)) {
    return `the barrier at line ${barrier.line} counts its threads, so that some may be left out`;
  }
  return undefined;
}

/** Whether the ways of a branch meet at the exit, or at a common return and nothing else. */
function meetsOnlyToReturn(graph: Graph, index: number): boolean {
  const join = graph.postDominator[index] ?? -1;
  const [first, second] = graph.blocks[join]?.instructions ?? [];
  return join === graph.exit ||
    (second === undefined && (first?.opcode === "ret" || first?.opcode === "exit"));
}

/** Line of a return that the branch leads to without a barrier between. */
function returnBeforeBarrier(graph: Graph, block: Block): number | undefined {
  const branch = block.instructions.at(-1);
  if (branch?.opcode === "ret" || branch?.opcode === "exit") return branch.line;
  const withBarrier = new Set(graph.blocks.filter((b) => b.instructions.some(isBarrier)).map((b) => b.index));
  const free = reachable(graph.blocks, block.successors, (b) => b.successors, withBarrier);
  for (const index of free) {
    const at = graph.blocks[index];
    if (at !== undefined && !withBarrier.has(index) && at.successors.includes(graph.exit)) {
      return at.instructions.at(-1)?.line;
    }
  }
  return undefined;
}
