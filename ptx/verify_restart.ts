/**
 * Can anybody see what a block has done before it was given up, be it the block itself when it runs again?
 *
 * From the original text alone: what may run ahead of a checkpoint must not update memory, and may store only behind
 * parameters that the kernel does not read. That two parameters do not lead to the same memory is what the caller has
 * vouched for.
 */

import type { Callable, Instruction, Module } from "./ast.ts";
import type { Flow, Walk } from "./verify_flow.ts";
import type { Checkpoint } from "./verify_loop.ts";
import type { Report } from "./verify_module.ts";
import { namesIn, used, written } from "./verify_names.ts";

const OWN_SPACE = /^\.(shared|local|param|const)(::|$)/;
const ANYWHERE = "anywhere";
const OWN = "own";
/** Results of these are numbers, not addresses. */
const NUMBERS = new Set(["mul", "mul24", "div", "rem", "setp", "set", "popc", "clz", "bfind"]);

/** What an instruction does to memory that others can see, and where: parameters and variables by name. */
interface Touch {
  readonly kind: "read" | "store" | "update";
  readonly behind: ReadonlySet<string>;
}

export class RestartChecker {
  readonly #roots = new Map<string, Set<string>>();
  readonly #spaces = new Map<string, string>();
  readonly #reads: { instruction: Instruction; behind: ReadonlySet<string> }[] = [];

  constructor(readonly module: Module, readonly walk: Walk, readonly report: Report) {
    const { before } = walk.body.pair;
    for (const { names } of before.parameters) names.forEach(({ name }) => this.#spaces.set(name, ".kernel"));
    this.#declare(module.items);
    this.#declare(before.body);
    const all = this.#all(walk.before);
    for (let changed = true; changed;) {
      changed = false;
      for (const instruction of all) {
        const roots = this.#rootsOf(instruction);
        for (const name of written(instruction)) changed = this.#add(name, roots) || changed;
      }
    }
    for (const instruction of all) {
      for (const { kind, behind } of this.#touches(instruction)) {
        if (kind === "read") this.#reads.push({ instruction, behind });
      }
    }
  }

  #declare(items: readonly { readonly kind: string }[]): void {
    for (const item of items as readonly (Module["items"][number] | Callable["parameters"][number])[]) {
      if (item.kind === "variable") item.names.forEach(({ name }) => this.#spaces.set(name, item.space));
      const body = Reflect.get(item, "body");
      if ((item.kind as string) === "scope") this.#declare(body);
    }
  }

  #all(flow: Flow): Instruction[] {
    return flow.blocks.flatMap((b) => b.instructions);
  }

