/**
 * Which memory does each instruction of a kernel touch that others can see, and through which parameter?
 *
 * Follows addresses back to kernel parameters and module variables ("roots"). Flow-insensitive: a register has one set of
 * roots wherever it is used. What it cannot follow counts as any memory, never as none.
 */

import type { Callable, Expression, Instruction, Module, Operand, Statement } from "./ast.ts";
import type { Graph } from "./cfg.ts";
import { typeBytes } from "./layout.ts";
import { reads, writes } from "./registers.ts";
import { instructionsOf } from "./waiting.ts";

/** Names of parameters (`param n`) and variables (`variable x`) that an address may lie behind; `any`: not known. */
export interface Roots {
  readonly any: boolean;
  readonly names: ReadonlySet<string>;
}

/**
 * - `read`: sees what others may have written
 * - `write`: a plain store, which has the same effect when it is done twice
 * - `update`: everything else that others can see: atomics, reductions, bulk stores, surfaces
 */
export interface Access {
  readonly kind: "read" | "write" | "update";
  readonly instruction: Instruction;
  readonly roots: Roots;
}

const ANY: Roots = { any: true, names: new Set() };
const NONE: Roots = { any: false, names: new Set() };
const POINTER_BYTES = 8;
/** A product is an index or a size, never an address. */
const PRODUCTS = new Set(["mul", "mul24", "div", "rem", "setp", "popc", "clz", "bfind"]);
const OWN_SPACE = /^\.(shared|local|param|const)(::|$)/;

/** Space of every variable that instructions can name. A name declared twice in different spaces has none. */
function spacesOf(module: Module, kernel: Callable): Map<string, string> {
  const spaces = new Map<string, string>();
  const note = (name: string, space: string) =>
    spaces.set(name, (spaces.get(name) ?? space) === space ? space : "");
  const visit = (body: readonly Statement[]) => {
    for (const s of body) {
      if (s.kind === "variable" && s.space !== ".reg") s.names.forEach((d) => note(d.name, s.space));
      else if (s.kind === "scope") visit(s.body);
    }
  };
  for (const item of module.items) {
    if (item.kind === "variable") item.names.forEach((d) => note(d.name, item.space));
  }
  kernel.parameters.forEach((p) => p.names.forEach((d) => note(d.name, ".kernel")));
  visit(kernel.body ?? []);
  return spaces;
}

export class Memory {
  readonly #spaces: Map<string, string>;
  readonly #parameters: Map<string, number>;
  readonly #roots = new Map<string, { any: boolean; names: Set<string> }>();

  constructor(module: Module, readonly kernel: Callable, graph: Graph) {
    this.#spaces = spacesOf(module, kernel);
    this.#parameters = new Map(kernel.parameters.map((p, i) => [p.names[0]?.name ?? "", i] as const));
    const all = graph.blocks.flatMap((b) => b.instructions);
    for (let changed = true; changed;) {
      changed = false;
      for (const instruction of all) {
        const targets = writes(instruction);
        if (targets.length === 0) continue;
        const roots = this.#resultRoots(instruction);
        for (const name of targets) changed = this.#add(name, roots) || changed;
      }
    }
  }

