/** The bundle vegetation-map: what kernels.cu runs on, in which order. Built by tools/build_bundle.ts. */
import {
  type BundleSource,
  type Dim3,
  estimates,
  frame,
  type SourceArg,
  type SourceKernelStep,
} from "../../../tools/bundle_source.ts";
import { THRESHOLD } from "./reference.ts";

const WIDTH = 640;
const HEIGHT = 360;
const TILE = 40;
const BINS = 64;
const THREADS: Dim3 = [256, 1, 1];

/** The row of Pascal's triangle with 9 entries: nearly a Gaussian, and exact in f32 after dividing by 256. */
const BINOMIAL = [1, 8, 28, 56, 70, 56, 28, 8, 1];

const PER_PIXEL: Dim3 = [Math.ceil(WIDTH * HEIGHT / 256), 1, 1];

function step(
  kernel: string,
  grid: Dim3,
  flopsPerThread: number,
  bytesPerThread: number,
  args: SourceArg[],
): SourceKernelStep {
  return {
    kernel,
    grid,
    block: THREADS,
    args,
    ...estimates({ grid, block: THREADS, flopsPerThread, bytesPerThread }),
  };
}

function smoothing(): SourceKernelStep[] {
  const rows: SourceArg[] = [{ buffer: "taps" }, { buffer: "index" }, { buffer: "across" }];
  const columns: SourceArg[] = [{ buffer: "taps" }, { buffer: "across" }, { buffer: "index" }];
  return [
    step("smooth_rows", [Math.ceil(WIDTH / 256), HEIGHT, 1], 40, 8, rows),
    step("smooth_columns", PER_PIXEL, 70, 8, columns),
  ];
}

export const source: BundleSource = {
  manifest: {
    format: "calypte-bundle/1",
    name: "vegetation-map",
    description:
      "Excess-green index of a frame, smoothed three times: statistics per 40 x 40 pixel tile and a histogram.",
    license: "MIT",
    buffers: [
      { name: "frame", role: "input", dtype: "u8", shape: [HEIGHT, WIDTH, 3] },
      { name: "taps", role: "weight", dtype: "f32", shape: [BINOMIAL.length], file: "weights.bin" },
      { name: "index", role: "scratch", dtype: "f32", shape: [HEIGHT, WIDTH] },
      { name: "across", role: "scratch", dtype: "f32", shape: [HEIGHT, WIDTH] },
      { name: "bins", role: "scratch", dtype: "u32", shape: [BINS] },
      { name: "tiles", role: "output", dtype: "f32", shape: [HEIGHT / TILE, WIDTH / TILE, 4] },
      { name: "histogram", role: "output", dtype: "u32", shape: [BINS] },
    ],
    steps: [
      { memset: { buffer: "bins", value: 0 } },
      step("vegetation_index", PER_PIXEL, 20, 7, [{ buffer: "frame" }, { buffer: "index" }]),
      ...smoothing(),
      ...smoothing(),
      ...smoothing(),
      step("count_index", [WIDTH * HEIGHT / 1024, 1, 1], 40, 16, [{ buffer: "index" }, { buffer: "bins" }]),
      step("tile_statistics", [WIDTH / TILE, HEIGHT / TILE, 1], 250, 28, [
        { buffer: "index" },
        { f32: THRESHOLD },
        { buffer: "tiles" },
      ]),
      { copy: { from: { buffer: "bins" }, to: { buffer: "histogram" }, bytes: BINS * 4 } },
    ],
    verify: { rtol: 0, atol: 0 },
  },
  files: () => {
    const taps = new Uint8Array(BINOMIAL.length * 4);
    const view = new DataView(taps.buffer);
    BINOMIAL.forEach((count, i) => view.setFloat32(4 * i, count / 256, true));
    return new Map([["weights.bin", taps]]);
  },
  sampleInput: () => frame(0),
};
