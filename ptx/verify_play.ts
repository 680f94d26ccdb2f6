/**
 * What happens when the threads of a block go through a tree of inserted text together, in one made-up situation?
 *
 * From barrier to barrier: what one thread stores, the others see behind the next. Each branch must have a known condition,
 * and all threads must meet each barrier.
 */

import type { Instruction } from "./ast.ts";
import { evaluate, type Event, type Values } from "./verify_terms.ts";
import type { End, Node } from "./verify_tree.ts";
import {
  GIVEN_UP,
  type Memory,
  openMemory,
  PARAMETERS,
  type Parameters,
  readFrom,
  specialOf,
  THREADS,
  writeTo,
} from "./verify_world.ts";

export interface Situation {
  readonly memory?: Memory;
  readonly parameters?: Parameters;
  readonly clock?: number;
  /** What others write while this block is at its first fence of system scope. */
  readonly atFence?: Memory;
  /** What one thread sees instead, until the first barrier. */
  readonly seen?: ReadonlyMap<number, Memory>;
  /** What registers hold, for all threads or by the thread's number in THREADS. */
  readonly registers?: (register: string, thread: number) => bigint | undefined;
}

export interface Arrival {
  readonly end: End;
  /** What a register holds there; undefined: not known. */
  register(name: string): bigint | undefined;
}

export interface Outcome {
  readonly arrivals: readonly Arrival[];
  readonly memory: Memory;
  /** What went wrong on the way; the arrivals are not complete then. */
  readonly problem: { readonly at: Instruction; readonly rule: string } | undefined;
  /** Every store and addition, in the order of the threads. */
  readonly touched: readonly { readonly address: number; readonly thread: number }[];
  readonly barriers: number;
}

class Problem extends Error {
  constructor(readonly at: Instruction, readonly rule: string) {
    super(rule);
  }
}

/** Sends all THREADS through a tree. `prefix` is in front of the names of parameters and variables. */
export function play(root: Node, prefix: string, situation: Situation): Outcome {
  return new Play(root, prefix, situation).run();
}

interface Player {
  readonly values: Values;
  readonly results: Map<Event, readonly bigint[]>;
  node: Node;
}

class Play {
  readonly #memory: Map<number, bigint>;
  readonly #players: Player[];
  readonly #touched: { address: number; thread: number }[] = [];
  #pending: (readonly [address: number, value: bigint, bytes: number, thread: number])[] = [];
  #barriers = 0;
  #fenced = false;

