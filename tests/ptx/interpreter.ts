/**
 * What does a PTX kernel do to memory, when its threads run in any order?
 *
 * A small interpreter for the part of PTX that the fixtures and the wrapper use. A seeded scheduler picks which thread
 * goes on and how far. Memory is sequentially consistent: missing fences do not show here. An instruction that it does
 * not know is an error, never a guess.
 */

import type { Callable, Instruction, Module, Operand, Statement } from "../../ptx/ast.ts";
import { fullName } from "../../ptx/ast.ts";
import { typeBytes } from "../../ptx/layout.ts";

type Value = number | bigint | boolean;

/** xorshift32: numbers below `n`, the same for the same seed. */
export function randomFrom(seed: number): (n: number) => number {
  let state = (seed | 0) === 0 ? 1 : seed | 0;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** Global memory from address `BASE` on. */
export const BASE = 0x1000;

export class GlobalMemory {
  readonly view: DataView;
  constructor(bytes: number) {
    this.view = new DataView(new ArrayBuffer(bytes));
  }
  u32 = (address: number): number => this.view.getUint32(address - BASE, true);
  u64 = (address: number): bigint => this.view.getBigUint64(address - BASE, true);
  setU32 = (address: number, value: number): void => this.view.setUint32(address - BASE, value, true);
  setU64 = (address: number, value: bigint): void => this.view.setBigUint64(address - BASE, value, true);
}

interface Code {
  readonly name: string;
  readonly at: readonly { instruction: Instruction; targets: readonly number[] }[];
  readonly shared: ReadonlyMap<string, number>;
  readonly sharedBytes: number;
  readonly callable: Callable;
}

interface Frame {
  readonly code: Code;
  pc: number;
  readonly registers: Map<string, Value>;
  readonly parameters: Map<string, DataView>;
  /** Where the caller wants the result. */
  readonly result: { from: string; to: DataView } | undefined;
}

interface Thread {
  readonly index: readonly [number, number, number];
  readonly lane: number;
  readonly warp: number;
  readonly block: ThreadBlock;
  readonly frames: Frame[];
  state: "running" | "barrier" | "shuffle" | "done";
}

interface ThreadBlock {
  readonly index: readonly [number, number, number];
  readonly shared: DataView;
  readonly threads: Thread[];
  /** Those that can go on, in any order. */
  running: Thread[];
}

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
  /** After so many instructions the launch counts as hanging. */
  readonly limit?: number;
}

const codes = new WeakMap<Callable, Code>();

/** Runs a launch to its end. Throws on an unknown instruction, a wild address, a hang. */
export function run(launch: Launch): void {
  new Machine(launch).run();
}

class Machine {
  readonly functions = new Map<string, Callable>();
  readonly sharedSymbols = new Set<string>();
  time = 1000n;
  executed = 0;

  constructor(readonly launch: Launch) {
    for (const item of launch.module.items) {
      if (item.kind === "function" && item.body !== undefined) this.functions.set(item.name, item);
      if (item.kind === "variable" && item.space === ".shared") {
        item.names.forEach((d) => this.sharedSymbols.add(d.name));
      }
    }
  }

  run(): void {
    const { grid, random } = this.launch;
    const waiting: [number, number, number][] = [];
    for (let z = 0; z < grid[2]; z++) {
      for (let y = 0; y < grid[1]; y++) for (let x = 0; x < grid[0]; x++) waiting.push([x, y, z]);
    }
    // Hardware starts blocks in any order and keeps some of them resident at a time.
    const resident = 1 + random(waiting.length);
    let blocks: ThreadBlock[] = [];
    while (waiting.length > 0 || blocks.length > 0) {
      while (blocks.length < resident && waiting.length > 0) {
        const [index] = waiting.splice(random(waiting.length), 1);
        if (index !== undefined) blocks.push(this.start(index));
      }
      const block = blocks[random(blocks.length)];
      if (block === undefined) continue;
      this.turn(block);
      if (block.running.length === 0 && block.threads.every((t) => t.state === "done")) {
        blocks = blocks.filter((b) => b !== block);
      }
      this.launch.between?.();
    }
  }

