/**
 * What is still under way when a block ends, and does the next block find the hardware as a fresh one would?
 *
 * Asynchronous copies, matrix products and mbarriers. A worker goes on to another virtual block in the same registers and
 * shared memory, so nothing may still write there, and an mbarrier must be given up before it is set up again.
 */

import type { Instruction, Operand } from "./ast.ts";
import { fullName } from "./ast.ts";
import { type Graph, reachable } from "./cfg.ts";
import type { Complaint } from "./complaint.ts";

export function isWgmma(instruction: Instruction, kind: string): boolean {
  return instruction.opcode === "wgmma" && instruction.modifiers[0] === kind;
}

export function isMbarrierInit(instruction: Instruction): boolean {
  return instruction.opcode === "mbarrier" && instruction.modifiers[0] === ".init";
}

/** What stands against running another block behind this one, by single instructions. */
export function checkAsync(instruction: Instruction): string | undefined {
  const { opcode, modifiers, line } = instruction;
  const at = `line ${line} (${fullName(instruction)})`;
  const has = (start: string) => modifiers.some((m) => m.startsWith(start));
  if (opcode === "tcgen05") {
    return `${at} computes in tensor memory, which only the end of a block gives back`;
  }
  if (opcode === "setmaxnreg") return `${at} moves registers between warps for the rest of the block`;
  if (opcode === "tensormap" || has(".tensormap")) return `${at} changes a tensor map`;
  if (has(".bulk")) return `${at} copies in bulk, and may still do so when the block ends`;
  if (opcode === "cp" && has(".mbarrier")) {
    return `${at} reports to an mbarrier when the block may have ended`;
  }
  if ((opcode === "st" || opcode === "red") && modifiers.includes(".async")) {
    return `${at} writes asynchronously, and may still do so when the block ends`;
  }
  return undefined;
}

/** What stands against it by the order in which instructions run. */
export function checkAsyncFlow(graph: Graph): Complaint | undefined {
  for (const block of graph.blocks) {
    for (const [index, instruction] of block.instructions.entries()) {
      const { line } = instruction;
      if (isMbarrierInit(instruction)) {
        const looped = graph.loops.some((loop) => loop.blocks.has(block.index));
        if (looped) {
          const reason = `the mbarriers that line ${line} sets up in a loop cannot be given up one by one`;
          return { limit: "slice", reason, line };
        }
        if (mbarrierAddress(instruction) === undefined) {
          const reason =
            `the address of the mbarrier at line ${line} is in a form that this version does not know`;
          return { limit: "slice", reason, line };
        }
      }
      if (isWgmma(instruction, ".mma_async") && !isAwaited(graph, block.index, index)) {
        const reason = `the product at line ${line} may still be under way when the block ends`;
        return { limit: "slice", reason, line };
      }
    }
  }
  return undefined;
}

/** Whether every way from an instruction to the end leads through a wait for all products. */
function isAwaited(graph: Graph, at: number, index: number): boolean {
  const waits = (list: readonly Instruction[]) =>
    list.some((i) => i.guard === undefined && isWgmma(i, ".wait_group") && waitsForAll(i));
  if (waits(graph.blocks[at]?.instructions.slice(index + 1) ?? [])) return true;
  const waiting = new Set(graph.blocks.filter((b) => waits(b.instructions)).map((b) => b.index));
  const from = graph.blocks[at]?.successors ?? [];
  return !reachable(graph.blocks, from, (b) => b.successors, waiting).has(graph.exit);
}

/** Line of a product that may reach this block without having been committed to a group, which alone can be waited for. */
export function findUncommitted(graph: Graph, header: number): number | undefined {
  const commits = (list: readonly Instruction[]) => list.some((i) => isWgmma(i, ".commit_group"));
  const committing = new Set(graph.blocks.filter((b) => commits(b.instructions)).map((b) => b.index));
  for (const block of graph.blocks) {
    const last = block.instructions.findLastIndex((i) => isWgmma(i, ".mma_async"));
    if (last < 0 || commits(block.instructions.slice(last))) continue;
    if (reachable(graph.blocks, block.successors, (b) => b.successors, committing).has(header)) {
      return block.instructions[last]?.line;
    }
  }
  return undefined;
}

function waitsForAll({ operands }: Instruction): boolean {
  const [count] = operands;
  return count?.kind === "constant" && count.value.kind === "number" && Number(count.value.text) === 0;
}

/** The operand of an mbarrier's address, where it is one register or variable with a constant offset or none. */
export function mbarrierAddress({ modifiers, operands }: Instruction): Operand | undefined {
  const [address] = operands;
  const [item, second] = address?.kind === "address" ? address.items : [];
  const isShared = modifiers.some((m) => m === ".shared" || m === ".shared::cta");
  return isShared && second === undefined && item?.base.kind === "name" ? address : undefined;
}
