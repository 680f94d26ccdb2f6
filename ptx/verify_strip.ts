/**
 * Does a loop that was cut into strips turn as often as before?
 *
 * Its comparison at the bottom goes by a nearer limit; where that says stop, the true comparison is made again. So the limit
 * must never say go on where the bound says stop. By trial for the limits, over what the original shows of how it counts.
 */

import type { Instruction, Operand } from "./ast.ts";
import type { Flow, Walk } from "./verify_flow.ts";
import type { Report } from "./verify_module.ts";
import type { Checkpoint } from "./verify_loop.ts";
import { constantOf, isSame, used, written } from "./verify_names.ts";
import { evaluate, type Term, type Values } from "./verify_terms.ts";
import { type End, type Node, pathsOf } from "./verify_tree.ts";
import { PERIOD } from "./verify_world.ts";

interface Counting {
  readonly count: string;
  /** The register that it is counted up from. */
  readonly from: string;
  readonly step: bigint;
  readonly bits: number;
  readonly signed: boolean;
  readonly bound: Operand;
  readonly comparison: string;
  /** Whether the loop goes on where the comparison holds, or where it does not. */
  readonly goesOnIf: boolean;
}

export class StripChecker {
  constructor(
    readonly walk: Walk,
    readonly ports: ReadonlyMap<Instruction, Node>,
    readonly checkpoints: readonly Checkpoint[],
    readonly report: Report,
  ) {}

  /** @param compare the rewritten comparison, with `limit` in the place of the bound */
  check(compare: Instruction, limit: string): void {
    const { before, body, after } = this.walk;
    const old = body.originals.get(compare);
    if (old === undefined) return;
    const fail = (rule: string) => this.report(compare.line, rule);
    const block = before.blocks[before.blockOf.get(old) ?? -1];
    const latch = block?.instructions.at(-1);
    const header = latch === undefined ? undefined : before.next(latch)[0];
    const loop = before.loops.get(before.blockOf.get(header as Instruction) ?? -1);
    const isBottom = latch?.opcode === "bra" && latch.guard !== undefined &&
      loop?.has(block?.index ?? -1) === true;
    if (!isBottom || header === undefined || latch === undefined || loop === undefined) {
      return fail("Only the comparison at the bottom of a loop may have a nearer limit");
    }
    const counting = countingOf(before, loop, old, latch);
    if (typeof counting === "string") return fail(`A loop was cut into strips although ${counting}`);
    const copy = after.next(body.counterparts.get(latch) ?? latch).find((i) =>
      i !== undefined && isSame(body.repeated.get(i), old)
    );
    const checkpoint = this.checkpoints.find(({ port }) => port === copy);
    if (checkpoint === undefined) return fail("Where a strip ends, the true comparison must be made again");
    this.#checkEntries(loop, header, counting, limit, compare.line);
    this.#checkNext(checkpoint, counting, limit);
  }

