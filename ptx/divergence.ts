/**
 * Which registers and branches may differ between the threads of one block?
 *
 * Conservative: what is called uniform is uniform; what is called divergent may still be. It knows nothing of barriers
 * and of what divergence would break; safety.ts does.
 */

import { type Block, type Graph, reachable } from "./cfg.ts";
import type { Instruction } from "./ast.ts";
import { isSpecial, reads, writes } from "./registers.ts";

/** Special registers with one value for all threads of a block. */
const UNIFORM_SPECIAL = /^%(ctaid|nctaid|ntid|total_smem_size|dynamic_smem_size|aggr_smem_size)(\.[xyzw])?$/;

/** Results that differ between threads or warps whatever goes in. */
const DIVERGENT_RESULT = new Set(
  "atom shfl vote match activemask elect redux ldmatrix wmma mma wgmma mbarrier tex tld4 suld call ldu alloca stacksave fns"
    .split(" "),
);

export interface Divergence {
  /** Registers whose value may differ. */
  readonly registers: ReadonlySet<string>;
  /** Blocks whose last instruction is a branch or return that only some threads may take. */
  readonly branches: ReadonlySet<number>;
}

/** Blocks that run between the branch at the end of `block` and the point where all its ways meet again. */
export function region(graph: Graph, block: Block): Set<number> {
  const join = graph.postDominator[block.index] ?? -1;
  const inside = reachable(graph.blocks, block.successors, (b) => b.successors, new Set([join]));
  inside.delete(join);
  return inside;
}

/** @param parameters names of the kernel's own parameters; what a `.func` is given is not known to be uniform */
export function findDivergence(graph: Graph, parameters: ReadonlySet<string>): Divergence {
  const registers = new Set<string>();
  const branches = new Set<number>();
  const inRegion = new Set<number>();
  const splits = graph.blocks.filter((block) => block.successors.length > 1);
  const calls = graph.blocks.some((block) => block.instructions.some((i) => i.opcode === "call"));

  for (let changed = true; changed;) {
    changed = false;
    for (const block of graph.blocks) {
      for (const instruction of block.instructions) {
        const isDivergent = inRegion.has(block.index) ||
          resultDiverges(instruction, registers, parameters, calls);
        for (const name of isDivergent ? writes(instruction) : []) {
          if (!registers.has(name)) {
            registers.add(name);
            changed = true;
          }
        }
      }
    }
    for (const block of splits) {
      const last = block.instructions.at(-1);
      if (branches.has(block.index) || last === undefined) continue;
      if (!reads(last).some((name) => registers.has(name) || isDivergentSpecial(name))) continue;
      branches.add(block.index);
      // Everything written where only some threads may be counts as divergent: simple, and enough for the question asked.
      for (const at of region(graph, block)) inRegion.add(at);
      changed = true;
    }
  }
  return { registers, branches };
}

function isDivergentSpecial(name: string): boolean {
  return isSpecial(name) && !UNIFORM_SPECIAL.test(name);
}

function resultDiverges(
  instruction: Instruction,
  registers: ReadonlySet<string>,
  parameters: ReadonlySet<string>,
  calls: boolean,
): boolean {
  if (DIVERGENT_RESULT.has(instruction.opcode)) return true;
  const isBarrier = instruction.opcode === "bar" || instruction.opcode === "barrier";
  if (isBarrier) return instruction.modifiers.includes(".warp"); // a reduction over the block is the same for all
  const inputs = reads(instruction);
  if (inputs.some((name) => registers.has(name) || isDivergentSpecial(name))) return true;
  if (instruction.opcode !== "ld") return false;
  const space = instruction.modifiers.find((m) => /^\.(param|const|global|shared|local)(::|$)/.test(m));
  if (space === ".const") return false;
  // A parameter of the kernel, or an address computed from one; but the result of a call is a parameter too.
  const isOwn = inputs.every((name) => parameters.has(name) || (!calls && name.startsWith("%")));
  return space === undefined || !space.startsWith(".param") || !isOwn;
}
