/**
 * In which loops of a kernel may the gate be read, so that a block is left there and run again later?
 *
 * Decides about loops by where they stand and by what was written before (restart.ts). Two kinds of checkpoint: in a loop
 * that all threads turn alike the block decides together, in a barrier; in any other loop each thread decides by itself and
 * waits for the others at the next barrier that all of them meet.
 */

import type { Callable, Instruction, Module } from "./ast.ts";
import { findUncommitted } from "./asynchronous.ts";
import { isBarrier, isPlain, isWarpSync, type Returns } from "./barriers.ts";
import { type Graph, type Loop, reachable } from "./cfg.ts";
import { slotsOf } from "./cost.ts";
import { findDivergence, region } from "./divergence.ts";
import { Memory } from "./memory.ts";
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
  readonly unchecked: readonly { readonly line: number; readonly reason: string }[];
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
  const { module, kernel, graph, callee, overlap } = input;
  const checkpoints: Checkpoint[] = [];
  const unchecked: { line: number; reason: string }[] = [];
  const disjoint = new Map<string, Disjoint>();
  let reason = "";
  if (graph.loops.length === 0) return { checkpoints, reason: "it has no loop", disjoint: [], unchecked };

  const parameters = new Set(kernel.parameters.flatMap((p) => p.names.map((d) => d.name)));
  const divergence = findDivergence(graph, parameters);
  const apart = new Set<number>();
  for (const index of divergence.branches) {
    const block = graph.blocks[index];
    if (block !== undefined) { for (const at of region(graph, block)) apart.add(at); }
  }
  const restarts = new RestartAnalysis(graph, new Memory(module, kernel, graph), callee);
  const checked = new Set<Loop>();
  /** Headers where the block decides together: barriers that the original does not have. */
  const together = new Set<number>();
  /** Where other threads may still be when one has given up by itself. */
  const alone = new Set<number>();
  // Inner loops first: what one turn costs is what inner checkpoints leave of it.
  for (const loop of graph.loops.toSorted((a, b) => a.blocks.size - b.blocks.size)) {
    const before = firstInstruction(graph, loop);
    if (before === undefined) continue;
    const { line } = before;
    const place = apart.has(loop.header)
      ? placeAlone(input, loop, together)
      : placeTogether(input, loop, alone);
    if ("reason" in place) {
      unchecked.push({ line, reason: place.reason });
      continue;
    }
    const strip = findStrip(graph, loop);
    const slots = slotsOfTurn(graph, loop, checked);
    const isShort = strip === undefined
      ? slots < FEW_SLOTS
      : slots * (strip.turns ?? Infinity) < SHORT_LOOP_SLOTS;
    if (isShort && isCoveredOutside(input, loop, restarts, apart)) {
      unchecked.push({ line, reason: "it is short, and the loop around it has a checkpoint" });
      continue;
    }
    const restart = judge(restarts, place.done, overlap);
    if (!restart.ok) {
      unchecked.push({ line, reason: restart.reason });
      continue;
    }
    restart.disjoint.forEach((pair) => disjoint.set(`${pair.written} ${pair.read}`, pair));
    if (reason === "" || restart.disjoint.length > 0) reason = restart.reason;
    const turn = {
      before,
      line,
      slots,
      ...(strip === undefined ? {} : { strip }),
    };
    if (place.kind === "together") {
      checkpoints.push({ ...turn, kind: "together" });
      together.add(loop.header);
    } else {
      const { kind, meeting, until } = place;
      checkpoints.push({ ...turn, kind, ...(meeting === undefined ? {} : { meeting }) });
      until.forEach((index) => alone.add(index));
    }
    checked.add(loop);
  }
  return { checkpoints, reason, disjoint: [...disjoint.values()], unchecked };
}

/** Whether a loop around this one could have a checkpoint, other loops left out of account. */
function isCoveredOutside(
  input: PlanInput,
  loop: Loop,
  restarts: RestartAnalysis,
  apart: ReadonlySet<number>,
): boolean {
  const none = new Set<number>();
  return input.graph.loops.some((outer) => {
    if (outer === loop || !outer.blocks.has(loop.header)) return false;
    const place = apart.has(outer.header)
      ? placeAlone(input, outer, none)
      : placeTogether(input, outer, none);
    return !("reason" in place) && judge(restarts, place.done, input.overlap).ok;
  });
}