  /** The first strip is one turn, whatever the bound. */
  #checkEntries(
    loop: ReadonlySet<number>,
    header: Instruction,
    { from, step, bits }: Counting,
    limit: string,
    line: number,
  ): void {
    const { before, after, body } = this.walk;
    const isSet = (node: Node | undefined, to: Instruction | undefined) =>
      node !== undefined && pathsOf(node).every(({ end }) =>
        end.at === to &&
        evaluate(end.registers.get(limit) ?? unknown(limit), valuesOf(new Map([[from, 1000n]]))) ===
          BigInt.asUintN(bits, 1000n + step)
      );
    const inside = (i: Instruction) => loop.has(before.blockOf.get(i) ?? -1);
    let isEntered = before.first !== header;
    for (const [now, old] of body.originals) {
      if (inside(old) || !before.next(old).includes(header)) continue;
      const isAhead = [...body.originals.keys()].every((i) => !after.next(i).includes(now)) &&
        [...this.ports].some(([, node]) => isSet(node, now));
      const isBehind = after.next(now).every((next) =>
        next !== body.counterparts.get(header) &&
        (next === undefined || !this.ports.has(next) ||
          isSet(this.ports.get(next), body.counterparts.get(header)))
      );
      isEntered &&= isAhead || isBehind;
    }
    if (!isEntered) {
      this.report(line, "The first strip of a loop must be one turn, wherever the loop is entered");
    }
  }

  #checkNext({ tree, budget, port }: Checkpoint, counting: Counting, limit: string): void {
    const { step, bits, goesOnIf, comparison, signed, count } = counting;
    const compare = (a: bigint, b: bigint) => holds(comparison, cast(a, bits, signed), cast(b, bits, signed));
    const fixed = constantOf(counting.bound);
    for (const [start, rest] of situations(step, bits)) {
      const bound = fixed ?? BigInt.asUintN(bits, start + rest);
      const from = fixed === undefined ? start : BigInt.asUintN(bits, fixed - rest);
      const doesGoOn = compare(from, bound) === goesOnIf;
      for (const left of [0n, 1n, 77n, BigInt(PERIOD), 2n ** 30n - 1n]) {
        const registers = new Map([[count, from], [budget, left]]);
        if (counting.bound.kind === "name") registers.set(counting.bound.name, bound);
        const end = follow(tree, valuesOf(registers));
        if (end === undefined) continue;
        const value = (name: string) =>
          evaluate(end.registers.get(name) ?? unknown(name), valuesOf(registers));
        const headed = value(limit);
        if (!doesGoOn) {
          if (headed === undefined) continue;
          return this.report(port.line, "A loop of strips goes on where its bound says stop");
        }
        if (headed === undefined) return this.report(port.line, "A strip begins without a limit");
        const rule = stripRule({ from, bound, limit: headed, step, bits, compare, goesOnIf, left });
        if (rule !== undefined) return this.report(port.line, rule);
        const after = value(budget);
        const size = step < 0n ? -step : step;
        const turns = BigInt.asUintN(bits, step < 0n ? from - headed : headed - from) / size;
        const paid = after === undefined ? -1n : left - BigInt.asIntN(32, after);
        // A division by multiplying may be off by one turn.
        if (paid < turns - 2n || paid < 0n) {
          return this.report(port.line, "A strip must be paid for out of the countdown");
        }
        if (turns > 1n && paid - left > 2n * (paid / (turns - 1n) + 1n)) {
          return this.report(port.line, "A strip is longer than the countdown allows");
        }
      }
    }
  }
}

interface Strip {
  readonly from: bigint;
  readonly bound: bigint;
  readonly limit: bigint;
  readonly step: bigint;
  readonly bits: number;
  readonly compare: (a: bigint, b: bigint) => boolean;
  readonly goesOnIf: boolean;
  readonly left: bigint;
}

function stripRule({ from, bound, limit, step, bits, compare, goesOnIf, left }: Strip): string | undefined {
  const size = step < 0n ? -step : step;
  const far = BigInt.asUintN(bits, step < 0n ? from - limit : limit - from);
  const turns = (far + size - 1n) / size;
  // A countdown of n slots is worth n turns at most, and one more: the strip is one turn at least.
  if (turns > left + 2n) return "A strip is longer than the countdown allows";
  const near = Array.from({ length: 24 }, (_, i) => BigInt(i + 1));
  for (const turn of [...near, ...near.map((n) => turns - 12n + n)]) {
    if (turn < 1n || turn > turns + 2n) continue;
    const at = BigInt.asUintN(bits, from + turn * step);
    const [goes, must] = [compare(at, limit) === goesOnIf, compare(at, bound) === goesOnIf];
    if (goes && !must) return "The limit of a strip lies beyond the bound of its loop";
    if (!goes) break;
  }
  return undefined;
}

/** Where a loop stands and how far its bound is, both sides of every place where numbers wrap. */
function* situations(step: bigint, bits: number): Generator<readonly [bigint, bigint]> {
  const [half, whole] = [1n << BigInt(bits - 1), 1n << BigInt(bits)];
  const size = step < 0n ? -step : step;
  const rests = [
    1n,
    size - 1n,
    size,
    size + 1n,
    3n * size,
    1000n * size + 1n,
    half - 1n,
    half + 5n,
    whole - 20n,
  ];
  for (const start of [0n, 5n, half - 10n, half, whole - 7n, 12345n]) {
    for (const rest of rests) yield [start, step < 0n ? -rest : rest];
    yield [start, 0n];
    yield [start, step < 0n ? 3n : -3n];
  }
}

