/**
 * What do the raw samples of a run come to? Pure: figures of each cell, by group and system, and intervals over rounds.
 *
 * S, the limit of a group, is the p99 of the calibration with the same critical work and pattern. A cell with a wrong output, or
 * on a GPU with none that was compared, gives no figures: it is listed as `rejected`, with the reason.
 */
import { type Cell, NONE, OURS, type System, SYSTEMS } from "./cells.ts";
import type { RawCell } from "./store.ts";
import {
  attainment,
  idleFill,
  type Interval,
  intervalOf,
  lengthOf,
  longestMissRun,
  medianOf,
  pairedOf,
  percentile,
  ratioOf,
  type Span,
  unionOf,
} from "./statistics.ts";

/** Factors on S at which attainment is given. */
export const LIMITS = [1, 1.2, 1.5] as const;

export interface Figures {
  round: number;
  requests: number;
  /** Not answered within S. */
  misses: number;
  /** Dropped or unfinished; misses at every limit. */
  unanswered: number;
  longestMissRun: number;
  /** ns; `Infinity` where the rank falls on a request without an answer. */
  p50: number;
  p99: number;
  p999: number;
  max: number;
  /** At S, 1.2 S, 1.5 S. */
  attained: [number, number, number];
  /** Background units against those alone on the GPU; NaN: no background, or not known alone. */
  goodput: number;
  /** NaN: no background. */
  fill: number;
  /** Of the window: critical work at work, or background within its idle time. */
  utilisation: number;
  /** Share of the window in which no request was at work. */
  idleShare: number;
  cpuCores: number;
  /** GPU time of background by level, ns; empty for baselines. */
  levelsNs: Readonly<Record<string, number>>;
  /** NaN: not measured. */
  watts: number;
  /** SM clock seen, lowest and highest; NaN: not measured. */
  smMhz: [number, number];
}

export interface SystemSummary {
  system: System;
  /** By round, ascending. */
  rounds: Figures[];
  /** Those of all rounds, in ns, in order of arrival. */
  responsesNs: number[];
}

export interface Group {
  critical: string;
  background: string;
  arrivals: string;
  /** S in ns: the median of the calibrations' p99. */
  limitNs: number;
  /** Of each calibration, in ns. */
  limits: number[];
  /** Alone on the GPU: `exclusive`, or on the simulator the engine without background. */
  reference: System;
  /** Of background alone on the GPU, in the cell that had fewest: goodput is not known finer than one of these. */
  aloneUnits: number;
  systems: SystemSummary[];
}

export interface Summary {
  /** Taken from the raw cells; a run has one. */
  backend: "sim" | "cuda";
  groups: Group[];
  rejected: { cell: Cell; why: string }[];
  /** Background without critical work, time of a unit by background: on the engine / without. NaN: not measured. */
  backgroundTax: { background: string; ratio: Interval }[];
}

/** Answers in order of arrival; `Infinity`: none. */
export function responsesOf({ arrivalsNs, doneNs }: RawCell): number[] {
  return doneNs.map((done, i) => done >= 0 ? done - arrivalsNs[i]! : Infinity);
}

/** When requests were at work. One that never ended was so until the window's end. */
export function criticalSpans({ launchNs, doneNs, windowNs }: RawCell): Span[] {
  return launchNs.flatMap((launch, i): Span[] => {
    if (launch < 0) return [];
    return [[launch, doneNs[i]! >= 0 ? doneNs[i]! : windowNs]];
  });
}

export function whyRejected({ backend, verified, doneNs, units }: RawCell): string | undefined {
  for (const [name, { checked, wrong, why }] of Object.entries(verified)) {
    if (wrong > 0) return `${wrong} of ${checked} outputs of the ${name} work were wrong`;
    // Work that never got to an end has no output that could be wrong: that it got nowhere is its figure.
    const ended = name === "critical" ? doneNs.some((done) => done >= 0) : units > 0;
    if (backend === "cuda" && ended && checked === 0) {
      return `no output of the ${name} work was compared: ${why}`;
    }
  }
  return undefined;
}

