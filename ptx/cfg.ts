/**
 * In which order can the instructions of a function run? Basic blocks, dominators, post-dominators, loops.
 *
 * It looks at branches only. What a branch depends on is divergence.ts's question; a call is taken to return.
 */

import type { Instruction, Statement } from "./ast.ts";
import { PtxError } from "./error.ts";

export interface Block {
  readonly index: number;
  readonly instructions: Instruction[];
  readonly successors: number[];
  readonly predecessors: number[];
}

/** A loop with one header that dominates it. */
export interface Loop {
  readonly header: number;
  readonly blocks: ReadonlySet<number>;
}

export interface Graph {
  /** Block 0 is the entry. The last one is empty, and every return leads to it. Unreachable blocks have no predecessors. */
  readonly blocks: readonly Block[];
  readonly exit: number;
  /** Immediate dominator of each block, -1 where there is none. */
  readonly dominator: readonly number[];
  /** Immediate post-dominator of each block, -1 where there is none: the exit, and blocks that cannot reach it. */
  readonly postDominator: readonly number[];
  readonly loops: readonly Loop[];
  /** A block inside a cycle that has no single header; undefined in code that compilers write. */
  readonly irreducible: number | undefined;
}

/** Instructions behind which a thread never goes on. */
const ENDS = new Set(["ret", "exit", "trap"]);

interface Flat {
  instruction: Instruction;
  labels: Labels;
}

/** Labels are scoped like variables: the same name may stand in two `{ }` side by side. */
interface Labels {
  readonly parent: Labels | undefined;
  readonly places: Map<string, number>;
  readonly tables: Map<string, readonly string[]>;
}

/** Builds the graph of a function body. Throws PtxError when a branch leads nowhere. */
export function controlFlow(body: readonly Statement[], file: string): Graph {
  const flat: Flat[] = [];
  flatten(body, undefined, flat);
  const targets = flat.map((item) => branchTargets(item, file));

  const leaders = new Set<number>([0]);
  targets.forEach((list, at) => {
    if (list === undefined) return;
    leaders.add(at + 1);
    for (const target of list) leaders.add(target);
  });
  leaders.delete(flat.length);

  const starts = flat.length === 0 ? [] : [...leaders].sort((a, b) => a - b);
  const blocks: Block[] = starts.map((start, index) => ({
    index,
    instructions: flat.slice(start, starts[index + 1] ?? flat.length).map((item) => item.instruction),
    successors: [],
    predecessors: [],
  }));
  const exit = blocks.length;
  blocks.push({ index: exit, instructions: [], successors: [], predecessors: [] });

  const blockAt = new Map(starts.map((start, index) => [start, index] as const));
  starts.forEach((_, index) => {
    const last = (starts[index + 1] ?? flat.length) - 1;
    const instruction = flat[last]?.instruction;
    const block = blocks[index];
    if (instruction === undefined || block === undefined) return;
    const next = new Set<number>();
    for (const target of targets[last] ?? []) next.add(blockAt.get(target) ?? exit);
    if (ENDS.has(instruction.opcode)) next.add(exit);
    if (targets[last] === undefined || instruction.guard !== undefined) next.add(index + 1);
    block.successors.push(...next);
  });
  prune(blocks);

  const dominator = dominators(blocks, 0, (b) => b.successors, (b) => b.predecessors);
  const postDominator = dominators(blocks, exit, (b) => b.predecessors, (b) => b.successors);
  const { loops, irreducible } = findLoops(blocks, dominator);
  return { blocks, exit, dominator, postDominator, loops, irreducible };
}

function flatten(body: readonly Statement[], parent: Labels | undefined, flat: Flat[]): void {
  const labels: Labels = { parent, places: new Map(), tables: new Map() };
  for (const statement of body) {
    if (statement.kind === "instruction") flat.push({ instruction: statement, labels });
    else if (statement.kind === "label") labels.places.set(statement.name, flat.length);
    else if (statement.kind === "targets") labels.tables.set(statement.name, statement.labels);
    else if (statement.kind === "scope") flatten(statement.body, labels, flat);
  }
}

