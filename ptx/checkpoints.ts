/**
 * In which loops of a kernel may the gate be read, so that a block is left there and run again later?
 *
 * Decides about loops by where they stand and by what was written before (restart.ts). Two kinds of checkpoint: in a loop
 * that all threads turn alike the block decides together, in a barrier; in any other loop each thread decides by itself and
 * waits for the others at the next barrier that all of them meet.
 */

import type { Callable, Instruction, Module } from "./ast.ts";
import type { Returns } from "./barriers.ts";
import type { Graph, Loop } from "./cfg.ts";
import { slotsOf } from "./cost.ts";
import { findDivergence, region } from "./divergence.ts";
import { Memory } from "./memory.ts";
import { type Place, placeAlone, placeTogether } from "./placement.ts";
import { findStrip, type Strip } from "./strips.ts";
import { type Disjoint, type Restart, RestartAnalysis } from "./restart.ts";

export interface Checkpoint {
  /** The checkpoint stands in front of it: the first of the loop's header. */
  readonly before: Instruction;
  /** Of the loop, in the original text. */
  readonly line: number;
  /** One turn of the loop, in issue slots of a warp (cost.ts). */
  readonly slots: number;
  readonly kind: "together" | "alone";
  /** For `alone`: the barrier where abandoning threads wait for the others; undefined: behind the kernel's last instruction. */
  readonly meeting?: Instruction;
  /** How the loop is cut into strips; absent: it counts down. */
  readonly strip?: Strip;
}

export interface LoopPlan {
  readonly checkpoints: readonly Checkpoint[];
  /** Why a block that was left at any of them may be run again. */
  readonly reason: string;
  readonly disjoint: readonly Disjoint[];
  /** Loops without a checkpoint, and why. */
  readonly unchecked: readonly {
    readonly line: number;
    readonly reason: string;
    /** Whether a loop around it has one. */
    readonly around: boolean;
  }[];
}

export interface PlanInput {
  readonly module: Module;
  readonly kernel: Callable;
  readonly graph: Graph;
  readonly returns: Returns;
  readonly callee: (call: Instruction) => Callable | undefined;
  /** Whether what is written behind one parameter may overlap with what is read behind the other. */
  readonly overlap: (written: number, read: number) => boolean;
}

/** A loop of fewer slots, that cannot be cut into strips, would spend much of its time counting. */
const FEW_SLOTS = 48;
/** A loop that takes no longer needs no checkpoint if one follows: a few microseconds. */
const SHORT_LOOP_SLOTS = 1000;
/** Turns that a loop without a checkpoint of its own is taken to make in one turn of the loop around it. */
const INNER_TURNS = 8;

export function planLoops(input: PlanInput): LoopPlan {
  if (input.graph.loops.length === 0) {
    return { checkpoints: [], reason: "it has no loop", disjoint: [], unchecked: [] };
  }
  return new Planner(input).plan();
}

class Planner {
  readonly #checkpoints: Checkpoint[] = [];
  readonly #unchecked: LoopPlan["unchecked"][number][] = [];
  readonly #disjoint = new Map<string, Disjoint>();
  #reason = "";
  /** Blocks of the graph that not all threads run alike. */
  readonly #apart = new Set<number>();
  readonly #restarts: RestartAnalysis;
  readonly #checked = new Set<Loop>();
  /** Headers where the block decides together: barriers that the original does not have. */
  readonly #together = new Set<number>();
  /** Where other threads may still be when one has given up by itself. */
  readonly #alone = new Set<number>();

  constructor(readonly input: PlanInput) {
    const { module, kernel, graph, callee } = input;
    const parameters = new Set(kernel.parameters.flatMap((p) => p.names.map((d) => d.name)));
    for (const index of findDivergence(graph, parameters).branches) {
      const block = graph.blocks[index];
      if (block === undefined) continue;
      for (const at of region(graph, block)) this.#apart.add(at);
    }
    this.#restarts = new RestartAnalysis(graph, new Memory(module, kernel, graph), callee);
  }

