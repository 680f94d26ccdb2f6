/**
 * Which branches may the threads of one block take differently, and which instructions may only some of them reach?
 *
 * The verifier's own analysis: it follows the order of the text, so that a register may hold the same for all threads in
 * one place and not in another. Conservative: what it calls common is common.
 */

import type { Instruction } from "./ast.ts";
import type { Flow, FlowBlock } from "./verify_flow.ts";
import { isBlockBarrier, used, written } from "./verify_names.ts";

export interface Uniformity {
  /** Blocks whose last instruction threads may leave by different ways. */
  readonly splits: ReadonlySet<number>;
  /** Blocks that only some threads may run at a time. */
  readonly apart: ReadonlySet<number>;
  /** Instructions whose guard may differ between threads. */
  readonly guarded: ReadonlySet<Instruction>;
  /** Instructions that read a register that may differ. */
  readonly differing: ReadonlySet<Instruction>;
}

/** Special registers that are common to a block. */
const COMMON = new Set(
  "%ctaid %nctaid %ntid %total_smem_size %dynamic_smem_size %aggr_smem_size".split(" "),
);
/** Opcodes whose results differ between threads whatever goes in. */
const DIFFERING = new Set(
  ("atom shfl vote match activemask elect redux ldmatrix wmma mma wgmma mbarrier tex tld4 suld call ldu alloca " +
    "stacksave fns").split(" "),
);
const SPECIAL = new RegExp(
  "^%(tid|ntid|laneid|warpid|nwarpid|ctaid|nctaid|smid|nsmid|gridid|clock\\w*|globaltimer\\w*|pm\\d+\\w*|envreg\\d+|" +
    "lanemask_\\w+|n?clusterid|cluster_\\w+|is_explicit_cluster|\\w+_smem_\\w+|current_graph_exec)$",
);

/** @param agreed loads that give all threads the same though the text does not show it */
export function findUniformity(
  flow: Flow,
  parameters: ReadonlySet<string>,
  agreed: ReadonlySet<Instruction> = new Set(),
): Uniformity {
  return new Finder(flow, parameters, agreed).find();
}

/** Blocks between a branch and where its ways meet again. */
export function regionOf(flow: Flow, block: FlowBlock): Set<number> {
  const join = flow.join[block.index] ?? -1;
  const inside = new Set<number>();
  const work = [...block.successors];
  for (let index = work.pop(); index !== undefined; index = work.pop()) {
    if (index === join || inside.has(index)) continue;
    inside.add(index);
    work.push(...flow.blocks[index]?.successors ?? []);
  }
  return inside;
}

class Finder {
  /** By block: registers that may differ where it begins. */
  readonly #in: Set<string>[];
  readonly #apart = new Set<number>();
  readonly #guarded = new Set<Instruction>();
  readonly #differing = new Set<Instruction>();
  readonly #calls: boolean;

  constructor(
    readonly flow: Flow,
    readonly parameters: ReadonlySet<string>,
    readonly agreed: ReadonlySet<Instruction>,
  ) {
    this.#in = flow.blocks.map(() => new Set());
    this.#calls = flow.blocks.some((b) => b.instructions.some(({ opcode }) => opcode === "call"));
  }

  find(): Uniformity {
    const split = new Set<number>();
    const reached = new Set([0]);
    const work = [0];
    const again = (index: number) => {
      if (!work.includes(index)) work.push(index);
    };
    for (let index = work.shift(); index !== undefined; index = work.shift()) {
      const block = this.flow.blocks[index];
      if (block === undefined) continue;
      const out = this.#run(block);
      const last = block.instructions.at(-1);
      if (
        last !== undefined && block.successors.length > 1 && !split.has(index) && this.#mayDiffer(last, out)
      ) {
        split.add(index);
        for (const inside of regionOf(this.flow, block)) {
          this.#apart.add(inside);
          if (reached.has(inside)) again(inside);
        }
      }
      for (const next of block.successors) {
        const known = this.#in[next];
        const size = known?.size ?? 0;
        out.forEach((name) => known?.add(name));
        if (!reached.has(next) || (known?.size ?? 0) > size) {
          reached.add(next);
          again(next);
        }
      }
    }
    return { splits: split, apart: this.#apart, guarded: this.#guarded, differing: this.#differing };
  }

  #run(block: FlowBlock): Set<string> {
    const differing = new Set(this.#in[block.index]);
    for (const instruction of block.instructions) {
      const { guard } = instruction;
      if (guard !== undefined && differing.has(guard.register)) this.#guarded.add(instruction);
      if (used(instruction).some((name) => differing.has(name))) this.#differing.add(instruction);
      const results = written(instruction);
      const isDiffering = this.#apart.has(block.index) || this.#resultDiffers(instruction, differing);
      for (const name of results) {
        if (isDiffering) differing.add(name);
        else if (guard === undefined && instruction.opcode !== "wgmma") differing.delete(name);
      }
    }
    return differing;
  }

  #mayDiffer(instruction: Instruction, differing: ReadonlySet<string>): boolean {
    return used(instruction).some((name) => differing.has(name) || (SPECIAL.test(name) && !COMMON.has(name)));
  }

  #resultDiffers(instruction: Instruction, differing: ReadonlySet<string>): boolean {
    const { opcode, modifiers } = instruction;
    if (isBlockBarrier(instruction)) return false; // what it reduces to is the same for all
    if (opcode === "shfl" && this.#isOfOne(instruction, differing)) return false;
    if (DIFFERING.has(opcode) || opcode === "bar" || opcode === "barrier") return true;
    if (this.#mayDiffer(instruction, differing)) return true;
    if (opcode !== "ld" || this.agreed.has(instruction)) return false;
    const space = modifiers.find((m) => /^\.(param|const|global|shared|local)(::|$)/.test(m)) ?? "";
    if (space.startsWith(".const")) return false;
    const isOwn = used(instruction).every((name) =>
      this.parameters.has(name) || (!this.#calls && name.startsWith("%"))
    );
    return !space.startsWith(".param") || !isOwn;
  }

  /** A shuffle of what is the same in all lanes anyway, to the register itself: only inserted text has that. */
  #isOfOne({ operands: [to, from], guard }: Instruction, differing: ReadonlySet<string>): boolean {
    return guard === undefined && to?.kind === "name" && from?.kind === "name" && to.name === from.name &&
      !differing.has(from.name) && /^%calypte[0-9]*_/.test(to.name);
  }
}