/** Where an instruction may jump to; an empty list where it ends the thread; undefined where it only goes on. */
function branchTargets({ instruction, labels }: Flat, file: string): number[] | undefined {
  if (ENDS.has(instruction.opcode)) return [];
  if (instruction.opcode !== "bra" && instruction.opcode !== "brx") return undefined;
  const operand = instruction.operands[instruction.opcode === "bra" ? 0 : 1];
  const name = operand?.kind === "name" ? operand.name : "";
  const names = instruction.opcode === "bra" ? [name] : find(labels, (l) => l.tables.get(name));
  return (names ?? [undefined]).map((label) => {
    const place = label === undefined ? undefined : find(labels, (l) => l.places.get(label));
    if (place !== undefined) return place;
    throw new PtxError(
      file,
      instruction,
      `${instruction.opcode} to "${label ?? name}", which is not in reach`,
      "Declare the label in the same function",
    );
  });
}

function find<T>(labels: Labels, get: (labels: Labels) => T | undefined): T | undefined {
  for (let l: Labels | undefined = labels; l !== undefined; l = l.parent) {
    const found = get(l);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Cuts off what the entry does not reach, and fills in the predecessors. */
function prune(blocks: Block[]): void {
  const reached = reachable(blocks, [0], (b) => b.successors);
  for (const block of blocks) {
    if (!reached.has(block.index)) block.successors.length = 0;
    for (const next of block.successors) blocks[next]?.predecessors.push(block.index);
  }
}

/** All blocks on a way from `from`, themselves included, without going on behind those in `stop`. */
export function reachable(
  blocks: readonly Block[],
  from: readonly number[],
  next: (block: Block) => readonly number[] = (b) => b.successors,
  stop: ReadonlySet<number> = new Set(),
): Set<number> {
  const seen = new Set<number>(from);
  const work = [...from];
  for (let at = work.pop(); at !== undefined; at = work.pop()) {
    const block = blocks[at];
    if (block === undefined || stop.has(at)) continue;
    for (const to of next(block)) {
      if (!seen.has(to)) {
        seen.add(to);
        work.push(to);
      }
    }
  }
  return seen;
}

/** Immediate dominators by iteration over the reverse post-order (Cooper, Harvey, Kennedy 2001). */
function dominators(
  blocks: readonly Block[],
  root: number,
  successors: (b: Block) => readonly number[],
  predecessors: (b: Block) => readonly number[],
): number[] {
  const order = postOrder(blocks, root, successors).reverse();
  const rank = new Map(order.map((block, i) => [block, i] as const));
  const result = blocks.map(() => -1);
  result[root] = root;
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      if ((rank.get(a) ?? 0) > (rank.get(b) ?? 0)) a = result[a] ?? root;
      else b = result[b] ?? root;
    }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const at of order) {
      const block = blocks[at];
      if (at === root || block === undefined) continue;
      let best = -1;
      for (const from of predecessors(block)) {
        if ((result[from] ?? -1) >= 0) best = best < 0 ? from : meet(best, from);
      }
      if (result[at] !== best) {
        result[at] = best;
        changed = true;
      }
    }
  }
  result[root] = -1;
  return result;
}

function postOrder(blocks: readonly Block[], root: number, next: (b: Block) => readonly number[]): number[] {
  const order: number[] = [];
  const seen = new Set([root]);
  const stack: { at: number; child: number }[] = [{ at: root, child: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const block = blocks[top.at];
    const to = block === undefined ? undefined : next(block)[top.child++];
    if (to === undefined) {
      order.push(top.at);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push({ at: to, child: 0 });
    }
  }
  return order;
}

/** Whether every way to `b` leads through `a`. */
export function dominates(dominator: readonly number[], a: number, b: number): boolean {
  for (let at = b; at >= 0; at = dominator[at] ?? -1) if (at === a) return true;
  return false;
}

function findLoops(
  blocks: readonly Block[],
  dominator: readonly number[],
): { loops: Loop[]; irreducible: number | undefined } {
  const bodies = new Map<number, Set<number>>();
  let irreducible: number | undefined;
  const rank = new Map(postOrder(blocks, 0, (b) => b.successors).reverse().map((b, i) => [b, i] as const));
  for (const block of blocks) {
    for (const header of block.successors) {
      // An edge backwards in reverse post-order closes a cycle; a proper loop's header dominates its source.
      if ((rank.get(header) ?? 0) > (rank.get(block.index) ?? 0)) continue;
      if (!dominates(dominator, header, block.index)) {
        irreducible ??= header;
        continue;
      }
      const inside = reachable(blocks, [block.index], (b) => b.predecessors, new Set([header]));
      const body = bodies.get(header) ?? new Set([header]);
      for (const at of inside) body.add(at);
      bodies.set(header, body);
    }
  }
  return { loops: [...bodies].map(([header, body]) => ({ header, blocks: body })), irreducible };
}
