/**
 * What does one instruction of a PTX kernel do to its thread and to memory?
 *
 * An instruction that it does not know is an error, never a guess. Which thread is next is not asked here.
 */

import type { Callable, Instruction, Module, Operand } from "../../ptx/ast.ts";
import { executeCopy } from "./interpreter_copies.ts";
import { checkPlain, executeMbarrier } from "./interpreter_mbarrier.ts";
import { BASE, type GlobalMemory, load, store } from "./interpreter_memory.ts";
import { compile, stands, type Thread, top } from "./interpreter_thread.ts";
import {
  big,
  bits,
  compare,
  constant,
  constantAs,
  float,
  floatBits,
  floatOperation,
  integerOperation,
  logic,
  unknown,
  type Value,
  wider,
  wrap,
} from "./interpreter_values.ts";
import { isOfWarp } from "./interpreter_warp.ts";

export interface Launch {
  readonly module: Module;
  readonly kernel: string;
  readonly grid: readonly [number, number, number];
  readonly block: readonly [number, number, number];
  readonly args: readonly (number | bigint)[];
  readonly dynamicSharedBytes?: number;
  readonly memory: GlobalMemory;
  readonly random: (n: number) => number;
  /** Called between two pieces of execution: the place to close a gate. */
  readonly between?: () => void;
  /** After so many instructions of all threads the launch counts as hanging; the fixtures need a fifth. */
  readonly limit?: number;
}

const isShared = (modifier: string) => modifier === ".shared" || modifier === ".shared::cta";

export class Executor {
  readonly functions = new Map<string, Callable>();
  private readonly sharedSymbols = new Set<string>();
  private time = 1000n;

  constructor(readonly launch: Launch) {
    for (const item of launch.module.items) {
      if (item.kind === "function" && item.body !== undefined) this.functions.set(item.name, item);
      if (item.kind === "variable" && item.space === ".shared") {
        item.names.forEach((d) => this.sharedSymbols.add(d.name));
      }
    }
  }

  /**
   * Executes the next instruction. The thread stops in front of one that waits for others, an mbarrier's unless
   * `mayWait` is false: that is then answered at once.
   */
  step(thread: Thread, mayWait = true): void {
    const frame = top(thread);
    const { instruction, targets } = stands(thread);
    const guard = instruction.guard;
    if (guard !== undefined && Boolean(frame.registers.get(guard.register)) === guard.negated) {
      frame.pc++;
      return;
    }
    switch (instruction.opcode) {
      case "bar":
      case "barrier":
      case "shfl":
      case "vote":
        if (instruction.modifiers.every((m) => m !== ".sync" && m !== ".red" && m !== ".arrive")) {
          return unknown(instruction);
        }
        thread.state = isOfWarp(instruction) ? "warp" : "barrier";
        return;
      case "mbarrier":
        if (this.mbarrier(thread, instruction, mayWait)) frame.pc++;
        else thread.state = "sleeping";
        return;
      case "bra":
        frame.pc = targets[0] ?? -1;
        return;
      case "brx":
        frame.pc = targets[Number(this.value(thread, instruction.operands[0], ".u32"))] ?? -1;
        return;
      case "ret":
      case "exit":
        return this.leave(thread);
      case "call":
        return this.call(thread, instruction);
      default:
        this.compute(thread, instruction);
        frame.pc++;
    }
  }

  private mbarrier(thread: Thread, instruction: Instruction, mayWait: boolean): boolean {
    const address = instruction.operands.find((o) => o.kind === "address");
    if (!instruction.modifiers.some((m) => m.startsWith(".shared"))) return unknown(instruction);
    return executeMbarrier(this, thread, instruction, this.locate(thread, address, [".shared"]).at, mayWait);
  }

  private leave(thread: Thread): void {
    const frame = thread.frames.pop();
    const caller = thread.frames.at(-1);
    if (caller === undefined || frame === undefined) {
      thread.state = "done";
      return;
    }
    const from = frame.parameters.get(frame.result?.from ?? "");
    if (frame.result !== undefined && from !== undefined) {
      frame.result.to.setBigUint64(0, from.getBigUint64(0, true), true);
    }
    caller.pc++;
  }

