/** Wanders through 32 MiB, which evicts what others keep in the L2. Built by tools/build_bundle.ts. */
import { foldStep, source as bundle, step, THREADS, words } from "../common.ts";

export const [WORDS, WALKERS, STEPS, FOLD] = [2 ** 23, 2 ** 17, 64, 4096];

export const source = bundle(
  "thrasher",
  "Adversary: an L2 thrasher, random reads of a table of 32 MiB.",
  [
    words("table", "scratch", WORDS),
    words("sums", "scratch", WALKERS),
    words("out", "output", WALKERS / FOLD),
  ],
  [
    step("fill", WORDS / THREADS, [{ buffer: "table" }], 10, 4),
    step(
      "wander",
      WALKERS / THREADS,
      [{ buffer: "table" }, { buffer: "sums" }, { u32: WORDS - 1 }, { u32: STEPS }],
      STEPS * 8,
      STEPS * 32,
    ),
    foldStep("sums", WALKERS / FOLD, FOLD),
  ],
);
