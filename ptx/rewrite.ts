/**
 * How does a kernel become one at level `block` or `loop`? Syntax tree in, syntax tree out.
 *
 * Parameters are added, reads of the block index and the grid are replaced, returns become jumps to the checkpoint, loops
 * get theirs, and the wrapper (wrapper.ts) goes around. What is allowed was decided before, by safety.ts and
 * checkpoints.ts.
 */

import type { Callable, Instruction, Module, Operand, Performance, Statement } from "./ast.ts";
import { isMbarrierInit, mbarrierAddress } from "./asynchronous.ts";
import { isBarrier } from "./barriers.ts";
import type { Checkpoint } from "./checkpoints.ts";
import { checkText, countdown, firstLimit, meetingBarrier, meetingLabel, stripEnd } from "./loop_text.ts";
import { freshNames } from "./names.ts";
import { parseParameters, parseStatements } from "./parser.ts";
import { registerType } from "./registers.ts";
import type { Verdict } from "./safety.ts";
import { type Axis, type BodyFacts, CALYPTE_LOOP_PARAMS, CALYPTE_PARAMS, wrapper } from "./wrapper.ts";
import type { WrapperNames } from "./wrapper_text.ts";

/** What to pin in a rewritten kernel so that ptxas does not choose other registers than for the original. */
export interface Pins {
  /** For `.minnctapersm`: resident blocks per SM of the original. ptxas heeds it only beside a bound on threads. */
  readonly minBlocks?: number;
  /** For `.maxntid`, where the kernel states no bound of its own: threads of a block. */
  readonly maxThreads?: number;
}

type Kernel = Callable & { body: readonly Statement[] };

/** Rewrites a kernel that safety.ts found fit for level `block`; with checkpoints in its loops, to level `loop`. */
export function rewriteKernel(
  module: Module,
  kernel: Kernel,
  verdict: Verdict,
  checkpoints: readonly Checkpoint[],
  pins: Pins,
): Kernel {
  const names = freshNames(module);
  const rewriter = new BodyRewriter(names, kernel, verdict, checkpoints);
  const body = kernel.body.flatMap((statement) => rewriter.rewrite(statement));
  const parts = wrapper(names, rewriter.facts());
  return {
    ...kernel,
    parameters: addParameters(kernel, names, checkpoints.length > 0 ? CALYPTE_LOOP_PARAMS : CALYPTE_PARAMS),
    performance: pin(kernel.performance, pins),
    body: wrap(body, parts.before, parts.after),
  };
}

/** The kernel's own parameters, and `added` behind them. */
export function addParameters(
  kernel: Callable,
  names: WrapperNames,
  added: readonly { readonly name: string; readonly type: string }[],
): Callable["parameters"] {
  const text = added.map(({ name, type }) => `.param .${type} ${names.param(name.slice("calypte_".length))}`);
  return [...kernel.parameters, ...parseParameters(text.join(", "), "the wrapper")];
}

/**
 * Declarations stay in front of what uses them, and `before` comes before the first label: a body that loops back to its own
 * start must not run it again.
 */
export function wrap(body: readonly Statement[], before: string, after: string): Statement[] {
  const found = body.findIndex((s) => s.kind === "instruction" || s.kind === "label" || s.kind === "scope");
  const start = found < 0 ? body.length : found;
  return [
    ...body.slice(0, start),
    ...parseStatements(before, "the wrapper"),
    ...body.slice(start),
    ...parseStatements(after, "the wrapper"),
  ];
}

class BodyRewriter {
  readonly #axes = new Set<Axis>();
  readonly #mbarriers: { live: string; address: string; type: string }[] = [];
  readonly #checks: string[] = [];
  readonly #atHeader: Map<Instruction, number>;
  readonly #meetings: Map<Instruction, number>;

  constructor(
    readonly names: WrapperNames,
    readonly kernel: Kernel,
    readonly verdict: Verdict,
    readonly checkpoints: readonly Checkpoint[],
  ) {
    this.#atHeader = new Map(checkpoints.map((checkpoint, i) => [checkpoint.before, i] as const));
    const meetings = new Set(checkpoints.flatMap(({ meeting }) => meeting === undefined ? [] : [meeting]));
    this.#meetings = new Map([...meetings].map((barrier, i) => [barrier, i] as const));
  }

  facts(): BodyFacts {
    const { returns, copiesAsync, multipliesAsync } = this.verdict;
    return {
      axes: this.#axes,
      returns,
      copiesAsync,
      multipliesAsync,
      mbarriers: this.#mbarriers,
      checkpoints: this.checkpoints,
      checks: this.#checks.join(""),
      shares: this.verdict.shares,
    };
  }