/** Throws if the cells are of different backends or GPUs: figures of one never stand beside another's. */
export function summarise(cells: readonly RawCell[]): Summary {
  const backend = cells[0]?.backend ?? "sim";
  if (cells.some((raw) => raw.backend !== backend)) {
    throw new Error("Cannot summarise: some cells are simulated and others are not");
  }
  const boards = new Set(
    cells.map(({ machine }) => `${machine.gpu} ${machine.board}, driver ${machine.driver}`),
  );
  if (boards.size > 1) throw new Error(`Cannot summarise cells of different GPUs: ${[...boards].join("; ")}`);
  const rejected: Summary["rejected"] = [];
  const others = strangers(cells);
  const good = cells.filter((raw) => {
    const why = whyRejected(raw) ?? others.get(raw);
    if (why !== undefined) rejected.push({ cell: raw.cell, why });
    return why === undefined;
  });
  const rates = aloneRates(good);
  const groups: Group[] = [];
  for (const raw of good.filter(({ cell }) => cell.purpose === "calibrate")) {
    if (Number.isFinite(percentile(responsesOf(raw), 0.99))) continue;
    const why = "too many requests were not answered even without background for a limit to follow";
    rejected.push({ cell: raw.cell, why });
  }
  const runs = good.filter(({ cell }) => cell.purpose === "run");
  const reference: System = backend === "cuda" ? "exclusive" : "calypte-alone";
  for (
    const key of new Set(
      // As they were measured: the most telling one first.
      runs.filter(({ cell }) => cell.background !== NONE)
        .toSorted((a, b) => a.begunAt < b.begunAt ? -1 : a.begunAt > b.begunAt ? 1 : 0)
        .map(({ cell }) => groupKey(cell)),
    )
  ) {
    const [critical, background, arrivals] = key.split("|") as [string, string, string];
    const limits = good.filter(({ cell }) =>
      cell.purpose === "calibrate" && cell.critical === critical && cell.arrivals === arrivals
    ).map((raw) => percentile(responsesOf(raw), 0.99));
    const limitNs = medianOf(limits);
    if (!Number.isFinite(limitNs)) continue;
    const systems = SYSTEMS.flatMap((system): SystemSummary[] => {
      const mine = runs.filter(({ cell }) =>
        cell.system === system && cell.critical === critical && cell.arrivals === arrivals &&
        (cell.background === background || cell.background === NONE)
      ).sort((a, b) => a.cell.round - b.cell.round);
      if (mine.length === 0) return [];
      const rounds = mine.map((raw) => figuresOf(raw, limitNs, rates));
      return [{ system, rounds, responsesNs: mine.flatMap(responsesOf) }];
    });
    const alone = good.filter(({ cell }) => cell.purpose === "alone" && cell.background === background);
    const aloneUnits = Math.min(...alone.map(({ units }) => units));
    groups.push({ ...{ critical, background, arrivals, limitNs, limits }, reference, aloneUnits, systems });
  }
  return { backend, groups, rejected, backgroundTax: taxOf(good) };
}

/** Cells that were not given the arrivals of the round's reference, by why; they can be compared with nothing. */
function strangers(cells: readonly RawCell[]): Map<RawCell, string> {
  const given = new Map<string, RawCell>();
  const found = new Map<RawCell, string>();
  const isReference = ({ cell: { system } }: RawCell) => system === "exclusive" || system === "calypte-alone";
  for (const raw of [...cells.filter(isReference), ...cells.filter((one) => !isReference(one))]) {
    const { purpose, critical, arrivals, round } = raw.cell;
    if (purpose !== "run") continue;
    const key = `${critical}|${arrivals}|${round}`;
    const first = given.get(key) ?? raw;
    given.set(key, first);
    const isSame = raw.windowNs === first.windowNs && raw.arrivalsNs.length === first.arrivalsNs.length &&
      raw.arrivalsNs.every((at, i) => at === first.arrivalsNs[i]);
    if (!isSame) found.set(raw, `its arrivals are not those of ${first.cell.system} in the same round`);
  }
  return found;
}

function groupKey({ critical, background, arrivals }: Cell): string {
  return `${critical}|${background}|${arrivals}`;
}

