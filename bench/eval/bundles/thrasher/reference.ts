/** The table holds what its index mixes to, so that no table is needed. */
import { folded, mixed, reference } from "../common.ts";
import { FOLD, STEPS, WALKERS, WORDS } from "./source.ts";

export const createReference = reference(() => {
  const sums = new Uint32Array(WALKERS);
  for (let i = 0; i < WALKERS; i++) {
    let at = mixed(i ^ 0x5bd1e995) & (WORDS - 1), sum = 0;
    for (let s = 0; s < STEPS; s++) {
      const value = mixed(at);
      sum = (sum + value) >>> 0;
      at = (value + i + s) & (WORDS - 1);
    }
    sums[i] = sum;
  }
  return folded(sums, FOLD);
});
