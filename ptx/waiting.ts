/**
 * Does a loop wait for another block?
 *
 * Workers take virtual blocks one after the other, so a block that waits for a later one would wait for ever. The answer
 * is conservative: a loop counts as waiting when the condition that ends it may depend on memory that others write while
 * it turns. It does not ask whether such a wait would end.
 */

import type { Callable, Instruction } from "./ast.ts";
import { type Block, type Graph, type Loop, reachable } from "./cfg.ts";
import { region } from "./divergence.ts";
import { reads, writes } from "./registers.ts";

export interface Waiting {
  readonly loopLine: number;
  readonly readLine: number;
  readonly what: string;
}

const OWN_SPACE = /^\.(shared|local|param|const)(::|$)/; // nobody outside the block writes these
const STRONG = new Set([".volatile", ".relaxed", ".acquire", ".acq_rel", ".mmio", ".cv", ".cg"]);

function touchesGlobal(instruction: Instruction): boolean {
  return !instruction.modifiers.some((m) => OWN_SPACE.test(m));
}

/** What makes an instruction's result change while nothing in this block does, or undefined. */
function changesByOthers(instruction: Instruction): string | undefined {
  if (!touchesGlobal(instruction)) return undefined;
  if (instruction.opcode === "atom") return "an atomic";
  if (instruction.opcode === "ld" && instruction.modifiers.some((m) => STRONG.has(m))) {
    return "a volatile, relaxed, acquire or uncached load";
  }
  return undefined;
}

/** The first loop that may wait for another block. `callee` finds the body's functions by name. */
export function findWaiting(
  graph: Graph,
  callee: (call: Instruction) => Callable | undefined,
): Waiting | undefined {
  for (const loop of graph.loops) {
    const found = findInLoop(graph, loop, callee);
    if (found !== undefined) {
      const loopLine = graph.blocks[loop.header]?.instructions[0]?.line ?? found.readLine;
      return { loopLine, ...found };
    }
  }
  return undefined;
}

/** Line of a block from which no way leads to a return, or undefined. */
export function findEndless(graph: Graph): number | undefined {
  const ending = reachable(graph.blocks, [graph.exit], (b) => b.predecessors);
  const started = reachable(graph.blocks, [0], (b) => b.successors);
  const stuck = graph.blocks.find((b) => started.has(b.index) && !ending.has(b.index));
  return stuck?.instructions[0]?.line;
}

function findInLoop(
  graph: Graph,
  loop: Loop,
  callee: (call: Instruction) => Callable | undefined,
): Omit<Waiting, "loopLine"> | undefined {
  const inside = graph.blocks.filter((block) => loop.blocks.has(block.index));
  const instructions = inside.flatMap((block) =>
    block.instructions.map((instruction) => ({ instruction, block }))
  );
  const definitions = new Map<string, typeof instructions>();
  for (const item of instructions) {
    for (const name of writes(item.instruction)) {
      const list = definitions.get(name);
      if (list === undefined) definitions.set(name, [item]);
      else list.push(item);
    }
  }
  const stores = instructions.filter(({ instruction: { opcode } }) =>
    opcode === "st" || opcode === "atom" || opcode === "red"
  );
  const branches = inside.filter((block) => block.successors.length > 1);
  const regions = new Map(branches.map((block) => [block.index, region(graph, block)] as const));

  // Backwards from the exit conditions, through registers, own memory and the branches that decide about a write.
  const wanted = new Set<Instruction>();
  const work: Instruction[] = [];
  const want = (instruction: Instruction | undefined) => {
    if (instruction === undefined || wanted.has(instruction)) return;
    wanted.add(instruction);
    work.push(instruction);
  };
  for (const block of branches) {
    if (block.successors.some((to) => !loop.blocks.has(to))) want(block.instructions.at(-1));
  }
  for (let at = work.pop(); at !== undefined; at = work.pop()) {
    for (const name of reads(at)) {
      for (const item of definitions.get(name) ?? []) {
        want(item.instruction);
        for (const branch of branches) {
          if (regions.get(branch.index)?.has(item.block.index)) want(branch.instructions.at(-1));
        }
      }
    }
    if (at.opcode === "ld" && !at.modifiers.some((m) => /^\.(param|const)(::|$)/.test(m))) {
      stores.forEach((item) => want(item.instruction));
    }
  }

  const hasFence = instructions.some(({ instruction: { opcode, modifiers } }) =>
    (opcode === "membar" || opcode === "fence") && !modifiers.includes(".cta")
  );
  for (const instruction of wanted) {
    const readLine = instruction.line;
    const what = changesByOthers(instruction);
    if (what !== undefined && !isRetry(instruction, definitions, branches, loop)) return { readLine, what };
    if (instruction.opcode === "call" && reachesGlobal(instruction, callee, new Set())) {
      return { readLine, what: "a call that reads global memory" };
    }
    if (instruction.opcode !== "ld" || !touchesGlobal(instruction) || instruction.modifiers.includes(".nc")) {
      continue;
    }
    if (hasFence) return { readLine, what: "a load in a loop with a fence" };
    if (!turns(reads(instruction), definitions)) {
      return { readLine, what: "a load of the same word in every turn" };
    }
  }
  return undefined;
}

