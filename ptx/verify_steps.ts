/**
 * What does one inserted instruction do: to registers, to memory, to the way?
 *
 * A short list. What is not on it has no business among inserted instructions, and is a finding.
 */

import type { Instruction, Operand } from "./ast.ts";
import { constantOf, numberOf } from "./verify_names.ts";
import { apply, constant, type Event, type Term } from "./verify_terms.ts";

export type Registers = ReadonlyMap<string, Term>;

export type Step =
  | { readonly kind: "set"; readonly values: readonly (readonly [string, Term])[] }
  | { readonly kind: "event"; readonly event: Event; readonly results: readonly string[] }
  | { readonly kind: "branch"; readonly condition: Term | undefined }
  | { readonly kind: "end" }
  | undefined;

const BINARY: Readonly<Record<string, string>> = {
  ...{ add: "add", sub: "sub", div: "div", rem: "rem", and: "and", or: "or", xor: "xor" },
  ...{ min: "min", max: "max", shl: "shl", shr: "shr" },
};
const COMPARISONS = new Set(["eq", "ne", "lt", "le", "gt", "ge"]);

interface Type {
  readonly bits: number;
  readonly signed: boolean;
}

function typeOf(modifier: string | undefined): Type | undefined {
  if (modifier === ".pred") return { bits: 1, signed: false };
  const match = /^\.([bus])(8|16|32|64)$/.exec(modifier ?? "");
  return match === null ? undefined : { bits: Number(match[2]), signed: match[1] === "s" };
}

/** Undefined where the instruction is not on the list, or not in this form. */
export function stepOf(
  instruction: Instruction,
  registers: Registers,
  isParameter: (name: string) => boolean,
): Step {
  return new Stepper(instruction, registers, isParameter).step();
}

class Stepper {
  constructor(
    readonly instruction: Instruction,
    readonly registers: Registers,
    readonly isParameter: (name: string) => boolean,
  ) {}

