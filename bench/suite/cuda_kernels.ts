/** How are the kernels of bench/suite/cuda launched? */
import { changing, entry, integers, MEBI, out, reals, words } from "./entries.ts";
import type { SuiteKernel } from "./kernels.ts";

const n16 = 16 * MEBI;
const n8 = 8 * MEBI;
/** 256 threads and few registers: 8 blocks on each of 132 SMs at a time. */
const WAVE = 8 * 132;

const elementwise = { file: "cuda/elementwise.ptx" };
const reduce = { file: "cuda/reduce.ptx" };
const matrix = { file: "cuda/matrix.ptx" };
const grids = { file: "cuda/grids.ptx" };
const rows = { file: "cuda/rows.ptx" };
const control = { file: "cuda/control.ptx" };
const asynchronous = { file: "cuda/async.ptx", arch: "compute_90" } as const;

const ELEMENTWISE: SuiteKernel[] = [
  entry({
    ...{ name: "elementwise", ...elementwise, entry: "elementwise", estimateUs: 130 },
    ...{ grid: [n16 / 256, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", n16), out: out("f32", n16) },
    args: ["in", "out", { u32: n16 - 77 }, { u32: 200 }],
  }),
  entry({
    ...{ name: "grid-stride", ...elementwise, entry: "grid_stride", estimateUs: 150 },
    ...{ grid: [528, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(n8), out: out("u32", n8) },
    args: ["in", "out", { u32: n8 - 1001 }],
  }),
  entry({
    ...{ name: "in-place", ...elementwise, entry: "in_place", estimateUs: 150 },
    ...{ grid: [n8 / 256, 1, 1], block: [256, 1, 1] },
    buffers: { values: changing(n8) },
    args: ["values", { u32: n8 }, { u32: 100 }],
  }),
  entry({
    ...{ name: "in-place-stride", ...elementwise, entry: "in_place_stride", estimateUs: 150 },
    ...{ grid: [528, 1, 1], block: [256, 1, 1] },
    buffers: { values: changing(n8) },
    args: ["values", { u32: n8 - 333 }, { u32: 100 }],
  }),
  entry({
    ...{ name: "early-blocks", ...elementwise, entry: "early_blocks", estimateUs: 300 },
    ...{ grid: [256, 128, 1], block: [256, 1, 1] },
    buffers: { lengths: words(128), in: words(n8), out: out("u32", n8) },
    args: ["lengths", "in", "out", { u32: 65536 }],
  }),
  entry({
    ...{ name: "early-threads", ...elementwise, entry: "early_threads", estimateUs: 150 },
    ...{ grid: [n8 / 256, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(n8), out: out("u32", n8) },
    args: ["in", "out", { u32: 200 }, { u32: 100 }],
  }),
];

const REDUCE: SuiteKernel[] = [
  entry({
    ...{ name: "block-sums", ...reduce, entry: "block_sums", estimateUs: 25, repeat: 5 },
    ...{ grid: [n16 / 4096, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", n16), sums: out("f32", n16 / 4096) },
    args: ["in", "sums", { u32: 4096 }],
  }),
  entry({
    ...{ name: "warp-rows", ...reduce, entry: "warp_rows", estimateUs: 45, repeat: 3 },
    ...{ grid: [n16 / 512 / 4, 1, 1], block: [128, 1, 1] },
    buffers: { in: reals("f32", n16), out: out("f32", n16), most: out("f32", n16 / 512) },
    args: ["in", "out", "most", { u32: 512 }],
  }),
  entry({
    ...{ name: "last-block", ...reduce, entry: "last_block", estimateUs: 25, repeat: 5 },
    ...{ grid: [n16 / 8192, 1, 1], block: [256, 1, 1] },
    buffers: {
      in: reals("f32", n16),
      partials: out("f32", n16 / 8192),
      finished: out("u32", 2),
      total: out("f32", 2),
    },
    args: ["in", "partials", "finished", "total", { u32: 8192 }],
  }),
  entry({
    ...{ name: "block-scan", ...reduce, entry: "block_scan", estimateUs: 300 },
    ...{ grid: [4096, 1, 1], block: [1024, 1, 1] },
    buffers: { in: words(4 * MEBI), out: out("u32", 4 * MEBI) },
    args: ["in", "out", { u32: 20 }],
  }),
  entry({
    ...{ name: "float-max-cas", ...reduce, entry: "float_max", estimateUs: 100 },
    ...{ grid: [528, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", n16, 0, 1e6), bins: out("f32", 4096) },
    args: ["in", "bins", { u32: n16 }, { u32: 4096 }],
  }),
];

const square = (n: number) => n * n;

const MATRIX: SuiteKernel[] = [
  entry({
    ...{ name: "matmul-tiled", ...matrix, entry: "matmul_tiled", estimateUs: 300 },
    ...{ grid: [64, 64, 1], block: [16, 16, 1] },
    buffers: { a: reals("f32", square(1024)), b: reals("f32", square(1024)), c: out("f32", square(1024)) },
    args: ["a", "b", "c", { u32: 1024 }],
  }),
  entry({
    ...{ name: "matmul-dynamic", ...matrix, entry: "matmul_dynamic", estimateUs: 1100 },
    ...{ grid: [32, 32, 1], block: [256, 1, 1], sharedBytes: (64 * 132 + 128 * 64) * 4 },
    buffers: { a: reals("f32", square(2048)), b: reals("f32", square(2048)), c: out("f32", square(2048)) },
    args: ["a", "b", "c", { u32: 2048 }],
  }),
  entry({
    ...{ name: "split-k-int", ...matrix, entry: "split_k_int", estimateUs: 300 },
    ...{ grid: [64, 64, 4], block: [16, 16, 1] },
    buffers: {
      a: integers("i32", square(1024), -1000, 1000),
      b: integers("i32", square(1024), -1000, 1000),
      c: out("i32", square(1024)),
    },
    args: ["a", "b", "c", { u32: 1024 }],
  }),
  // Small whole numbers, so that every sum is exact and the order of the atomics does not show.
  entry({
    ...{ name: "split-k-float", ...matrix, entry: "split_k_float", estimateUs: 300 },
    ...{ grid: [64, 64, 4], block: [16, 16, 1] },
    buffers: {
      a: integers("f32", square(1024), -8, 9),
      b: integers("f32", square(1024), -8, 9),
      c: out("f32", square(1024)),
    },
    args: ["a", "b", "c", { u32: 1024 }],
  }),
  entry({
    ...{ name: "matmul-mma", ...matrix, entry: "matmul_mma", estimateUs: 200 },
    ...{ grid: [32, 32, 1], block: [128, 1, 1] },
    buffers: { a: reals("f16", square(2048)), b: reals("f16", square(2048)), c: out("f32", square(2048)) },
    args: ["a", "b", "c", { u32: 2048 }],
  }),
  entry({
    ...{ name: "transpose", ...matrix, entry: "transpose", estimateUs: 45, repeat: 3 },
    ...{ grid: [128, 128, 1], block: [32, 8, 1] },
    buffers: { in: reals("f32", 4081 * 4090), out: out("f32", 4081 * 4090) },
    args: ["in", "out", { u32: 4081 }, { u32: 4090 }],
  }),
];

const GRIDS: SuiteKernel[] = [
  entry({
    ...{ name: "stencil-2d", ...grids, entry: "stencil_2d", estimateUs: 45, repeat: 3 },
    ...{ grid: [128, 512, 1], block: [32, 8, 1] },
    buffers: { in: reals("f32", 4095 * 4093), out: out("f32", 4095 * 4093) },
    args: ["in", "out", { u32: 4095 }, { u32: 4093 }],
  }),
  entry({
    ...{ name: "stencil-3d", ...grids, entry: "stencil_3d", estimateUs: 45, repeat: 3 },
    ...{ grid: [8, 64, 128], block: [32, 4, 2] },
    buffers: { in: reals("f32", 256 ** 3), out: out("f32", 256 ** 3) },
    args: ["in", "out", { u32: 256 }, { u32: 256 }, { u32: 256 }],
  }),
  entry({
    ...{ name: "odd-box", ...grids, entry: "odd_box", estimateUs: 300 },
    ...{ grid: [50, 40, 20], block: [7, 5, 3] },
    buffers: { in: reals("f32", 40000 * 105), out: out("f32", 40000 * 105) },
    args: ["in", "out", { u32: 60 }],
  }),
  entry({
    ...{ name: "odd-warp", ...grids, entry: "odd_warp", estimateUs: 300 },
    ...{ grid: [60000, 1, 1], block: [33, 1, 1] },
    buffers: { in: words(60000 * 33), out: out("u32", 60000 * 33) },
    args: ["in", "out", { u32: 40 }],
  }),
  entry({
    ...{ name: "convolve", ...grids, entry: "convolve", estimateUs: 150 },
    ...{ grid: [128, 1366, 1], block: [32, 3, 1] },
    buffers: { in: reals("f32", 4096 * 4096), out: out("f32", 4096 * 4096) },
    args: ["in", "out", { i32: 4096 }, { i32: 4096 }],
  }),
  entry({
    ...{ name: "histogram-shared", ...grids, entry: "histogram_shared", estimateUs: 100 },
    ...{ grid: [n16 / 16384, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(n16), bins: out("u32", 256) },
    args: ["in", "bins", { u32: 16384 }],
  }),
  entry({
    ...{ name: "histogram-global", ...grids, entry: "histogram_global", estimateUs: 100 },
    ...{ grid: [528, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(n8), bins: out("u32", 65536) },
    args: ["in", "bins", { u32: n8 }, { u32: 65536 }],
  }),
];

const ROWS: SuiteKernel[] = [
  entry({
    ...{ name: "softmax", ...rows, entry: "softmax", estimateUs: 80, repeat: 2 },
    ...{ grid: [8192, 1, 1], block: [96, 1, 1] },
    buffers: { in: reals("f32", 8192 * 2000, -4, 4), out: out("f32", 8192 * 2000) },
    args: ["in", "out", { u32: 2000 }],
  }),
  entry({
    ...{ name: "layer-norm", ...rows, entry: "layer_norm", estimateUs: 60, repeat: 2 },
    ...{ grid: [8192, 1, 1], block: [256, 1, 1], sharedBytes: 8192 },
    buffers: {
      in: reals("f32", n16),
      scale: reals("f32", 2048),
      shift: reals("f32", 2048),
      out: out("f32", n16),
    },
    args: ["in", "scale", "shift", "out", { u32: 2048 }, { f32: 1e-5 }],
  }),
  entry({
    ...{ name: "sort-rows", ...rows, entry: "sort_rows", estimateUs: 600 },
    ...{ grid: [4096, 1, 1], block: [512, 1, 1] },
    buffers: { in: words(n8), out: out("u32", n8) },
    args: ["in", "out"],
  }),
];

/** `rounds` for blocks of about so many microseconds where every SM is full: 16 warps share an issue slot at 1.9 GHz. */
const roundsOf = (blockUs: number) => Math.round((blockUs * 1900) / 16);

function longBlocks(name: string, blockUs: number, waves: number): SuiteKernel {
  const blocks = waves * WAVE;
  return entry({
    ...{ name, ...control, entry: "fma_chain", estimateUs: waves * blockUs },
    ...{ grid: [blocks, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", blocks * 256), out: out("f32", blocks * 256) },
    args: ["in", "out", { u32: roundsOf(blockUs) }],
  });
}

const CONTROL: SuiteKernel[] = [
  entry({
    ...{ name: "calls", ...control, entry: "calls", estimateUs: 250 },
    ...{ grid: [8192, 1, 1], block: [256, 1, 1] },
    buffers: {
      in: reals("f32", 2 * MEBI, 0.1, 1000),
      out: out("f32", 2 * MEBI),
      steps: out("i32", 2 * MEBI),
    },
    args: ["in", "out", "steps", { u32: 2 * MEBI - 19 }],
  }),
  entry({
    ...{ name: "machine", ...control, entry: "machine", estimateUs: 400 },
    ...{ grid: [8192, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(2 * MEBI), out: out("u32", 2 * MEBI) },
    args: ["in", "out", { u32: 60 }],
  }),
  entry({
    ...{ name: "branch-table", ...control, entry: "branch_table", estimateUs: 400 },
    ...{ grid: [8192, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(2 * MEBI), out: out("u32", 2 * MEBI) },
    args: ["in", "out", { u32: 200 }],
  }),
  entry({
    ...{ name: "local-array", ...control, entry: "local_array", estimateUs: 600 },
    ...{ grid: [4096, 1, 1], block: [256, 1, 1] },
    buffers: { in: words(MEBI), out: out("u32", MEBI) },
    args: ["in", "out", { u32: 40 }],
  }),
  longBlocks("blocks-10us", 10, 32),
  longBlocks("blocks-100us", 100, 8),
  longBlocks("blocks-1ms", 1000, 3),
  longBlocks("blocks-10ms", 10000, 2),
];

const ASYNC: SuiteKernel[] = [
  entry({
    ...{ name: "pipeline", ...asynchronous, entry: "pipeline", estimateUs: 30, repeat: 4 },
    ...{ grid: [1024, 1, 1], block: [128, 1, 1] },
    buffers: { in: reals("f32", n16), out: out("f32", 1024 * 128) },
    args: ["in", "out", { u32: 32 }],
  }),
  entry({
    ...{ name: "specialised", ...asynchronous, entry: "specialised", estimateUs: 150 },
    ...{ grid: [4096, 1, 1], block: [128, 1, 1] },
    buffers: { in: reals("f32", n16), out: out("f32", 4096 * 64) },
    args: ["in", "out", { u32: 64 }],
  }),
  entry({
    ...{ name: "handed", ...asynchronous, entry: "handed", estimateUs: 250 },
    ...{ grid: [8192, 1, 1], block: [128, 1, 1] },
    buffers: { in: reals("f32", MEBI), out: out("f32", MEBI) },
    args: ["in", "out", { u32: 100 }],
  }),
  entry({
    ...{ name: "mbarrier-swap", ...asynchronous, entry: "mbarrier_swap", estimateUs: 250 },
    ...{ grid: [4096, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", MEBI), out: out("f32", MEBI) },
    args: ["in", "out", { u32: 50 }],
  }),
  entry({
    ...{ name: "mbarrier-bare", ...asynchronous, entry: "mbarrier_bare", estimateUs: 250 },
    ...{ grid: [4096, 1, 1], block: [256, 1, 1] },
    buffers: { in: reals("f32", MEBI), out: out("f32", MEBI) },
    args: ["in", "out", { u32: 50 }],
  }),
  entry({
    ...{ name: "bulk-copies", ...asynchronous, entry: "bulk_copies", estimateUs: 60, repeat: 2 },
    ...{ grid: [2048, 1, 1], block: [128, 1, 1] },
    buffers: { in: reals("f32", n16), out: out("f32", 2048 * 128) },
    args: ["in", "out", { u32: 8 }],
  }),
];

export const CUDA_KERNELS: readonly SuiteKernel[] = [
  ...ELEMENTWISE,
  ...REDUCE,
  ...MATRIX,
  ...GRIDS,
  ...ROWS,
  ...CONTROL,
  ...ASYNC,
];
