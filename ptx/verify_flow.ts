/**
 * Which instruction can run behind which, in the original and in the rewritten body, and do the two agree?
 *
 * One step at a time: what was inserted is walked through, and must come out at the same original instruction. A `trap`
 * ends the grid, so it counts as going nowhere: nothing behind it matters, and it must not look like a way to return.
 */

import type { Instruction, Statement } from "./ast.ts";
import { controlFlow } from "./cfg.ts";
import type { Body } from "./verify_body.ts";
import type { Report } from "./verify_module.ts";

export interface FlowBlock {
  readonly index: number;
  readonly instructions: readonly Instruction[];
  readonly successors: readonly number[];
}

export interface Flow {
  /** Block 0 is the entry; `exit` is empty. */
  readonly blocks: readonly FlowBlock[];
  readonly exit: number;
  /** By block: where all ways from it to a return meet first; -1 where there is no such way. */
  readonly join: readonly number[];
  readonly dominator: readonly number[];
  /** Blocks of each loop, by the block that it begins with. */
  readonly loops: ReadonlyMap<number, ReadonlySet<number>>;
  readonly blockOf: ReadonlyMap<Instruction, number>;
  /** First of the body; undefined: it has none. */
  readonly first: Instruction | undefined;
  /** Instructions that may run next; undefined among them: the thread ends. */
  next(instruction: Instruction): readonly (Instruction | undefined)[];
}

const NOWHERE = "calypte verifier: nowhere";

/**
 * Throws PtxError where a branch leads nowhere.
 *
 * @param cut instructions that count as going nowhere, besides each `trap`
 */
export function flowOf(
  body: readonly Statement[],
  file: string,
  cut: ReadonlySet<Instruction> = new Set(),
): Flow {
  const traps = new Map<Instruction, Instruction>();
  const open = (statements: readonly Statement[]): Statement[] =>
    statements.map((s) => {
      if (s.kind === "scope") return { ...s, body: open(s.body) };
      if (s.kind !== "instruction" || (s.opcode !== "trap" && !cut.has(s))) return s;
      const jump: Instruction = { ...s, opcode: "bra", operands: [{ kind: "name", name: NOWHERE }] };
      traps.set(jump, s);
      return jump;
    });
  const at = { line: 0, column: 0 };
  const bare = { kind: "instruction", ...at, modifiers: [] } as const;
  const stuck: Instruction = { ...bare, opcode: "bra", operands: [{ kind: "name", name: NOWHERE }] };
  const graph = controlFlow([
    ...open(body),
    { ...bare, opcode: "ret", operands: [] },
    { kind: "label", ...at, name: NOWHERE },
    stuck,
  ], file);

  const blocks = graph.blocks.map(({ index, instructions, successors }) => ({
    index,
    instructions: instructions.filter((i) => i !== stuck && i.line !== 0).map((i) => traps.get(i) ?? i),
    successors,
  }));
  const blockOf = new Map(blocks.flatMap((b) => b.instructions.map((i) => [i, b.index] as const)));
  const nexts = new Map<Instruction, (Instruction | undefined)[]>();
  const firstsOf = (index: number): (Instruction | undefined)[] => {
    const block = blocks[index];
    const [first] = block?.instructions ?? [];
    if (first !== undefined) return [first];
    if (block === undefined || index === graph.exit) return [undefined];
    return block.successors.filter((to) => to !== index).flatMap(firstsOf);
  };
  for (const block of blocks) {
    block.instructions.forEach((instruction, i) => {
      const inside = block.instructions[i + 1];
      nexts.set(
        instruction,
        inside === undefined ? [...new Set(block.successors.flatMap(firstsOf))] : [inside],
      );
    });
  }
  return {
    blocks,
    exit: graph.exit,
    join: graph.postDominator,
    dominator: graph.dominator,
    loops: new Map(graph.loops.map((loop) => [loop.header, loop.blocks] as const)),
    blockOf,
    first: firstsOf(0)[0],
    next: (instruction) => nexts.get(instruction) ?? [],
  };
}

/** Where a walk through inserted instructions comes out. */
export type Exit = Instruction | "gather" | "return";

