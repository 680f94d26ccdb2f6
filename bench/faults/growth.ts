/** Does a process grow? Pure: samples in, a verdict out, which does not mind single peaks. */
import type { Usage } from "./processes.ts";

export interface Sample extends Usage {
  who: string;
  /** Since the first sample. */
  atS: number;
}

export interface Growth {
  who: string;
  samples: number;
  /** Behind the warm-up: medians of the first and the last third, and the slope of the line through all. */
  rssMiB: { first: number; last: number; perHour: number };
  files: { first: number; last: number };
  threads: { first: number; last: number };
  /** What grew too much, in words. */
  grew: string[];
}

const MIB = 2 ** 20;
/** Of the whole time: caches fill, code is compiled, heaps find their size. */
const WARM_UP_SHARE = 0.25;
const MOST_RSS_SHARE = 0.1;
const MOST_RSS_MIB = 12;
const MOST_COUNT = 2;
/** With fewer samples a third says nothing. */
const LEAST_SAMPLES = 9;

export function growthsOf(samples: readonly Sample[]): Growth[] {
  const whos = [...new Set(samples.map(({ who }) => who))];
  return whos.map((who) => growthOf(who, samples.filter((sample) => sample.who === who)));
}

function growthOf(who: string, all: readonly Sample[]): Growth {
  const endS = all.at(-1)?.atS ?? 0;
  const settled = all.filter(({ atS }) => atS >= endS * WARM_UP_SHARE);
  const third = Math.floor(settled.length / 3);
  const [early, late] = [settled.slice(0, third), settled.slice(settled.length - third)];
  const ends = (of: (sample: Sample) => number) => ({
    first: median(early.map(of)),
    last: median(late.map(of)),
  });
  const rss = ends(({ rssBytes }) => rssBytes / MIB);
  const perHour = slope(settled.map(({ atS, rssBytes }) => [atS / 3600, rssBytes / MIB]));
  const files = ends((sample) => sample.files);
  const threads = ends((sample) => sample.threads);
  const grew: string[] = [];
  if (settled.length < LEAST_SAMPLES) {
    grew.push(`only ${settled.length} samples behind the warm-up: that says nothing`);
  } else {
    const more = rss.last - rss.first;
    if (more > MOST_RSS_MIB && more > rss.first * MOST_RSS_SHARE) {
      grew.push(`memory grew by ${more.toFixed(1)} MiB`);
    }
    if (files.last > files.first + MOST_COUNT) grew.push(`${files.last - files.first} more open files`);
    if (threads.last > threads.first + MOST_COUNT) grew.push(`${threads.last - threads.first} more threads`);
  }
  return { who, samples: all.length, rssMiB: { ...rss, perHour }, files, threads, grew };
}

export function growthTable(growths: readonly Growth[]): string {
  const rows = growths.map(({ who, samples, rssMiB, files, threads }) => [
    ...[who, String(samples), rssMiB.first.toFixed(1), rssMiB.last.toFixed(1), rssMiB.perHour.toFixed(1)],
    ...[files.first, files.last, threads.first, threads.last].map(String),
  ]);
  const head = [
    "process",
    "n",
    "MiB first",
    "last",
    "per hour",
    "files first",
    "last",
    "threads first",
    "last",
  ];
  const cells = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map((row) => row.map((cell, i) => cell.padStart(widths[i]!)).join("  ")).join("\n");
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Of the line of least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)];
  const xx = mean(([px]) => (px - x) ** 2);
  return xx === 0 ? 0 : mean(([px, py]) => (px - x) * (py - y)) / xx;
}
