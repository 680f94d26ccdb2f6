/** The same steps on the CPU, in double precision between roundings. */
import { mixed, reference } from "../common.ts";
import { BATCH, HIDDEN, INPUTS, OUTPUTS, RATE, STEPS } from "./source.ts";

function numbers(count: number, seed: number, scale: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => ((mixed(i + seed) >>> 8) / 8388608 - 1) * scale);
}

/** out[r][c] = sum of left(r, k) * right(k, c). */
function product(
  [rows, inner, columns]: [number, number, number],
  left: (r: number, k: number) => number,
  right: (k: number, c: number) => number,
): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += left(r, k) * right(k, c);
      out[r * columns + c] = sum;
    }
  }
  return out;
}

export const createReference = reference(() => {
  const [x, t] = [numbers(BATCH * INPUTS, 1, 1), numbers(BATCH * OUTPUTS, 1_000_003, 1)];
  const w1 = numbers(INPUTS * HIDDEN, 2_000_003, 0.15), w2 = numbers(HIDDEN * OUTPUTS, 3_000_017, 0.1);
  for (let turn = 0; turn < STEPS; turn++) {
    const h = product([BATCH, INPUTS, HIDDEN], (r, k) => x[r * INPUTS + k]!, (k, c) => w1[k * HIDDEN + c]!)
      .map((value) => Math.max(0, value));
    const y = product([BATCH, HIDDEN, OUTPUTS], (r, k) => h[r * HIDDEN + k]!, (k, c) => w2[k * OUTPUTS + c]!);
    const dy = y.map((value, i) => (value - t[i]!) * (2 / (BATCH * OUTPUTS)));
    const dh = product(
      [BATCH, OUTPUTS, HIDDEN],
      (r, k) => dy[r * OUTPUTS + k]!,
      (k, c) => w2[c * OUTPUTS + k]!,
    )
      .map((value, i) => h[i]! > 0 ? value : 0);
    const g2 = product(
      [HIDDEN, BATCH, OUTPUTS],
      (r, k) => h[k * HIDDEN + r]!,
      (k, c) => dy[k * OUTPUTS + c]!,
    );
    const g1 = product([INPUTS, BATCH, HIDDEN], (r, k) => x[k * INPUTS + r]!, (k, c) => dh[k * HIDDEN + c]!);
    for (const [i, g] of g2.entries()) w2[i]! -= RATE * g;
    for (const [i, g] of g1.entries()) w1[i]! -= RATE * g;
  }
  return new Uint8Array(w2.buffer);
});
