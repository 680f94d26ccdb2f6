/**
 * Can a loop be cut into strips, between which the gate is read?
 *
 * A loop that counts by a constant and ends where the count meets a bound, compared at its bottom, can be made to stop at a
 * nearer limit instead: a checkpoint then costs nothing while the loop turns. Whoever stops there looks at the true bound
 * again. Any other loop takes a countdown of its own (loop_text.ts).
 */

import type { Instruction, Operand } from "./ast.ts";
import { type Block, dominates, type Graph, type Loop } from "./cfg.ts";
import { reads, writes } from "./registers.ts";

export interface Strip {
  /** The comparison at the loop's bottom, `setp p, count, bound`. */
  readonly compare: Instruction;
  /** The branch back to the header, under `p`. */
  readonly latch: Instruction;
  /** The counting register as the comparison sees it. */
  readonly count: string;
  /** The register that it is counted up from, in front of the loop. */
  readonly from: string;
  readonly bound: Operand;
  /** By how much it counts in a turn; not 0. */
  readonly step: number;
  readonly bits: 32 | 64;
  /** How many turns the loop makes, where the text says so. */
  readonly turns: number | undefined;
  /** At the end of each block that leads into the loop: in front of this instruction, or behind it. */
  readonly entries: readonly { readonly at: Instruction; readonly behind: boolean }[];
}

/** Comparisons that hold until count and limit meet, going up, going down or either way; of a branch under `!p` the opposite. */
const UP = new Set([".lt", ".lo", ".ne"]);
const DOWN = new Set([".gt", ".hi", ".ne"]);
const OPPOSITE: Readonly<Record<string, string>> = {
  ...{ ".ge": ".lt", ".hs": ".lo", ".eq": ".ne", ".le": ".gt", ".ls": ".hi" },
};
/** So that a strip's length fits 32 bits. */
const MOST_STEP = 2 ** 18;

export function findStrip(graph: Graph, loop: Loop): Strip | undefined {
  const inside = graph.blocks.filter(({ index }) => loop.blocks.has(index));
  const latches = inside.filter(({ successors }) => successors.includes(loop.header));
  const [latchBlock, second] = latches;
  const latch = latchBlock?.instructions.at(-1);
  if (
    latchBlock === undefined || second !== undefined || latch?.opcode !== "bra" || latch.guard === undefined
  ) {
    return undefined;
  }
  const { register, negated } = latch.guard;
  // Both ways of the branch: back, and out of the loop behind it.
  if (latchBlock.successors.length !== 2 || latchBlock.successors.every((to) => loop.blocks.has(to))) {
    return undefined;
  }
  const all = inside.flatMap(({ instructions }) => instructions);
  const writers = (name: string) => all.filter((i) => writes(i).includes(name));
  const [compare, otherCompare] = writers(register);
  if (compare === undefined || otherCompare !== undefined || compare.opcode !== "setp") return undefined;
  if (all.filter((i) => reads(i).includes(register)).length !== 1) return undefined;
  const at = latchBlock.instructions.indexOf(compare);
  const [comparison = "", type = "", third] = compare.modifiers;
  const [, left, bound] = compare.operands;
  const width = /^\.[su](32|64)$/.exec(type)?.[1];
  if (at < 0 || compare.guard !== undefined || third !== undefined || width === undefined) return undefined;
  if (left?.kind !== "name" || bound === undefined || !isFixed(bound, writers)) return undefined;

  const counting = findCounting(left.name, all, writers);
  if (counting === undefined || latchBlock.instructions.slice(at).includes(counting.add)) return undefined;
  const { step, from } = counting;
  if (
    ![counting.add, counting.move].every((i) => i === undefined || runsEachTurn(graph, loop, latchBlock, i))
  ) {
    return undefined;
  }
  const holds = negated ? OPPOSITE[comparison] : comparison;
  if (holds === undefined || !(step > 0 ? UP : DOWN).has(holds)) return undefined;
  const entries = entriesOf(graph, loop);
  if (entries === undefined) return undefined;
  const turns = turnsOf(graph, all, from, bound, step);
  return {
    compare,
    latch,
    count: left.name,
    from,
    bound,
    step,
    bits: width === "32" ? 32 : 64,
    turns,
    entries,
  };
}

