/** Non-preemptive earliest deadline first, played through: what the bounds of response_times.ts are held against. */
import type { Demand } from "../../agent/response_times.ts";

/** One number from a seed after the other, 0 <= n < 1. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

export interface Arrival {
  task: number;
  atNs: number;
}

/** Requests of one task until `endNs`, at least a period apart. */
export function arrivalsOf(
  task: number,
  { periodNs }: Demand,
  fromNs: number,
  endNs: number,
  slackNs: () => number = () => 0,
): Arrival[] {
  const arrivals: Arrival[] = [];
  for (let atNs = fromNs; atNs < endNs; atNs += periodNs + slackNs()) arrivals.push({ task, atNs });
  return arrivals;
}

export interface Play {
  /** When something else lets go of the GPU, of the longest that it may hold it; default: it holds it that long. */
  release?: (arrivalNs: number, longestNs: number) => number;
  /** Loses where deadlines are equal. */
  loser?: number;
}

/** The longest response of each task. All requests count, none is dropped. */
export function longestResponses(
  tasks: readonly Demand[],
  arrivals: readonly Arrival[],
  play: Play = {},
): number[] {
  const { release = (_, longestNs) => longestNs, loser } = play;
  const coming = arrivals.toSorted((a, b) => a.atNs - b.atNs);
  const longest = tasks.map(() => 0);
  const waiting: Arrival[] = [];
  const dueNs = ({ task, atNs }: Arrival) => atNs + tasks[task]!.deadlineNs;
  let next = 0;
  let nowNs = 0;
  while (next < coming.length || waiting.length > 0) {
    const first = coming[next];
    if (waiting.length === 0 && first !== undefined && first.atNs >= nowNs) {
      nowNs = release(first.atNs, longestHold(tasks, coming, next));
    }
    for (; next < coming.length && coming[next]!.atNs <= nowNs; next++) waiting.push(coming[next]!);
    waiting.sort((a, b) => dueNs(a) - dueNs(b) || Number(a.task === loser) - Number(b.task === loser));
    const request = waiting.shift()!;
    nowNs += tasks[request.task]!.costNs;
    longest[request.task] = Math.max(longest[request.task]!, nowNs - request.atNs);
  }
  return longest;
}

/** Until when the GPU may be held by something else, as each of the requests that come by then allows it. */
function longestHold(tasks: readonly Demand[], coming: readonly Arrival[], from: number): number {
  let untilNs = Infinity;
  for (let i = from; i < coming.length && coming[i]!.atNs <= untilNs; i++) {
    untilNs = Math.min(untilNs, coming[i]!.atNs + tasks[coming[i]!.task]!.blockingNs);
  }
  return untilNs;
}
