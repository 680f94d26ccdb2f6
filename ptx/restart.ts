/**
 * May a block that was abandoned half-way be run again from its start?
 *
 * Only if nothing that it did so far can be seen: by others, or by itself when it runs again. The answer may depend on two
 * parameters not overlapping, which the PTX cannot show and a bundle's manifest can.
 */

import type { Callable, Instruction } from "./ast.ts";
import type { Graph } from "./cfg.ts";
import type { Access, Memory, Roots } from "./memory.ts";

/** Parameters by position: what is written behind `written` must not be what is read behind `read`. */
export interface Disjoint {
  readonly written: number;
  readonly read: number;
}

export interface Restart {
  readonly ok: boolean;
  /** Why, in words; of a refusal also which line. */
  readonly reason: string;
  readonly line?: number;
  /** What has to be true besides; empty: nothing. */
  readonly disjoint: readonly Disjoint[];
}

export class RestartAnalysis {
  readonly #byBlock: Access[][];
  readonly #reads: Access[];
  readonly #graph: Graph;

  constructor(graph: Graph, memory: Memory, callee: (call: Instruction) => Callable | undefined) {
    this.#graph = graph;
    this.#byBlock = graph.blocks.map((block) =>
      block.instructions.flatMap((i) => memory.accesses(i, callee))
    );
    this.#reads = this.#byBlock.flat().filter(({ kind }) => kind === "read");
  }

  /**
   * @param done blocks of the graph of which any thread may have run a part when the kernel's block is abandoned
   * @param ahead of the one that holds this instruction, only what stands in front of it
   */
  judge(done: Iterable<number>, ahead?: Instruction): Restart {
    const effects = [...done].flatMap((index) => this.#ran(index, ahead)).filter((a) => a.kind !== "read");
    const update = effects.find(({ kind }) => kind === "update");
    if (update !== undefined) {
      const { line, opcode, modifiers } = update.instruction;
      const what = `${opcode}${modifiers.join("")} at line ${line}`;
      return { ok: false, reason: `${what} may not happen twice`, line, disjoint: [] };
    }
    if (effects.length === 0) {
      return { ok: true, reason: "nothing is written before the last checkpoint", disjoint: [] };
    }
    const disjoint = new Map<string, Disjoint>();
    for (const write of effects) {
      const { line } = write.instruction;
      for (const read of this.#reads) {
        const conflict = conflictOf(write.roots, read.roots);
        if (conflict === "same" || conflict === "unknown") {
          const reason = conflict === "same"
            ? `it may already have written at line ${line} what it reads at line ${read.instruction.line}`
            : `where line ${line} writes or line ${read.instruction.line} reads is not known`;
          return { ok: false, reason, line, disjoint: [] };
        }
        conflict.forEach((pair) => disjoint.set(`${pair.written} ${pair.read}`, pair));
      }
    }
    const reason = "what it writes before the last checkpoint it never reads";
    return { ok: true, reason, disjoint: [...disjoint.values()] };
  }

  #ran(index: number, ahead: Instruction | undefined): Access[] {
    const accesses = this.#byBlock[index] ?? [];
    const instructions = this.#graph.blocks[index]?.instructions ?? [];
    const end = ahead === undefined ? -1 : instructions.indexOf(ahead);
    return end < 0 ? accesses : accesses.filter((a) => instructions.indexOf(a.instruction) < end);
  }
}

/** Pairs that must not overlap, or why they surely may. */
function conflictOf(write: Roots, read: Roots): Disjoint[] | "same" | "unknown" {
  if (write.any || read.any) return "unknown";
  const pairs: Disjoint[] = [];
  for (const a of write.names) {
    for (const b of read.names) {
      if (a === b) return "same";
      const [written, from] = [parameterOf(a), parameterOf(b)];
      // A module's variable is an allocation of its own.
      if (written !== undefined && from !== undefined) pairs.push({ written, read: from });
    }
  }
  return pairs;
}

function parameterOf(root: string): number | undefined {
  return root.startsWith("param ") ? Number(root.slice("param ".length)) : undefined;
}
