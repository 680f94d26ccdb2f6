/**
 * How is a syntax tree written as PTX text? Parsing the result gives the same tree, positions aside.
 *
 * It does not keep the layout or the comments of the text that the tree came from.
 */

import type {
  AddressItem,
  Callable,
  Declarator,
  Expression,
  Instruction,
  Module,
  Operand,
  Statement,
  Variable,
} from "./ast.ts";
import { fullName } from "./ast.ts";

/** Writes a whole module. */
export function printModule(module: Module): string {
  const lines = [`.version ${module.version}`, `.target ${module.target.join(", ")}`];
  if (module.addressSize !== undefined) lines.push(`.address_size ${module.addressSize}`);
  lines.push("");
  for (const item of module.items) {
    if (item.kind === "function") printCallable(item, lines);
    else if (item.kind === "section") {
      lines.push(`.section ${item.name} {`, ...item.lines.map((words) => words.join(" ")), "}");
    } else if (item.kind === "directive") lines.push(printWords(item));
    else lines.push(`${printVariable(item)};`);
  }
  return lines.join("\n") + "\n";
}

function printWords(item: { name: string; words: readonly string[]; semicolon: boolean }): string {
  return [item.name, ...item.words].join(" ") + (item.semicolon ? ";" : "");
}

function printCallable(item: Callable, lines: string[]): void {
  const list = (variables: readonly Variable[]) =>
    variables.length === 0 ? "()" : `(\n\t${variables.map(printVariable).join(",\n\t")}\n)`;
  const head = [...item.linkage, item.directive];
  if (item.attribute !== undefined) head.push(`.attribute(${item.attribute})`);
  if (item.results.length > 0) head.push(list(item.results));
  lines.push(`${head.join(" ")} ${item.name}${list(item.parameters)}`);
  lines.push(...item.performance.map(printWords));
  if (item.body === undefined) {
    lines.push(";");
    return;
  }
  lines.push("{");
  printStatements(item.body, "\t", lines);
  lines.push("}", "");
}

function printStatements(body: readonly Statement[], indent: string, lines: string[]): void {
  for (const statement of body) {
    if (statement.kind === "scope") {
      lines.push(`${indent}{`);
      printStatements(statement.body, indent + "\t", lines);
      lines.push(`${indent}}`);
    } else if (statement.kind === "label") lines.push(`${statement.name}:`);
    else if (statement.kind === "variable") lines.push(`${indent}${printVariable(statement)};`);
    else if (statement.kind === "directive") lines.push(indent + printWords(statement));
    else if (statement.kind === "targets") {
      lines.push(`${statement.name}: ${statement.directive} ${statement.labels.join(", ")};`);
    } else if (statement.kind === "prototype") {
      lines.push(`${statement.name}: .callprototype ${statement.words.join(" ")};`);
    } else lines.push(indent + printInstruction(statement));
  }
}

/** One instruction with its guard and its `;`. */
export function printInstruction(instruction: Instruction): string {
  const guard = instruction.guard === undefined
    ? ""
    : `@${instruction.guard.negated ? "!" : ""}${instruction.guard.register} `;
  const operands = instruction.operands.map(printOperand).join(", ");
  return `${guard}${fullName(instruction)}${operands === "" ? "" : " "}${operands};`;
}

export function printOperand(operand: Operand): string {
  switch (operand.kind) {
    case "name":
      return (operand.negated ? "!" : "") + operand.name + (operand.part ?? "");
    case "pair":
      return `${printOperand(operand.first)}|${printOperand(operand.second)}`;
    case "vector":
      return `{${operand.items.map(printOperand).join(", ")}}`;
    case "list":
      return `(${operand.items.map(printOperand).join(", ")})`;
    case "address":
      return `[${operand.items.map(printAddressItem).join(", ")}]`;
    case "constant":
      return printExpression(operand.value);
  }
}

function printAddressItem(item: AddressItem): string {
  return printOperand(item.base) + (item.offset === undefined ? "" : `+${printExpression(item.offset)}`);
}

/** Brackets stand around every inner operation, so that no precedence has to be remembered. */
export function printExpression(value: Expression): string {
  const inner = (part: Expression) =>
    part.kind === "unary" || part.kind === "binary" || part.kind === "select" || part.kind === "cast"
      ? `(${printExpression(part)})`
      : printExpression(part);
  switch (value.kind) {
    case "number":
    case "string":
      return value.text;
    case "name":
      return value.name;
    case "unary":
      return value.operator + inner(value.value);
    case "binary":
      return `${inner(value.left)} ${value.operator} ${inner(value.right)}`;
    case "select":
      return `${inner(value.test)} ? ${inner(value.yes)} : ${inner(value.no)}`;
    case "cast":
      return `(${value.type})${inner(value.value)}`;
    case "apply":
      return `${value.name}(${printExpression(value.value)})`;
    case "list":
      return `{${value.items.map(printExpression).join(", ")}}`;
  }
}

function printVariable(variable: Variable): string {
  const words = [...variable.linkage, variable.space];
  if (variable.attribute !== undefined) words.push(`.attribute(${variable.attribute})`);
  if (variable.align !== undefined) words.push(`.align ${variable.align}`);
  if (variable.vector !== undefined) words.push(variable.vector);
  words.push(variable.type);
  if (variable.pointer !== undefined) {
    words.push(".ptr");
    if (variable.pointer.space !== undefined) words.push(variable.pointer.space);
    if (variable.pointer.align !== undefined) words.push(`.align ${variable.pointer.align}`);
  }
  return `${words.join(" ")} ${variable.names.map(printDeclarator).join(", ")}`;
}

function printDeclarator(declarator: Declarator): string {
  const count = declarator.count === undefined ? "" : `<${declarator.count}>`;
  const dimensions = declarator.dimensions.map((d) => `[${d === null ? "" : printExpression(d)}]`).join("");
  return declarator.name + count + dimensions +
    (declarator.initial === undefined ? "" : ` = ${printExpression(declarator.initial)}`);
}
