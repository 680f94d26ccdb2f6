/**
 * Which kernels might somebody write? A random one for each seed, with loops, branches, barriers, stores and atomics.
 *
 * Each ends, and leaves the same memory behind however its threads run: threads store to their own words only, exchange
 * values through shared memory with barriers around, and add to common words without looking at them. Barriers stand
 * where all threads of a block come that have not returned.
 */

import { randomFrom } from "./interpreter.ts";
import {
  INPUT_WORDS,
  type Node,
  OWN_WORDS,
  type RandomKernel,
  SUM_WORDS,
  type Test,
} from "./random_kernel_text.ts";

/** Statements that one thread may execute: more would make the tests slow. */
const BUDGET = 60;
const MAX_DEPTH = 3;
/** Nothing more is nested in what one thread may execute more often. */
const MAX_TIMES = 12;

const GRIDS = [[5, 1, 1], [4, 1, 1], [6, 1, 1], [3, 2, 1], [2, 2, 1], [2, 1, 2], [1, 3, 2], [
  1,
  1,
  1,
]] as const;
const BLOCKS = [[32, 1, 1], [40, 1, 1], [8, 1, 1], [33, 1, 1], [8, 2, 1], [4, 10, 1]] as const;

/** What a kernel may do besides computing: drawn once for each, so that some are simple. */
interface Habits {
  readonly barriers: boolean;
  readonly reductions: boolean;
  readonly divergence: boolean;
  readonly returns: boolean;
  readonly tables: boolean;
  readonly warps: boolean;
  readonly mbarriers: boolean;
  readonly copies: boolean;
  readonly storesAnywhere: boolean;
  readonly updates: boolean;
  readonly atomics: boolean;
  readonly readsBack: boolean;
  /** Where an exchange has its second barrier: behind it, or ahead of it (but for the very first). */
  readonly barrierBehind: boolean;
  /** Whether barrier 1 is used beside barrier 0. */
  readonly twoBarriers: boolean;
}

/** Who decides alike: all threads of the block that have not returned, all of each warp, or each thread for itself. */
type Scope = "block" | "warp" | "thread";

interface Context {
  /** Who come here together. */
  readonly scope: Scope;
  readonly depth: number;
  /** How often this may run. */
  readonly times: number;
  readonly loops: readonly { readonly id: number; readonly scope: Scope }[];
}

export function randomKernel(seed: number): RandomKernel {
  // Neighbouring seeds begin alike.
  const random = randomFrom(Math.imul(seed, 2654435761) ^ 0x5bd1e995);
  for (let i = 0; i < 8; i++) random(2);
  const grid = pick(random, GRIDS);
  const block = pick(random, BLOCKS);
  const grower = new Grower(random, block[0] * block[1] * block[2]);
  return { seed, grid, block, n: 1 + random(20), body: grower.kernel() };
}

const pick = <T>(random: (n: number) => number, from: readonly T[]): T => from[random(from.length)] as T;

class Grower {
  private readonly habits: Habits;
  private ids = 0;
  private budget = BUDGET;
  private exchanges = 0;

  constructor(private readonly random: (n: number) => number, private readonly threads: number) {
    const chance = (percent: number) => random(100) < percent;
    const returns = chance(35);
    this.habits = {
      barriers: chance(60),
      reductions: chance(returns ? 10 : 30),
      divergence: chance(75),
      returns,
      tables: chance(25),
      warps: chance(20),
      // Who has returned does not arrive any more.
      mbarriers: !returns && chance(10),
      copies: chance(15),
      storesAnywhere: chance(30),
      updates: chance(20),
      atomics: chance(25),
      readsBack: chance(10),
      barrierBehind: chance(50),
      twoBarriers: chance(returns ? 10 : 40),
    };
  }

