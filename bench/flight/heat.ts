/** How warm does the board get? Any model with this shape may fly along. */

export interface Heat {
  /** C, `seconds` later, with the GPU busy for this share of them, 0..1. */
  next(seconds: number, gpuBusy: number, ambientC: number): number;
}

/** Above the air: of a board with an idle GPU, and what a busy one adds. */
const IDLE_C = 22;
const BUSY_C = 36;
const TIME_CONSTANT_S = 60;

/** One time constant. A stand-in whose figures are made up for the plot, not those of any board. */
export class PlainHeat implements Heat {
  #celsius: number | undefined;

  next(seconds: number, gpuBusy: number, ambientC: number): number {
    const target = ambientC + IDLE_C + BUSY_C * gpuBusy;
    this.#celsius ??= ambientC + IDLE_C;
    this.#celsius += (target - this.#celsius) * (1 - Math.exp(-seconds / TIME_CONSTANT_S));
    return this.#celsius;
  }
}
