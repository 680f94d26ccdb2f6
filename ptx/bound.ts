/**
 * About how long does a kernel keep the GPU after the gate has closed, at each level?
 *
 * An estimate from the text alone, for the report; what a board really does is measured at load. Null: not to be told from
 * the text, as with a loop whose turns are not known.
 */

import type { Callable } from "./ast.ts";
import type { Graph } from "./cfg.ts";
import type { Checkpoint } from "./checkpoints.ts";
import { slotsOf } from "./cost.ts";

export interface BoundUs {
  readonly loop: number | null;
  readonly block: number | null;
  readonly slice: number | null;
  readonly whole: null;
}

/** What the rewriter aims at between two reads of the gate. */
export const PERIOD_US = 3;
/** An SM issues one instruction per clock for each of four schedulers. */
const SCHEDULERS = 4;
/** A clock that boards and servers have in common, roughly. */
const SLOTS_PER_US = 1500;
const WARPS_PER_SM = 64;
const DEFAULT_THREADS = 256;
/** From closing the gate to reading it, and from the last instruction to the SM being free; FACTS of one H200. */
const OVERHEAD_US = 2;

/** Threads of a block as the kernel declares them, or a common number. */
export function threadsOf(kernel: Callable): number {
  const bound = kernel.performance.find(({ name }) => name === ".reqntid" || name === ".maxntid");
  const words = (bound?.words ?? []).map(Number).filter((n) => Number.isInteger(n));
  return words.length === 0 ? DEFAULT_THREADS : words.reduce((product, n) => product * n, 1);
}

/** Threads of a block along x, where the kernel prescribes them; else as many as need be. */
export function threadsAlongX(kernel: Callable): number {
  const exact = kernel.performance.find(({ name }) => name === ".reqntid");
  return exact === undefined ? Infinity : Number(exact.words[0]);
}

/** @param residentWarps of an SM, where known; else as many as fit by threads alone */
export function estimateBound(
  kernel: Callable,
  graph: Graph | undefined,
  checkpoints: readonly Checkpoint[],
  unchecked: number,
  residentWarps: number | undefined,
): BoundUs {
  if (graph === undefined) return { loop: null, block: null, slice: null, whole: null };
  const warps = Math.ceil(threadsOf(kernel) / 32);
  const resident = residentWarps ?? Math.floor(WARPS_PER_SM / warps) * warps;
  const toUs = (slots: number) => slots * Math.max(resident, warps) / SCHEDULERS / SLOTS_PER_US;
  const round = (us: number) => Math.round(us * 10) / 10;
  const all = graph.blocks.flatMap(({ instructions }) => instructions).reduce(
    (sum, i) => sum + slotsOf(i),
    0,
  );
  const block = graph.loops.length === 0 ? round(toUs(all) + OVERHEAD_US) : null;
  const longestTurn = Math.max(0, ...checkpoints.map(({ slots }) => slots));
  const outside = graph.blocks.filter(({ index }) => !graph.loops.some((l) => l.blocks.has(index)));
  const outsideSlots = outside.flatMap(({ instructions }) => instructions).reduce(
    (sum, i) => sum + slotsOf(i),
    0,
  );
  const loop = checkpoints.length === 0 || unchecked > 0
    ? null
    : round(Math.max(PERIOD_US + 2 * toUs(longestTurn), toUs(outsideSlots)) + OVERHEAD_US);
  return { loop, block, slice: block, whole: null };
}
