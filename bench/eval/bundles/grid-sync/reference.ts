/** All blocks turn by turn. */
import { folded, mixed, reference, THREADS } from "../common.ts";
import { BLOCKS, ROUNDS, TURNS } from "./source.ts";

const COUNT = BLOCKS * THREADS;

export const createReference = reference(() => {
  const values = new Uint32Array(3 * COUNT);
  const state = Uint32Array.from({ length: COUNT }, (_, i) => mixed(i));
  for (let turn = 0; turn < TURNS; turn++) {
    const half = turn % 2 * COUNT;
    for (let i = 0; i < COUNT; i++) {
      let x = state[i]!;
      for (let round = 0; round < ROUNDS; round++) {
        x = (Math.imul(x, 1664525) + 1013904223) | 0;
        x ^= x >>> 15;
      }
      values[half + i] = x;
    }
    for (let i = 0; i < COUNT; i++) {
      state[i] = values[half + i]! + values[half + (i + THREADS) % COUNT]!;
    }
  }
  values.set(state, 2 * COUNT);
  return folded(values, THREADS);
});
