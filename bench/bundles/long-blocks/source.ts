/**
 * The bundle of long blocks: 2112 blocks of several milliseconds each. Built by tools/build_bundle.ts.
 *
 * On an H200 (132 SMs, 8 blocks of 256 threads each) a round takes about 0.075 us on a full SM, so that a block takes
 * 5 ms and the grid two waves. Kept in step with the constants in reference.ts.
 */
import { BUNDLE_FORMAT } from "../../../agent/bundle_schema.ts";
import { type BundleSource, type Dim3, estimates } from "../../../tools/bundle_source.ts";

const ROUNDS = 70_000;
const OPERATIONS_PER_ROUND = 4;
const THREADS = 256;
const BLOCKS = 132 * 8 * 2;

const shape: { grid: Dim3; block: Dim3 } = { grid: [BLOCKS, 1, 1], block: [THREADS, 1, 1] };

export const source: BundleSource = {
  manifest: {
    format: BUNDLE_FORMAT,
    name: "long-blocks",
    description: "Adversary for preemption at the end of a block: blocks of several milliseconds.",
    license: "MIT",
    buffers: [
      { name: "chains", role: "scratch", dtype: "u32", shape: [BLOCKS, THREADS] },
      { name: "out", role: "output", dtype: "u32", shape: [BLOCKS] },
    ],
    steps: [
      {
        kernel: "spin",
        ...shape,
        args: [{ buffer: "chains" }, { u32: ROUNDS }],
        ...estimates({ ...shape, flopsPerThread: ROUNDS * OPERATIONS_PER_ROUND, bytesPerThread: 4 }),
      },
      {
        kernel: "fold",
        ...shape,
        args: [{ buffer: "chains" }, { buffer: "out" }],
        ...estimates({ ...shape, flopsPerThread: 20, bytesPerThread: 4 }),
      },
    ],
    verify: { rtol: 0, atol: 0 },
  },
};