  start(index: [number, number, number]): ThreadBlock {
    const { kernel, block: shape, args, dynamicSharedBytes = 0 } = this.launch;
    const callable = this.functions.get(kernel);
    if (callable === undefined) throw new Error(`No kernel ${kernel}`);
    if (callable.parameters.length !== args.length) {
      throw new Error(`${kernel} takes ${callable.parameters.length} arguments`);
    }
    const code = compile(callable);
    const shared = new DataView(new ArrayBuffer(code.sharedBytes + dynamicSharedBytes));
    // Shared memory begins as anything.
    for (let i = 0; i < shared.byteLength; i++) shared.setUint8(i, this.launch.random(256));
    const block: ThreadBlock = { index, shared, threads: [], running: [] };
    const parameters = new Map(callable.parameters.map((p, i) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, BigInt.asUintN(64, BigInt(args[i] ?? 0)), true);
      return [p.names[0]?.name ?? "", view] as const;
    }));
    let n = 0;
    for (let z = 0; z < shape[2]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        for (let x = 0; x < shape[0]; x++, n++) {
          const frame = {
            code,
            pc: 0,
            registers: new Map(),
            parameters: new Map(parameters),
            result: undefined,
          };
          block.threads.push({
            index: [x, y, z],
            lane: n % 32,
            warp: n >> 5,
            block,
            frames: [frame],
            state: "running",
          });
        }
      }
    }
    block.running = [...block.threads];
    return block;
  }

  turn(block: ThreadBlock): void {
    const { random, limit = 3_000_000 } = this.launch;
    const { running } = block;
    const at = random(running.length || 1);
    const thread = running[at];
    if (thread === undefined) {
      if (!this.meet(block)) {
        throw new Error(`Block ${block.index} hangs: its threads wait at different places`);
      }
      return;
    }
    const burst = random(8) === 0 ? 1 + random(4) : 1 + random(120);
    for (let i = 0; i < burst && thread.state === "running"; i++) {
      this.step(thread);
      if (++this.executed > limit) throw new Error(`Kernel ${this.launch.kernel} does not end`);
    }
    if (thread.state === "running") return;
    running[at] = running[running.length - 1] ?? thread;
    running.pop();
    this.meet(block);
  }

  /** Lets shuffles and barriers happen whose threads have all come. */
  meet(block: ThreadBlock): boolean {
    const met = this.release(block);
    if (met) block.running = block.threads.filter((t) => t.state === "running");
    return met;
  }

  release(block: ThreadBlock): boolean {
    let met = false;
    const shuffling = block.threads.filter((t) => t.state === "shuffle").map((t) => t.warp);
    for (const warp of new Set(shuffling)) {
      const lanes = block.threads.filter((t) => t.warp === warp && t.state !== "done");
      if (lanes.every((t) => t.state === "shuffle" && place(t) === place(lanes[0]))) {
        this.shuffle(lanes);
        met = true;
      }
    }
    const alive = block.threads.filter((t) => t.state !== "done");
    if (alive.length > 0 && alive.every((t) => t.state === "barrier")) {
      if (new Set(alive.map(place)).size !== 1) {
        throw new Error("Threads of a block wait at different barriers");
      }
      this.barrier(alive);
      met = true;
    }
    return met;
  }

  shuffle(lanes: Thread[]): void {
    const values = new Map(
      lanes.map((t) => [t.lane, this.value(t, current(t).operands[1], ".b32")] as const),
    );
    for (const t of lanes) {
      const instruction = current(t);
      const by = Number(this.value(t, instruction.operands[2], ".b32"));
      const isIndex = instruction.modifiers.includes(".idx");
      if (!isIndex && !instruction.modifiers.includes(".bfly")) unknown(instruction);
      const from = isIndex ? by : t.lane ^ by;
      const target = instruction.operands[0];
      this.set(
        t,
        target?.kind === "pair" ? target.first : target,
        values.get(from) ?? values.get(t.lane) ?? 0,
      );
      if (target?.kind === "pair") this.set(t, target.second, values.has(from));
    }
    for (const t of lanes) advance(t);
  }

  barrier(threads: Thread[]): void {
    const instruction = current(threads[0]);
    if (instruction.modifiers.includes(".red")) {
      const inputs = threads.map((t) => Boolean(this.value(t, current(t).operands[2], ".pred")));
      const isAnd = instruction.modifiers.includes(".and");
      const result = isAnd ? inputs.every((v) => v) : inputs.some((v) => v);
      for (const t of threads) this.set(t, current(t).operands[0], result);
    }
    for (const t of threads) advance(t);
  }

  step(thread: Thread): void {
    const frame = top(thread);
    const item = frame.code.at[frame.pc];
    if (item === undefined) throw new Error(`${frame.code.name} runs past its end`);
    const { instruction, targets } = item;
    const guard = instruction.guard;
    if (guard !== undefined && Boolean(frame.registers.get(guard.register)) === guard.negated) {
      frame.pc++;
      return;
    }
    switch (instruction.opcode) {
      case "bar":
        thread.state = "barrier";
        return;
      case "shfl":
        thread.state = "shuffle";
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

  leave(thread: Thread): void {
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

  call(thread: Thread, instruction: Instruction): void {
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

  compute(thread: Thread, instruction: Instruction): void {
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
        if (modifiers[0] === ".async" && modifiers.includes(".shared")) return this.copy(thread, instruction);
        if (/commit_group|wait_group|wait_all/.test(modifiers[1] ?? "")) return;
        return unknown(instruction);
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
    return set(integerOperation(instruction, big(get(b)), big(by)));
  }

  access(thread: Thread, { opcode, modifiers, operands }: Instruction): void {
    const isLoad = opcode === "ld";
    const [data, address] = isLoad ? operands : [operands[1], operands[0]];
    const type = modifiers.at(-1) ?? "";
    const size = typeBytes(type) ?? 0;
    const { view, at } = this.locate(thread, address, modifiers);
    const items = data?.kind === "vector" ? data.items : [data];
    if (at % (size * items.length) !== 0) {
      throw new Error(`Misaligned address ${at} for ${items.length} x ${type}`);
    }
    items.forEach((item, i) => {
      if (isLoad) this.set(thread, item, wrap(load(view, at + i * size, size), type));
      else store(view, at + i * size, size, this.value(thread, item, type));
    });
  }

  copy(thread: Thread, instruction: Instruction): void {
    const [to, from, size] = instruction.operands;
    const target = this.locate(thread, to, [".shared"]);
    const source = this.locate(thread, from, [".global"]);
    for (let i = 0; i < Number(this.value(thread, size, ".u32")); i++) {
      target.view.setUint8(target.at + i, source.view.getUint8(source.at + i));
    }
  }

  atomic(thread: Thread, instruction: Instruction): void {
    const { opcode, modifiers, operands } = instruction;
    const [result, address, b] = opcode === "atom" ? operands : [undefined, operands[0], operands[1]];
    const type = modifiers.at(-1) ?? "";
    const size = typeBytes(type) ?? 0;
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
    if (modifiers.includes(".shared")) return { view: thread.block.shared, at: base + offset };
    return { view: this.launch.memory.view, at: base + offset - BASE };
  }

  value(thread: Thread, operand: Operand | undefined, type: string): Value {
    if (operand === undefined) return 0;
    if (operand.kind === "constant") {
      const value = constant(operand.value);
      return type === ".pred" ? value !== 0n : wrap(value, type);
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

  special(thread: Thread, name: string, part: string | undefined): Value | undefined {
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

function compile(callable: Callable): Code {
  const known = codes.get(callable);
  if (known !== undefined) return known;
  const at: { instruction: Instruction; targets: number[]; scope: Map<string, number>[] }[] = [];
  const tables = new Map<string, readonly string[]>();
  const shared = new Map<string, number>();
  let sharedBytes = 0;
  const flatten = (body: readonly Statement[], outer: Map<string, number>[]) => {
    const scope = [new Map<string, number>(), ...outer];
    for (const s of body) {
      if (s.kind === "instruction") at.push({ instruction: s, targets: [], scope });
      else if (s.kind === "label") scope[0]?.set(s.name, at.length);
      else if (s.kind === "targets") tables.set(s.name, s.labels);
      else if (s.kind === "scope") flatten(s.body, scope);
      else if (s.kind === "variable" && s.space === ".shared") {
        for (const d of s.names) {
          sharedBytes = Math.ceil(sharedBytes / 16) * 16;
          shared.set(d.name, sharedBytes);
          const count = d.dimensions.reduce((n, e) => n * (e === null ? 0 : Number(constant(e))), 1);
          sharedBytes += count * (typeBytes(s.type) ?? 0);
        }
      }
    }
  };
  flatten(callable.body ?? [], []);
  for (const item of at) {
    const { opcode, operands } = item.instruction;
    const target = operands[opcode === "brx" ? 1 : 0];
    if ((opcode !== "bra" && opcode !== "brx") || target?.kind !== "name") continue;
    for (const label of opcode === "bra" ? [target.name] : tables.get(target.name) ?? []) {
      const to = item.scope.find((s) => s.has(label))?.get(label);
      if (to === undefined) throw new Error(`No label ${label}`);
      item.targets.push(to);
    }
  }
  const code = { name: callable.name, at, shared, sharedBytes: Math.ceil(sharedBytes / 16) * 16, callable };
  codes.set(callable, code);
  return code;
}

function top(thread: Thread): Frame {
  const frame = thread.frames.at(-1);
  if (frame === undefined) throw new Error("The thread has ended");
  return frame;
}

function current(thread: Thread | undefined): Instruction {
  const frame = thread === undefined ? undefined : top(thread);
  const instruction = frame?.code.at[frame.pc]?.instruction;
  if (instruction === undefined) throw new Error("The thread has ended");
  return instruction;
}

const place = (thread: Thread | undefined) => thread === undefined ? -1 : top(thread).pc;

function advance(thread: Thread): void {
  top(thread).pc++;
  thread.state = "running";
}

function unknown(instruction: Instruction): never {
  throw new Error(`The interpreter does not know ${fullName(instruction)} (line ${instruction.line})`);
}

const big = (value: Value): bigint => typeof value === "bigint" ? value : BigInt(value);
const bits = (type: string): number => Number(/[0-9]+/.exec(type)?.[0] ?? 32);
const wider = (type: string): string => type.slice(0, 2) + String(2 * bits(type));

/** A value as a register of this type holds it; signed types come out signed. */
function wrap(value: Value, type: string): Value {
  if (typeof value === "boolean") return value;
  const width = bits(type);
  const signed = type.startsWith(".s");
  if (width === 64) return signed ? BigInt.asIntN(64, big(value)) : BigInt.asUintN(64, big(value));
  return Number(signed ? BigInt.asIntN(width, big(value)) : BigInt.asUintN(width, big(value)));
}

const convert = new DataView(new ArrayBuffer(8));
function float(value: Value): number {
  convert.setUint32(0, Number(BigInt.asUintN(32, big(value))));
  return convert.getFloat32(0);
}
function floatBits(value: number): number {
  convert.setFloat32(0, value);
  return convert.getUint32(0);
}

function load(view: DataView, at: number, size: number): Value {
  if (size === 8) return view.getBigUint64(at, true);
  return size === 4 ? view.getUint32(at, true) : size === 2 ? view.getUint16(at, true) : view.getUint8(at);
}

function store(view: DataView, at: number, size: number, value: Value): void {
  const bitsOf = BigInt.asUintN(64, big(value));
  if (size === 8) view.setBigUint64(at, bitsOf, true);
  else if (size === 4) view.setUint32(at, Number(BigInt.asUintN(32, bitsOf)), true);
  else if (size === 2) view.setUint16(at, Number(BigInt.asUintN(16, bitsOf)), true);
  else view.setUint8(at, Number(BigInt.asUintN(8, bitsOf)));
}

function constant(expression: import("../../ptx/ast.ts").Expression): bigint {
  if (expression.kind === "unary" && expression.operator === "-") return -constant(expression.value);
  if (expression.kind !== "number") throw new Error(`The interpreter does not compute ${expression.kind}`);
  const text = expression.text.replace(/U$/i, "");
  return /^0[fF]/.test(text) ? BigInt(`0x${text.slice(2)}`) : BigInt(text);
}

function compare(how: string, a: Value, b: Value, type: string): boolean {
  const [x, y] = type === ".f32" ? [float(a), float(b)] : [big(a), big(b)];
  switch (how) {
    case ".eq":
      return x === y;
    case ".ne":
      return x !== y;
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

function logic(how: string, a: boolean, b: boolean): boolean {
  if (how === ".and") return a && b;
  if (how === ".or") return a || b;
  if (how === ".xor") return a !== b;
  throw new Error(`The interpreter does not know ${how}.pred`);
}

function floatOperation(instruction: Instruction, a: number, b: number): number {
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

function integerOperation(instruction: Instruction, a: bigint, b: bigint): bigint {
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
