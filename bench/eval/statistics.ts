/**
 * What do the samples of an evaluation say? Pure: quantiles, attainment, idle fill, and intervals by the bootstrap.
 *
 * Response times are in ns; `Infinity` stands for a request that was dropped or never finished, so that it is a miss at every
 * limit and lies above every other in the order. Nothing is left out.
 */
import { randomOf } from "../statistics.ts";

/** Nearest rank, `q` in 0..1; NaN if there are none. `Infinity` where the rank falls on a request without an answer. */
export function percentile(samples: readonly number[], q: number): number {
  if (samples.length === 0) return NaN;
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]!;
}

/** Share of all requests that were answered within `limitNs`; NaN if there were none. */
export function attainment(responsesNs: readonly number[], limitNs: number): number {
  return responsesNs.filter((one) => one <= limitNs).length / responsesNs.length;
}

/** The longest run of requests, in order of arrival, that were not answered within `limitNs`. */
export function longestMissRun(responsesNs: readonly number[], limitNs: number): number {
  let longest = 0, run = 0;
  for (const one of responsesNs) {
    run = one <= limitNs ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  return longest;
}

export type Span = readonly [beginNs: number, endNs: number];

/** The same time without overlaps, ascending, cut to the window. */
export function unionOf(spans: readonly Span[], [beginNs, endNs]: Span): Span[] {
  const merged: [number, number][] = [];
  const cut = spans
    .map(([from, to]): Span => [Math.max(from, beginNs), Math.min(to, endNs)])
    .filter(([from, to]) => to > from)
    .sort((a, b) => a[0] - b[0]);
  for (const [from, to] of cut) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, [from, to]) => sum + to - from, 0);
}

/** Time that lies in both; each must be a union. */
export function overlapOf(some: readonly Span[], others: readonly Span[]): number {
  let sum = 0;
  for (let i = 0, j = 0; i < some.length && j < others.length;) {
    const [a, b] = [some[i]!, others[j]!];
    sum += Math.max(0, Math.min(a[1], b[1]) - Math.max(a[0], b[0]));
    if (a[1] < b[1]) i++;
    else j++;
  }
  return sum;
}

/** Background-busy time within critical-idle time / critical-idle time; NaN if critical work was never idle. */
export function idleFill(busy: readonly Span[], critical: readonly Span[], window: Span): number {
  const [background, requests] = [unionOf(busy, window), unionOf(critical, window)];
  const idleNs = window[1] - window[0] - lengthOf(requests);
  return (lengthOf(background) - overlapOf(background, requests)) / (idleNs > 0 ? idleNs : NaN);
}

export interface Interval {
  /** Median over the rounds. */
  median: number;
  /** 95 %, percentile bootstrap, and not narrower than order statistics say; both NaN with fewer than `MIN_ROUNDS` rounds. */
  low: number;
  high: number;
  /** Of the rounds; NaN if there are none. */
  least: number;
  most: number;
  rounds: number;
}

/**
 * With fewer there is no interval, and nothing is claimed. The interval of five rounds is their whole range: that of independent
 * rounds holds the true median in 1 - 2/2^5 = 94 of 100 cases; the range of three would in 75.
 */
export const MIN_ROUNDS = 5;
const RESAMPLES = 2000;
const SEED = 20261;

export function medianOf(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [low, high] = [sorted[Math.floor(middle)]!, sorted[Math.ceil(middle)]!];
  return low === high ? low : (low + high) / 2;
}

/**
 * Between which order statistics does the median lie in 95 of 100 cases, whatever the distribution? With five rounds the outermost
 * hold it in 94.
 */
function orderInterval(values: readonly number[]): [number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  // Chance that fewer than `rank` of all lie below the median, on both sides.
  let rank = 1;
  for (let term = 2 ** -count, sum = term; rank < count / 2; rank++) {
    term *= (count - rank + 1) / rank;
    sum += term;
    if (2 * sum > 0.05) break;
  }
  return [sorted[rank - 1]!, sorted[count - rank]!];
}

/** Of one figure per round. The bootstrap alone would hold the median of seven rounds in 87 of 100 cases only. The seed is fixed: the same rounds give the same interval. */
export function intervalOf(perRound: readonly number[]): Interval {
  const rounds = perRound.length;
  const range = { least: percentile(perRound, 0), most: percentile(perRound, 1) };
  if (perRound.some(Number.isNaN)) return { median: NaN, low: NaN, high: NaN, least: NaN, most: NaN, rounds };
  const median = medianOf(perRound);
  if (rounds < MIN_ROUNDS) return { median, low: NaN, high: NaN, ...range, rounds };
  const random = randomOf(SEED);
  const medians = Array.from(
    { length: RESAMPLES },
    () => medianOf(perRound.map(() => perRound[Math.floor(random() * rounds)]!)),
  );
  const [least, most] = orderInterval(perRound);
  const low = Math.min(least, percentile(medians, 0.025)), high = Math.max(most, percentile(medians, 0.975));
  return { median, low, high, ...range, rounds };
}

export type Verdict = "better" | "worse" | "no difference shown" | "too few rounds";

/** Of figures of the same round each; what a disturbed round does to both is then no difference between them. */
export function pairedOf(
  ours: ReadonlyMap<number, number>,
  theirs: ReadonlyMap<number, number>,
  of: (ours: number, theirs: number) => number,
): Interval {
  return intervalOf([...ours].flatMap(([round, value]) => {
    const other = theirs.get(round);
    return other === undefined ? [] : [of(value, other)];
  }));
}

/** Two that attain nothing, or never answer, are alike. */
export function ratioOf(ours: number, theirs: number): number {
  return ours === theirs ? 1 : ours / theirs;
}

/**
 * Is `ours` better than `theirs`, where a lower (or a higher) figure is better? Figures of the same round are compared with
 * each other, as what disturbs a round disturbs both. `ratio`: ours / theirs. A win is told only if the whole interval
 * lies on one side of 1.
 */
export function compare(
  ours: ReadonlyMap<number, number>,
  theirs: ReadonlyMap<number, number>,
  better: "lower" | "higher",
): { ratio: Interval; verdict: Verdict } {
  const ratio = pairedOf(ours, theirs, ratioOf);
  if (Number.isNaN(ratio.low)) return { ratio, verdict: "too few rounds" };
  const [below, above] = [ratio.high < 1, ratio.low > 1];
  if (!below && !above) return { ratio, verdict: "no difference shown" };
  return { ratio, verdict: below === (better === "lower") ? "better" : "worse" };
}
