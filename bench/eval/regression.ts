/**
 * Has anything that the simulator can show become worse? `make bench`.
 *
 * ```sh
 * deno run -A bench/eval/regression.ts          # against bench/results/baseline.json; fails on what is worse
 * deno run -A bench/eval/regression.ts --write  # makes the baseline anew, after a change that was meant
 * ```
 *
 * A few cells in virtual time: the same sources give the same figures on every machine. They say what the scheduler
 * decides, not how fast a GPU is.
 */
import type { Cell, System } from "./cells.ts";
import { arrivalTimes, parseArrivals, seedOf, warmUpTimes } from "./arrivals.ts";
import { WARM_NS } from "./calypte.ts";
import { runSimulated } from "./run.ts";
import { lengthOf, percentile, type Span, unionOf } from "./statistics.ts";

const FILE = new URL("../results/baseline.json", import.meta.url);
const WINDOW_NS = 1e9;
const SEED = 1;

export interface RegressionRow {
  cell: string;
  requests: number;
  unanswered: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
  units: number;
  fill: number;
}

const CASES: readonly [System, string, string, string][] = [
  ["calypte-alone", "detector", "none", "periodic-100"],
  ["calypte-anticipated", "detector", "vegetation", "periodic-100"],
  ["calypte", "detector", "vegetation", "periodic-100"],
  ["calypte", "detector", "transcode", "bursts-100"],
  ["calypte-anticipated", "kernel", "stencil", "periodic-220"],
  ["calypte", "chain", "streamer", "poisson-100"],
  ["calypte", "detector", "grid-sync", "periodic-30"],
  ["calypte-anticipated", "detector", "long-blocks", "periodic-30"],
];

export async function regressionRows(): Promise<RegressionRow[]> {
  const rows: RegressionRow[] = [];
  for (const [system, critical, background, arrivals] of CASES) {
    const cell: Cell = { purpose: "run", system, critical, background, arrivals, round: 1 };
    const spec = parseArrivals(arrivals);
    const seed = seedOf(SEED, critical, arrivals);
    const arrivalsNs = arrivalTimes(spec, WINDOW_NS, seed, 1e6);
    const warmNs = warmUpTimes(spec, WARM_NS, seed, 1e6);
    const samples = await runSimulated({
      cell,
      windowNs: WINDOW_NS,
      arrivalsNs,
      warmNs,
      seed: SEED,
      extra: {},
    });
    const { launchNs, doneNs, units, busyNs } = samples;
    const answered = doneNs.flatMap((done, i) => done >= 0 ? [done - arrivalsNs[i]!] : []);
    const spans = doneNs.flatMap((done, i): Span[] => done >= 0 ? [[launchNs[i]!, done]] : []);
    const idleNs = WINDOW_NS - lengthOf(unionOf(spans, [0, WINDOW_NS]));
    const us = (q: number) => Math.round(percentile(answered, q) / 100) / 10;
    rows.push({
      cell: `${system}.${critical}.${background}.${arrivals}`,
      ...{ requests: doneNs.length, unanswered: doneNs.length - answered.length },
      ...{ p50Us: us(0.5), p99Us: us(0.99), maxUs: us(1), units },
      fill: Math.round(busyNs / idleNs * 1e4) / 1e4,
    });
  }
  return rows;
}

/** By how much a figure may be worse. */
const TOLERANCE = 0.02;
/**
 * Of response times: not to anticipate adds a microsecond to the detector's 420. Irregular arrivals are drawn with logarithms,
 * whose last place is the processor's.
 */
const LATER = { regular: 0.002, irregular: 0.02 };

/** What became worse than the baseline, in words; empty: nothing. A case that one of them lacks is told too. */
export function regressions(now: readonly RegressionRow[], baseline: readonly RegressionRow[]): string[] {
  const found: string[] = [];
  for (const { cell } of baseline) {
    if (!now.some((row) => row.cell === cell)) found.push(`${cell} is in the baseline and was not run`);
  }
  for (const row of now) {
    const was = baseline.find(({ cell }) => cell === row.cell);
    if (was === undefined) {
      found.push(`${row.cell} is not in the baseline: make it anew with --write`);
      continue;
    }
    if (row.requests !== was.requests) {
      found.push(`${row.cell}: ${row.requests} requests, not ${was.requests}`);
    }
    const later = /periodic-\d+$/.test(row.cell) ? LATER.regular : LATER.irregular;
    for (const key of ["unanswered", "p50Us", "p99Us", "maxUs"] as const) {
      if (row[key] > was[key] * (1 + later)) {
        found.push(`${row.cell}: ${key} is ${row[key]}, was ${was[key]}`);
      }
    }
    for (const key of ["units", "fill"] as const) {
      if (row[key] < was[key] * (1 - TOLERANCE)) {
        found.push(`${row.cell}: ${key} is ${row[key]}, was ${was[key]}`);
      }
    }
  }
  return found;
}

if (import.meta.main) {
  const rows = await regressionRows();
  for (const { cell, p50Us, p99Us, maxUs, units, fill, unanswered } of rows) {
    console.log(
      `${cell}: p50 ${p50Us}, p99 ${p99Us}, max ${maxUs} us (simulated), ${unanswered} unanswered, ${units} units, fill ${fill}`,
    );
  }
  if (Deno.args.includes("--write")) {
    const text = JSON.stringify({ backend: "sim", seed: SEED, windowNs: WINDOW_NS, rows }, undefined, 1);
    await Deno.writeTextFile(FILE, text + "\n");
    console.log(`wrote ${FILE.pathname}`);
  } else {
    const found = regressions(rows, JSON.parse(await Deno.readTextFile(FILE)).rows);
    for (const line of found) console.error(`WORSE: ${line}`);
    if (found.length > 0) Deno.exit(1);
    console.log(`nothing is worse than bench/results/baseline.json in ${rows.length} cells`);
  }
}
