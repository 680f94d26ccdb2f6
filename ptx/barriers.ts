/**
 * How can the threads of a block come together at its end?
 *
 * A return of the original kernel becomes a jump to a barrier. Where threads may return before a barrier that others
 * still meet, they would be taken for the others there: then every barrier becomes a counting one in which returned
 * threads take part. It takes for granted that the original kernel uses its barriers correctly.
 */

import type { Instruction } from "./ast.ts";
import type { Complaint } from "./complaint.ts";
import type { Graph } from "./cfg.ts";
import { findDivergence, region } from "./divergence.ts";

/**
 * - `gathered`: all threads meet the same barriers, and can meet one more behind them
 * - `counted`: some return early; each barrier counts who has returned, until all have
 */
export type Returns = "gathered" | "counted";

/** Whether this is a barrier of the block: not of a warp, not of a cluster. */
export function isBarrier(instruction: Instruction): boolean {
  return (instruction.opcode === "bar" || instruction.opcode === "barrier") &&
    !instruction.modifiers.includes(".warp") && !instruction.modifiers.includes(".cluster");
}

/** Whether lanes of a warp wait there for each other, those that have returned left out. */
export function isWarpSync({ opcode, modifiers }: Instruction): boolean {
  if (opcode === "bar" || opcode === "barrier") return modifiers.includes(".warp");
  return modifiers.includes(".sync");
}

/** How the threads come together, or what stands against it. */
export function checkBarriers(graph: Graph, parameters: ReadonlySet<string>): Returns | Complaint {
  const waited = findWarpSyncBehindReturn(graph, parameters);
  if (waited !== undefined) {
    const { line } = waited;
    const reason =
      `lanes may return before line ${line} (${waited.opcode}), where others of their warp would wait for them`;
    return { limit: "slice", reason, line };
  }
  const barriers = graph.blocks.flatMap((block) => block.instructions.filter(isBarrier));
  for (const barrier of barriers) {
    const complaint = checkForm(barrier);
    if (complaint !== undefined) return { limit: "slice", reason: complaint, line: barrier.line };
  }
  const early = barriers.length === 0 ? undefined : findEarly(graph, barriers, parameters);
  if (early === undefined) return "gathered";
  const other = barriers.find((barrier) => !isPlain(barrier));
  if (other === undefined) return "counted";
  const reason =
    `only some threads may meet the barrier at line ${early.line}, and the one at line ${other.line} ` +
    "is not one that could count them";
  return { limit: "slice", reason, line: early.line };
}

/** A barrier that some threads may not meet, or undefined. */
function findEarly(
  graph: Graph,
  barriers: readonly Instruction[],
  parameters: ReadonlySet<string>,
): Instruction | undefined {
  // A guarded barrier is a branch around it that the graph does not show.
  const guarded = barriers.find(({ guard }) => guard !== undefined);
  if (guarded !== undefined) return guarded;
  for (const index of findDivergence(graph, parameters).branches) {
    const block = graph.blocks[index];
    if (block === undefined) continue;
    const between = region(graph, block);
    const met = graph.blocks.flatMap((b) => between.has(b.index) ? b.instructions.filter(isBarrier) : [])[0];
    if (met !== undefined) return met;
  }
  return undefined;
}

/** Where lanes meet while others of their warp have returned: those stay, once a return is no end any more. */
function findWarpSyncBehindReturn(graph: Graph, parameters: ReadonlySet<string>): Instruction | undefined {
  if (!graph.blocks.some(({ instructions }) => instructions.some(isWarpSync))) return undefined;
  for (const index of findDivergence(graph, parameters).branches) {
    const block = graph.blocks[index];
    if (block === undefined || !endsBehind(graph, graph.postDominator[index] ?? -1)) continue;
    const between = region(graph, block);
    const met = graph.blocks.flatMap((b) => between.has(b.index) ? b.instructions.filter(isWarpSync) : [])[0];
    if (met !== undefined) return met;
  }
  return undefined;
}

/** Whether at this block nothing is left but to return. */
function endsBehind(graph: Graph, index: number): boolean {
  const [first, second] = graph.blocks[index]?.instructions ?? [];
  return index === graph.exit ||
    (second === undefined && (first?.opcode === "ret" || first?.opcode === "exit"));
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

/** `bar.sync 0`, in any spelling. */
export function isPlain({ modifiers, operands }: Instruction): boolean {
  const [number] = operands;
  return modifiers.includes(".sync") && operands.length === 1 && number?.kind === "constant" &&
    number.value.kind === "number" && Number(number.value.text) === 0;
}