/** Both flows of one kernel, and how they lie upon each other. */
export class Walk {
  constructor(readonly body: Body, readonly before: Flow, readonly after: Flow) {}

  isInserted(instruction: Instruction): boolean {
    return !this.body.originals.has(instruction);
  }

  /** Where inserted instructions lead that begin at `from`; `from` itself where it is of the original. */
  exits(from: Instruction | undefined, isStart = false): Set<Exit> {
    const found = new Set<Exit>();
    const seen = new Set<Instruction>();
    const visit = (at: Instruction | undefined, isFirst: boolean): void => {
      if (at === undefined) found.add("return");
      else if (!this.isInserted(at)) found.add(at);
      else if (at === this.body.behind && !isFirst && this.body.pair.level !== "slice") found.add("gather");
      else if (!seen.has(at)) {
        seen.add(at);
        this.after.next(at).forEach((next) => visit(next, false));
      }
    };
    visit(from, isStart);
    return found;
  }

  /** Original instructions that inserted ones must come out at; for level slice a thread ends where it did. */
  expected(next: readonly (Instruction | undefined)[]): Set<Exit> {
    const end = this.body.pair.level === "slice" ? "return" : "gather";
    return new Set(next.map((i) => i === undefined ? end : this.body.counterparts.get(i) ?? end));
  }

  /** Instructions at which inserted text begins, seen from the original's: each follows one of those. */
  ports(): Set<Instruction> {
    const found = new Set<Instruction>();
    for (const instruction of this.body.originals.keys()) {
      // What follows a barrier in another's place belongs to it.
      if (this.body.replaced.get(instruction)?.kind === "barrier") continue;
      for (const next of this.after.next(instruction)) {
        if (next !== undefined && this.isInserted(next) && next !== this.body.behind) found.add(next);
      }
    }
    return found;
  }
}

/** Whether original instructions follow each other as they did. At level loop a checkpoint may leave; that is asked elsewhere. */
export function checkFlow(walk: Walk, report: Report): void {
  const { body, before, after } = walk;
  const { pair } = body;
  const compare = (line: number, what: string, exits: Set<Exit>, expected: Set<Exit>, allowed: Exit[]) => {
    const missing = [...expected].find((exit) => !exits.has(exit));
    const wrong = [...exits].find((exit) => !expected.has(exit) && !allowed.includes(exit));
    if (missing !== undefined) report(line, `From ${what} ${nameOf(missing)} is not reached any more`);
    if (wrong !== undefined) {
      report(line, `From ${what} a way leads to ${nameOf(wrong)}, as it did not before`);
    }
  };
  const start = walk.expected([before.first]);
  const ends: Exit[] = pair.level === "slice" ? [] : ["return"];
  compare(pair.after.line, "the beginning", walk.exits(after.first, true), start, [
    ...ends,
    ...meetings(body),
  ]);
  if (pair.level !== "slice" && body.behind !== undefined) {
    compare(body.behind.line, "where the block gathers", walk.exits(body.behind, true), start, [
      ...ends,
      ...meetings(body),
    ]);
  }
  for (const [instruction, old] of body.originals) {
    const exits = new Set<Exit>();
    for (const next of after.next(instruction)) for (const exit of reached(walk, next)) exits.add(exit);
    const allowed: Exit[] = pair.level === "loop" ? ["gather", "return", ...meetings(body)] : [];
    compare(
      instruction.line,
      `line ${old.line} of the original`,
      exits,
      walk.expected(before.next(old)),
      allowed,
    );
  }
}

/** From an original instruction, the gathering place is an exit even where it comes at once. */
function reached(walk: Walk, next: Instruction | undefined): Set<Exit> {
  return next !== undefined && next === walk.body.behind && walk.body.pair.level !== "slice"
    ? new Set(["gather"])
    : walk.exits(next);
}

/** Barriers where threads that gave up by themselves wait for the others. */
function meetings(body: Body): Instruction[] {
  return [...body.replaced].filter(([, r]) => r.kind === "barrier" && r.operation === ".or").map(([i]) => i);
}

function nameOf(exit: Exit): string {
  if (exit === "gather") return "the place where the block gathers";
  return exit === "return" ? "the end of the kernel" : `line ${exit.line} (${exit.opcode})`;
}