/**
 * Whether an atomic is the compare-and-swap of a loop that tries again until it succeeds: it compares with what it found
 * last time, and success leads out. It then fails only because another thread has succeeded, and waits for nobody.
 */
function isRetry(
  { opcode, modifiers, operands }: Instruction,
  definitions: Map<string, { instruction: Instruction }[]>,
  branches: readonly Block[],
  loop: Loop,
): boolean {
  const [found, , expected] = operands;
  if (opcode !== "atom" || !modifiers.includes(".cas")) return false;
  if (found?.kind !== "name" || expected?.kind !== "name") return false;
  const updates = definitions.get(expected.name) ?? [];
  const isKept = updates.length > 0 &&
    updates.every(({ instruction: { opcode, operands, guard } }) =>
      opcode === "mov" && guard === undefined && operands[1]?.kind === "name" &&
      operands[1].name === found.name
    );
  return isKept && branches.some((block) => {
    const guard = block.instructions.at(-1)?.guard;
    const tests = definitions.get(guard?.register ?? "") ?? [];
    const test = tests[0]?.instruction;
    if (guard === undefined || tests.length !== 1 || test?.opcode !== "setp" || test.modifiers.length !== 2) {
      return false;
    }
    const compared = test.operands.slice(1).map((o) => o.kind === "name" ? o.name : "");
    if (!compared.includes(found.name) || !compared.includes(expected.name)) return false;
    const [comparison] = test.modifiers;
    if (comparison !== ".eq" && comparison !== ".ne") return false;
    // Taken if the predicate is true, or false where it is negated; the other way goes on below.
    const isTaken = (comparison === ".eq") !== guard.negated;
    const onSuccess = block.successors[isTaken ? 0 : 1];
    return onSuccess !== undefined && !loop.blocks.has(onSuccess);
  });
}

/** Whether any of these names changes from turn to turn: in the loop, it is computed from its own earlier value. */
function turns(names: readonly string[], definitions: Map<string, { instruction: Instruction }[]>): boolean {
  const closure = (from: readonly string[]): Set<string> => {
    const seen = new Set<string>();
    const work = [...from];
    for (let name = work.pop(); name !== undefined; name = work.pop()) {
      for (const { instruction } of definitions.get(name) ?? []) {
        for (const read of reads(instruction)) {
          if (!seen.has(read)) {
            seen.add(read);
            work.push(read);
          }
        }
      }
    }
    return seen;
  };
  return [...names, ...closure(names)].some((name) => closure([name]).has(name));
}

function reachesGlobal(
  call: Instruction,
  callee: (call: Instruction) => Callable | undefined,
  seen: Set<Callable>,
): boolean {
  const target = callee(call);
  if (target?.body === undefined) return true;
  if (seen.has(target)) return false;
  seen.add(target);
  return instructionsOf(target.body).some((instruction) =>
    (instruction.opcode === "call" && reachesGlobal(instruction, callee, seen)) ||
    ((instruction.opcode === "ld" || instruction.opcode === "atom") && touchesGlobal(instruction) &&
      !instruction.modifiers.includes(".nc"))
  );
}

/** All instructions of a body, those in nested scopes included, in the order of the text. */
export function instructionsOf(body: NonNullable<Callable["body"]>): Instruction[] {
  return body.flatMap((statement) =>
    statement.kind === "instruction"
      ? [statement]
      : statement.kind === "scope"
      ? instructionsOf(statement.body)
      : []
  );
}
