/** How much time does a cell take, and is there enough of it left? Pure. */
import { type ArrivalSpec, parseArrivals, rateOf } from "./arrivals.ts";
import { type Cell, NONE, type System } from "./cells.ts";

const ALONE_NS = 2e9;
/** On a GPU a cell takes seconds anyway: more requests cost little. */
const SHORTEST_NS: Record<"cuda" | "sim", number> = { cuda: 2e9, sim: 500e6 };
/** At 30 Hz a thousand requests take longer; the report says how many there were. */
const LONGEST_NS = 40e9;
/** Before the first cell of a kind has told: processes, modules, warming up. */
const FIRST_OVERHEAD_MS: Record<"cuda" | "sim", number> = { cuda: 8000, sim: 500 };

/** Long enough for so many requests. */
export function windowOf(
  cell: Cell,
  requests: number,
  exclusiveNs: number,
  backend: "cuda" | "sim",
): number {
  if (cell.critical === NONE) return ALONE_NS;
  const spec: ArrivalSpec = parseArrivals(cell.arrivals);
  const wantedNs = requests / rateOf(spec, exclusiveNs) * 1e9;
  return Math.round(Math.min(LONGEST_NS, Math.max(SHORTEST_NS[backend], wantedNs)));
}

/** What cells are expected to take beside their window until some are done; half of what a budget keeps for them. */
export function usualOverheadMs(system: System, backend: "cuda" | "sim"): number {
  if (backend === "sim") return FIRST_OVERHEAD_MS.sim;
  if (system === "mps" || system === "calypte-isolated") return 7000;
  return system === "timeslice" ? 6000 : 4500;
}

/** Learns what cells of each system take beside their window. */
export class Budget {
  readonly #budgetMs: number;
  readonly #beginMs: number;
  readonly #backend: "cuda" | "sim";
  readonly #overheadMs = new Map<System, number>();

  constructor(backend: "cuda" | "sim", budgetMs: number | undefined, nowMs: number) {
    this.#budgetMs = budgetMs ?? Infinity;
    this.#beginMs = nowMs;
    this.#backend = backend;
  }

  leftMs(nowMs: number): number {
    return this.#budgetMs - (nowMs - this.#beginMs);
  }

  /** Virtual time costs what it costs; that is learned as overhead too. */
  #windowMs(windowNs: number): number {
    return this.#backend === "sim" ? 0 : windowNs / 1e6;
  }

  expectedMs(system: System, windowNs: number): number {
    return this.#windowMs(windowNs) + (this.#overheadMs.get(system) ?? FIRST_OVERHEAD_MS[this.#backend]);
  }

  /** For a plan: by the cells that are done, else what is usual. */
  plannedMs(system: System, windowNs: number): number {
    return this.#windowMs(windowNs) +
      (this.#overheadMs.get(system) ?? usualOverheadMs(system, this.#backend));
  }

  fits(system: System, windowNs: number, nowMs: number): boolean {
    return this.expectedMs(system, windowNs) <= this.leftMs(nowMs);
  }

  /** The longest seen counts: a budget is kept, not met on average. */
  took(system: System, windowNs: number, ms: number): void {
    const overheadMs = Math.max(0, ms - this.#windowMs(windowNs));
    this.#overheadMs.set(system, Math.max(this.#overheadMs.get(system) ?? 0, overheadMs));
  }
}