  private call(thread: Thread, instruction: Instruction): void {
    const [first, second, third] = instruction.operands;
    const hasResult = first?.kind === "list" && second !== undefined;
    const name = hasResult ? second : first;
    const callable = this.functions.get(name?.kind === "name" ? name.name : "");
    if (callable === undefined) return unknown(instruction);
    const args = hasResult ? third : second;
    const names = (o: Operand | undefined) =>
      o?.kind === "list" ? o.items.map((i) => i.kind === "name" ? i.name : "") : [];
    const here = top(thread).parameters;
    const parameters = new Map(callable.parameters.map((p, i) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, here.get(names(args)[i] ?? "")?.getBigUint64(0, true) ?? 0n, true);
      return [p.names[0]?.name ?? "", view] as const;
    }));
    const result = callable.results[0]?.names[0]?.name;
    const to = new DataView(new ArrayBuffer(8));
    if (result !== undefined) {
      parameters.set(result, new DataView(new ArrayBuffer(8)));
      here.set(names(first)[0] ?? "", to);
    }
    thread.frames.push({
      code: compile(callable),
      pc: 0,
      registers: new Map(),
      parameters,
      result: result === undefined ? undefined : { from: result, to },
    });
  }

  private compute(thread: Thread, instruction: Instruction): void {
    const { opcode, modifiers, operands } = instruction;
    const [a, b, c, d] = operands;
    const type = modifiers.at(-1) ?? "";
    const get = (operand: Operand | undefined, as = type) => this.value(thread, operand, as);
    const set = (value: Value) => this.set(thread, a, wrap(value, type));
    switch (opcode) {
      case "ld":
      case "st":
        return this.access(thread, instruction);
      case "atom":
      case "red":
        return this.atomic(thread, instruction);
      case "cp":
        return executeCopy(this, thread, instruction);
      case "membar":
      case "fence":
        return;
      case "mov":
        return set(get(b));
      case "cvta":
        return set(get(b));
      case "selp":
        return set(get(d, ".pred") ? get(b) : get(c));
      case "setp": {
        let result = compare(modifiers[0] ?? "", get(b), get(c), type);
        if (modifiers.length === 3) result = logic(modifiers[1] ?? "", result, Boolean(get(d, ".pred")));
        return this.set(thread, a, result);
      }
      case "cvt": {
        if (/f/.test(type) || /f/.test(modifiers.at(-2) ?? "f")) return unknown(instruction);
        return this.set(thread, a, wrap(get(b), modifiers.at(-2) ?? ""));
      }
      case "clz":
        return this.set(thread, a, Math.clz32(Number(get(b))));
      case "not":
        return set(type === ".pred" ? !get(b) : ~big(get(b)));
      case "neg":
        return set(type === ".f32" ? floatBits(-float(get(b))) : -big(get(b)));
      case "fma":
        return set(floatBits(Math.fround(float(get(b)) * float(get(c))) + float(get(d))));
      case "mul":
        if (modifiers[0] === ".wide") {
          return this.set(thread, a, wrap(big(get(b)) * big(get(c)), wider(type)));
        }
        if (modifiers[0] === ".hi") return set((big(get(b)) * big(get(c))) >> BigInt(bits(type)));
        break;
      case "mad":
        if (modifiers[0] === ".wide") {
          return this.set(thread, a, wrap(big(get(b)) * big(get(c)) + big(get(d, wider(type))), wider(type)));
        }
        return set(big(get(b)) * big(get(c)) + big(get(d)));
    }
    if (type === ".f32") return set(floatBits(floatOperation(instruction, float(get(b)), float(get(c)))));
    if (type === ".pred") return set(logic(`.${opcode}`, Boolean(get(b)), Boolean(get(c))));
    const by = opcode === "shl" || opcode === "shr" ? get(c, ".u32") : get(c);
    return set(integerOperation(instruction, get(b), by));
  }

  private access(thread: Thread, { opcode, modifiers, operands, line }: Instruction): void {
    const isLoad = opcode === "ld";
    const [data, address] = isLoad ? operands : [operands[1], operands[0]];
    const type = modifiers.at(-1) ?? "";
    const size = bits(type) / 8;
    const { view, at } = this.locate(thread, address, modifiers);
    const items = data?.kind === "vector" ? data.items : [data];
    if (at % (size * items.length) !== 0) {
      throw new Error(`Misaligned address ${at} for ${items.length} x ${type}`);
    }
    if (view === thread.block.shared && thread.block.mbarriers.size > 0) {
      checkPlain(thread.block.mbarriers, at, size * items.length, line);
    }
    items.forEach((item, i) => {
      if (isLoad) this.set(thread, item, wrap(load(view, at + i * size, size), type));
      else store(view, at + i * size, size, this.value(thread, item, type));
    });
  }

  private atomic(thread: Thread, instruction: Instruction): void {
    const { opcode, modifiers, operands } = instruction;
    const [result, address, b] = opcode === "atom" ? operands : [undefined, operands[0], operands[1]];
    const type = modifiers.at(-1) ?? "";
    const size = bits(type) / 8;
    const { view, at } = this.locate(thread, address, modifiers);
    const old = big(wrap(load(view, at, size), type));
    const value = big(this.value(thread, b, type));
    const updated = modifiers.includes(".add")
      ? old + value
      : modifiers.includes(".inc")
      ? (old >= value ? 0n : old + 1n)
      : unknown(instruction);
    store(view, at, size, wrap(updated, type));
    if (result !== undefined) this.set(thread, result, wrap(old, type));
  }

  locate(
    thread: Thread,
    operand: Operand | undefined,
    modifiers: readonly string[],
  ): { view: DataView; at: number } {
    const item = operand?.kind === "address" ? operand.items[0] : undefined;
    if (item === undefined) throw new Error("An address has brackets");
    const offset = item.offset === undefined ? 0 : Number(constant(item.offset));
    if (modifiers.includes(".param")) {
      const name = item.base.kind === "name" ? item.base.name : "";
      const parameters = top(thread).parameters;
      let view = parameters.get(name);
      if (view === undefined) parameters.set(name, view = new DataView(new ArrayBuffer(8)));
      return { view, at: offset };
    }
    const base = Number(this.value(thread, item.base, ".u64"));
    if (modifiers.some(isShared)) return { view: thread.block.shared, at: base + offset };
    return { view: this.launch.memory.view, at: base + offset - BASE };
  }

  value(thread: Thread, operand: Operand | undefined, type: string): Value {
    if (operand === undefined) return 0;
    if (operand.kind === "constant") {
      return constantAs(operand.value, type);
    }
    if (operand.kind === "vector") {
      const width = BigInt(bits(type) / operand.items.length);
      return operand.items.reduceRight(
        (sum: bigint, item) => (sum << width) | big(this.value(thread, item, `.b${width}`)),
        0n,
      );
    }
    if (operand.kind !== "name") throw new Error(`Cannot read ${operand.kind}`);
    const frame = top(thread);
    const special = this.special(thread, operand.name, operand.part);
    if (special !== undefined) return special;
    const shared = frame.code.shared.get(operand.name);
    if (shared !== undefined) return shared;
    if (this.sharedSymbols.has(operand.name)) return frame.code.sharedBytes;
    const value = frame.registers.get(operand.name) ?? 0;
    if (operand.negated) return !value;
    return type === ".pred" || typeof value === "boolean" ? Boolean(value) : wrap(value, type);
  }

  private special(thread: Thread, name: string, part: string | undefined): Value | undefined {
    const axis = part === ".x" ? 0 : part === ".y" ? 1 : 2;
    switch (name) {
      case "%tid":
        return thread.index[axis];
      case "%ntid":
        return this.launch.block[axis];
      case "%ctaid":
        return thread.block.index[axis];
      case "%nctaid":
        return this.launch.grid[axis];
      case "%smid": // any, and another each time: blocks move when they are left
        return this.launch.random(64);
      case "%clock":
        return this.launch.random(1 << 20);
      case "%globaltimer":
        return ++this.time;
    }
    return undefined;
  }

  set(thread: Thread, operand: Operand | undefined, value: Value): void {
    if (operand?.kind === "vector") {
      const width = BigInt((typeof value === "bigint" ? 64 : 32) / operand.items.length);
      operand.items.forEach((item, i) =>
        this.set(thread, item, wrap(big(value) >> (width * BigInt(i)), `.b${width}`))
      );
    } else if (operand?.kind === "name") top(thread).registers.set(operand.name, value);
    else throw new Error("A result goes to a register");
  }
}
