/**
 * Which names does an instruction read, and which does it write?
 *
 * By position of the operands, for all instructions alike. Names are not told apart by scope: two registers of one name
 * count as one, which makes the analyses more careful and never less.
 */

import type { Callable, Expression, Instruction, Operand, Statement } from "./ast.ts";

/** Their first operand is no destination. */
const WITHOUT_RESULT = new Set(
  ("st stmatrix red bar barrier bra brx ret exit trap brkpt membar fence prefetch prefetchu cp discard " +
    "applypriority nanosleep pmevent sust sured griddepcontrol setmaxnreg stackrestore multimem tcgen05 " +
    "tensormap").split(" "),
);

/** Names of an operand that the instruction reads when the operand is no destination. */
function namesOf(operand: Operand, into: string[]): void {
  switch (operand.kind) {
    case "name":
      into.push(
        operand.name + (operand.name.startsWith("%") && operand.part !== undefined ? operand.part : ""),
      );
      if (operand.part !== undefined) into.push(operand.name);
      return;
    case "pair":
      namesOf(operand.first, into);
      namesOf(operand.second, into);
      return;
    case "vector":
    case "list":
      operand.items.forEach((item) => namesOf(item, into));
      return;
    case "address":
      operand.items.forEach((item) => namesOf(item.base, into));
      return;
    case "constant":
      namesOfExpression(operand.value, into);
  }
}

function namesOfExpression(value: Expression, into: string[]): void {
  switch (value.kind) {
    case "name":
      into.push(value.name);
      return;
    case "unary":
    case "cast":
    case "apply":
      return namesOfExpression(value.value, into);
    case "binary":
      namesOfExpression(value.left, into);
      namesOfExpression(value.right, into);
      return;
    case "select":
      [value.test, value.yes, value.no].forEach((part) => namesOfExpression(part, into));
      return;
    case "list":
      value.items.forEach((item) => namesOfExpression(item, into));
  }
}

/** Whether this operand is where the instruction puts its result. */
function isResult(instruction: Instruction, index: number): boolean {
  const operand = instruction.operands[index];
  if (operand === undefined) return false;
  if (instruction.opcode === "call") {
    return index === 0 && operand.kind === "list" && instruction.operands.length > 1;
  }
  if (index !== 0 || operand.kind === "address" || operand.kind === "constant") return false;
  if (WITHOUT_RESULT.has(instruction.opcode)) {
    // bar.red is the one barrier with a result.
    return (instruction.opcode === "bar" || instruction.opcode === "barrier") &&
      instruction.modifiers.includes(".red");
  }
  if (instruction.opcode === "wgmma") return instruction.modifiers[0] === ".mma_async";
  return !(instruction.opcode === "wmma" && instruction.modifiers[0] === ".store");
}

/** Whether the operand that takes the result is an input too: the accumulators of a `wgmma`. */
function isAlsoRead(instruction: Instruction, index: number): boolean {
  return index === 0 && instruction.opcode === "wgmma";
}

/** Registers (for a call, also parameters) that the instruction writes. */
export function writes(instruction: Instruction): string[] {
  const names: string[] = [];
  instruction.operands.forEach((operand, index) => {
    if (isResult(instruction, index)) namesOf(operand, names);
  });
  return names;
}

/** Every name that the instruction reads, its guard included: registers, variables, labels, functions. */
export function reads(instruction: Instruction): string[] {
  const names: string[] = [];
  if (instruction.guard !== undefined) names.push(instruction.guard.register);
  instruction.operands.forEach((operand, index) => {
    if (!isResult(instruction, index) || isAlsoRead(instruction, index)) namesOf(operand, names);
  });
  return names;
}

/** A special register such as `%tid.x` or `%clock64`; ordinary registers may begin with % too. */
const SPECIAL = new RegExp(
  "^%(tid|ntid|laneid|warpid|nwarpid|ctaid|nctaid|smid|nsmid|gridid|clusterid|nclusterid|cluster_\\w+|" +
    "is_explicit_cluster|lanemask_\\w+|clock|clock_hi|clock64|pm\\d+|pm\\d+_64|envreg\\d+|globaltimer|globaltimer_lo|" +
    "globaltimer_hi|reserved_smem_\\w+|total_smem_size|aggr_smem_size|dynamic_smem_size|current_graph_exec)(\\.[xyzw])?$",
);

export function isSpecial(name: string): boolean {
  return SPECIAL.test(name);
}

/** Type of a register as its function declares it, such as `.b32`; undefined where the name is no register. */
export function registerType(owner: Callable, register: string): string | undefined {
  const search = (body: readonly Statement[]): string | undefined => {
    for (const statement of body) {
      if (statement.kind === "scope") {
        const inner = search(statement.body);
        if (inner !== undefined) return inner;
      }
      if (statement.kind !== "variable" || statement.space !== ".reg") continue;
      const isMeant = statement.names.some(({ name, count }) =>
        count === undefined
          ? name === register
          : register.startsWith(name) && /^[0-9]+$/.test(register.slice(name.length))
      );
      if (isMeant) return statement.type;
    }
    return undefined;
  };
  return search(owner.body ?? []);
}
