/**
 * Which cells does an evaluation have, and in which order are they run?
 *
 * Pure. A cell is one system with one critical work, one background work and one pattern of arrivals, in one round. Cells that
 * differ in the system only are a group: they get the same arrivals, and run in turn, each round in another order that
 * the seed draws. Groups come the most telling first, so that a budget that ends early leaves whole comparisons.
 */
import { randomOf, shuffled } from "../statistics.ts";
import { seedOf } from "./arrivals.ts";

/** Run by the driver, on a GPU only. */
export const BASELINES = [
  "exclusive",
  "streams",
  "priorities",
  "green",
  "timeslice",
  "mps",
  "gating",
] as const;
/** Run on Calypte's engine, on a GPU or the simulator. */
export const OURS = [
  "calypte-anticipated",
  "calypte",
  "calypte-isolated",
  "calypte-alone",
  "calypte-block",
  "calypte-unlearned",
] as const;
export type System = typeof BASELINES[number] | typeof OURS[number];
export const SYSTEMS: readonly System[] = [...BASELINES, ...OURS];

export const SYSTEM_TEXT: Record<System, string> = {
  exclusive: "alone on the GPU",
  streams: "same-priority streams",
  priorities: "stream priorities",
  green: "green contexts",
  timeslice: "time slicing, two processes",
  mps: "MPS, client priority",
  gating: "kernel-boundary gating",
  "calypte-anticipated": "Calypte, anticipated",
  calypte: "Calypte, not anticipated",
  "calypte-isolated": "Calypte, process-isolated, anticipated",
  "calypte-alone": "Calypte without background",
  "calypte-block": "Calypte without loop checkpoints, anticipated",
  "calypte-unlearned": "Calypte without prediction",
};
/** Sharing in space and sharing in time, for the seed claims. */
export const SPATIAL: readonly System[] = ["streams", "priorities", "green", "mps"];
export const TEMPORAL: readonly System[] = ["timeslice", "gating"];

export const NONE = "none";
/** Critical work in the order in which it tells most; the last part of the path names the bundle. */
export const CRITICAL: Readonly<Record<string, string>> = {
  detector: "examples/bundles/obstacle-detector",
  chain: "bench/bundles/faults/fault-chain",
  kernel: "bench/eval/bundles/kernel",
  "heavy-detector": "bench/eval/bundles/heavy-detector",
};
export const BACKGROUND: Readonly<Record<string, string>> = {
  vegetation: "examples/bundles/vegetation-map",
  "long-blocks": "bench/bundles/long-blocks",
  transcode: "bench/eval/bundles/transcode",
  training: "bench/eval/bundles/training",
  stencil: "bench/eval/bundles/stencil",
  nbody: "bench/eval/bundles/nbody",
  streamer: "bench/eval/bundles/streamer",
  thrasher: "bench/eval/bundles/thrasher",
  atomics: "bench/eval/bundles/atomics",
  "grid-sync": "bench/eval/bundles/grid-sync",
};
/** Workloads by name that the command line adds, such as exported models. */
export type Extra = Readonly<Record<string, string>>;

/** The bundle's folder, from the root or absolute. Throws if there is no such workload. */
export function folderOf(name: string, extra: Extra = {}): string {
  const folder = extra[name] ?? CRITICAL[name] ?? BACKGROUND[name];
  if (folder === undefined) throw new Error(`There is no workload '${name}'`);
  return folder;
}

/** What one request takes alone is known from a calibration at this rate. */
export const RATED = "periodic-100";

export const ARRIVALS = [
  "periodic-100",
  "poisson-100",
  "bursts-100",
  "periodic-30",
  "periodic-220",
  "jitter-100",
  ...[20, 40, 60, 80, 90].map((percent) => `load-${percent}`),
];

/** `calibrate`: sets the limits. `alone`: background without critical work. `run`: what is compared. */
export type Purpose = "calibrate" | "alone" | "run";

export interface Cell {
  purpose: Purpose;
  system: System;
  critical: string;
  background: string;
  arrivals: string;
  /** From 1. */
  round: number;
}

