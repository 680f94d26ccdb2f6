/** The bundle keyframe-select: what kernels.cu runs on, in which order. Built by tools/build_bundle.ts. */
import {
  type BundleSource,
  type Dim3,
  estimates,
  frame,
  type SourceArg,
  type SourceKernelStep,
} from "../../../tools/bundle_source.ts";
import { CHANGE_LIMIT, LONGEST_GAP, MOTION_WEIGHT, SHARP_LIMIT } from "./reference.ts";

const WIDTH = 640;
const HEIGHT = 360;
const SMALL_WIDTH = WIDTH / 2;
const SMALL_HEIGHT = HEIGHT / 2;
const SMALL_PIXELS = SMALL_WIDTH * SMALL_HEIGHT;
const PATCH = 16;
const PATCHES_ACROSS = SMALL_WIDTH / PATCH;
const PATCHES_DOWN = Math.floor(SMALL_HEIGHT / PATCH);
const THREADS: Dim3 = [256, 1, 1];

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

export const source: BundleSource = {
  manifest: {
    format: "calypte-bundle/1",
    name: "keyframe-select",
    description:
      "Is this frame a keyframe? Sharpness, motion and change against the last keyframe, kept as state.",
    license: "MIT",
    buffers: [
      { name: "frame", role: "input", dtype: "u8", shape: [HEIGHT, WIDTH, 3] },
      { name: "key", role: "state", dtype: "u8", shape: [SMALL_HEIGHT, SMALL_WIDTH] },
      { name: "counters", role: "state", dtype: "u32", shape: [4] },
      { name: "luma", role: "scratch", dtype: "u8", shape: [SMALL_HEIGHT, SMALL_WIDTH] },
      { name: "rows", role: "scratch", dtype: "i32", shape: [SMALL_HEIGHT - 2, 2] },
      { name: "best", role: "scratch", dtype: "u32", shape: [PATCHES_DOWN, PATCHES_ACROSS] },
      { name: "next", role: "scratch", dtype: "u32", shape: [4] },
      { name: "verdict", role: "output", dtype: "f32", shape: [8] },
    ],
    steps: [
      // Its last element is reserved, and no kernel writes it.
      { memset: { buffer: "verdict", value: 0 } },
      step("small_luma", [Math.ceil(SMALL_PIXELS / 256), 1, 1], 50, 13, [{ buffer: "frame" }, {
        buffer: "luma",
      }]),
      step("laplacian_rows", [SMALL_HEIGHT - 2, 1, 1], 80, 4, [{ buffer: "luma" }, { buffer: "rows" }]),
      // A thread tries one or two candidates of 64 words each.
      step("search_motion", [PATCHES_ACROSS, PATCHES_DOWN, 1], 400, 5, [
        { buffer: "luma" },
        { buffer: "key" },
        { buffer: "best" },
      ]),
      step("decide", [1, 1, 1], 200, 12, [
        { buffer: "rows" },
        { buffer: "best" },
        { buffer: "counters" },
        { f32: CHANGE_LIMIT },
        { f32: MOTION_WEIGHT },
        { f32: SHARP_LIMIT },
        { u32: LONGEST_GAP },
        { buffer: "next" },
        { buffer: "verdict" },
      ]),
      step("store_keyframe", [Math.ceil(SMALL_PIXELS / 4 / 256), 1, 1], 6, 8, [
        { buffer: "next" },
        { buffer: "luma" },
        { buffer: "key" },
      ]),
      { copy: { from: { buffer: "next" }, to: { buffer: "counters" }, bytes: 16 } },
    ],
    verify: { rtol: 0, atol: 0 },
  },
  sampleInput: () => frame(0),
};
