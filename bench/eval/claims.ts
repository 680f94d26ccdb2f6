/**
 * What became of the published figures that Calypte set out from? Pure: from the summary, by rules that stand here.
 *
 * The figures are those of Hummingbird (arXiv 2601.04071). Each claim is worked out for each group that has what it needs;
 * the table shows the median over groups, with the lowest and highest. Nothing of the simulator's is ever held against a claim.
 */
import { SPATIAL, type System, SYSTEM_TEXT, TEMPORAL } from "./cells.ts";
import { type Interval, intervalOf, medianOf, MIN_ROUNDS, pairedOf, ratioOf } from "./statistics.ts";
import { byRound, type Figures, type Group, overRounds, type Summary, systemOf } from "./summary.ts";

export const OUR_SYSTEM: System = "calypte-anticipated";

/** `not shown`: the median reaches it, but not the whole interval, or there are too few rounds for one. */
export type ClaimVerdict = "reached" | "not shown" | "not reached" | "not meaningful" | "not measured";

export interface Claim {
  claim: string;
  target: string;
  found: string;
  verdict: ClaimVerdict;
  /** How the figure comes about, and why the verdict is what it is. */
  rule: string;
}

/** From the micro-benchmark of preemption; `undefined`: it was not run. */
export interface PreemptionRow {
  critical: string;
  level: string;
  blockUs: number;
  addedP50Us: number;
  addedP99Us: number;
  addedMeanUs: number;
}

interface Rule {
  claim: string;
  target: string;
  rule: string;
  format: (value: number) => string;
  isReached: (value: number) => boolean;
  /** The end of an interval that speaks against Calypte. */
  worse: "low" | "high";
  /** By rounds; a median of NaN: the group does not have what it takes. */
  valueOf: (group: Group) => Interval;
  /** Why a ratio that is not reached says nothing; `undefined`: it says something. */
  whyMeaningless?: (groups: readonly Group[]) => string | undefined;
}

const NOTHING = intervalOf([]);
const ours = (group: Group, of: (figures: Figures) => number): Interval => {
  const found = systemOf(group, OUR_SYSTEM);
  return found === undefined ? NOTHING : overRounds(found, of);
};
const median = (group: Group, system: System, of: (figures: Figures) => number): number => {
  const found = systemOf(group, system);
  return found === undefined ? NaN : overRounds(found, of).median;
};
/** Ours against another system's, round by round. */
function against(
  group: Group,
  system: System,
  of: (figures: Figures) => number,
  compare: (ours: number, theirs: number) => number,
): Interval {
  const [mine, other] = [systemOf(group, OUR_SYSTEM), systemOf(group, system)];
  if (mine === undefined || other === undefined) return NOTHING;
  return pairedOf(byRound(mine, of), byRound(other, of), compare);
}
const attained = (figures: Figures) => figures.attained[0];
/** A block that is left in its loop and begun again keeps the GPU busy and gets nothing done. */
const usefulFill = ({ fill, goodput, idleShare }: Figures) => Math.min(fill, goodput / idleShare);
const times = (value: number) => `${value.toFixed(2)}x`;
const percent = (value: number) => `${(100 * value).toFixed(2)} %`;

function bestOf(group: Group, systems: readonly System[]): { system: System; value: number } | undefined {
  const known = systems.map((system) => ({ system, value: median(group, system, attained) }))
    .filter(({ value }) => !Number.isNaN(value));
  return known.toSorted((a, b) => b.value - a.value)[0];
}

function attainmentRule(kind: "spatial" | "temporal", systems: readonly System[], target: number): Rule {
  return {
    claim: `attainment against the best ${kind} baseline`,
    target: `${target}x`,
    rule: `at S, over the best of ${systems.map((one) => SYSTEM_TEXT[one]).join(", ")} that was measured`,
    format: times,
    isReached: (value) => value >= target,
    worse: "low",
    valueOf(group) {
      const best = bestOf(group, systems);
      return best === undefined ? NOTHING : against(group, best.system, attained, ratioOf);
    },
    whyMeaningless(groups) {
      const bests = groups.map((group) => bestOf(group, systems)!.value);
      if (bests.every((best) => best === 0)) {
        return "the best baseline attains nothing at S, so that there is no ratio";
      }
      const low = Math.min(...bests);
      if (low > 1 / target) {
        return `the best baseline attains ${percent(low)} or more: even 100 % would be ${
          times(1 / low)
        } at most`;
      }
      return undefined;
    },
  };
}

/** Of attainment, that counts as equal. */
const EQUAL = 0.005;

