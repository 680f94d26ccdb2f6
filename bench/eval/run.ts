/** How is the matrix run: in order, within the budget, without what is done already? */
import { arrivalTimes, parseArrivals, seedOf, warmUpTimes } from "./arrivals.ts";
import { type CalypteRequest, type CellSamples, runCalypte, WARM_NS } from "./calypte.ts";
import {
  arrivalSeed,
  BASELINES,
  type Cell,
  cellsOf,
  type Extra,
  isRating,
  keyOf,
  NONE,
  type System,
} from "./cells.ts";
import { nowNs } from "./driver.ts";
import { energyOf, type Machine, type PowerLog } from "./machine.ts";
import type { EvalOptions } from "./options.ts";
import { Budget, windowOf } from "./schedule.ts";
import { FORMAT, type RawCell, Store } from "./store.ts";
import { percentile } from "./statistics.ts";

/** What one cell is run with. */
export interface CellPlan {
  cell: Cell;
  windowNs: number;
  arrivalsNs: readonly number[];
  warmNs: readonly number[];
  seed: number;
  extra: Extra;
}

/** Runs a cell, in virtual time or on the GPU. */
export type CellRunner = (plan: CellPlan) => Promise<CellSamples>;

export interface Outcome {
  done: number;
  already: number;
  failed: { key: string; why: string }[];
  /** Not begun, as the budget was used up, or the harness was told to stop. */
  left: number;
  /** Not begun, as the system had failed too often. */
  skipped: number;
}

export interface RunDeps {
  options: EvalOptions;
  store: Store;
  machine: Machine;
  run: CellRunner;
  power: PowerLog | undefined;
  /** In ms, monotonic. */
  now: () => number;
  /** From when on the budget counts. */
  beginMs: number;
  say: (line: string) => void;
  /** Asked ahead of each cell. */
  isStopped?: () => boolean;
  /** Called for each cell that is stored. */
  onDone?: (cell: Cell) => Promise<void>;
}

/** One after the other, of one system: then its other cells would most likely cost time and give nothing. */
const MOST_FAILURES = 2;

/** A cell that fails is told and left out; the others go on. */
export async function runMatrix(deps: RunDeps): Promise<Outcome> {
  const { options, store, now, say } = deps;
  const cells = cellsOf(options.matrix);
  const budget = new Budget(options.backend, options.budgetMs, deps.beginMs);
  const earlier = await Store.all(store.dir);
  for (const { cell, windowNs, tookMs } of earlier) budget.took(cell.system, windowNs, tookMs);
  const exclusiveNs = exclusiveTimes(earlier);
  const outcome: Outcome = { done: 0, already: 0, failed: [], left: 0, skipped: 0 };
  const failures = new Map<System, number>();
  let isHopeless = false;
  for (const cell of cells) refuseMixing(earlier, cell, options, exclusiveNs);
  for (const [i, cell] of cells.entries()) {
    const place = `[${i + 1}/${cells.length}] ${keyOf(cell)}`;
    if (await store.has(cell)) {
      outcome.already++;
      continue;
    }
    if ((failures.get(cell.system) ?? 0) >= MOST_FAILURES) {
      outcome.skipped++;
      continue;
    }
    const aloneNs = exclusiveNs.get(cell.critical) ?? UNKNOWN_NS;
    const windowNs = windowOf(cell, options.requests, aloneNs, options.backend);
    if (isHopeless || deps.isStopped?.() === true || !budget.fits(cell.system, windowNs, now())) {
      outcome.left++;
      continue;
    }
    const beginMs = now();
    try {
      const samples = await runCell(deps, cell, windowNs, aloneNs);
      const raw = { ...samples, tookMs: now() - beginMs };
      await store.write(raw);
      await deps.onDone?.(cell);
      learn(exclusiveNs, raw);
      failures.delete(cell.system);
      outcome.done++;
      say(`${place}: ${summaryOf(raw)}, ${((now() - beginMs) / 1000).toFixed(1)} s`);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      outcome.failed.push({ key: keyOf(cell), why });
      await store.fail(keyOf(cell), why);
      say(`${place}: FAILED: ${why}`);
      const count = (failures.get(cell.system) ?? 0) + 1;
      failures.set(cell.system, count);
      if (count >= MOST_FAILURES) {
        isHopeless = cell.system === "exclusive";
        say(
          `${cell.system} failed ${count} times in a row: ` +
            (isHopeless
              ? "without it there is nothing to compare with, and the run ends"
              : "its other cells are left out"),
        );
      }
    }
    budget.took(cell.system, windowNs, now() - beginMs);
  }
  return outcome;
}

