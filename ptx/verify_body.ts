/**
 * Which instruction of the rewritten body is which of the original, and what was inserted?
 *
 * Both bodies are read side by side. Whatever mentions a name of the rewriter's was inserted, unless it stands for the
 * original instruction whose turn it is in one of the documented ways; everything else must be the original, in its order.
 * Whether what was inserted does the right thing is asked elsewhere.
 */

import type { Instruction, Label, Operand, Statement, Variable } from "./ast.ts";
import { constantOf, isPlainBarrier, isSame, mentioned, used, written } from "./verify_names.ts";
import type { KernelPair, Report } from "./verify_module.ts";

export type Axis = ".x" | ".y" | ".z";

/** In which documented way an instruction stands for one of the original. */
export type Replacement =
  /** A read of one component of the block index or of the grid comes from `register`. */
  | { readonly kind: "index" | "grid"; readonly axis: Axis; readonly register: string }
  /** A return became a jump. */
  | { readonly kind: "return" }
  /** A plain barrier became one that reduces. */
  | { readonly kind: "barrier"; readonly operation: ".and" | ".or" }
  /** The comparison at the bottom of a loop compares with a nearer limit. */
  | { readonly kind: "strip"; readonly limit: string };

export interface Body {
  readonly pair: KernelPair;
  /** By instruction of the rewritten body; what is not in it was inserted. */
  readonly originals: ReadonlyMap<Instruction, Instruction>;
  /** The other way round. */
  readonly counterparts: ReadonlyMap<Instruction, Instruction>;
  /** By instruction of the rewritten body, for those that are not the same text. */
  readonly replaced: ReadonlyMap<Instruction, Replacement>;
  /** The first instruction behind the last statement of the original; undefined: nothing is there. */
  readonly behind: Instruction | undefined;
  /** Register of each component of the virtual block index. */
  readonly axes: ReadonlyMap<Axis, string>;
  /** True comparisons that stand once more behind a loop of strips, and what they repeat. */
  readonly repeated: ReadonlyMap<Instruction, Instruction>;
}

/** Inserted instructions that mention no name, all ahead of the original's first or behind its last. */
const NAMELESS = new Set(["bar", "barrier", "fence", "cp", "wgmma", "ret"]);

/** Undefined where the two bodies do not fit together; then it has reported why. */
export function align(pair: KernelPair, report: Report): Body | undefined {
  return new Aligner(pair, report).run();
}

class Aligner {
  readonly #originals = new Map<Instruction, Instruction>();
  readonly #counterparts = new Map<Instruction, Instruction>();
  readonly #replaced = new Map<Instruction, Replacement>();
  readonly #axes = new Map<Axis, string>();
  readonly #strips: Instruction[] = [];
  readonly #repeated = new Map<Instruction, Instruction>();
  #behind: Instruction | undefined;
  #failed = false;

  constructor(readonly pair: KernelPair, readonly report: Report) {}

  run(): Body | undefined {
    this.#list(this.pair.before.body, this.pair.after.body, true);
    if (this.#failed) return undefined;
    return {
      pair: this.pair,
      originals: this.#originals,
      counterparts: this.#counterparts,
      replaced: this.#replaced,
      behind: this.#behind,
      axes: this.#axes,
      repeated: this.#repeated,
    };
  }

  #fail(line: number, rule: string): void {
    if (!this.#failed) this.report(line, rule);
    this.#failed = true;
  }

  #list(before: readonly Statement[], after: readonly Statement[], isTop: boolean): void {
    let at = 0;
    for (const statement of after) {
      if (this.#failed) return;
      const old = before[at];
      if (statement.kind === "scope" && old?.kind === "scope") {
        this.#list(old.body, statement.body, false);
        at++;
      } else if (old !== undefined && this.#standsFor(old, statement)) at++;
      else this.#inserted(statement, old, isTop);
    }
    const missing = before[at];
    if (missing === undefined || this.#failed) return;
    this.#fail(
      after.at(-1)?.line ?? this.pair.after.line,
      `Missing from the original: ${describe(missing)} of line ${missing.line}`,
    );
  }

  #standsFor(old: Statement, statement: Statement): boolean {
    if (old.kind !== "instruction" || statement.kind !== "instruction") return isSame(old, statement);
    if (isSame(old, statement)) {
      this.#unchanged(statement);
    } else {
      const replacement = this.#replacement(old, statement);
      if (replacement === undefined) return false;
      this.#replaced.set(statement, replacement);
      if (replacement.kind === "strip") this.#strips.push(old);
      if (replacement.kind === "index") this.#noteAxis(statement, replacement);
    }
    this.#originals.set(statement, old);
    this.#counterparts.set(old, statement);
    return true;
  }

  #unchanged(instruction: Instruction): void {
    const { opcode, line } = instruction;
    const special = used(instruction).find((name) => name === "%ctaid" || name === "%nctaid");
    if (special !== undefined) {
      this.report(line, `${special} of the launch is read instead of the virtual one`);
    }
    const isReturn = opcode === "ret" || opcode === "exit";
    if (isReturn && this.pair.level !== "slice") {
      this.report(line, "A return was left in, past the place where the block gathers");
    }
  }

