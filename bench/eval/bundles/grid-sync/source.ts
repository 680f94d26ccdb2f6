/** A kernel of about a millisecond that cannot be preempted by any checkpoint. Built by tools/build_bundle.ts. */
import { foldStep, source as bundle, step, THREADS, words } from "../common.ts";

export const [BLOCKS, ROUNDS, TURNS] = [16, 2000, 40];
const COUNT = BLOCKS * THREADS;

const meet = step(
  "together",
  BLOCKS,
  [{ buffer: "values" }, { buffer: "meeting" }, { u32: ROUNDS }, { u32: TURNS }],
  4 * ROUNDS * TURNS,
  8,
);

export const source = bundle(
  "grid-sync",
  "Adversary: blocks that wait for each other forty times.",
  [words("values", "scratch", 3, COUNT), words("meeting", "scratch", 64), words("out", "output", 3 * BLOCKS)],
  [{ memset: { buffer: "meeting", value: 0 } }, meet, foldStep("values", 3 * BLOCKS, THREADS)],
);
