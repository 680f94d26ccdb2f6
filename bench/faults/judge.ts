/**
 * What did the faults of one kind do to the critical task, to the jobs and to the results? Pure: lines and times in, numbers
 * out.
 */
import { quantilesOf } from "../statistics.ts";
import { type Ledger, type Line, timeOf } from "./ledger.ts";

/** One that was injected. */
export interface Fault {
  atNs: number;
  /** When everything that it touched was seen to be back; `undefined`: it was not, in the time it had. */
  recoveredNs: number | undefined;
  /** The engine was lost over it: requests in between found nobody. */
  engineLost: boolean;
  /** What was done exactly: a signal, a file. */
  what: string;
}

export interface Criticals {
  requests: number;
  late: number;
  dropped: number;
  failed: number;
  /** Requests that were due and have no result, while no engine was there to take them. */
  unanswered: number;
  longestRun: number;
}

/** Requests due between two times, by their lines; what has none was due by the period and found no engine. */
export function criticalsOf(
  lines: readonly Line[],
  beginNs: number,
  endNs: number,
  periodNs: number,
): Criticals {
  const result = { requests: 0, late: 0, dropped: 0, failed: 0, unanswered: 0, longestRun: 0 };
  let run = 0;
  let previous: Line | undefined;
  const missed = (count: number) => {
    run += count;
    result.longestRun = Math.max(result.longestRun, run);
  };
  for (const line of lines) {
    if (line.arrivalNs > endNs) break;
    if (line.arrivalNs >= beginNs) {
      const gap = previous === undefined ? 0 : missingBetween(previous, line, periodNs);
      result.unanswered += gap;
      result.requests += 1 + gap;
      missed(gap);
      if (line.failed) result.failed++;
      else if (line.dropped) result.dropped++;
      else if (line.late) result.late++;
      if (line.failed || line.dropped || line.late) missed(1);
      else run = 0;
    }
    previous = line;
  }
  return result;
}

export function missingBetween(a: Line, b: Line, periodNs: number): number {
  return Math.max(0, Math.round((b.arrivalNs - a.arrivalNs) / periodNs) - 1);
}

/** Times in which nobody could take a request. */
export interface Outage {
  beginNs: number;
  endNs: number;
}

/**
 * Numbers that were given to results and that no file holds: jumps in the numbers, except over an outage of the engine, where
 * requests are counted that never had a result, and units begin again under a new number.
 */
export function lostNumbers(lines: readonly Line[], outages: readonly Outage[]): number {
  let lost = 0;
  for (let i = 1; i < lines.length; i++) {
    const [a, b] = [lines[i - 1]!, lines[i]!];
    const jump = b.number - a.number - 1;
    if (jump <= 0) continue;
    if (outages.some(({ beginNs, endNs }) => timeOf(a) <= endNs && timeOf(b) >= beginNs)) continue;
    lost += jump;
  }
  return lost;
}

/** A result that came between launch and completion was under way. */
export function midRequest(lines: readonly Line[], atNs: number): boolean {
  return lines.some(({ arrivalNs, doneNs, dropped }) => !dropped && arrivalNs <= atNs && atNs <= doneNs);
}

export interface Response {
  count: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
}

export function responseOf(lines: readonly Line[], within: readonly Outage[]): Response {
  const us = lines
    .filter(({ arrivalNs: at, dropped, failed }) =>
      !dropped && !failed && within.some(({ beginNs, endNs }) => at >= beginNs && at <= endNs)
    )
    .map(({ arrivalNs, doneNs }) => (doneNs - arrivalNs) / 1000);
  const { count, p50, p99, max } = quantilesOf(us);
  const round = (value: number) => Math.round(value * 10) / 10;
  return { count, p50Us: round(p50), p99Us: round(p99), maxUs: round(max) };
}

/** For each fault: until the first good result that began after it. In ms; `null`: there was none. */
export function recoveries(
  lines: readonly Line[],
  faults: readonly Fault[],
  isBehind = beginsAfter,
): (number | null)[] {
  return faults.map(({ atNs }) => {
    const first = lines.find((line) => isBehind(line, atNs) && !line.late && !line.dropped && !line.failed);
    return first === undefined ? null : (first.doneNs - atNs) / 1e6;
  });
}