  #noteAxis(at: Instruction, { axis, register }: { axis: Axis; register: string }): void {
    const known = this.#axes.get(axis) ?? register;
    if (known !== register) {
      this.report(at.line, `%ctaid${axis} comes from ${register} here and from ${known} elsewhere`);
    }
    const other = [...this.#axes].find(([a, r]) => a !== axis && r === register);
    if (other !== undefined) {
      this.report(at.line, `%ctaid${axis} comes from ${register}, which stands for %ctaid${other[0]}`);
    }
    this.#axes.set(axis, known);
  }

  #isOurs(name: string): boolean {
    return name.replace(/^[%$]/, "").toLowerCase().startsWith(this.pair.prefix);
  }

  #ourRegister(operand: Operand | undefined): string | undefined {
    const isPlain = operand?.kind === "name" && operand.part === undefined && operand.negated === undefined;
    return isPlain && operand.name.startsWith("%") && this.#isOurs(operand.name) ? operand.name : undefined;
  }

  #replacement(old: Instruction, now: Instruction): Replacement | undefined {
    if (!isSame(old.guard, now.guard)) return undefined;
    if (this.pair.level !== "slice") {
      const changed = replacedReturn(old, now) ?? this.#barrier(old, now) ?? this.#strip(old, now);
      if (changed !== undefined) return changed;
    }
    return this.#index(old, now);
  }

  #index(old: Instruction, now: Instruction): Replacement | undefined {
    const [, source] = old.operands;
    const register = this.#ourRegister(now.operands[1]);
    if (register === undefined || source?.kind !== "name" || old.opcode !== now.opcode) return undefined;
    if (!isSame(old.modifiers, now.modifiers) || old.operands.length !== 2 || now.operands.length !== 2) {
      return undefined;
    }
    const axis = [".x", ".y", ".z"].find((a) => a === source.part) as Axis | undefined;
    const isMove = old.opcode === "mov" || old.opcode === "cvt";
    if (!isSame(old.operands[0], now.operands[0]) || axis === undefined || !isMove) return undefined;
    if (source.name === "%ctaid") return { kind: "index", axis, register };
    return source.name === "%nctaid" ? { kind: "grid", axis, register } : undefined;
  }

  #barrier(old: Instruction, now: Instruction): Replacement | undefined {
    if (!isPlainBarrier(old) || now.opcode !== "barrier" || now.operands.length !== 3) return undefined;
    const [reduces, operation, type] = now.modifiers;
    if (reduces !== ".red" || type !== ".pred" || (operation !== ".and" && operation !== ".or")) {
      return undefined;
    }
    const [result, number, input] = now.operands;
    const isOurs = this.#ourRegister(result) !== undefined && this.#ourRegister(input) !== undefined;
    return isOurs && constantOf(number) === 0n ? { kind: "barrier", operation } : undefined;
  }

  #strip(old: Instruction, now: Instruction): Replacement | undefined {
    const limit = this.#ourRegister(now.operands[2]);
    const rest = ({ opcode, modifiers, operands }: Instruction) => [
      opcode,
      modifiers,
      operands.length,
      operands.slice(0, 2),
    ];
    if (this.pair.level !== "loop" || old.opcode !== "setp" || limit === undefined) return undefined;
    return isSame(rest(old), rest(now)) ? { kind: "strip", limit } : undefined;
  }

  #inserted(statement: Statement, old: Statement | undefined, isTop: boolean): void {
    const { line } = statement;
    const isBehind = isTop && old === undefined;
    const isAhead = isTop && this.#originals.size === 0;
    const names = mentioned(statement);
    const expected = old === undefined ? "the end" : `${describe(old)} of line ${old.line}`;
    const isNameless = statement.kind === "instruction" && (isBehind || isAhead) &&
      NAMELESS.has(statement.opcode);
    const isCopy = statement.kind === "instruction" && this.#isOfStrip(statement);
    if (!names.some((name) => this.#isOurs(name)) && !isNameless && !isCopy) {
      return this.#fail(line, `Expected ${expected} of the original, found ${describe(statement)}`);
    }
    if (statement.kind === "instruction") {
      if (isBehind) this.#behind ??= statement;
      if (!isCopy) this.#insertedInstruction(statement);
    } else if (statement.kind === "variable") this.#insertedVariable(statement, old, isBehind);
    else if (statement.kind !== "label") {
      this.#fail(line, `Expected ${expected} of the original, found ${describe(statement)}`);
    }
  }

  /** The true comparison of a loop of strips, once more, and the branch back to its header. */
  #isOfStrip(statement: Instruction): boolean {
    const compare = this.#strips.find((old) => isSame(old, statement));
    if (compare !== undefined) this.#repeated.set(statement, compare);
    if (compare !== undefined) return true;
    return this.#strips.length > 0 && statement.opcode === "bra" && statement.guard === undefined;
  }

  #insertedInstruction(instruction: Instruction): void {
    for (const name of written(instruction)) {
      if (this.#ourRegister({ kind: "name", name }) === undefined) {
        this.report(instruction.line, `An inserted instruction writes ${name}, which is the original's`);
      }
    }
    if (instruction.opcode === "call") {
      this.report(instruction.line, "An inserted instruction calls a function");
    }
  }

  #insertedVariable(variable: Variable, old: Statement | undefined, isBehind: boolean): void {
    const { line, space, linkage } = variable;
    if (!variable.names.every(({ name }) => this.#isOurs(name))) {
      return this.#fail(line, "A declaration was added under a name that is not the rewriter's");
    }
    if (space === ".reg" && linkage.length === 0) return;
    const isWord = space === ".shared" && variable.type === ".b32" && linkage.length === 0 &&
      variable.names.length === 1 && variable.names[0]?.dimensions.length === 0 &&
      variable.vector === undefined;
    if (!isWord || this.pair.level !== "loop") {
      return this.report(
        line,
        "Only registers, and at level loop one word of shared memory, may be declared",
      );
    }
    const later = this.pair.before.body.slice(
      old === undefined ? this.pair.before.body.length : this.pair.before.body.indexOf(old),
    );
    if (!isBehind && later.some(declaresShared)) {
      this.report(line, "Shared memory was added in front of the kernel's own");
    }
  }
}

function declaresShared(statement: Statement): boolean {
  if (statement.kind === "scope") return statement.body.some(declaresShared);
  return statement.kind === "variable" && statement.space === ".shared";
}

function replacedReturn(old: Instruction, now: Instruction): Replacement | undefined {
  if (old.opcode !== "ret" && old.opcode !== "exit") return undefined;
  const isJump = now.opcode === "bra" && now.modifiers.length === 0 && now.operands.length === 1;
  return isJump ? { kind: "return" } : undefined;
}

function describe(statement: Instruction | Label | Statement): string {
  switch (statement.kind) {
    case "instruction":
      return statement.opcode + statement.modifiers.join("");
    case "label":
      return `the label ${statement.name}`;
    case "variable":
      return `the declaration of ${statement.names[0]?.name ?? statement.space}`;
    case "scope":
      return "a scope";
    case "directive":
      return statement.name;
    case "targets":
    case "prototype":
      return `${statement.name}:`;
  }
}