  plan(): LoopPlan {
    // Inner loops first: what one turn costs is what inner checkpoints leave of it.
    const loops = this.input.graph.loops.toSorted((a, b) => a.blocks.size - b.blocks.size);
    const short = new Set(loops.filter((loop) => this.#isShort(loop)));
    for (const loop of loops) if (!short.has(loop)) this.#consider(loop);
    for (const loop of short) {
      const line = lineOf(this.input.graph, loop);
      const around = [...this.#checked].some((outer) => outer !== loop && outer.blocks.has(loop.header));
      if (!around) this.#consider(loop);
      else {this.#unchecked.push({
          line,
          reason: "it is short, and the loop around it has a checkpoint",
          around,
        });}
    }
    return {
      checkpoints: this.#checkpoints,
      reason: this.#reason,
      disjoint: [...this.#disjoint.values()],
      unchecked: this.#unchecked,
    };
  }

  /** Whether a checkpoint in a loop around it will do. */
  #isShort(loop: Loop): boolean {
    const strip = findStrip(this.input.graph, loop);
    const slots = slotsOfTurn(this.input.graph, loop, new Set());
    return strip === undefined ? slots < FEW_SLOTS : slots * (strip.turns ?? Infinity) < SHORT_LOOP_SLOTS;
  }

  #consider(loop: Loop): void {
    const { graph, overlap } = this.input;
    const before = firstInstruction(graph, loop);
    if (before === undefined) return;
    const { line } = before;
    const refuse = (reason: string) => this.#unchecked.push({ line, reason, around: false });
    const place = this.#apart.has(loop.header)
      ? placeAlone(this.input, loop, this.#together)
      : placeTogether(this.input, loop, this.#alone);
    if ("reason" in place) return void refuse(place.reason);
    const restart = judge(this.#restarts, place, overlap);
    if (!restart.ok) return void refuse(restart.reason);
    restart.disjoint.forEach((pair) => this.#disjoint.set(`${pair.written} ${pair.read}`, pair));
    if (this.#reason === "" || restart.disjoint.length > 0) this.#reason = restart.reason;
    const strip = findStrip(graph, loop);
    const slots = slotsOfTurn(graph, loop, this.#checked);
    const turn = { before, line, slots, ...(strip === undefined ? {} : { strip }) };
    if (place.kind === "together") {
      this.#checkpoints.push({ ...turn, kind: "together" });
      this.#together.add(loop.header);
    } else {
      const { kind, meeting, until } = place;
      this.#checkpoints.push({ ...turn, kind, ...(meeting === undefined ? {} : { meeting }) });
      until.forEach((index) => this.#alone.add(index));
    }
    this.#checked.add(loop);
  }
}

function judge(
  restarts: RestartAnalysis,
  place: Place,
  overlap: (written: number, read: number) => boolean,
): Restart {
  const restart = restarts.judge(place.done, place.ahead);
  const clash = restart.disjoint.find(({ written, read }) => overlap(written, read));
  if (clash === undefined) return restart;
  const reason =
    `it writes behind parameter ${clash.written} before that, and reads behind parameter ${clash.read}, ` +
    "which may overlap";
  return { ...restart, ok: false, reason };
}

function lineOf(graph: Graph, loop: Loop): number {
  return firstInstruction(graph, loop)?.line ?? 0;
}

function firstInstruction(graph: Graph, loop: Loop): Instruction | undefined {
  return graph.blocks[loop.header]?.instructions[0];
}

function slotsOfTurn(graph: Graph, loop: Loop, checked: ReadonlySet<Loop>): number {
  let slots = 0;
  const inner = graph.loops.filter((l) => l !== loop && loop.blocks.has(l.header));
  for (const index of loop.blocks) {
    const around = inner.filter((l) => l.blocks.has(index));
    if (around.some((l) => checked.has(l))) continue;
    const own = (graph.blocks[index]?.instructions ?? []).reduce((sum, i) => sum + slotsOf(i), 0);
    slots += around.reduce((sum, l) => sum * (findStrip(graph, l)?.turns ?? INNER_TURNS), own);
  }
  return slots;
}
