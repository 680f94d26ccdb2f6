/**
 * The bundle for exactly-once execution: five steps of every kind, in place. Built by tools/build_bundle.ts.
 *
 * The 40 KiB of shared memory are not used: they hold an SM of an H200 to 5 blocks, so that even there 1536 blocks
 * take three waves, a unit about 300 us (reckoned at 8 ns a round, not measured), and a preemption finds blocks that
 * have run and blocks that have not. Kept in step with the constants in reference.ts and kernels.cu.
 */
import { BUNDLE_FORMAT } from "../../../agent/bundle_schema.ts";
import {
  type BundleSource,
  type Dim3,
  estimates,
  randomOf,
  type SourceArg,
  type SourceKernelStep,
} from "../../../tools/bundle_source.ts";

const ROUNDS = 4000;
const OPERATIONS_PER_ROUND = 4;
const THREADS = 64;
const BLOCKS = 1536;
const INPUTS = 4096;
const TALLIES = 64;
const SHARED_BYTES = 40 * 1024;
const VALUES_BYTES = BLOCKS * THREADS * 4;

function kernelStep(kernel: string, args: SourceArg[]): SourceKernelStep {
  const shape: { grid: Dim3; block: Dim3 } = { grid: [BLOCKS, 1, 1], block: [THREADS, 1, 1] };
  return {
    kernel,
    ...shape,
    sharedBytes: SHARED_BYTES,
    args: [...args, { u32: ROUNDS }],
    ...estimates({ ...shape, flopsPerThread: ROUNDS * OPERATIONS_PER_ROUND, bytesPerThread: 8 }),
  };
}

export const source: BundleSource = {
  manifest: {
    format: BUNDLE_FORMAT,
    name: "mixed-steps",
    description: "Steps of every kind, in place: a block that runs twice or not at all changes the result.",
    license: "MIT",
    buffers: [
      { name: "in", role: "input", dtype: "u32", shape: [INPUTS] },
      { name: "values", role: "scratch", dtype: "u32", shape: [BLOCKS, THREADS] },
      { name: "visits", role: "scratch", dtype: "u32", shape: [BLOCKS] },
      { name: "tally", role: "scratch", dtype: "u32", shape: [TALLIES] },
      { name: "out", role: "output", dtype: "u32", shape: [BLOCKS, THREADS] },
    ],
    steps: [
      kernelStep("init", [{ buffer: "in" }, { buffer: "values" }, { buffer: "visits" }]),
      { memset: { buffer: "tally", value: 0 } },
      kernelStep("cross", [{ buffer: "values" }, { buffer: "tally" }]),
      kernelStep("finish", [{ buffer: "values" }, { buffer: "tally" }, { buffer: "visits" }]),
      { copy: { from: { buffer: "values" }, to: { buffer: "out" }, bytes: VALUES_BYTES } },
    ],
    verify: { rtol: 0, atol: 0 },
  },
  sampleInput: () => {
    const random = randomOf(11);
    const words = new DataView(new ArrayBuffer(INPUTS * 4));
    for (let i = 0; i < INPUTS; i++) words.setUint32(i * 4, random() * 2 ** 32, true);
    return Promise.resolve(new Uint8Array(words.buffer));
  },
};
