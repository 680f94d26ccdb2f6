/** Sums do not depend on their order, so that the result is exact. Built by tools/build_bundle.ts. */
import { source as bundle, step, THREADS, words } from "../common.ts";

export const [COUNTERS, BLOCKS, STEPS] = [1024, 2048, 32];

export const source = bundle(
  "atomics",
  "Adversary: sixteen million atomic additions to 1024 words.",
  [words("out", "output", COUNTERS)],
  [
    { memset: { buffer: "out", value: 0 } },
    step("tally", BLOCKS, [{ buffer: "out" }, { u32: COUNTERS - 1 }, { u32: STEPS }], STEPS * 12, STEPS * 4),
  ],
);
export const ADDITIONS = BLOCKS * THREADS * STEPS;
