/**
 * When do the requests of a cell arrive?
 *
 * Pure: a pattern, a window and a seed give the times. Every system of a round gets the same ones, baselines as a file. A
 * name says it all: `periodic-100`, `poisson-30`, `bursts-100`, `jitter-220` (at this mean, in Hz), or `load-40`: Poisson
 * at 40 % of what the critical work could do alone.
 */
import { randomOf } from "../statistics.ts";

export type Pattern = "periodic" | "poisson" | "bursts" | "jitter" | "load";
const PATTERNS: readonly Pattern[] = ["periodic", "poisson", "bursts", "jitter", "load"];

export interface ArrivalSpec {
  pattern: Pattern;
  /** Mean rate in Hz; `load`: percent of the exclusive rate, 1..99. */
  value: number;
}

/** Requests of one burst, one millisecond from each other. */
const BURST = 4;
const WITHIN_BURST_NS = 1e6;
/** Standard deviation of the jitter, of the period. */
const JITTER = 0.05;

/** Throws if the name is none. */
export function parseArrivals(name: string): ArrivalSpec {
  const match = /^([a-z]+)-(\d+(?:\.\d+)?)$/.exec(name);
  const pattern = PATTERNS.find((one) => one === match?.[1]);
  const value = Number(match?.[2]);
  if (pattern === undefined || !(value > 0) || (pattern === "load" && value >= 100)) {
    throw new Error(
      `Cannot use arrivals '${name}': must be ${PATTERNS.slice(0, 4).join(", ")} with a rate in Hz, ` +
        "such as periodic-100, or load with a percentage below 100, such as load-40",
    );
  }
  return { pattern, value };
}

/** Mean rate in Hz. `exclusiveNs`: what one request takes alone; `load` needs it. */
export function rateOf({ pattern, value }: ArrivalSpec, exclusiveNs: number): number {
  return pattern === "load" ? value / 100 * 1e9 / exclusiveNs : value;
}

/**
 * Times in ns from the window's beginning, ascending, all within `windowNs`. The seed matters to all patterns but
 * `periodic`, whose phase is fixed.
 */
export function arrivalTimes(
  spec: ArrivalSpec,
  windowNs: number,
  seed: number,
  exclusiveNs: number,
): number[] {
  const random = randomOf(seed);
  const periodNs = 1e9 / rateOf(spec, exclusiveNs);
  const exponential = (meanNs: number) => -Math.log(1 - random()) * meanNs;
  const times: number[] = [];
  switch (spec.pattern) {
    case "periodic":
      for (let i = 0, at = 0; at < windowNs; at = ++i * periodNs) times.push(at);
      break;
    case "jitter":
      for (let i = 0, at = 0; at < windowNs; at = ++i * periodNs) {
        times.push(Math.max(0, at + normal(random) * JITTER * periodNs));
      }
      break;
    case "poisson":
    case "load":
      for (let at = exponential(periodNs); at < windowNs; at += exponential(periodNs)) times.push(at);
      break;
    case "bursts":
      for (let at = exponential(periodNs); at < windowNs; at += exponential(BURST * periodNs)) {
        for (let i = 0; i < BURST; i++) times.push(at + i * WITHIN_BURST_NS);
      }
      break;
  }
  return times.map(Math.round).filter((at) => at < windowNs).sort((a, b) => a - b);
}

/** Requests ahead of the window, at negative times: with them the rhythm is learned and everything is warm. */
export function warmUpTimes(spec: ArrivalSpec, warmNs: number, seed: number, exclusiveNs: number): number[] {
  if (spec.pattern !== "periodic" && spec.pattern !== "jitter") {
    return arrivalTimes(spec, warmNs, seedOf(seed, "warm"), exclusiveNs).map((at) => at - warmNs);
  }
  const periodNs = 1e9 / rateOf(spec, exclusiveNs);
  const times: number[] = [];
  for (let i = 1, at = -periodNs; at > -warmNs; at = -(++i) * periodNs) {
    times.push(Math.round(at));
  }
  return times.reverse();
}

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** A seed of its own for each purpose, from the run's: FNV-1a over the words. */
export function seedOf(seed: number, ...words: (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const char of `${seed}/${words.join("/")}`) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  return hash >>> 0;
}
