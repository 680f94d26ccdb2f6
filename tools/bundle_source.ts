/**
 * What does a bundle's `source.ts` say, and what helps to say it?
 *
 * The types of the part of `bundle.json` that a person writes; tools/build_bundle.ts adds hashes, the module and the sample
 * files. And three helpers: a camera frame, seeded numbers, estimates of time for the simulator.
 */
import { decode } from "fast-png";
import type { BufferRole, BUNDLE_FORMAT, Dtype } from "../agent/bundle_schema.ts";

export interface SourceBuffer {
  name: string;
  role: BufferRole;
  /** Either dtype and shape, or bytes. */
  dtype?: Dtype;
  shape?: number[];
  bytes?: number;
  /** Weights: one of `files()`, and where in it the buffer begins. */
  file?: string;
  offset?: number;
}

export interface SourcePlace {
  buffer: string;
  /** In bytes. */
  offset?: number;
}

export type SourceArg =
  | SourcePlace
  | { i32: number }
  | { u32: number }
  | { i64: number | string }
  | { u64: number | string }
  | { f32: number }
  | { f64: number };

export type Dim3 = [number, number, number];

export interface SourceKernelStep {
  kernel: string;
  grid: Dim3;
  block: Dim3;
  sharedBytes?: number;
  args: SourceArg[];
  /** See `estimates`. */
  estimateUs: number;
  blockUs: number;
}

export type SourceStep =
  | SourceKernelStep
  | { memset: { buffer: string; value: number; offset?: number; bytes?: number } }
  | { copy: { from: SourcePlace; to: SourcePlace; bytes: number } };

export interface SourceManifest {
  format: typeof BUNDLE_FORMAT;
  name: string;
  description: string;
  license?: string;
  buffers: SourceBuffer[];
  steps: SourceStep[];
  /** An element passes if |got - want| <= atol + rtol * |want|. */
  verify: { rtol: number; atol: number };
}

export interface BundleSource {
  manifest: SourceManifest;
  /** Contents of files by name, such as `weights.bin`. Must give the same bytes each time. */
  files?: () => Map<string, Uint8Array>;
  /** The blob of all input buffers. Left out where the bundle has none. */
  sampleInput?: () => Promise<Uint8Array>;
}

/** Frame `index` of examples/frames: 360 rows of 640 pixels of R, G, B. */
export async function frame(index: number): Promise<Uint8Array> {
  const name = `frame_${String(index).padStart(4, "0")}.png`;
  const { width, height, channels, data } = decode(
    await Deno.readFile(new URL(`../examples/frames/${name}`, import.meta.url)),
  );
  if (width !== 640 || height !== 360 || channels !== 3) {
    throw new Error(`Cannot use ${name}: it is ${width} x ${height} x ${channels}, not 640 x 360 x 3`);
  }
  return Uint8Array.from(data);
}

/** A generator of numbers in [0, 1) by mulberry32; the same seed (32 bits) gives the same numbers everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The board that the estimates are for: about a Jetson Orin. */
const SMS = 16;
const CYCLES_PER_US = 1000;
const LANES_PER_SM = 128;
const THREADS_PER_SM = 1536;
const BLOCKS_PER_SM = 16;
/** Of the peak that plain kernels reach; a guess. */
const EFFICIENCY = 0.5;
/** Cycles from an operation to the next that needs its result. */
const LATENCY_CYCLES = 4;
/** 100 GB/s, shared equally by the SMs. */
const BYTES_PER_US_PER_SM = 100_000 / SMS;
/** What a step and a block cost besides. */
const LAUNCH_US = 2;
const BLOCK_START_US = 0.5;

export interface EstimateOptions {
  grid: Dim3;
  block: Dim3;
  /** Floating point or integer operations, one each (without contraction, a multiply-add is two). */
  flopsPerThread: number;
  /** Bytes that come from or go to memory; what the caches hold does not count. */
  bytesPerThread: number;
}

/**
 * Time of a step and of one of its blocks, for the simulator only; on a GPU they are measured.
 *
 *     resident  = blocks that share an SM: min(what fits, what there are)
 *     blockUs   = 0.5 + max(operations, bytes, latency), of `resident` blocks together on one SM
 *     estimateUs = 2 + blockUs * waves,  waves = ceil(blocks / (16 SMs * resident))
 */
export function estimates(options: EstimateOptions): { estimateUs: number; blockUs: number } {
  const { grid, block, flopsPerThread, bytesPerThread } = options;
  const blocks = grid[0] * grid[1] * grid[2];
  const threads = block[0] * block[1] * block[2];
  const fits = Math.max(1, Math.min(BLOCKS_PER_SM, Math.floor(THREADS_PER_SM / threads)));
  const resident = Math.min(fits, Math.ceil(blocks / SMS));
  const operationsUs = (resident * threads * flopsPerThread) / (LANES_PER_SM * EFFICIENCY * CYCLES_PER_US);
  const bytesUs = (resident * threads * bytesPerThread) / BYTES_PER_US_PER_SM;
  const latencyUs = (flopsPerThread * LATENCY_CYCLES) / CYCLES_PER_US;
  const blockUs = BLOCK_START_US + Math.max(operationsUs, bytesUs, latencyUs);
  const waves = Math.ceil(blocks / (SMS * resident));
  const round = (us: number) => Math.round(us * 10) / 10;
  return { estimateUs: round(LAUNCH_US + blockUs * waves), blockUs: round(blockUs) };
}
