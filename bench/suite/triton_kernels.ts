/**
 * How are the kernels of bench/suite/triton launched?
 *
 * Threads, shared memory and parameters are what build.py prints; each takes two addresses of scratch memory at the end
 * (Triton's own, and its profiler's), which none of these uses.
 */
import { changing, entry, integers, MEBI, out, reals, words } from "./entries.ts";
import type { Dim3, SuiteArg, SuiteBuffer, SuiteKernel } from "./kernels.ts";

const n16 = 16 * MEBI;
const n8 = 8 * MEBI;

interface Launch {
  /** Name of the PTX file, without `.ptx`. */
  file: string;
  entry: string;
  grid: Dim3;
  threads: number;
  sharedBytes: number;
  buffers: Record<string, SuiteBuffer>;
  scalars: SuiteArg[];
  estimateUs: number;
  repeat?: number;
  inexact?: { why: string; rtol: number };
}

/** `triton-` and the file's name; the buffers are the first arguments, in their order. */
function triton({ file, threads, scalars, ...launch }: Launch): SuiteKernel {
  return entry({
    ...launch,
    name: `triton-${file.replaceAll("_", "-")}`,
    file: `triton/${file}.ptx`,
    arch: "sm_90a",
    block: [threads, 1, 1],
    args: [...Object.keys(launch.buffers), ...scalars, { u64: 0 }, { u64: 0 }],
  });
}

function product(m: number, n: number, k: number, batches = 1): Pick<Launch, "buffers" | "scalars"> {
  return {
    buffers: {
      a: reals("f16", batches * m * k),
      b: reals("f16", batches * k * n),
      c: out("f16", batches * m * n),
    },
    scalars: [{ i32: m }, { i32: n }, { i32: k }],
  };
}

const MATMUL: SuiteKernel[] = [
  triton({
    ...{ file: "matmul_128x128x64", entry: "matmul", grid: [32, 32, 1], threads: 128, sharedBytes: 98304 },
    ...{ ...product(4096, 4096, 4096), estimateUs: 280 },
  }),
  triton({
    ...{ file: "matmul_128x256x64", entry: "matmul", grid: [32, 16, 1], threads: 256, sharedBytes: 147456 },
    ...{ ...product(4096, 4096, 4096), estimateUs: 250 },
  }),
  triton({
    ...{ file: "matmul_64x64x32", entry: "matmul", grid: [64, 64, 1], threads: 128, sharedBytes: 16384 },
    ...{ ...product(4096, 4096, 4096), estimateUs: 700 },
  }),
  triton({
    ...{ file: "matmul_tf32", entry: "matmul", grid: [32, 16, 1], threads: 128, sharedBytes: 73728 },
    buffers: { a: reals("f32", 2048 ** 2), b: reals("f32", 2048 ** 2), c: out("f32", 2048 ** 2) },
    ...{ scalars: [{ i32: 2048 }, { i32: 2048 }, { i32: 2048 }], estimateUs: 100 },
  }),
  triton({
    ...{ file: "matmul_batched", entry: "matmul_batched", grid: [16, 16, 16], threads: 128 },
    ...{ sharedBytes: 49152, ...product(1024, 1024, 1024, 16), estimateUs: 130 },
  }),
  triton({
    ...{ file: "matmul_grouped", entry: "matmul_grouped", grid: [32 * 32, 1, 1], threads: 128 },
    ...{ sharedBytes: 49152, ...product(4001, 4096, 4096), estimateUs: 350 },
  }),
  triton({
    ...{ file: "matmul_persistent", entry: "matmul_persistent", grid: [132, 1, 1], threads: 256 },
    ...{ sharedBytes: 98304, ...product(4096, 4096, 4096), estimateUs: 300 },
  }),
  // Small whole numbers: every sum is exact, and the order of the atomics does not show.
  triton({
    ...{
      file: "matmul_split_k",
      entry: "matmul_split_k",
      grid: [32, 32, 4],
      threads: 128,
      sharedBytes: 49152,
    },
    buffers: {
      a: integers("f16", 2048 ** 2, -8, 9),
      b: integers("f16", 2048 ** 2, -8, 9),
      c: out("f32", 2048 ** 2),
    },
    ...{ scalars: [{ i32: 2048 }, { i32: 2048 }, { i32: 2048 }], estimateUs: 120 },
  }),
  triton({
    ...{ file: "convolution", entry: "convolution", grid: [2048, 2, 1], threads: 128, sharedBytes: 36864 },
    buffers: {
      x: reals("f16", 512 * 512 * 64),
      w: reals("f16", 9 * 64 * 128),
      y: out("f16", 512 * 512 * 128),
    },
    ...{ scalars: [{ i32: 512 }, { i32: 512 }], estimateUs: 250 },
  }),
  triton({
    ...{ file: "attention", entry: "attention", grid: [32, 16, 1], threads: 128, sharedBytes: 65536 },
    buffers: {
      q: reals("f16", 16 * 4096 * 64),
      k: reals("f16", 16 * 4096 * 64),
      v: reals("f16", 16 * 4096 * 64),
      o: out("f16", 16 * 4096 * 64),
    },
    ...{ scalars: [{ i32: 4096 }, { f32: 0.125 * Math.LOG2E }], estimateUs: 250 },
  }),
];

