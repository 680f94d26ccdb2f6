/**
 * What is the value of a PTX register, and what do arithmetic and comparison make of it?
 *
 * 64-bit values are bigints, predicates booleans, everything else numbers that hold the bits, unsigned or signed as
 * the type says. A float is held as its bits. It knows nothing of threads and memory.
 */

import type { Expression, Instruction } from "../../ptx/ast.ts";
import { fullName } from "../../ptx/ast.ts";

export type Value = number | bigint | boolean;

export function unknown(instruction: Instruction): never {
  throw new Error(`The interpreter does not know ${fullName(instruction)} (line ${instruction.line})`);
}

export const big = (value: Value): bigint => typeof value === "bigint" ? value : BigInt(value);

const widths = new Map<string, number>();

/** Bits of a type: 32 for ".u32". */
export function bits(type: string): number {
  let width = widths.get(type);
  if (width === undefined) widths.set(type, width = Number(/[0-9]+/.exec(type)?.[0] ?? 32));
  return width;
}

export const wider = (type: string): string => type.slice(0, 2) + String(2 * bits(type));

/** A value as a register of this type holds it; signed types come out signed. */
export function wrap(value: Value, type: string): Value {
  if (typeof value === "boolean") return value;
  const width = bits(type);
  const signed = type.startsWith(".s");
  if (width === 32 && typeof value === "number") return signed ? value | 0 : value >>> 0;
  if (width === 64) return signed ? BigInt.asIntN(64, big(value)) : BigInt.asUintN(64, big(value));
  return Number(signed ? BigInt.asIntN(width, big(value)) : BigInt.asUintN(width, big(value)));
}

const convert = new DataView(new ArrayBuffer(8));

export function float(value: Value): number {
  convert.setUint32(0, Number(BigInt.asUintN(32, big(value))));
  return convert.getFloat32(0);
}

export function floatBits(value: number): number {
  convert.setFloat32(0, value);
  return convert.getUint32(0);
}

const constants = new WeakMap<Expression, bigint>();

/** The value of a constant expression; a float constant's bits. */
export function constant(expression: Expression): bigint {
  let value = constants.get(expression);
  if (value === undefined) constants.set(expression, value = evaluate(expression));
  return value;
}

const typedConstants = new WeakMap<Expression, { type: string; value: Value }>();

/** The value of a constant operand; nearly always it is asked for as one type. */
export function constantAs(expression: Expression, type: string): Value {
  const known = typedConstants.get(expression);
  if (known?.type === type) return known.value;
  const value = type === ".pred" ? constant(expression) !== 0n : wrap(constant(expression), type);
  typedConstants.set(expression, { type, value });
  return value;
}

function evaluate(expression: Expression): bigint {
  if (expression.kind === "unary" && expression.operator === "-") return -evaluate(expression.value);
  if (expression.kind !== "number") throw new Error(`The interpreter does not compute ${expression.kind}`);
  const text = expression.text.replace(/U$/i, "");
  return /^0[fF]/.test(text) ? BigInt(`0x${text.slice(2)}`) : BigInt(text);
}

export function compare(how: string, a: Value, b: Value, type: string): boolean {
  const isFloat = type === ".f32";
  const x = isFloat ? float(a) : typeof a === "number" ? a : big(a);
  const y = isFloat ? float(b) : typeof b === "number" ? b : big(b);
  switch (how) {
    case ".eq":
      return typeof x === typeof y ? x === y : big(x) === big(y);
    case ".ne":
      return typeof x === typeof y ? x !== y : big(x) !== big(y);
    case ".lt":
      return x < y;
    case ".le":
      return x <= y;
    case ".gt":
      return x > y;
    case ".ge":
      return x >= y;
  }
  throw new Error(`The interpreter does not know setp${how}`);
}

export function logic(how: string, a: boolean, b: boolean): boolean {
  if (how === ".and") return a && b;
  if (how === ".or") return a || b;
  if (how === ".xor") return a !== b;
  throw new Error(`The interpreter does not know ${how}.pred`);
}

export function floatOperation(instruction: Instruction, a: number, b: number): number {
  switch (instruction.opcode) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
  }
  return unknown(instruction);
}

/** Of two registers of one integer type; the result is yet to be wrapped. */
export function integerOperation(instruction: Instruction, a: Value, b: Value): Value {
  if (typeof a === "number" && typeof b === "number") return numberOperation(instruction, a, b);
  return bigOperation(instruction, big(a), big(b));
}

/** Up to 32 bits wide: numbers hold all that is kept of the result. */
function numberOperation(instruction: Instruction, a: number, b: number): number {
  switch (instruction.opcode) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return Math.imul(a, b);
    case "div":
      return b === 0 ? -1 : Math.trunc(a / b);
    case "rem":
      return b === 0 ? a : a % b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return b > 31 ? 0 : a << b;
    case "shr":
      return a < 0 ? a >> Math.min(b, 31) : b > 31 ? 0 : a >>> b;
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
  }
  return unknown(instruction);
}

function bigOperation(instruction: Instruction, a: bigint, b: bigint): bigint {
  switch (instruction.opcode) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "div":
      return b === 0n ? -1n : a / b;
    case "rem":
      return b === 0n ? a : a % b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return a << b;
    case "shr":
      return a >> b;
    case "min":
      return a < b ? a : b;
    case "max":
      return a > b ? a : b;
  }
  return unknown(instruction);
}