  #guard(): Term | undefined {
    const { guard } = this.instruction;
    if (guard === undefined) return undefined;
    const value = this.#register(guard.register);
    return guard.negated ? apply("not", 1, false, [value]) : value;
  }

  #register(name: string): Term {
    return this.registers.get(name) ?? { kind: "start", register: name };
  }

  #value(operand: Operand | undefined, bits = 32): Term | undefined {
    const number = constantOf(operand);
    if (number !== undefined) return constant(BigInt.asUintN(bits, number));
    if (operand?.kind !== "name") return undefined;
    const { name, part, negated } = operand;
    if (/^%(tid|ntid|ctaid|nctaid)$/.test(name) || name === "%clock") {
      return { kind: "special", name: name + (part ?? "") };
    }
    if (part !== undefined) return undefined;
    if (!name.startsWith("%") && this.registers.get(name) === undefined) {
      // A variable of the original, as in the address of an mbarrier; or a register named without a %.
      return { kind: "start", register: name };
    }
    return negated ? apply("not", 1, false, [this.#register(name)]) : this.#register(name);
  }

  #set(value: Term | undefined): Step {
    const [to] = this.instruction.operands;
    if (value === undefined || to?.kind !== "name" || to.part !== undefined) return undefined;
    return { kind: "set", values: [[to.name, this.#guarded(to.name, value)]] };
  }

  #guarded(name: string, value: Term): Term {
    const guard = this.#guard();
    return guard === undefined ? value : apply("select", 64, false, [guard, value, this.#register(name)]);
  }

  step(): Step {
    const { opcode, modifiers, operands } = this.instruction;
    const type = typeOf(modifiers.at(-1));
    const [, a, b, c] = operands;
    if (opcode === "bra") return { kind: "branch", condition: this.#guard() };
    if (opcode === "ret") return this.instruction.guard === undefined ? { kind: "end" } : undefined;
    if (["ld", "st", "atom", "red"].includes(opcode)) return this.#memory();
    if (opcode === "bar" || opcode === "barrier") return this.#barrier();
    if (opcode === "fence" || opcode === "cp" || opcode === "wgmma" || opcode === "mbarrier") {
      return this.#other();
    }
    if (opcode === "shfl") return this.#shuffle();
    if (type === undefined) return undefined;
    const { bits, signed } = type;
    const value = (operand: Operand | undefined) => this.#value(operand, bits);
    const of = (operation: string, inputs: readonly (Term | undefined)[]): Step => {
      const known = inputs.filter((t) => t !== undefined);
      return known.length < inputs.length ? undefined : this.#set(apply(operation, bits, signed, known));
    };
    if (opcode === "mov") return modifiers.length === 1 ? this.#set(value(a)) : undefined;
    if (opcode === "cvta") return modifiers.join("") === ".to.global.u64" ? this.#set(value(a)) : undefined;
    if (opcode === "cvt") return modifiers.length === 2 ? this.#convert(modifiers[0], type, a) : undefined;
    if (opcode === "not") return of("not", [value(a)]);
    if (opcode === "clz") return of("clz", [value(a)]);
    if (opcode === "selp") return of("select", [this.#value(c), value(a), value(b)]);
    if (opcode === "setp") return this.#compare(type);
    if (opcode === "mul" || opcode === "mad") return this.#product(type);
    const operation = BINARY[opcode];
    if (operation === undefined || modifiers.length !== 1 || operands.length !== 3) return undefined;
    return of(operation, [value(a), opcode === "shl" || opcode === "shr" ? this.#value(b) : value(b)]);
  }

  #convert(to: string | undefined, from: Type, operand: Operand | undefined): Step {
    const target = typeOf(to);
    const value = this.#value(operand, from.bits);
    if (target === undefined || value === undefined) return undefined;
    const read = apply("convert", from.bits, from.signed, [value]);
    return this.#set(apply("convert", target.bits, target.signed, [read]));
  }

  #compare({ bits, signed }: Type): Step {
    const { modifiers, operands } = this.instruction;
    const comparison = (modifiers[0] ?? "").slice(1);
    const [, a, b, c] = operands;
    const [left, right] = [this.#value(a, bits), this.#value(b, bits)];
    if (!COMPARISONS.has(comparison) || left === undefined || right === undefined) return undefined;
    const plain = apply(comparison, bits, signed, [left, right]);
    if (modifiers.length === 2 && operands.length === 3) return this.#set(plain);
    const [, combine] = modifiers;
    const other = this.#value(c, 1);
    if (modifiers.length !== 3 || other === undefined || (combine !== ".and" && combine !== ".or")) {
      return undefined;
    }
    return this.#set(apply(combine.slice(1), 1, false, [plain, other]));
  }

  #product({ bits, signed }: Type): Step {
    const { opcode, modifiers, operands } = this.instruction;
    const [, a, b, c] = operands;
    const [half] = modifiers;
    const inputs = [this.#value(a, bits), this.#value(b, bits)];
    if (opcode === "mad") inputs.push(this.#value(c, half === ".wide" ? bits * 2 : bits));
    else if (half === ".wide") inputs.push(constant(0));
    const known = inputs.filter((t) => t !== undefined);
    if (known.length < inputs.length || modifiers.length !== 2) return undefined;
    const operation = half === ".wide"
      ? "wide"
      : half === ".lo"
      ? (opcode === "mad" ? "mad" : "mul")
      : half === ".hi" && opcode === "mul"
      ? "high"
      : undefined;
    return operation === undefined ? undefined : this.#set(apply(operation, bits, signed, known));
  }

  /** Lane 0's value: that it is every lane's is asked elsewhere. */
  #shuffle(): Step {
    const { modifiers, operands } = this.instruction;
    const [, value, lane, clamp, mask] = operands;
    const isOfLane0 = modifiers.join("") === ".sync.idx.b32" && constantOf(lane) === 0n &&
      constantOf(clamp) === 31n && constantOf(mask) === -1n && this.instruction.guard === undefined;
    return isOfLane0 ? this.#set(this.#value(value)) : undefined;
  }

  #address(operand: Operand | undefined): { base: string; term: Term } | undefined {
    const [item, second] = operand?.kind === "address" ? operand.items : [];
    if (item?.base.kind !== "name" || item.base.part !== undefined || second !== undefined) return undefined;
    const { name } = item.base;
    const offset = item.offset === undefined ? 0n : numberOf(item.offset);
    if (offset === undefined) return undefined;
    const base: Term = name.startsWith("%") ? this.#register(name) : { kind: "variable", name };
    return { base: name, term: apply("add", 64, false, [base, constant(BigInt.asUintN(64, offset))]) };
  }

  #memory(): Step {
    const { instruction } = this;
    const { opcode, modifiers, operands } = instruction;
    const type = typeOf(modifiers.at(-1));
    const isLoad = opcode === "ld";
    const [first, second, third] = operands;
    const address = this.#address(isLoad || opcode === "atom" ? second : first);
    if (type === undefined || address === undefined) return undefined;
    if (isLoad && modifiers[0] === ".param") {
      const isPlain = modifiers.length === 2 && this.isParameter(address.base) &&
        operands[1]?.kind === "address" &&
        operands[1].items[0]?.offset === undefined;
      return isPlain ? this.#set({ kind: "parameter", name: address.base }) : undefined;
    }
    if (!modifiers.includes(".global") && !modifiers.includes(".shared")) return undefined;
    const data = isLoad ? first : opcode === "atom" ? third : second;
    const items = data?.kind === "vector" ? data.items : data === undefined ? [] : [data];
    const values = isLoad ? [] : items.map((item) => this.#value(item, type.bits));
    const known = values.filter((t) => t !== undefined);
    if (known.length < values.length) return undefined;
    const isAdd = modifiers.includes(".add");
    if ((opcode === "atom" || opcode === "red") && !isAdd) return undefined;
    const results = isLoad ? items : opcode === "atom" ? [first] : [];
    const names = results.map((o) => o?.kind === "name" && o.part === undefined ? o.name : undefined);
    if (names.includes(undefined)) return undefined;
    const kind = isLoad ? "load" : opcode === "st" ? "store" : opcode === "atom" ? "fetch" : "add";
    const words = opcode === "ld" || opcode === "st" ? items.length : 1;
    const event: Event = {
      kind,
      instruction,
      guard: this.#guard(),
      address: address.term,
      bytes: type.bits / 8,
      words,
      values: known,
    };
    return { kind: "event", event, results: names.filter((n) => n !== undefined) };
  }

  #barrier(): Step {
    const { instruction } = this;
    const { modifiers, operands, guard } = instruction;
    const isReducing = modifiers[0] === ".red";
    const [number, value] = isReducing ? [operands[1], operands[2]] : [operands[0], undefined];
    const [result] = operands;
    const isForAll = operands.length === (isReducing ? 3 : 1) && constantOf(number) === 0n;
    const form = modifiers.join("");
    if (!isForAll || !/^\.sync$|^\.red\.(and|or)\.pred$/.test(form)) return undefined;
    const input = isReducing ? this.#value(value, 1) : undefined;
    if (isReducing && (input === undefined || result?.kind !== "name")) return undefined;
    const event: Event = {
      kind: "barrier",
      instruction,
      guard: guard === undefined ? undefined : this.#guard(),
      address: undefined,
      bytes: 0,
      words: 0,
      values: input === undefined ? [] : [input],
    };
    return { kind: "event", event, results: isReducing && result?.kind === "name" ? [result.name] : [] };
  }

  #other(): Step {
    const { instruction } = this;
    const { opcode, modifiers, operands } = instruction;
    const form = opcode + modifiers.join("");
    const isFence = /^fence\.(acq_rel|sc)\.(gpu|sys)$/.test(form);
    const isWait = /^(cp\.async\.wait_all|wgmma\.(commit_group|wait_group)\.sync\.aligned)$/.test(form);
    const isInval = /^mbarrier\.inval\.shared(::cta)?\.b64$/.test(form);
    const address = isInval ? this.#address(operands[0])?.term : undefined;
    if ((!isFence && !isWait && !isInval) || (isInval && address === undefined)) return undefined;
    const event: Event = {
      kind: isFence ? "fence" : "other",
      instruction,
      guard: this.#guard(),
      address,
      bytes: 0,
      words: 0,
      values: [],
    };
    return { kind: "event", event, results: [] };
  }
}
