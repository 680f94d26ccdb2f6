/**
 * What does an instruction mention, what does it write, and are two pieces of a tree the same text?
 *
 * The verifier's own reading of operands, apart from registers.ts, which the rewriter uses. Parts of registers (`.x`) are
 * left out: two parts of one register count as one.
 */

import type { Expression, Instruction, Operand, Statement } from "./ast.ts";

/** Their first operand is a register that they read, or a label. */
const WITHOUT_RESULT = new Set(
  "bra brx bar barrier nanosleep pmevent setmaxnreg stackrestore call ret exit".split(" "),
);

function inExpression(value: Expression, into: string[]): void {
  if (value.kind === "name") into.push(value.name);
  else if (value.kind === "apply" || value.kind === "cast" || value.kind === "unary") {
    inExpression(value.value, into);
  } else if (value.kind === "binary") {
    inExpression(value.left, into);
    inExpression(value.right, into);
  } else if (value.kind === "select") {
    for (const part of [value.test, value.yes, value.no]) inExpression(part, into);
  } else if (value.kind === "list") {
    for (const item of value.items) inExpression(item, into);
  }
}

/** Every name in an operand. */
export function namesIn(operand: Operand | undefined): string[] {
  const names: string[] = [];
  const visit = (at: Operand): void => {
    if (at.kind === "name") names.push(at.name);
    else if (at.kind === "constant") inExpression(at.value, names);
    else if (at.kind === "address") {
      for (const { base, offset } of at.items) {
        visit(base);
        if (offset !== undefined) inExpression(offset, names);
      }
    } else if (at.kind === "pair") {
      visit(at.first);
      visit(at.second);
    } else at.items.forEach(visit);
  };
  if (operand !== undefined) visit(operand);
  return names;
}

/** The operand that takes an instruction's result, or undefined. */
function resultOf({ opcode, modifiers, operands }: Instruction): Operand | undefined {
  const [first] = operands;
  if (opcode === "call") return first?.kind === "list" && operands.length > 1 ? first : undefined;
  if (first === undefined || first.kind === "address" || first.kind === "constant") return undefined;
  const isReduction = (opcode === "bar" || opcode === "barrier") && modifiers.includes(".red");
  return WITHOUT_RESULT.has(opcode) && !isReduction ? undefined : first;
}

/** Names that an instruction writes: registers, and of a call the parameters that take its results. */
export function written(instruction: Instruction): string[] {
  return namesIn(resultOf(instruction)).filter((name) => name !== "_");
}

/** Names that it reads or goes to: its guard, registers, labels, variables, functions. Accumulators count as read too. */
export function used(instruction: Instruction): string[] {
  const { guard, operands, opcode } = instruction;
  const result = opcode === "wgmma" ? undefined : resultOf(instruction);
  const names = operands.flatMap((operand) => operand === result ? [] : namesIn(operand));
  return guard === undefined ? names : [guard.register, ...names];
}

/** Every name that a statement declares or mentions, statements inside it included. */
export function mentioned(statement: Statement): string[] {
  switch (statement.kind) {
    case "instruction":
      return [...used(statement), ...written(statement)];
    case "variable":
      return statement.names.map(({ name }) => name);
    case "label":
    case "targets":
    case "prototype":
      return [statement.name];
    case "scope":
      return statement.body.flatMap(mentioned);
    case "directive":
      return [];
  }
}

/** Whether two trees are equal but for where they stand. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((item, i) => isSame(item, b[i]));
  }
  const keys = (of: object) => Object.keys(of).filter((k) => k !== "line" && k !== "column" && k !== "file");
  const [left, right] = [keys(a), keys(b)];
  return left.length === right.length &&
    left.every((key) => isSame(Reflect.get(a, key), Reflect.get(b, key)));
}

/** Value of a constant operand; undefined where it is none, or not a plain number. */
export function constantOf(operand: Operand | undefined): bigint | undefined {
  return operand?.kind === "constant" ? numberOf(operand.value) : undefined;
}

export function numberOf(value: Expression | undefined): bigint | undefined {
  if (value?.kind === "unary" && (value.operator === "-" || value.operator === "+")) {
    const inner = numberOf(value.value);
    return inner === undefined ? undefined : value.operator === "-" ? -inner : inner;
  }
  if (value?.kind !== "number" || !/^(0[xX][0-9a-fA-F]+|[0-9]+)U?$/.test(value.text)) return undefined;
  const text = value.text.replace(/U$/, "");
  return BigInt(/^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text);
}

/** A barrier of the whole block, whatever its form. */
export function isBlockBarrier({ opcode, modifiers }: Instruction): boolean {
  return (opcode === "bar" || opcode === "barrier") && !modifiers.includes(".warp") &&
    !modifiers.includes(".cluster");
}

/** `bar.sync 0` in any spelling, for all threads. */
export function isPlainBarrier(instruction: Instruction): boolean {
  const { modifiers, operands } = instruction;
  return isBlockBarrier(instruction) && modifiers.includes(".sync") && operands.length === 1 &&
    constantOf(operands[0]) === 0n;
}

/** Whether lanes of one warp wait for each other there. */
export function isLaneMeeting({ opcode, modifiers }: Instruction): boolean {
  return modifiers.includes(opcode === "bar" || opcode === "barrier" ? ".warp" : ".sync");
}