function figuresOf(raw: RawCell, limitNs: number, rates: AloneRates): Figures {
  const { cell, windowNs, energyJ, cpuS } = raw;
  const responses = responsesOf(raw);
  const window: Span = [0, windowNs];
  const criticalNs = lengthOf(unionOf(criticalSpans(raw), window));
  const fill = fillOf(raw, criticalNs);
  const idleShare = 1 - criticalNs / windowNs;
  return {
    round: cell.round,
    requests: responses.length,
    misses: responses.filter((one) => one > limitNs).length,
    unanswered: responses.filter((one) => one === Infinity).length,
    longestMissRun: longestMissRun(responses, limitNs),
    p50: percentile(responses, 0.5),
    p99: percentile(responses, 0.99),
    p999: percentile(responses, 0.999),
    max: percentile(responses, 1),
    attained: LIMITS.map((factor) => attainment(responses, factor * limitNs)) as Figures["attained"],
    goodput: cell.background === NONE ? NaN : raw.units / (windowNs / 1e9) / rates.of(cell),
    fill,
    idleShare,
    utilisation: 1 - idleShare + (Number.isNaN(fill) ? 0 : fill * idleShare),
    cpuCores: raw.backend === "sim" ? NaN : cpuS / (windowNs / 1e9),
    levelsNs: raw.levelsNs,
    watts: energyJ === null ? NaN : energyJ / (windowNs / 1e9),
    smMhz: raw.smMhz ?? [NaN, NaN],
  };
}

/** The engine measures GPU time by events and background is off while requests are at work: its sum is within idle time. */
function fillOf(raw: RawCell, criticalNs: number): number {
  if (raw.cell.background === NONE) return NaN;
  if (raw.busyFrom === "device") return idleFill(raw.busy, criticalSpans(raw), [0, raw.windowNs]);
  return raw.busyNs / (raw.windowNs - criticalNs);
}

interface AloneRates {
  /** Units per second of this cell's background alone: of the same round, else the median of all. */
  of(cell: Cell): number;
}

function aloneRates(cells: readonly RawCell[]): AloneRates {
  const alone = cells.filter(({ cell }) => cell.purpose === "alone");
  const rate = ({ units, windowNs }: RawCell) => units / (windowNs / 1e9);
  const hasExclusive = alone.some(({ cell }) => cell.system === "exclusive");
  const base = alone.filter(({ cell }) => !hasExclusive || cell.system === "exclusive");
  return {
    of({ background, round }) {
      const mine = base.filter(({ cell }) => cell.background === background);
      const same = mine.find(({ cell }) => cell.round === round);
      return same === undefined ? medianOf(mine.map(rate)) : rate(same);
    },
  };
}

function taxOf(cells: readonly RawCell[]): Summary["backgroundTax"] {
  const alone = cells.filter(({ cell }) => cell.purpose === "alone");
  return [...new Set(alone.map(({ cell }) => cell.background))].sort().flatMap((background) => {
    const rates = (ours: boolean) =>
      new Map(
        alone.filter(({ cell }) =>
          cell.background === background && OURS.includes(cell.system as never) === ours
        )
          .map(({ cell, units, windowNs }) => [cell.round, units / windowNs]),
      );
    const [ours, theirs] = [rates(true), rates(false)];
    const ratios = [...ours].flatMap(([round, value]) =>
      theirs.has(round) ? [theirs.get(round)! / value] : []
    );
    return ratios.length === 0 ? [] : [{ background, ratio: intervalOf(ratios) }];
  });
}

export function systemOf(group: Group, system: System): SystemSummary | undefined {
  return group.systems.find((one) => one.system === system);
}

/** One figure by round. */
export function byRound({ rounds }: SystemSummary, of: (figures: Figures) => number): Map<number, number> {
  return new Map(rounds.map((figures) => [figures.round, of(figures)]));
}

/** The figure's interval over rounds. */
export function overRounds({ rounds }: SystemSummary, of: (figures: Figures) => number): Interval {
  return intervalOf(rounds.map(of));
}

/** Of p99 (or another figure) against the reference of the same round. */
export function ratioToReference(
  group: Group,
  system: SystemSummary,
  of: (figures: Figures) => number,
): Interval {
  const reference = systemOf(group, group.reference);
  if (reference === undefined) return intervalOf([]);
  return pairedOf(byRound(system, of), byRound(reference, of), ratioOf);
}