export function keyOf({ purpose, system, critical, background, arrivals, round }: Cell): string {
  return [purpose, critical, background, arrivals, system, `r${round}`].join(".");
}

export interface Matrix {
  systems: readonly System[];
  critical: readonly string[];
  background: readonly string[];
  arrivals: readonly string[];
  /** The last. */
  rounds: number;
  /** Default 1. Rounds are compared within themselves: what is measured later takes new ones. */
  firstRound?: number;
  seed: number;
}

/** So many runs set the limits: one ahead of everything, the others in the rounds that follow. */
export const CALIBRATIONS = 3;

/** Exclusive has no background; one that has all others is compared with it. */
function backgroundOf(system: System, background: string): string {
  return system === "exclusive" || system === "calypte-alone" ? NONE : background;
}

/** All cells, in the order in which they are to be run. */
export function cellsOf(
  { systems, critical, background, arrivals, rounds, firstRound = 1, seed }: Matrix,
): Cell[] {
  const onGpu = systems.some((system) => BASELINES.includes(system as never));
  // Without the driver the engine without background stands for exclusive use.
  const reference: System = onGpu || systems.length === 0 ? "exclusive" : "calypte-alone";
  const groups = critical.flatMap((one, i) =>
    background.flatMap((other, j) =>
      arrivals.map((times, k) => ({ one, other, times, rank: [i + j + k, k, i] }))
    )
  );
  groups.sort((a, b) => a.rank[0]! - b.rank[0]! || a.rank[1]! - b.rank[1]! || a.rank[2]! - b.rank[2]!);
  const cells = new Map<string, Cell>();
  const add = (cell: Cell) => {
    if (!cells.has(keyOf(cell))) cells.set(keyOf(cell), cell);
  };
  for (const { one, other, times } of groups) {
    // What one request takes alone gives the rate of a load.
    const calibration = (arrivals: string, round: number): Cell => ({
      ...{ purpose: "calibrate", system: reference, critical: one, background: NONE, arrivals, round },
    });
    for (const each of times.startsWith("load-") ? [RATED, times] : [times]) add(calibration(each, 1));
    for (let round = firstRound; round <= rounds; round++) {
      const alone = new Set<System>([reference === "exclusive" ? "exclusive" : "calypte"]);
      if (systems.includes("calypte-anticipated")) alone.add("calypte");
      const turns: Cell[] = [
        ...[...alone].map((system): Cell => ({
          ...{ purpose: "alone", system, critical: NONE, background: other, arrivals: RATED, round },
        })),
        // Not all at once and first of all: a GPU that is not warm yet would loosen the limit for everybody.
        ...(round > 1 && round <= CALIBRATIONS ? [calibration(times, round)] : []),
        ...systems.map((system): Cell => ({
          ...{ purpose: "run", system, critical: one, background: backgroundOf(system, other) },
          ...{ arrivals: times, round },
        })),
      ];
      for (const cell of shuffled(turns, randomOf(seedOf(seed, "order", one, other, times, round)))) {
        add(cell);
      }
    }
  }
  return [...cells.values()];
}

/** Systems of one comparison get the same arrivals; a calibration gets others. */
export function arrivalSeed(seed: number, { purpose, critical, arrivals, round }: Cell): number {
  return seedOf(seed, "arrivals", purpose, critical, arrivals, round);
}

/** The calibration from which the rates of loads follow: always the same one, or a resumed run would have other arrivals. */
export function isRating({ purpose, arrivals, round }: Cell): boolean {
  return purpose === "calibrate" && arrivals === RATED && round === 1;
}

/** Names out of a list, or all if there is none. Throws on a name that is not there. */
export function chosen<T extends string>(what: string, list: string | undefined, all: readonly T[]): T[] {
  if (list === undefined || list === "") return [...all];
  return list.split(",").map((name) => {
    const found = all.find((one) => one === name);
    if (found === undefined) throw new Error(`There is no ${what} '${name}': must be of ${all.join(", ")}`);
    return found;
  });
}