  constructor(root: Node, readonly prefix: string, readonly situation: Situation) {
    this.#memory = new Map(situation.memory ?? openMemory());
    this.#players = THREADS.map((_, thread) => {
      const results = new Map<Event, readonly bigint[]>();
      return { results, node: root, values: this.#valuesOf(thread, results) };
    });
  }

  #valuesOf(thread: number, results: ReadonlyMap<Event, readonly bigint[]>): Values {
    const { registers, parameters = PARAMETERS, clock = 0 } = this.situation;
    const known = (name: string) => name.startsWith(this.prefix) ? name.slice(this.prefix.length) : "";
    return {
      start: (register) => registers?.(register, thread),
      parameter: (name) => parameters.get(known(name)),
      special: (name) => specialOf(name, THREADS[thread] ?? [0, 0, 0], clock),
      variable: (name) => known(name) === "" ? undefined : BigInt(GIVEN_UP),
      result: (event, index) => results.get(event)?.[index],
    };
  }

  run(): Outcome {
    let problem: Outcome["problem"];
    try {
      while (this.#toBarrier()) this.#meet();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem = error;
    }
    const arrivals = this.#players.flatMap(({ node, values }) => {
      if (node.kind !== "end") return [];
      const register = (name: string) =>
        evaluate(node.registers.get(name) ?? { kind: "start", register: name }, values);
      return [{ end: node, register }];
    });
    return { arrivals, memory: this.#memory, problem, touched: this.#touched, barriers: this.#barriers };
  }

  /** Whether anybody is at a barrier. */
  #toBarrier(): boolean {
    this.#players.forEach((player, thread) => {
      while (player.node.kind !== "end") {
        if (player.node.kind === "event" && player.node.event.kind === "barrier") break;
        player.node = player.node.kind === "event"
          ? this.#happen(player, player.node.event, thread, player.node.next)
          : this.#choose(player, player.node);
      }
    });
    for (const [address, value, bytes] of this.#pending) writeTo(this.#memory, address, value, bytes);
    this.#pending = [];
    return this.#players.some(({ node }) => node.kind === "event");
  }

  #choose({ values }: Player, node: Node & { kind: "branch" }): Node {
    const test = evaluate(node.condition, values);
    if (test === undefined) throw new Problem(node.at, "The way depends on something that nobody wrote");
    return test !== 0n ? node.yes : node.no;
  }

  #happen({ values, results }: Player, event: Event, thread: number, next: Node): Node {
    const { instruction } = event;
    const know = (value: bigint | undefined, what: string): bigint => {
      if (value === undefined) throw new Problem(instruction, `${what} is not known`);
      return value;
    };
    const guard = event.guard === undefined
      ? 1n
      : know(evaluate(event.guard, values), "Whether this is done");
    if (event.kind === "fence" && guard !== 0n && instruction.modifiers.includes(".sys")) {
      if (!this.#fenced) this.situation.atFence?.forEach((value, at) => this.#memory.set(at, value));
      this.#fenced = true;
    }
    if (guard === 0n || event.address === undefined) return next;
    const address = Number(know(evaluate(event.address, values), "The address"));
    if (event.kind === "load") {
      const loaded = Array.from(
        { length: event.words },
        (_, i) => know(this.#read(address + i * event.bytes, event.bytes, thread), "What is read here"),
      );
      results.set(event, loaded);
      return next;
    }
    if (event.kind === "other") return next;
    event.values.forEach((term, i) => {
      const at = address + i * event.bytes;
      const value = know(evaluate(term, values), "What is written");
      if (event.kind === "store") this.#pending.push([at, value, event.bytes, thread]);
      else {
        const old = know(readFrom(this.#memory, at, event.bytes), "What is added to");
        writeTo(this.#memory, at, old + value, event.bytes);
        results.set(event, [old]);
      }
      this.#touched.push({ address: at, thread });
    });
    return next;
  }

  #read(address: number, bytes: number, thread: number): bigint | undefined {
    const own = new Map<number, bigint>();
    if (this.#barriers === 0) this.situation.seen?.get(thread)?.forEach((value, at) => own.set(at, value));
    for (const [at, value, width, by] of this.#pending) if (by === thread) writeTo(own, at, value, width);
    const word = (at: number) => own.get(at) ?? this.#memory.get(at);
    const [low, high] = [word(address), bytes === 8 ? word(address + 4) : 0n];
    return low === undefined || high === undefined ? undefined : low | (high << 32n);
  }

  #meet(): void {
    const nodes = this.#players.map(({ node }) => node);
    const events = nodes.flatMap((node) => node.kind === "event" ? [node.event] : []);
    const [first] = events;
    if (first === undefined) return;
    const other = events.find(({ instruction }) => instruction !== first.instruction);
    if (events.length < nodes.length || other !== undefined) {
      throw new Problem(first.instruction, "Not all threads of the block meet this barrier");
    }
    this.#barriers++;
    const inputs = this.#players.map((player) => {
      if (player.node.kind !== "event") return undefined;
      const [input] = player.node.event.values;
      return input === undefined ? 0n : evaluate(input, player.values);
    });
    if (inputs.includes(undefined)) {
      throw new Problem(first.instruction, "A thread brings something to this barrier that nobody wrote");
    }
    const isAnd = first.instruction.modifiers.includes(".and");
    const result = (isAnd ? inputs.every((v) => v !== 0n) : inputs.some((v) => v !== 0n)) ? 1n : 0n;
    for (const player of this.#players) {
      if (player.node.kind !== "event") continue;
      player.results.set(player.node.event, [result]);
      player.node = player.node.next;
    }
  }
}
