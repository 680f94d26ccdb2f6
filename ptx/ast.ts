/**
 * What is a PTX module, as data?
 *
 * Plain objects, so that a module can be compared, copied and printed. Names are kept as written; meaning (which word is
 * a register, which label a branch goes to) is found by cfg.ts and registers.ts. Comments are not kept.
 */

import type { Position } from "./error.ts";

/** A constant expression: `4`, `-1`, `0f3F800000`, `generic(table)+8`. */
export type Expression =
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "unary"; readonly operator: string; readonly value: Expression }
  | {
    readonly kind: "binary";
    readonly operator: string;
    readonly left: Expression;
    readonly right: Expression;
  }
  | { readonly kind: "select"; readonly test: Expression; readonly yes: Expression; readonly no: Expression }
  | { readonly kind: "cast"; readonly type: string; readonly value: Expression }
  | { readonly kind: "apply"; readonly name: string; readonly value: Expression }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly Expression[] };

export type Operand =
  /** A register, variable, label or function, with an optional part: `%r1`, `%tid.x`, `_`. */
  | { readonly kind: "name"; readonly name: string; readonly part?: string; readonly negated?: true }
  /** `%p1|%p2` */
  | { readonly kind: "pair"; readonly first: Operand; readonly second: Operand }
  /** `{%r1, %r2}` */
  | { readonly kind: "vector"; readonly items: readonly Operand[] }
  /** `[base]`, `[base+offset]`, `[texture, sampler, {%f1, %f2}]` */
  | { readonly kind: "address"; readonly items: readonly AddressItem[] }
  /** `(a, b)` of a call */
  | { readonly kind: "list"; readonly items: readonly Operand[] }
  | { readonly kind: "constant"; readonly value: Expression };

export interface AddressItem {
  readonly base: Operand;
  /** Always added; a difference has a unary minus. */
  readonly offset?: Expression;
}

export interface Guard {
  readonly register: string;
  readonly negated: boolean;
}

export interface Instruction extends Position {
  readonly kind: "instruction";
  readonly guard?: Guard;
  readonly opcode: string;
  /** With their points, in the order of the text. */
  readonly modifiers: readonly string[];
  readonly operands: readonly Operand[];
}

export interface Label extends Position {
  readonly kind: "label";
  readonly name: string;
}

/** One declared name: `%r<10>` has `count`, `table[2][3]` has `dimensions`, where null is `[]`. */
export interface Declarator {
  readonly name: string;
  readonly count?: number;
  readonly dimensions: readonly (Expression | null)[];
  readonly initial?: Expression;
}

/** `.extern .shared .align 16 .b8 memory[];` and every other declaration of a variable, register or parameter. */
export interface Variable extends Position {
  readonly kind: "variable";
  readonly linkage: readonly string[];
  /** `.reg`, `.shared`, `.local`, `.const`, `.global`, `.param`, `.tex` */
  readonly space: string;
  readonly align?: number;
  /** `.attribute(.managed)` as written between the brackets. */
  readonly attribute?: string;
  readonly vector?: string;
  readonly type: string;
  /** `.ptr .global .align 1`, of a kernel parameter only. */
  readonly pointer?: { readonly space?: string; readonly align?: number };
  readonly names: readonly Declarator[];
}

/** Where an instruction comes from, as its own words: `.loc`, `.file`, `.pragma` and others that end a line or a `;`. */
export interface Directive extends Position {
  readonly kind: "directive";
  readonly name: string;
  /** Tokens behind the name, each as written. */
  readonly words: readonly string[];
  readonly semicolon: boolean;
}

/** `.section .debug_info { … }`: kept line by line, not understood. */
export interface Section extends Position {
  readonly kind: "section";
  readonly name: string;
  readonly lines: readonly (readonly string[])[];
}

/** `table: .branchtargets A, B;` (also `.calltargets`) */
export interface Targets extends Position {
  readonly kind: "targets";
  readonly name: string;
  readonly directive: string;
  readonly labels: readonly string[];
}

/** `name: .callprototype …;`, its tokens as written. */
export interface Prototype extends Position {
  readonly kind: "prototype";
  readonly name: string;
  readonly words: readonly string[];
}

export interface Scope extends Position {
  readonly kind: "scope";
  readonly body: readonly Statement[];
}

export type Statement = Instruction | Label | Variable | Directive | Targets | Prototype | Scope;

/** `.maxntid 256, 1, 1` and the like, between the head and the body of a function. */
export interface Performance {
  readonly name: string;
  readonly words: readonly string[];
  readonly semicolon: boolean;
}

export interface Callable extends Position {
  readonly kind: "function";
  readonly linkage: readonly string[];
  readonly directive: ".entry" | ".func";
  /** `.attribute(.unified(…))` as written between the brackets. */
  readonly attribute?: string;
  readonly name: string;
  readonly results: readonly Variable[];
  readonly parameters: readonly Variable[];
  readonly performance: readonly Performance[];
  /** Undefined where only the head is declared. */
  readonly body?: readonly Statement[];
}

export interface Module {
  readonly file: string;
  /** The number behind `.version`, such as "8.5". */
  readonly version: string;
  /** The words behind `.target`, such as ["sm_80"]. */
  readonly target: readonly string[];
  /** 32 or 64; undefined where not said. */
  readonly addressSize?: number;
  readonly items: readonly (Callable | Variable | Directive | Section)[];
}

/** Whether a function is a kernel with a body. */
export function isKernel(item: Module["items"][number]): item is Callable & { body: readonly Statement[] } {
  return item.kind === "function" && item.directive === ".entry" && item.body !== undefined;
}

/** `ld.global.u32`: an instruction's whole name. */
export function fullName(instruction: Instruction): string {
  return instruction.opcode + instruction.modifiers.join("");
}