function cast(value: bigint, bits: number, signed: boolean): bigint {
  return signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

function holds(comparison: string, a: bigint, b: bigint): boolean {
  const table: Record<string, boolean> = {
    eq: a === b,
    ne: a !== b,
    lt: a < b,
    le: a <= b,
    gt: a > b,
    ge: a >= b,
  };
  return table[comparison] ?? false;
}

function unknown(register: string): Term {
  return { kind: "start", register };
}

function valuesOf(registers: ReadonlyMap<string, bigint>): Values {
  const none = () => undefined;
  return {
    start: (name) => registers.get(name),
    parameter: (name) => name.endsWith("_period") ? BigInt(PERIOD) : undefined,
    special: none,
    variable: none,
    result: none,
  };
}

/** One thread's way as far as it does nothing but compute; undefined where it does more. */
function follow(root: Node, values: Values): End | undefined {
  for (let node = root;;) {
    if (node.kind === "end") return node;
    if (node.kind === "event") return undefined;
    const test = evaluate(node.condition, values);
    if (test === undefined) return undefined;
    node = test !== 0n ? node.yes : node.no;
  }
}

/** How the loop counts, or why that cannot be told. */
function countingOf(
  flow: Flow,
  loop: ReadonlySet<number>,
  compare: Instruction,
  latch: Instruction,
): Counting | string {
  const all = flow.blocks.filter(({ index }) => loop.has(index)).flatMap((b) => b.instructions);
  const writers = (name: string) => all.filter((i) => written(i).includes(name));
  const [result, left, bound] = compare.operands;
  const [comparison = "", type = ""] = compare.modifiers;
  const match = /^\.([su])(32|64)$/.exec(type);
  if (match === null || left?.kind !== "name" || bound === undefined || compare.modifiers.length !== 2) {
    return "its comparison is not a plain one";
  }
  const test = result?.kind === "name" ? result.name : "";
  const isOnly = compare.guard === undefined && writers(test).length === 1 &&
    latch.guard?.register === test &&
    all.filter((i) => used(i).includes(test)).length === 1;
  if (!isOnly) return "others use the result of its comparison";
  const isFixed = constantOf(bound) !== undefined ||
    (bound.kind === "name" && writers(bound.name).length === 0);
  if (!isFixed) return "its bound may change";

  const [add, second] = writers(left.name);
  const everyTurn = (i: Instruction) => i.guard === undefined && isOnceInEveryTurn(flow, loop, i, latch);
  if (add?.opcode !== "add" || second !== undefined || !everyTurn(add) || !isAhead(flow, add, compare)) {
    return "it does not count once in every turn, ahead of the comparison";
  }
  const [, a, b] = add.operands;
  const [source, constant] = a?.kind === "name" ? [a, b] : [b, a];
  const step = constantOf(constant);
  if (
    source?.kind !== "name" || step === undefined || step === 0n ||
    !/^\.[us](32|64)$/.test(add.modifiers.join(""))
  ) {
    return "it does not count by a constant";
  }
  if (!add.modifiers.join("").endsWith(match[2] ?? "")) {
    return "it counts in another width than it compares in";
  }
  if (source.name !== left.name) {
    const [move, other] = writers(source.name);
    const isMove = move?.opcode === "mov" && other === undefined && everyTurn(move) &&
      isSame(move.operands[1], left) && isAhead(flow, add, move);
    if (!isMove) return "what it counts from is not the count";
  }
  return {
    count: left.name,
    from: source.name,
    step,
    bits: Number(match[2]),
    signed: match[1] === "s",
    bound,
    comparison: ({ lo: "lt", hi: "gt", ls: "le", hs: "ge" } as Record<string, string>)[comparison.slice(1)] ??
      comparison.slice(1),
    goesOnIf: latch.guard?.negated !== true,
  };
}

function isOnceInEveryTurn(
  flow: Flow,
  loop: ReadonlySet<number>,
  at: Instruction,
  latch: Instruction,
): boolean {
  const block = flow.blockOf.get(at) ?? -1;
  const isInner = [...flow.loops.values()].some((other) => other.size < loop.size && other.has(block));
  return !isInner && dominates(flow, block, flow.blockOf.get(latch) ?? -1);
}

/** Whether every way to `b` has come by `a`. */
function isAhead(flow: Flow, a: Instruction, b: Instruction): boolean {
  const [left, right] = [flow.blockOf.get(a) ?? -1, flow.blockOf.get(b) ?? -1];
  if (left !== right) return dominates(flow, left, right);
  const block = flow.blocks[left]?.instructions ?? [];
  return block.indexOf(a) < block.indexOf(b);
}

function dominates({ dominator }: Flow, a: number, b: number): boolean {
  for (let at = b; at >= 0; at = dominator[at] ?? -1) if (at === a) return true;
  return false;
}