  kernel(): Node[] {
    const { barriers, divergence, returns } = this.habits;
    const body: Node[] = [];
    // Nobody overwrites the slot of a thread that has returned, so it must hold something from the beginning.
    if (barriers && returns) body.push(lines("st.shared.u32 [%slot], %v0;\nbar.sync 0;"));
    const context: Context = { scope: "block", depth: 0, times: 1, loops: [] };
    if (this.habits.mbarriers) body.push(this.makeObject());
    if (this.habits.copies) body.push(lines("st.shared.u32 [%ahead], %v0;"));
    if (this.random(4) > 0) body.push(this.loop(context));
    if (returns && this.random(4) > 0) body.push(this.leave({ ...context, scope: "thread" }));
    if (barriers) {
      // Threads that come one by one to a barrier, be it out of a loop or because some have returned.
      if (divergence && this.random(3) === 0) body.push(this.loop({ ...context, scope: "thread" }));
      body.push(this.exchange(context));
    }
    body.push(...this.list(context, 2 + this.random(4)));
    body.push(lines("st.global.u32 [%own], %v0;"), lines("st.global.v2.u32 [%own+8], {%v1, %v2};"));
    if (this.random(2) === 0) body.push(lines("st.global.u32 [%own+4], %u0;"));
    return body;
  }

  /** Thread 0 makes the mbarrier that is never given up: the end of the block does that. */
  private makeObject(): Node {
    const id = this.id();
    return lines(
      `setp.eq.u32 %q${id}, %lin, 0;
       @!%q${id} bra $O${id};
       mbarrier.init.shared.b64 [meeting], ${this.threads};
       $O${id}:
       bar.sync 0;`,
    );
  }

  private list(context: Context, length: number): Node[] {
    return Array.from({ length }, () => this.node(context)).filter((node) => node !== undefined);
  }

  private node(context: Context): Node | undefined {
    this.budget -= context.times;
    if (this.budget < 0) return undefined;
    const { habits } = this;
    const { scope, depth, times, loops } = context;
    const isUniform = scope === "block";
    const isOuter = depth < MAX_DEPTH && times < MAX_TIMES;
    const kinds: readonly (readonly [number, () => Node])[] = [
      [5, () => this.compute()],
      [3, () => this.load()],
      [isUniform ? 2 : 0, () => this.computeUniform(context)],
      [isUniform && habits.barriers ? 4 : 0, () => this.exchange(context)],
      [isUniform && habits.reductions ? 2 : 0, () => this.reduce()],
      [scope !== "thread" && habits.warps ? 2 : 0, () => this.askWarp()],
      [isUniform && habits.mbarriers ? 3 : 0, () => this.meetAtObject()],
      [habits.copies ? 2 : 0, () => this.copy()],
      [habits.storesAnywhere ? 2 : 0, () => this.store()],
      [habits.updates ? 1 : 0, () => this.update()],
      [habits.atomics ? 1 : 0, () => this.add()],
      [habits.readsBack ? 1 : 0, () => this.readBack()],
      [isOuter ? 4 : 0, () => this.loop(context)],
      [isOuter ? 3 : 0, () => this.branch(context)],
      [isOuter && habits.tables ? 2 : 0, () => this.table(context)],
      [loops.length > 0 ? 1 : 0, () => this.jump(context)],
      [habits.returns ? 1 : 0, () => this.leave(context)],
    ];
    let at = this.random(kinds.reduce((sum, [weight]) => sum + weight, 0));
    return kinds.find(([weight]) => (at -= weight) < 0)?.[1]();
  }

  private uniform(loops: Context["loops"]): string {
    const counters = loops.filter((l) => l.scope === "block").map((l) => `%c${l.id}`);
    return this.pick(["%u0", "%u1", "%u2", "%cta", "%number", ...counters, String(this.random(9))]);
  }
  private value(): string {
    return this.pick(["%v0", "%v1", "%v2", "%v3", "%v4", "%lin", "%thread", "%u0", String(this.random(99))]);
  }
  private variable = () => `%v${this.random(5)}`;
  private pick = <T>(from: readonly T[]): T => pick(this.random, from);
  private id = () => ++this.ids;

  /** A value that so many threads have in common. */
  private common(scope: Scope, { loops }: Context): string {
    if (scope === "block") return this.uniform(loops);
    return scope === "warp" ? "%warp" : this.pick([this.variable(), "%lin"]);
  }

