/**
 * How much energy does a unit of each background job take?
 *
 * Measured, as far as one meter for the whole board can tell: its power is taken as a sum over what ran,
 *
 *     P = P0 + c * criticalShare + sum over jobs j of w(j) * share(j)
 *
 * and P0, c and the w(j) are fitted to the samples by least squares, older ones counting less (half after two minutes). Jobs that always run in the
 * same proportion cannot be told apart: a weak pull towards what background takes on average then gives all the same watts. A unit
 * takes w(j) times its GPU time: what it adds, not its part of what the board takes anyway.
 */
export interface EnergySample {
  timeNs: number;
  powerWatts: number;
  /** GPU time in all, so far. */
  criticalBusyNs: number;
  /** By job id. */
  jobGpuNs: readonly number[];
}

/** Samples that are needed before anything is said. */
const MIN_SAMPLES = 20;
const HALF_LIFE_S = 120;
/** Of a share: how strongly a job is taken for an average one, in samples that are all its own. */
const PULL = 0.3;
/** Background must have been on and off, or nothing is known of it: variance of its share. */
const MIN_VARIANCE = 1e-4;
/** Of the average: a job takes something, whatever noise says. */
const LEAST = 0.05;

export class EnergyMeter {
  readonly #jobs: number;
  /** Normal equations of [1, critical, background together], and of [1, critical, each job]. */
  readonly #whole: LeastSquares;
  readonly #each: LeastSquares;
  #last: EnergySample | undefined;
  #samples = 0;
  #watts: readonly number[] | undefined;

  constructor(jobs: number) {
    this.#jobs = jobs;
    this.#whole = new LeastSquares(3);
    this.#each = new LeastSquares(2 + jobs);
  }

  add(sample: EnergySample): void {
    const last = this.#last;
    this.#last = sample;
    if (last === undefined) return;
    const elapsedNs = sample.timeNs - last.timeNs;
    if (!(elapsedNs > 0) || !Number.isFinite(sample.powerWatts)) return;
    // An engine that was started again counts from zero: such a difference is none.
    const share = (now = 0, then = 0) => Math.min(1, Math.max(0, (now - then) / elapsedNs));
    const critical = share(sample.criticalBusyNs, last.criticalBusyNs);
    const shares = Array.from(
      { length: this.#jobs },
      (_, job) => share(sample.jobGpuNs[job], last.jobGpuNs[job]),
    );
    const background = shares.reduce((sum, value) => sum + value, 0);
    const kept = 0.5 ** (elapsedNs / 1e9 / HALF_LIFE_S);
    this.#whole.add([1, critical, background], sample.powerWatts, kept);
    this.#each.add([1, critical, ...shares], sample.powerWatts, kept);
    this.#samples++;
    this.#watts = undefined;
  }

  /** W that a job adds while it has the whole GPU; `undefined`: not known (yet). */
  watts(job: number): number | undefined {
    this.#watts ??= this.#fit();
    return this.#watts[job];
  }

  joulesPerUnit(job: number, unitNs: number): number | undefined {
    const watts = this.watts(job);
    return watts === undefined || unitNs <= 0 ? undefined : watts * unitNs / 1e9;
  }

  #fit(): readonly number[] {
    if (this.#samples < MIN_SAMPLES || this.#whole.variance(2) < MIN_VARIANCE) return [];
    const [base, critical, average] = this.#whole.solve([1e-6, 1e-3, 1e-6], [0, 0, 0]) ?? [];
    if (base === undefined || critical === undefined || average === undefined || average <= 0) return [];
    const pull = [1e-3, 1e-3, ...Array<number>(this.#jobs).fill(PULL)];
    const prior = [base, critical, ...Array<number>(this.#jobs).fill(average)];
    const [, , ...watts] = this.#each.solve(pull, prior) ?? [];
    return watts.map((value) => Math.max(value, LEAST * average));
  }
}

/** Least squares with forgetting and a pull towards a prior. */
class LeastSquares {
  readonly #size: number;
  readonly #products: Float64Array;
  readonly #moments: Float64Array;

  constructor(size: number) {
    this.#size = size;
    this.#products = new Float64Array(size * size);
    this.#moments = new Float64Array(size);
  }

  /** The first of `inputs` must be 1. */
  add(inputs: readonly number[], output: number, kept: number): void {
    const size = this.#size;
    for (let row = 0; row < size; row++) {
      this.#moments[row] = this.#moments[row]! * kept + inputs[row]! * output;
      for (let column = 0; column < size; column++) {
        const at = row * size + column;
        this.#products[at] = this.#products[at]! * kept + inputs[row]! * inputs[column]!;
      }
    }
  }

  /** Of one input. */
  variance(input: number): number {
    const count = this.#products[0]!;
    if (count === 0) return 0;
    const mean = this.#products[input]! / count;
    return this.#products[input * this.#size + input]! / count - mean * mean;
  }

  /** `undefined` if there is no one solution. */
  solve(pull: readonly number[], prior: readonly number[]): number[] | undefined {
    const size = this.#size;
    const rows = Array.from({ length: size }, (_, row) => {
      const values = Array.from(this.#products.subarray(row * size, (row + 1) * size));
      values[row] = values[row]! + pull[row]!;
      return [...values, this.#moments[row]! + pull[row]! * prior[row]!];
    });
    for (let at = 0; at < size; at++) {
      let best = at;
      for (let row = at + 1; row < size; row++) {
        if (Math.abs(rows[row]![at]!) > Math.abs(rows[best]![at]!)) best = row;
      }
      [rows[at], rows[best]] = [rows[best]!, rows[at]!];
      const pivot = rows[at]!;
      if (Math.abs(pivot[at]!) < 1e-12) return undefined;
      for (let row = at + 1; row < size; row++) {
        const factor = rows[row]![at]! / pivot[at]!;
        for (let column = at; column <= size; column++) {
          rows[row]![column] = rows[row]![column]! - factor * pivot[column]!;
        }
      }
    }
    const solution = Array<number>(size).fill(0);
    for (let row = size - 1; row >= 0; row--) {
      let rest = rows[row]![size]!;
      for (let column = row + 1; column < size; column++) rest -= rows[row]![column]! * solution[column]!;
      solution[row] = rest / rows[row]![row]!;
    }
    return solution;
  }
}