  #add(name: string, roots: ReadonlySet<string>): boolean {
    const known = this.#roots.get(name) ?? new Set();
    const { size } = known;
    roots.forEach((root) => known.add(root));
    this.#roots.set(name, known);
    return known.size > size;
  }

  #union(names: readonly string[]): Set<string> {
    const union = new Set<string>();
    for (const name of names) {
      const space = this.#spaces.get(name);
      if (space === ".global") union.add(`variable ${name}`);
      else if (space === ".shared" || space === ".local" || space === ".const") union.add(OWN);
      else if (space === undefined || space === ".reg") {
        this.#roots.get(name)?.forEach((root) => union.add(root));
      }
    }
    return union;
  }

  /** Of a number computed from these: an address that went in may come out again. */
  #hidden(names: readonly string[]): Set<string> {
    return new Set([...this.#union(names)].some((root) => root !== OWN) ? [ANYWHERE] : []);
  }

  /** What an address that an instruction computes may lie behind. */
  #rootsOf(instruction: Instruction): ReadonlySet<string> {
    const { opcode, modifiers, operands } = instruction;
    if (opcode === "call") return new Set([ANYWHERE]);
    if (NUMBERS.has(opcode)) return this.#hidden(used(instruction));
    if (opcode === "mad") return this.#union(namesIn(operands[3]));
    const isPointer = /^\.[bus]64$/.test((opcode === "cvt" ? modifiers.at(-2) : modifiers.at(-1)) ?? "");
    if (!isPointer && opcode === "cvt") return this.#hidden(used(instruction));
    if (!isPointer && !modifiers.some((m) => m === ".b128")) return new Set();
    if (opcode === "ld") {
      const [name = ""] = namesIn(operands[1]);
      return new Set([this.#spaces.get(name) === ".kernel" ? `parameter ${name}` : ANYWHERE]);
    }
    if (["ldu", "atom", "tex", "tld4", "suld"].includes(opcode)) return new Set([ANYWHERE]);
    if (opcode === "mov" && operands[1]?.kind === "vector") return new Set([ANYWHERE]);
    return this.#union(used(instruction));
  }

  #behind(operand: Instruction["operands"][number] | undefined): Set<string> {
    const roots = this.#union(namesIn(operand));
    return roots.size === 0 ? new Set([ANYWHERE]) : roots;
  }

  #touches(instruction: Instruction, called = new Set<string>()): Touch[] {
    const { opcode, modifiers, operands } = instruction;
    const any = new Set([ANYWHERE]);
    if (opcode === "call") return this.#calls(instruction, called);
    const isOwn = modifiers.some((m) => OWN_SPACE.test(m));
    const isAsync = modifiers.includes(".async") || modifiers.includes(".bulk");
    const to = (kind: Touch["kind"], at: number): Touch[] => {
      const behind = this.#behind(operands[at]);
      return isOwn || (behind.size === 1 && behind.has(OWN)) ? [] : [{ kind, behind }];
    };
    switch (opcode) {
      case "ld":
      case "ldu":
        return to("read", 1);
      case "st":
        return isAsync ? [{ kind: "update", behind: any }] : to("store", 0);
      case "atom":
        return [...to("update", 1), ...to("read", 1)];
      case "red":
        return isAsync ? [{ kind: "update", behind: any }] : to("update", 0);
      case "wmma":
        return modifiers[0] === ".load" ? to("read", 1) : modifiers[0] === ".store" ? to("store", 0) : [];
      case "cp":
        if (modifiers.includes(".bulk")) {
          return [{ kind: "read", behind: any }, { kind: "update", behind: any }];
        }
        return modifiers.includes(".global") ? [{ kind: "read", behind: this.#behind(operands[1]) }] : [];
      case "tex":
      case "tld4":
      case "suld":
        return [{ kind: "read", behind: any }];
      case "sust":
      case "sured":
      case "discard":
      case "multimem":
      case "tensormap":
        return [{ kind: "update", behind: any }];
      default:
        return [];
    }
  }

  /** What a function does is not followed: it may be done to any memory. */
  #calls(call: Instruction, called: Set<string>): Touch[] {
    const any = new Set([ANYWHERE]);
    const names = call.operands.flatMap((o) => o.kind === "name" ? [o.name] : []);
    const target = this.module.items.find((item) =>
      item.kind === "function" && item.body !== undefined && names.includes(item.name)
    );
    if (target?.kind !== "function" || target.body === undefined) return [{ kind: "update", behind: any }];
    if (called.has(target.name)) return [];
    called.add(target.name);
    const inner: Touch[] = [];
    const visit = (body: Callable["body"]): void => {
      for (const s of body ?? []) {
        if (s.kind === "scope") visit(s.body);
        else if (s.kind === "instruction") inner.push(...this.#touches(s, called));
      }
    };
    visit(target.body);
    return inner.map(({ kind }) => ({ kind, behind: any }));
  }

  check(checkpoint: Checkpoint): void {
    for (const instruction of this.#done(checkpoint)) {
      for (const touch of this.#touches(instruction)) {
        const rule = touch.kind === "read" ? undefined : this.#conflict(touch);
        if (rule !== undefined) {
          this.report(this.#lineOf(instruction), `A block may be given up behind this, and ${rule}`);
        }
      }
    }
  }

  #lineOf(old: Instruction): number {
    return this.walk.body.counterparts.get(old)?.line ?? this.walk.body.pair.after.line;
  }

  #conflict({ kind, behind }: Touch): string | undefined {
    if (kind === "update") return "it may not happen twice";
    for (const read of this.#reads) {
      const isUnknown = behind.has(ANYWHERE) || read.behind.has(ANYWHERE);
      const isSame = [...behind].some((root) => root !== OWN && read.behind.has(root));
      if (isUnknown || isSame) {
        return `what it writes may be read when the block runs again, by line ${
          this.#lineOf(read.instruction)
        }`;
      }
    }
    return undefined;
  }

  /** Original instructions that any thread may have run when the block is given up. */
  #done({ port, together, meeting }: Checkpoint): Set<Instruction> {
    const { before, body, after } = this.walk;
    const sources = [...body.originals];
    let last: Instruction[];
    if (together) last = sources.filter(([now]) => after.next(now).includes(port)).map(([, old]) => old);
    else if (meeting === "gather" || meeting === undefined) return new Set(sources.map(([, old]) => old));
    else {
      const barrier = body.originals.get(meeting);
      last = sources.filter(([, old]) => barrier !== undefined && before.next(old).includes(barrier)).map((
        [, o],
      ) => o);
    }
    const previous = new Map<Instruction, Instruction[]>();
    for (const [, old] of sources) {
      for (const next of before.next(old)) {
        if (next !== undefined) previous.set(next, [...previous.get(next) ?? [], old]);
      }
    }
    const done = new Set<Instruction>();
    for (let at = last.pop(); at !== undefined; at = last.pop()) {
      if (done.has(at)) continue;
      done.add(at);
      last.push(...previous.get(at) ?? []);
    }
    return done;
  }
}