  private test(scope: Scope, context: Context): Test {
    const id = this.id();
    const predicate = `%q${id}`;
    const compare = `setp.${this.pick(["eq", "ne", "lt", "gt"])}.u32`;
    if (scope === "block" && this.habits.reductions && this.random(3) === 0) {
      const own = `%q${this.id()}`;
      const how = this.pick(["and", "or"]);
      return {
        predicate,
        lines: `${compare} ${own}, ${this.variable()}, ${this.random(60)};
          bar.red.${how}.pred ${predicate}, 0, ${own};`,
      };
    }
    const value = this.common(scope, context);
    const mask = this.pick([1, 3, 7]);
    return {
      predicate,
      lines: `and.b32 %t${id}, ${value}, ${mask};\n${compare} ${predicate}, %t${id}, ${
        this.random(mask + 1)
      };`,
    };
  }

  /** Who is to decide alike about what comes next, as far as there is a choice. */
  private narrow({ scope }: Context): Scope {
    if (scope === "block" && (!this.habits.divergence || this.random(2) === 0)) return "block";
    return scope !== "thread" && this.habits.warps && this.random(2) === 0 ? "warp" : "thread";
  }

  private compute(): Node {
    const op = this.pick([
      "add.u32",
      "sub.u32",
      "xor.b32",
      "and.b32",
      "or.b32",
      "min.u32",
      "max.u32",
      "mul.lo.u32",
    ]);
    const plain = `${op} ${this.variable()}, ${this.variable()}, ${this.value()};`;
    if (!this.habits.divergence || this.random(4) > 0) return lines(plain);
    const id = this.id();
    return lines(`setp.gt.u32 %q${id}, ${this.variable()}, ${this.random(200)};\n@%q${id} ${plain}`);
  }

  private computeUniform({ loops }: Context): Node {
    const op = this.pick(["add.u32", "xor.b32", "min.u32", "mul.lo.u32"]);
    return lines(`${op} %u${this.random(3)}, ${this.uniform(loops)}, ${this.uniform(loops)};`);
  }

  /** The address of a word that `value` chooses among so many behind `base`, in `%d` with the number given back. */
  private address(base: string, value: string, words: number): { id: number; code: string } {
    const id = this.id();
    return {
      id,
      code: `and.b32 %t${id}, ${value}, ${words - 1};\nmad.wide.u32 %d${id}, %t${id}, 4, ${base};`,
    };
  }

  private load(): Node {
    const { id, code } = this.address("%input", this.value(), INPUT_WORDS);
    const space = this.pick([".global", ".global.nc", ".global"]);
    const into = this.variable();
    const old = this.variable();
    return lines(`${code}\nld${space}.u32 ${into}, [%d${id}];\nadd.u32 ${into}, ${into}, ${old};`);
  }

  /** Takes what was copied ahead and copies the next word; nobody waits for the last one. */
  private copy(): Node {
    const { id, code } = this.address("%input", this.value(), INPUT_WORDS);
    return lines(
      `${code}
       cp.async.wait_group 0;
       ld.shared.u32 ${this.variable()}, [%ahead];
       cp.async.ca.shared.global [%ahead], [%d${id}], 4;
       cp.async.commit_group;`,
    );
  }

  private store(): Node {
    if (this.random(2) === 0) {
      return lines(`st.global.u32 [%own+${4 * this.random(OWN_WORDS)}], ${this.variable()};`);
    }
    const { id, code } = this.address("%own", this.variable(), OWN_WORDS);
    return lines(`${code}\nst.global.u32 [%d${id}], ${this.variable()};`);
  }

  private readBack(): Node {
    return lines(`ld.global.u32 ${this.variable()}, [%own+${4 * this.random(OWN_WORDS)}];`);
  }

  private update(): Node {
    const id = this.id();
    return lines(
      `ld.global.u32 %t${id}, [%mine];\nmad.lo.u32 %t${id}, %t${id}, 3, ${this.value()};\nst.global.u32 [%mine], %t${id};`,
    );
  }

  private add(): Node {
    const { id, code } = this.address("%sums", this.value(), SUM_WORDS);
    const by = this.variable();
    if (this.random(2) === 0) return lines(`${code}\nred.global.add.u32 [%d${id}], ${by};`);
    return lines(`${code}\natom.global.add.u32 %t${this.id()}, [%d${id}], ${by};`);
  }

