/** One short kernel: what preemption costs when there is hardly anything to run. Built by tools/build_bundle.ts. */
import { mixed, source as bundle, step, THREADS, words } from "../common.ts";

export const BLOCKS = 132;
export const ROUNDS = 500;

export const source = bundle(
  "kernel",
  "Critical: a single kernel of about 5 us.",
  [words("in", "input", THREADS), words("out", "output", BLOCKS)],
  [{
    ...step("once", BLOCKS, [{ buffer: "in" }, { buffer: "out" }, { u32: ROUNDS }], 4 * ROUNDS, 8),
    ...{ estimateUs: 5, blockUs: 4.5 },
  }],
  { rtol: 0, atol: 0 },
  () => new Uint8Array(Uint32Array.from({ length: THREADS }, (_, i) => mixed(i)).buffer),
);