function beginsAfter(line: Line, atNs: number): boolean {
  return timeOf(line) > atNs;
}

export function quantilesMs(values: readonly (number | null)[]): { p50: number; max: number; never: number } {
  const seen = values.filter((value) => value !== null);
  const { p50, max } = quantilesOf(seen);
  const round = (value: number) => Math.round(value * 100) / 100;
  return { p50: round(p50), max: round(max), never: values.length - seen.length };
}

/** One line of the table. */
export interface Row {
  kind: string;
  faults: number;
  notRecovered: number;
  midRequest: number;
  critical: Criticals;
  responseUs: { before: Response; during: Response; after: Response };
  /** Until the first on-time answer to a request that came after the fault. */
  criticalBackMs: { p50: number; max: number; never: number };
  /** Until a unit that was completed after the fault, by job. */
  jobBackMs: Record<string, { p50: number; max: number; never: number }>;
  /** Until everything that was hit was seen to be back, as the harness sees it. */
  backMs: { p50: number; max: number; never: number };
  notes: string[];
  /** Each fault, as it was injected. */
  injected: readonly Fault[];
  failed?: string;
  /** It was not injected: why. */
  skipped?: string;
}

export interface JudgeInput {
  kind: string;
  faults: readonly Fault[];
  /** From here on the kind was at work, and until there. */
  beginNs: number;
  endNs: number;
  critical: Ledger;
  jobs: Readonly<Record<string, Ledger>>;
  periodNs: number;
  notes?: string[];
}

const BEFORE_NS = 2e9;

export function judge(
  { kind, faults, beginNs, endNs, critical, jobs, periodNs, notes = [] }: JudgeInput,
): Row {
  const { lines } = critical;
  const last = Math.max(beginNs, ...faults.map(({ recoveredNs, atNs }) => recoveredNs ?? atNs));
  const first = Math.min(endNs, ...faults.map(({ atNs }) => atNs));
  const during = faults.map(({ atNs, recoveredNs }) => ({ beginNs: atNs, endNs: recoveredNs ?? endNs }));
  const from = Math.min(beginNs, first - BEFORE_NS);
  return {
    kind,
    faults: faults.length,
    notRecovered: faults.filter(({ recoveredNs }) => recoveredNs === undefined).length,
    midRequest: faults.filter(({ atNs }) => midRequest(lines, atNs)).length,
    critical: criticalsOf(lines, first, endNs, periodNs),
    responseUs: {
      before: responseOf(lines, [{ beginNs: from, endNs: first }]),
      during: responseOf(lines, during),
      after: responseOf(lines, [{ beginNs: last, endNs }]),
    },
    criticalBackMs: quantilesMs(recoveries(lines, faults)),
    jobBackMs: Object.fromEntries(
      Object.entries(jobs).map(([name, ledger]) => [name, quantilesMs(recoveries(ledger.lines, faults))]),
    ),
    backMs: quantilesMs(
      faults.map(({ atNs, recoveredNs }) => recoveredNs === undefined ? null : (recoveredNs - atNs) / 1e6),
    ),
    notes,
    injected: faults,
  };
}

/** What became of all results of a scene. */
export interface Results {
  counted: number;
  written: number;
  /** Given up with an error message and a count. */
  givenUp: number;
  /** Neither in a file nor given up loudly. */
  lost: number;
  duplicates: number;
  halfWritten: number;
  where: string[];
}

/** `counted`: what the engine says it did; `undefined`: it cannot be asked any more. */
export function resultsOf(
  ledger: Ledger,
  counted: number | undefined,
  outages: readonly Outage[],
  givenUp: number,
): Results {
  const { lines, duplicates, torn, tornWhere } = ledger;
  const good = lines.filter(({ late, dropped, failed }) => !late && !dropped && !failed).length;
  const byCount = Math.max(0, (counted ?? good) - good);
  const lost = Math.max(0, Math.max(byCount, lostNumbers(lines, outages)) - givenUp);
  return {
    counted: counted ?? good,
    written: good,
    givenUp,
    lost,
    duplicates,
    halfWritten: torn,
    where: tornWhere,
  };
}