const ROWS: SuiteKernel[] = [
  triton({
    ...{ file: "softmax", entry: "softmax", grid: [16384, 1, 1], threads: 128, sharedBytes: 16 },
    buffers: { x: reals("f32", 16384 * 1000, -4, 4), y: out("f32", 16384 * 1000) },
    ...{ scalars: [{ i32: 1000 }], estimateUs: 40, repeat: 3 },
  }),
  triton({
    ...{ file: "gelu_1024", entry: "gelu", grid: [n16 / 1024, 1, 1], threads: 128, sharedBytes: 0 },
    buffers: { x: reals("f32", n16, -4, 4), y: out("f32", n16) },
    ...{ scalars: [{ i32: n16 }], estimateUs: 35, repeat: 3 },
  }),
  triton({
    ...{ file: "gelu_4096", entry: "gelu", grid: [n16 / 4096, 1, 1], threads: 128, sharedBytes: 0 },
    buffers: { x: reals("f32", n16, -4, 4), y: out("f32", n16) },
    ...{ scalars: [{ i32: n16 - 48 }], estimateUs: 35, repeat: 3 },
  }),
  triton({
    ...{ file: "layer_norm", entry: "layer_norm", grid: [4096, 1, 1], threads: 128, sharedBytes: 16 },
    buffers: {
      x: reals("f32", 4096 * 3984),
      scale: reals("f32", 3984),
      shift: reals("f32", 3984),
      y: out("f32", 4096 * 3984),
    },
    ...{ scalars: [{ i32: 3984 }, { f32: 1e-5 }], estimateUs: 60, repeat: 2 },
  }),
  triton({
    ...{ file: "sum_atomic", entry: "sum_atomic", grid: [n16 / 4096, 1, 1], threads: 128, sharedBytes: 16 },
    buffers: { x: reals("f32", n16, 0, 1), sums: out("f32", 64) },
    ...{ scalars: [{ i32: n16 }], estimateUs: 25, repeat: 5 },
    inexact: { why: "sums of floats that round, added by atomics in the order of the blocks", rtol: 1e-5 },
  }),
  triton({
    ...{ file: "max_atomic", entry: "max_atomic", grid: [n16 / 4096, 1, 1], threads: 128, sharedBytes: 16 },
    buffers: { x: words(n16), most: out("i32", 64) },
    ...{ scalars: [{ i32: n16 }], estimateUs: 25, repeat: 5 },
  }),
  triton({
    ...{ file: "cumsum", entry: "cumsum", grid: [1024, 1, 1], threads: 128, sharedBytes: 32 },
    buffers: { x: words(n16), y: out("i32", n16) },
    ...{ scalars: [{ i32: 16384 }], estimateUs: 80, repeat: 2 },
  }),
  triton({
    ...{ file: "histogram", entry: "histogram", grid: [1024, 1, 1], threads: 128, sharedBytes: 1024 },
    buffers: { x: words(n16), bins: out("i32", 256) },
    ...{ scalars: [{ i32: 16384 }], estimateUs: 80, repeat: 2 },
  }),
  triton({
    ...{ file: "transpose", entry: "transpose", grid: [64, 64, 1], threads: 128, sharedBytes: 16384 },
    buffers: { x: reals("f32", 4096 * 4096), y: out("f32", 4096 * 4096) },
    ...{ scalars: [{ i32: 4096 }, { i32: 4096 }], estimateUs: 50, repeat: 3 },
  }),
  triton({
    ...{ file: "dropout", entry: "dropout", grid: [n16 / 1024, 1, 1], threads: 128, sharedBytes: 0 },
    buffers: { x: reals("f32", n16), y: out("f32", n16) },
    ...{ scalars: [{ i32: n16 }, { f32: 0.3 }, { i32: 12345 }], estimateUs: 60, repeat: 2 },
  }),
  triton({
    ...{ file: "argmax", entry: "argmax", grid: [4096, 1, 1], threads: 256, sharedBytes: 64 },
    buffers: { x: reals("f32", 4096 * 4000), y: out("i32", 4096) },
    ...{ scalars: [{ i32: 4000 }], estimateUs: 25, repeat: 5 },
  }),
  triton({
    ...{ file: "update", entry: "update", grid: [n8 / 512, 1, 1], threads: 128, sharedBytes: 0 },
    buffers: { x: changing(n8) },
    ...{ scalars: [{ i32: n8 }, { i32: 100 }], estimateUs: 150 },
  }),
];

export const TRITON_KERNELS: readonly SuiteKernel[] = [...MATMUL, ...ROWS];