  #add(name: string, roots: Roots): boolean {
    let known = this.#roots.get(name);
    if (known === undefined) this.#roots.set(name, known = { any: false, names: new Set() });
    const size = known.names.size;
    const wasAny = known.any;
    known.any ||= roots.any;
    roots.names.forEach((n) => known.names.add(n));
    return known.any !== wasAny || known.names.size !== size;
  }

  /** Of a register, a variable or a parameter. */
  #rootsOfName(name: string): Roots {
    switch (this.#spaces.get(name)) {
      case undefined:
        return this.#roots.get(name) ?? NONE;
      case ".kernel":
      case ".param": // of a call; its results count as anything where they are loaded
        return NONE;
      case ".shared":
      case ".local":
      case ".const":
        return { any: false, names: new Set(["own"]) };
      case ".global":
        return { any: false, names: new Set([`variable ${name}`]) };
      default:
        return ANY;
    }
  }

  #union(names: readonly string[]): Roots {
    const result = { any: false, names: new Set<string>() };
    for (const name of names) {
      const roots = this.#rootsOfName(name);
      result.any ||= roots.any;
      roots.names.forEach((n) => result.names.add(n));
    }
    return result;
  }

  /** Of a number computed from these: none where no address went in, any where one did, as it may come out again. */
  #hidden(names: readonly string[]): Roots {
    const { any, names: roots } = this.#union(names);
    return any || [...roots].some((n) => n !== "own") ? ANY : NONE;
  }

  #resultRoots(instruction: Instruction): Roots {
    const { opcode, modifiers, operands } = instruction;
    const type = modifiers.at(-1) ?? "";
    const bytes = typeBytes(type);
    if (opcode === "call") return ANY;
    if (PRODUCTS.has(opcode)) return this.#hidden(reads(instruction));
    if (opcode === "mad") return this.#union(namesOf(operands[3]));
    if (opcode === "cvt") {
      return bytes === POINTER_BYTES ? this.#union(reads(instruction)) : this.#hidden(reads(instruction));
    }
    if (bytes !== undefined && bytes < POINTER_BYTES) return NONE;
    if (opcode === "ld" || opcode === "ldu") {
      const parameter = this.#parameters.get(namesOf(operands[1])[0] ?? "");
      return parameter === undefined ? ANY : { any: false, names: new Set([`param ${parameter}`]) };
    }
    if (opcode === "atom" || opcode === "tex" || opcode === "tld4" || opcode === "suld") return ANY;
    // Two halves make a pointer that neither of them tells of.
    if (opcode === "mov" && operands[1]?.kind === "vector") return ANY;
    return this.#union(reads(instruction));
  }

  /** Roots of the addresses in these operands, memory of the block itself left out. */
  #addressed(operands: readonly (Operand | undefined)[]): Roots {
    const roots = this.#union(operands.flatMap(namesOf));
    const names = new Set([...roots.names].filter((n) => n !== "own"));
    // An address computed from constants alone could be anything.
    return { any: roots.any || (names.size === 0 && roots.names.size === 0), names };
  }

  /** What an instruction does to memory that others can see; empty: nothing. `callee` finds the functions of the module. */
  accesses(instruction: Instruction, callee: (call: Instruction) => Callable | undefined): Access[] {
    if (instruction.opcode === "call") {
      // What a function does to its arguments is not followed: it may be done to any memory.
      return [...kindsOfCall(instruction, callee, new Set())].map((kind) => ({
        kind,
        instruction,
        roots: ANY,
      }));
    }
    return touched(instruction).flatMap(({ kind, at }) => {
      const roots = at === undefined ? ANY : this.#addressed([at]);
      return !roots.any && roots.names.size === 0 ? [] : [{ kind, instruction, roots }];
    });
  }
}

interface Touch {
  readonly kind: Access["kind"];
  /** The address; undefined where it is not one operand. */
  readonly at?: Operand | undefined;
}

/** What an instruction does to memory outside the block, by its name alone. */
function touched({ opcode, modifiers, operands }: Instruction): Touch[] {
  const isOwn = modifiers.some((m) => OWN_SPACE.test(m));
  switch (opcode) {
    case "ld":
    case "ldu":
      return isOwn ? [] : [{ kind: "read", at: operands[1] }];
    case "st":
      if (modifiers.some((m) => m === ".async" || m === ".bulk")) return [{ kind: "update" }];
      return isOwn ? [] : [{ kind: "write", at: operands[0] }];
    case "atom":
      return isOwn ? [] : [{ kind: "update", at: operands[1] }, { kind: "read", at: operands[1] }];
    case "red":
      if (modifiers.includes(".async")) return [{ kind: "update" }];
      return isOwn ? [] : [{ kind: "update", at: operands[0] }];
    case "wmma":
      if (isOwn) return [];
      if (modifiers[0] === ".load") return [{ kind: "read", at: operands[1] }];
      return modifiers[0] === ".store" ? [{ kind: "write", at: operands[0] }] : [];
    case "cp":
      if (modifiers.includes(".bulk")) return [{ kind: "read" }, { kind: "update" }];
      return modifiers.includes(".global") ? [{ kind: "read", at: operands[1] }] : [];
    case "tex":
    case "tld4":
    case "suld":
      return [{ kind: "read" }];
    case "sust":
    case "sured":
    case "discard":
    case "multimem":
    case "tensormap":
      return [{ kind: "update" }];
    default:
      return [];
  }
}

function kindsOfCall(
  call: Instruction,
  callee: (call: Instruction) => Callable | undefined,
  seen: Set<Callable>,
): Set<Access["kind"]> {
  const target = callee(call);
  if (target?.body === undefined) return new Set(["update"]);
  const kinds = new Set<Access["kind"]>();
  if (seen.has(target)) return kinds;
  seen.add(target);
  for (const inner of instructionsOf(target.body)) {
    if (inner.opcode === "call") kindsOfCall(inner, callee, seen).forEach((kind) => kinds.add(kind));
    touched(inner).forEach(({ kind }) => kinds.add(kind));
  }
  return kinds;
}

function namesOf(operand: Operand | undefined): string[] {
  switch (operand?.kind) {
    case "name":
      return [operand.name];
    case "address":
      return operand.items.flatMap((item) => namesOf(item.base));
    case "vector":
    case "list":
      return operand.items.flatMap(namesOf);
    case "constant":
      return namesOfConstant(operand.value);
    default:
      return [];
  }
}

/** `generic(table)+8` names `table`. */
function namesOfConstant(value: Expression): string[] {
  switch (value.kind) {
    case "name":
      return [value.name];
    case "apply":
      return [...namesOfConstant(value.value)];
    case "unary":
    case "cast":
      return namesOfConstant(value.value);
    case "binary":
      return [...namesOfConstant(value.left), ...namesOfConstant(value.right)];
    default:
      return [];
  }
}