const RULES: readonly Rule[] = [
  attainmentRule("spatial", SPATIAL, 9.7),
  attainmentRule("temporal", TEMPORAL, 3.5),
  {
    claim: "background goodput against temporal sharing at equal attainment",
    target: "2.4x",
    rule: `over the best temporal baseline whose attainment at S is at most ${percent(EQUAL)} below`,
    format: times,
    isReached: (value) => value >= 2.4,
    worse: "low",
    valueOf(group) {
      const attains = median(group, OUR_SYSTEM, attained);
      const goodput = (figures: Figures) => figures.goodput;
      const [best] = TEMPORAL.filter((system) => median(group, system, attained) >= attains - EQUAL)
        .toSorted((a, b) => median(group, b, goodput) - median(group, a, goodput));
      if (best !== undefined) return against(group, best, goodput, ratioOf);
      return temporalOf(group) === 0 ? NOTHING : { ...NOTHING, median: Infinity };
    },
    whyMeaningless: () => undefined,
  },
  {
    claim: "attainment below exclusive use",
    target: "< 1 %",
    rule: "exclusive attainment at S less ours, same rounds",
    format: percent,
    isReached: (value) => value < 0.01,
    worse: "high",
    valueOf: (group) => against(group, group.reference, attained, (mine, exclusive) => exclusive - mine),
  },
  {
    claim: "idle time filled",
    target: "> 80 %",
    rule: "background-busy time within critical-idle time over critical-idle time, from device timestamps; " +
      "not more than what it got done of what it does alone in that time, so that work thrown away fills nothing",
    format: percent,
    isReached: (value) => value > 0.8,
    worse: "low",
    valueOf: (group) => ours(group, usefulFill),
  },
  {
    claim: "overall utilisation",
    target: "> 90 %",
    rule: "time in which a request was at work, or idle time was filled as above, over all time",
    format: percent,
    isReached: (value) => value > 0.9,
    worse: "low",
    valueOf: (group) => ours(group, (figures) => 1 - figures.idleShare * (1 - usefulFill(figures))),
  },
];

function temporalOf(group: Group): number {
  return TEMPORAL.filter((system) => systemOf(group, system) !== undefined).length;
}

/** Backgrounds whose kernels are all meant to take less than 50 us on a data centre's GPU: some thousand short threads each. */
export const SHORT_KERNELS: readonly string[] = ["stencil", "training"];

export function claimsOf(summary: Summary, preemption: readonly PreemptionRow[] | undefined): Claim[] {
  const isSimulated = summary.backend === "sim";
  const claims = RULES.map((rule): Claim => judge(rule, isSimulated ? [] : summary.groups));
  claims.splice(4, 0, preemptionClaim(isSimulated ? undefined : preemption));
  const short = isSimulated
    ? []
    : summary.groups.filter(({ background }) => SHORT_KERNELS.includes(background));
  claims.push(judge({
    claim: "background kernels under 50 us: goodput of the idle share",
    target: "> 80 %",
    rule: `goodput over the share of idle time, where every background kernel is short (${
      SHORT_KERNELS.join(", ")
    })`,
    format: percent,
    isReached: (value) => value > 0.8,
    worse: "low",
    valueOf: (group) => ours(group, ({ goodput, idleShare }) => goodput / idleShare),
  }, short));
  if (!isSimulated) return claims;
  return claims.map((claim) => ({
    ...claim,
    found: "-",
    rule: `${claim.rule}; simulated samples say nothing of it`,
  }));
}

function judge(rule: Rule, groups: readonly Group[]): Claim {
  const { claim, target, format, isReached, worse, valueOf, whyMeaningless } = rule;
  const measured = groups.map((group) => ({ group, interval: valueOf(group) }))
    .map((one) => ({ ...one, value: one.interval.median }))
    .filter(({ value }) => !Number.isNaN(value));
  const base = { claim, target, rule: rule.rule };
  if (measured.length === 0) return { ...base, found: "-", verdict: "not measured" };
  const finite = measured.map(({ value }) => value).filter(Number.isFinite);
  if (finite.length === 0) {
    const why = whyMeaningless?.(measured.map(({ group }) => group)) ??
      "no baseline attains as much, so that there is no ratio";
    return { ...base, found: "-", verdict: "not meaningful", rule: `${rule.rule}; ${why}` };
  }
  const value = medianOf(finite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const left = measured.length - finite.length;
  const found = `${format(value)} (${format(low)} to ${format(high)}, ${finite.length} groups` +
    `${left === 0 ? "" : `, ${left} without a ratio`})`;
  if (isReached(value)) {
    const ends = measured.filter((one) => Number.isFinite(one.value)).map(({ interval }) => interval[worse]);
    if (ends.some(Number.isNaN)) {
      const few = `some groups have fewer than ${MIN_ROUNDS} rounds`;
      return { ...base, found, verdict: "not shown", rule: `${rule.rule}; ${few}` };
    }
    const end = medianOf(ends);
    if (isReached(end)) return { ...base, found, verdict: "reached" };
    const unsure = `the interval reaches to ${format(end)}`;
    return { ...base, found, verdict: "not shown", rule: `${rule.rule}; ${unsure}` };
  }
  const why = whyMeaningless?.(measured.map(({ group }) => group));
  if (why === undefined) return { ...base, found, verdict: "not reached" };
  return { ...base, found, verdict: "not meaningful", rule: `${rule.rule}; ${why}` };
}

function preemptionClaim(rows: readonly PreemptionRow[] | undefined): Claim {
  const base = {
    claim: "mean preemption latency",
    target: "12 us",
    rule:
      "what background at level loop adds to launch-to-completion of a 5 us kernel, from a hot thread; mean over all block lengths",
  };
  const mine = rows?.filter(({ critical, level }) => critical === "kernel-5us" && level === "loop") ?? [];
  if (mine.length === 0) return { ...base, found: "-", verdict: "not measured" };
  const mean = mine.reduce((sum, { addedMeanUs }) => sum + addedMeanUs, 0) / mine.length;
  return { ...base, found: `${mean.toFixed(1)} us`, verdict: mean <= 12 ? "reached" : "not reached" };
}