  /** Everybody's value goes to a neighbour, near or far. */
  private exchange(context: Context): Node {
    const id = this.id();
    const distance = this.pick([1, this.threads >> 1, this.threads - 1]);
    const barrier = `bar.sync ${this.habits.twoBarriers ? this.random(2) : 0};`;
    const isFirst = this.exchanges++ === 0 && context.loops.length === 0 && context.depth === 0;
    const { barrierBehind } = this.habits;
    return lines(
      `${barrierBehind || isFirst ? "" : `${barrier}\n`}st.shared.u32 [%slot], ${this.variable()};
       bar.sync 0;
       add.u32 %t${id}, %lin, ${distance};
       rem.u32 %t${id}, %t${id}, ${this.threads};
       mad.lo.u32 %t${id}, %t${id}, 4, %tile;
       ld.shared.u32 ${this.variable()}, [%t${id}];${barrierBehind ? `\n${barrier}` : ""}`,
    );
  }

  private reduce(): Node {
    const id = this.id();
    const test = `setp.gt.u32 %q${id}, ${this.variable()}, ${this.random(99)};`;
    return lines(`${test}\nbar.red.popc.u32 %u${this.random(3)}, 0, %q${id};`);
  }

  private askWarp(): Node {
    const id = this.id();
    // What a thread that has returned would give is not defined.
    if (this.random(2) === 0 && this.threads % 32 === 0 && !this.habits.returns) {
      return lines(
        `shfl.sync.bfly.b32 ${this.variable()}, ${this.variable()}, ${this.pick([1, 4, 16])}, 31, -1;`,
      );
    }
    const test = `setp.gt.u32 %q${id}, ${this.variable()}, ${this.random(99)};`;
    return lines(`${test}\nvote.sync.ballot.b32 ${this.variable()}, %q${id}, -1;`);
  }

  /** All arrive at the mbarrier of the block, and wait for each other. */
  private meetAtObject(): Node {
    const id = this.id();
    return lines(
      `mbarrier.arrive.shared.b64 %d${id}, [meeting];
       $W${id}:
       mbarrier.test_wait.shared.b64 %q${id}, [meeting], %d${id};
       @!%q${id} bra $W${id};`,
    );
  }

  private loop(context: Context): Node {
    const id = this.id();
    const scope = this.narrow(context);
    const most = this.pick([1, 3, 3, 7]);
    const trips = this.random(3) === 0
      ? `mov.u32 %n${id}, ${1 + this.random(most)};`
      : `and.b32 %n${id}, ${this.common(scope, context)}, ${most};\nadd.u32 %n${id}, %n${id}, ${
        this.random(2)
      };`;
    const inside: Context = {
      scope,
      depth: context.depth + 1,
      times: context.times * (1 + 0.7 * most),
      loops: [...context.loops, { id, scope }],
    };
    const form = this.pick(["while", "up", "down"] as const);
    return { kind: "loop", id, form, trips, body: this.list(inside, 2 + this.random(3)) };
  }

  private branch(context: Context): Node {
    const scope = this.narrow(context);
    const inside: Context = { ...context, scope, depth: context.depth + 1 };
    const test = this.test(scope, context);
    const yes = this.list(inside, 1 + this.random(3));
    return { kind: "branch", id: this.id(), test, yes, no: this.list(inside, this.random(3)) };
  }

  private table(context: Context): Node {
    const id = this.id();
    const scope = this.narrow(context);
    const inside: Context = { ...context, scope, depth: context.depth + 1 };
    const cases = Array.from({ length: this.pick([2, 4]) }, () => this.list(inside, 1 + this.random(2)));
    const index = `and.b32 %t${id}, ${this.common(scope, context)}, ${cases.length - 1};`;
    return { kind: "table", id, index, cases };
  }

  /** Threads go out of a loop as they turn in it: all at once, by warp, or each by itself. */
  private jump(context: Context): Node {
    const loop = context.loops.at(-1);
    if (loop === undefined || BREADTH[context.scope] < BREADTH[loop.scope]) return this.compute();
    const test = this.test(loop.scope, context);
    return { kind: "jump", loop: loop.id, to: this.pick(["E", "N"]), test };
  }

  private leave(context: Context): Node {
    return {
      kind: "return",
      test: this.test(this.narrow(context), context),
      opcode: this.pick(["ret", "exit"]),
    };
  }
}

const BREADTH: Readonly<Record<Scope, number>> = { thread: 0, warp: 1, block: 2 };

const lines = (text: string): Node => ({ kind: "lines", lines: text });
