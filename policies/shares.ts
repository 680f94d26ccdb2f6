/**
 * How do wishes become the weights of a plan?
 *
 * Arithmetic that several policies share; decides nothing by itself.
 */
import { MAX_WEIGHT, type PolicyEntry, type PolicyJob, type PolicySnapshot } from "./policy.ts";

/** Plan weight of the heaviest entry: fine enough for small shares, and far from the limit. */
const HEAVIEST = 100_000;

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

export function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/**
 * Entries in proportion to `wish` (> 0), where no job gets less than `floor` (0..1) of what its mission weight alone
 * would give it: share(j) = (1 - floor) * wish(j) / sum wish + floor * w(j) / sum w.
 */
export function entriesOf(
  jobs: readonly PolicyJob[],
  wish: (job: PolicyJob) => number,
  floor: number,
): PolicyEntry[] {
  const heaviest = Math.max(...jobs.map((job) => job.weight));
  const wishes = jobs.map(wish);
  const most = Math.max(...wishes);
  // Scaled before they are summed: no range of wishes and weights overflows or vanishes.
  const wished = sum(wishes, (each) => each / most);
  const weighed = sum(jobs, (job) => job.weight / heaviest);
  const shares = jobs.map((job, index) =>
    (1 - floor) * (wishes[index]! / most) / wished + floor * (job.weight / heaviest) / weighed
  );
  const largest = Math.max(...shares);
  return jobs.map((job, index) => ({
    job: job.id,
    weight: clamp(Math.round(shares[index]! / largest * HEAVIEST), 1, MAX_WEIGHT),
    maxUnits: 0,
  }));
}

/** The option `floor` of the mission, or what the policy takes without it. */
export function floorOf({ options }: PolicySnapshot, otherwise: number): number {
  return typeof options.floor === "number" ? clamp(options.floor, 0, 1) : otherwise;
}

/** What is known of some jobs and not (0) of others: the mean of the known stands for the unknown; 1 if none is. */
export function orMean(
  jobs: readonly PolicyJob[],
  of: (job: PolicyJob) => number,
): (job: PolicyJob) => number {
  const known = jobs.map(of).filter((value) => value > 0);
  const mean = known.length === 0 ? 1 : sum(known, (value) => value) / known.length;
  return (job) => of(job) || mean;
}
