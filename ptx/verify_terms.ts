/**
 * What does an inserted instruction compute, as a term over what was there before?
 *
 * Terms are built while inserted text is walked through (verify_tree.ts) and get a value in a world made up for the purpose
 * (verify_world.ts). Only what inserted text may contain has a meaning here.
 */

import type { Instruction } from "./ast.ts";

export type Term =
  | { readonly kind: "constant"; readonly value: bigint }
  /** What a register holds where the walk begins. */
  | { readonly kind: "start"; readonly register: string }
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "special"; readonly name: string }
  /** Address of a variable in shared memory. */
  | { readonly kind: "variable"; readonly name: string }
  /** One word of what an access to memory or a barrier gave. */
  | { readonly kind: "result"; readonly event: Event; readonly index: number }
  | {
    readonly kind: "apply";
    readonly operation: string;
    readonly bits: number;
    readonly signed: boolean;
    readonly inputs: readonly Term[];
  };

/** Something that others can notice, or that notices others. */
export interface Event {
  readonly kind: "load" | "store" | "add" | "fetch" | "barrier" | "fence" | "other";
  readonly instruction: Instruction;
  /** It happens only where this holds. */
  readonly guard: Term | undefined;
  readonly address: Term | undefined;
  /** Of one word, in bytes. */
  readonly bytes: number;
  readonly words: number;
  readonly values: readonly Term[];
}

export const constant = (value: bigint | number): Term => ({ kind: "constant", value: BigInt(value) });

export function apply(operation: string, bits: number, signed: boolean, inputs: readonly Term[]): Term {
  return { kind: "apply", operation, bits, signed, inputs };
}

/** What a term's leaves are worth. Undefined: nobody knows, and no result that depends on it is known either. */
export interface Values {
  start(register: string): bigint | undefined;
  parameter(name: string): bigint | undefined;
  special(name: string): bigint | undefined;
  variable(name: string): bigint | undefined;
  result(event: Event, index: number): bigint | undefined;
}

export function evaluate(term: Term, values: Values): bigint | undefined {
  switch (term.kind) {
    case "constant":
      return term.value;
    case "start":
      return values.start(term.register);
    case "parameter":
      return values.parameter(term.name);
    case "special":
      return values.special(term.name);
    case "variable":
      return values.variable(term.name);
    case "result":
      return values.result(term.event, term.index);
  }
  const { operation, bits, signed, inputs } = term;
  const [first, second, third] = inputs;
  if (operation === "select" && first !== undefined && second !== undefined && third !== undefined) {
    const test = evaluate(first, values);
    return test === undefined ? undefined : evaluate(test !== 0n ? second : third, values);
  }
  const known = inputs.map((input) => evaluate(input, values));
  // One input may decide alone.
  if (operation === "and" && known.some((v) => v === 0n)) return 0n;
  if (bits === 1 && operation === "or" && known.some((v) => v === 1n)) return 1n;
  const [a, b, c] = known;
  if (a === undefined || known.includes(undefined)) return undefined;
  return compute(operation, bits, signed, a, b ?? 0n, c ?? 0n);
}

function compute(operation: string, bits: number, signed: boolean, a: bigint, b: bigint, c: bigint): bigint {
  const cut = (value: bigint, to = bits) => BigInt.asUintN(to, value);
  const read = (value: bigint) => signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  const [x, y] = [read(a), read(b)];
  const flag = (test: boolean) => test ? 1n : 0n;
  switch (operation) {
    case "add":
      return cut(a + b);
    case "sub":
      return cut(a - b);
    case "mul":
      return cut(x * y);
    case "high":
      return cut((x * y) >> BigInt(bits));
    case "wide":
      return cut(x * y + c, bits * 2);
    case "mad":
      return cut(x * y + c);
    case "div":
      return y === 0n ? 0n : cut(x / y);
    case "rem":
      return y === 0n ? 0n : cut(x % y);
    case "and":
      return cut(a & b);
    case "or":
      return cut(a | b);
    case "xor":
      return cut(a ^ b);
    case "not":
      return cut(~a);
    case "neg":
      return cut(-a);
    case "shl":
      return cut(b >= BigInt(bits) ? 0n : a << b);
    case "shr":
      return cut(b >= BigInt(bits) ? (x < 0n ? -1n : 0n) : x >> b);
    case "clz":
      return BigInt(bits - (cut(a) === 0n ? 0 : cut(a).toString(2).length));
    case "min":
      return cut(x < y ? x : y);
    case "max":
      return cut(x > y ? x : y);
    case "convert":
      return cut(x);
    case "eq":
      return flag(x === y);
    case "ne":
      return flag(x !== y);
    case "lt":
      return flag(x < y);
    case "le":
      return flag(x <= y);
    case "gt":
      return flag(x > y);
    case "ge":
      return flag(x >= y);
    default:
      throw new Error(`No operation ${operation}`);
  }
}

/** Registers whose value at the start a term depends on. */
export function startsIn(term: Term, into = new Set<string>()): Set<string> {
  if (term.kind === "start") into.add(term.register);
  if (term.kind === "apply") term.inputs.forEach((input) => startsIn(input, into));
  return into;
}

const keys = new WeakMap<Term, string>();
const numbers = new WeakMap<Event, number>();
let lastNumber = 0;

/** Equal for terms that are built alike over the same leaves. */
export function keyOf(term: Term): string {
  const known = keys.get(term);
  if (known !== undefined) return known;
  const key = makeKey(term);
  keys.set(term, key);
  return key;
}

function makeKey(term: Term): string {
  if (term.kind === "constant") return `${term.value}`;
  if (term.kind === "start") return `start ${term.register}`;
  if (term.kind === "apply") {
    return `${term.operation}${term.signed ? "s" : "u"}${term.bits}(${term.inputs.map(keyOf).join(",")})`;
  }
  if (term.kind !== "result") return `${term.kind} ${term.name}`;
  const number = numbers.get(term.event) ?? ++lastNumber;
  numbers.set(term.event, number);
  return `result ${number}.${term.index}`;
}
