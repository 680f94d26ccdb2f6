/** Streams 128 MiB back and forth eight times, beyond any cache. Built by tools/build_bundle.ts. */
import { foldStep, source as bundle, step, THREADS, words } from "../common.ts";

export const [WORDS, PASSES, FOLD] = [2 ** 25, 8, 2 ** 17];
const BLOCKS = WORDS / 4 / THREADS;

export const source = bundle(
  "streamer",
  "Adversary: a memory streamer, 128 MiB read and written eight times.",
  [words("even", "scratch", WORDS), words("odd", "scratch", WORDS), words("out", "output", WORDS / FOLD)],
  [
    step("fill", BLOCKS, [{ buffer: "even" }], 40, 16),
    ...Array.from({ length: PASSES }, (_, i) => {
      const [from, to] = i % 2 === 0 ? ["even", "odd"] : ["odd", "even"];
      return step("stream", BLOCKS, [{ buffer: from! }, { buffer: to! }], 4, 32);
    }),
    foldStep("even", WORDS / FOLD, FOLD),
  ],
);