function judge(
  restarts: RestartAnalysis,
  done: Iterable<number>,
  overlap: (written: number, read: number) => boolean,
): Restart {
  const restart = restarts.judge(done);
  const clash = restart.disjoint.find(({ written, read }) => overlap(written, read));
  if (clash === undefined) return restart;
  const reason =
    `it writes behind parameter ${clash.written} before that, and reads behind parameter ${clash.read}, ` +
    "which may overlap";
  return { ...restart, ok: false, reason };
}

function firstInstruction(graph: Graph, loop: Loop): Instruction | undefined {
  return graph.blocks[loop.header]?.instructions[0];
}

interface Together {
  readonly kind: "together";
  /** Blocks of the graph of which any thread may have run a part when the block is abandoned. */
  readonly done: ReadonlySet<number>;
}

interface Alone {
  readonly kind: "alone";
  readonly meeting?: Instruction;
  readonly done: ReadonlySet<number>;
  /** Blocks of the graph between the loop and the meeting. */
  readonly until: ReadonlySet<number>;
}

function placeTogether(
  { graph }: PlanInput,
  loop: Loop,
  alone: ReadonlySet<number>,
): Together | { reason: string } {
  if (alone.has(loop.header)) {
    return { reason: "a loop inside it has a checkpoint that threads pass one by one" };
  }
  const uncommitted = findUncommitted(graph, loop.header);
  if (uncommitted !== undefined) {
    return { reason: `the product at line ${uncommitted} cannot be waited for there` };
  }
  const from = graph.blocks[loop.header]?.predecessors ?? [];
  return { kind: "together", done: reachable(graph.blocks, from, (b) => b.predecessors) };
}

/** Where threads that leave a loop one by one meet the others, or why they cannot. */
function placeAlone(
  { graph, returns, module, kernel }: PlanInput,
  loop: Loop,
  together: ReadonlySet<number>,
): Alone | { reason: string } {
  const no = (why: string) => ({ reason: `threads leave it one by one, and ${why}` });
  if (returns === "counted") return no("return before barriers that others meet");
  if (hasDynamicShared(module)) return no("dynamic shared memory leaves no room to tell each other");
  const withBarrier = new Set(graph.blocks.filter((b) => b.instructions.some(isBarrier)).map((b) => b.index));
  const reached = reachable(graph.blocks, [loop.header], (b) => b.successors, withBarrier);
  if ([...reached].some((index) => together.has(index))) {
    return no("then meet at the checkpoint of another loop");
  }
  const lanesMeet =
    [...reached].flatMap((index) => graph.blocks[index]?.instructions.filter(isWarpSync) ?? [])[0];
  if (lanesMeet !== undefined) {
    return no(`lanes of a warp wait for each other at line ${lanesMeet.line} before all threads meet`);
  }
  const met = [...reached].filter((index) => withBarrier.has(index));
  const [at, second] = met;
  if (at === undefined) {
    return { kind: "alone", done: new Set(graph.blocks.map((b) => b.index)), until: reached };
  }
  const meeting = graph.blocks[at]?.instructions.find(isBarrier);
  if (meeting === undefined || second !== undefined || reached.has(graph.exit)) {
    return no("then meet different barriers");
  }
  if (!isPlain(meeting) || meeting.guard !== undefined) {
    return no(`the barrier at line ${meeting.line} is no plain one`);
  }
  if (!(kernel.body ?? []).includes(meeting)) {
    return no(`the barrier at line ${meeting.line} stands in a scope of its own`);
  }
  return {
    kind: "alone",
    meeting,
    done: reachable(graph.blocks, [at], (b) => b.predecessors),
    until: reached,
  };
}

function hasDynamicShared(module: Module): boolean {
  return module.items.some((item) =>
    item.kind === "variable" && item.space === ".shared" && item.linkage.includes(".extern")
  );
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