function isFixed(operand: Operand, writers: (name: string) => readonly Instruction[]): boolean {
  if (operand.kind === "constant") return operand.value.kind === "number" || operand.value.kind === "unary";
  return operand.kind === "name" && operand.part === undefined && writers(operand.name).length === 0;
}

/** `add count, from, step`, where `from` is `count` itself or is moved from it once in every turn. */
function findCounting(
  count: string,
  all: readonly Instruction[],
  writers: (name: string) => readonly Instruction[],
): { add: Instruction; move?: Instruction; from: string; step: number } | undefined {
  const [add, second] = writers(count);
  if (add?.opcode !== "add" || second !== undefined || add.guard !== undefined) return undefined;
  const [, a, b] = add.operands;
  const [source, constant] = a?.kind === "name" ? [a, b] : [b, a];
  const step = constant === undefined ? undefined : numberOf(constant);
  if (source?.kind !== "name" || step === undefined || step === 0 || Math.abs(step) > MOST_STEP) {
    return undefined;
  }
  if (!/^\.[subx]?(32|64)$/.test(add.modifiers.at(-1) ?? "") || add.modifiers.length !== 1) return undefined;
  if (source.name === count) return { add, from: count, step };
  const [move, other] = writers(source.name);
  const isMove = move?.opcode === "mov" && other === undefined && move.guard === undefined &&
    move.operands[1]?.kind === "name" && move.operands[1].name === count;
  return isMove && all.indexOf(move) > all.indexOf(add) ? { add, move, from: source.name, step } : undefined;
}

/** Whether an instruction runs once in every turn: no way to the latch leads around it, and no inner loop repeats it. */
function runsEachTurn(graph: Graph, loop: Loop, latch: Block, instruction: Instruction): boolean {
  const block = graph.blocks.find(({ instructions }) => instructions.includes(instruction));
  if (block === undefined || !dominates(graph.dominator, block.index, latch.index)) return false;
  return !graph.loops.some((inner) =>
    inner.header !== loop.header && loop.blocks.has(inner.header) && inner.blocks.has(block.index)
  );
}

/** From constants in front of the loop and in its comparison. */
function turnsOf(
  graph: Graph,
  inside: readonly Instruction[],
  from: string,
  bound: Operand,
  step: number,
): number | undefined {
  const outside = graph.blocks.flatMap(({ instructions }) => instructions).filter((i) => !inside.includes(i));
  const begins = outside.filter((i) => writes(i).includes(from)).map(({ opcode, operands, guard }) =>
    opcode === "mov" && guard === undefined && operands[1] !== undefined ? numberOf(operands[1]) : undefined
  );
  const [begin] = begins;
  const end = numberOf(bound);
  if (begin === undefined || end === undefined || begins.some((b) => b !== begin)) return undefined;
  const turns = Math.ceil((end - begin) / step);
  return turns > 0 ? turns : undefined;
}

function numberOf(operand: Operand): number | undefined {
  if (operand.kind !== "constant") return undefined;
  const { value } = operand;
  const text = value.kind === "unary" && value.operator === "-" && value.value.kind === "number"
    ? `-${value.value.text}`
    : value.kind === "number"
    ? value.text
    : "";
  return /^-?[0-9]+$/.test(text) ? Number(text) : undefined;
}

/** Undefined where the loop can be entered from nowhere that has an instruction: at the start of the body. */
function entriesOf(graph: Graph, loop: Loop): Strip["entries"] | undefined {
  const header = graph.blocks[loop.header];
  const outside = (header?.predecessors ?? []).filter((index) => !loop.blocks.has(index));
  if (loop.header === 0 || outside.length === 0) return undefined;
  const entries: Strip["entries"][number][] = [];
  for (const index of outside) {
    const at = graph.blocks[index]?.instructions.at(-1);
    if (at === undefined) return undefined;
    entries.push({ at, behind: !isJump(at) });
  }
  return entries;
}

function isJump({ opcode }: Block["instructions"][number]): boolean {
  return opcode === "bra" || opcode === "brx";
}