  rewrite(statement: Statement, inScope = false): Statement[] {
    if (statement.kind === "scope") {
      return [{ ...statement, body: statement.body.flatMap((inner) => this.rewrite(inner, true)) }];
    }
    if (statement.kind !== "instruction") return [statement];
    const checkpoint = this.#atHeader.get(statement);
    const before = checkpoint === undefined ? [] : this.#countdown(checkpoint, inScope);
    const limits = this.#limits(statement);
    return [...before, ...limits.before, ...this.#bottom(statement, inScope), ...limits.behind];
  }

  #countdown(index: number, inScope: boolean): Statement[] {
    const checkpoint = this.#checkpoint(index);
    if (checkpoint.strip !== undefined) return [];
    return parse(countdown(this.names, checkpoint, index, this.#check(index, inScope)));
  }

  /** The checkpoint's text where it has to stand in line; else it is put aside. */
  #check(index: number, inScope: boolean): string {
    const checkpoint = this.#checkpoint(index);
    const { meeting } = checkpoint;
    const label = meeting === undefined
      ? undefined
      : meetingLabel(this.names, this.#meetings.get(meeting) ?? 0);
    const text = checkText(this.names, checkpoint, index, label, this.verdict.multipliesAsync);
    if (inScope) return text;
    this.#checks.push(text);
    return "";
  }

  /** Where blocks of the graph end that lead into loops of strips. */
  #limits(instruction: Instruction): { before: Statement[]; behind: Statement[] } {
    const [before, behind] = [[], []] as [Statement[], Statement[]];
    for (const [index, { strip }] of this.checkpoints.entries()) {
      const entry = strip?.entries.find(({ at }) => at === instruction);
      if (strip === undefined || entry === undefined) continue;
      (entry.behind ? behind : before).push(...parse(firstLimit(this.names, strip, index)));
    }
    return { before, behind };
  }

  /** The bottom of a loop of strips compares with the limit first, and with the bound where a strip ends. */
  #bottom(instruction: Instruction, inScope: boolean): Statement[] {
    for (const [index, checkpoint] of this.checkpoints.entries()) {
      const { strip } = checkpoint;
      if (strip?.compare === instruction) {
        const limit: Operand = { kind: "name", name: `${this.names.register}limit${index}` };
        return [{ ...instruction, operands: [...instruction.operands.slice(0, 2), limit] }];
      }
      if (strip?.latch === instruction) {
        const text = stripEnd(this.names, checkpoint, strip, index, this.#check(index, inScope));
        return [instruction, strip.compare, ...parse(text)];
      }
    }
    return this.#instruction(instruction);
  }

  #checkpoint(index: number): Checkpoint {
    const checkpoint = this.checkpoints[index];
    if (checkpoint === undefined) throw new Error(`No checkpoint ${index}`);
    return checkpoint;
  }

  #instruction(instruction: Instruction): Statement[] {
    const { names, verdict } = this;
    if (instruction.opcode === "ret" || instruction.opcode === "exit") {
      const to: Operand = { kind: "name", name: `${names.label}GATHER` };
      return [{ ...instruction, opcode: "bra", modifiers: [], operands: [to] }];
    }
    const meeting = this.#meetings.get(instruction);
    if (meeting !== undefined) return parse(meetingBarrier(names, meeting));
    if (verdict.returns === "counted" && isBarrier(instruction)) {
      const text = `barrier.red.and.pred ${names.register}go, 0, ${names.register}done;`;
      const [counting] = parse(text) as Instruction[];
      if (counting === undefined) throw new Error("A barrier is one instruction");
      return [instruction.guard === undefined ? counting : { ...counting, guard: instruction.guard }];
    }
    if (isMbarrierInit(instruction)) return this.#mbarrier(instruction);
    return rewriteIndex(instruction, names, this.#axes);
  }

  /** Keeps in registers that this thread set it up, and where, so that it can be given up at the block's end. */
  #mbarrier(instruction: Instruction): Statement[] {
    const operand = mbarrierAddress(instruction);
    const item = operand?.kind === "address" ? operand.items[0] : undefined;
    if (item === undefined || item.base.kind !== "name") {
      throw new Error("safety.ts lets no other form through");
    }
    const { register: r } = this.names;
    const number = this.#mbarriers.length;
    const [live, address] = [`${r}live${number}`, `${r}mbarrier${number}`];
    const type = registerType(this.kernel, item.base.name) ?? ".b32"; // a variable's address fits 32 bits
    this.#mbarriers.push({ live, address, type });
    const guard = instruction.guard;
    const keep = parse(
      `mov${type} ${address}, 0;\n\tadd${
        type.replace("b", "u")
      } ${address}, ${address}, 0;\n\tmov.pred ${live}, 1;`,
    )
      .map((s, i): Statement => {
        if (s.kind !== "instruction") return s;
        const guarded = guard === undefined ? s : { ...s, guard };
        if (i === 0) return { ...guarded, operands: [...s.operands.slice(0, 1), item.base] };
        if (i > 1 || item.offset === undefined) return guarded;
        return {
          ...guarded,
          operands: [...s.operands.slice(0, 2), { kind: "constant", value: item.offset }],
        };
      });
    return [instruction, ...keep];
  }
}

function parse(text: string): Statement[] {
  return parseStatements(text, "the wrapper");
}

/** Reads of components of the block index and the grid; safety.ts has seen to it that there is no other form. */
export function rewriteIndex(instruction: Instruction, names: WrapperNames, axes: Set<Axis>): Statement[] {
  const [result, source] = instruction.operands;
  if (result === undefined || source?.kind !== "name") return [instruction];
  const axis = source.part?.slice(1);
  if (axis !== "x" && axis !== "y" && axis !== "z") return [instruction];
  const from = (name: string): Instruction => ({
    ...instruction,
    operands: [result, { kind: "name", name }],
  });
  if (source.name === "%ctaid") {
    axes.add(axis);
    return [from(names.register + axis)];
  }
  if (source.name !== "%nctaid") return [instruction];
  const extent = `${names.register}extent`;
  return [...parse(`ld.param.u32 ${extent}, [${names.param(`grid_${axis}`)}];`), from(extent)];
}

function pin(performance: readonly Performance[], pins: Pins): Performance[] {
  const isBound = (p: Performance) => p.name === ".maxntid" || p.name === ".reqntid";
  const directive = (name: string, value: number) => ({ name, words: [String(value)], semicolon: false });
  const result = performance.filter((p) => pins.minBlocks === undefined || p.name !== ".minnctapersm");
  if (pins.maxThreads !== undefined && !result.some(isBound)) {
    result.push(directive(".maxntid", pins.maxThreads));
  }
  if (pins.minBlocks !== undefined && result.some(isBound)) {
    result.push(directive(".minnctapersm", pins.minBlocks));
  }
  return result;
}