/** Cells of one round that are done already must have had the same window: else they cannot be compared. */
function refuseMixing(
  earlier: readonly RawCell[],
  cell: Cell,
  { requests, backend }: EvalOptions,
  exclusiveNs: ReadonlyMap<string, number>,
): void {
  const windowNs = windowOf(cell, requests, exclusiveNs.get(cell.critical) ?? UNKNOWN_NS, backend);
  const other = earlier.find((raw) =>
    raw.cell.purpose === cell.purpose && raw.cell.critical === cell.critical &&
    raw.cell.arrivals === cell.arrivals && raw.cell.round === cell.round && raw.windowNs !== windowNs
  );
  if (other === undefined) return;
  throw new Error(
    `Cannot run ${keyOf(cell)} with a window of ${windowNs / 1e9} s: ${keyOf(other.cell)} had ${
      other.windowNs / 1e9
    } s. Give the same --requests as before, or other --rounds`,
  );
}

async function runCell(
  deps: RunDeps,
  cell: Cell,
  windowNs: number,
  exclusiveNs: number,
): Promise<Omit<RawCell, "tookMs">> {
  const { options, machine, power, run } = deps;
  const seed = arrivalSeed(options.matrix.seed, cell);
  const spec = parseArrivals(cell.arrivals);
  const hasCritical = cell.critical !== NONE;
  const arrivalsNs = hasCritical ? arrivalTimes(spec, windowNs, seed, exclusiveNs) : [];
  const warmNs = hasCritical ? warmUpTimes(spec, WARM_NS, seed, exclusiveNs) : [];
  const begunAt = new Date().toISOString();
  const plan: CellPlan = {
    cell,
    windowNs,
    arrivalsNs,
    warmNs,
    extra: options.extra,
    seed: seedOf(options.matrix.seed, "engine", cell.round),
  };
  const { windowEndNs, ...samples } = await run(plan);
  const endMs = power === undefined ? 0 : deps.now() - (nowNs() - windowEndNs) / 1e6;
  const energy = power === undefined ? undefined : energyOf(power.samples, endMs - windowNs / 1e6, endMs);
  return {
    ...{ format: FORMAT, cell, backend: options.backend, machine },
    seeds: { run: options.matrix.seed, arrivals: seed },
    ...{ begunAt, windowNs, arrivalsNs },
    ...samples,
    ...{ energyJ: energy?.joules ?? null, smMhz: energy?.smMhz ?? null },
  };
}

/** Until a calibration has told. */
export const UNKNOWN_NS = 1e6;

export function exclusiveTimes(cells: readonly RawCell[]): Map<string, number> {
  const times = new Map<string, number>();
  for (const raw of cells) learn(times, raw);
  return times;
}

/** Median from launch to completion, without queueing. */
function learn(times: Map<string, number>, { cell, launchNs, doneNs }: RawCell): void {
  if (!isRating(cell)) return;
  const executions = doneNs.flatMap((done, i) => done >= 0 ? [done - launchNs[i]!] : []);
  if (executions.length > 0) times.set(cell.critical, percentile(executions, 0.5));
}

function summaryOf({ arrivalsNs, doneNs, units, verified }: RawCell): string {
  const responses = doneNs.map((done, i) => done >= 0 ? done - arrivalsNs[i]! : Infinity);
  const us = (q: number) => (percentile(responses, q) / 1000).toFixed(0);
  const wrong = verified.critical.wrong + verified.background.wrong;
  return [
    arrivalsNs.length === 0
      ? "no requests"
      : `${responses.length} requests, p50 ${us(0.5)} us, p99 ${us(0.99)} us`,
    `${units} units`,
    ...(wrong === 0 ? [] : [`${wrong} WRONG OUTPUTS`]),
  ].join(", ");
}

/** On the simulator: in this process, in virtual time. */
export const runSimulated: CellRunner = (plan) => {
  if (BASELINES.includes(plan.cell.system as never)) {
    throw new Error(`the simulator does not run ${plan.cell.system}: it takes a GPU's own sharing`);
  }
  const request: CalypteRequest = { ...plan, backend: "sim", clock: "virtual" };
  return runCalypte(request);
};
