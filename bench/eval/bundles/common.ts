/** What the evaluation's workloads share on the CPU, and in their sources. Kept in step with common.cuh. */
import { BUNDLE_FORMAT } from "../../../agent/bundle_schema.ts";
import {
  type BundleSource,
  type Dim3,
  estimates,
  type SourceArg,
  type SourceBuffer,
  type SourceKernelStep,
  type SourceStep,
} from "../../../tools/bundle_source.ts";

export const THREADS = 256;

export function mixed(index: number): number {
  let x = (Math.imul(index, 1664525) + 1013904223) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0;
  return (x ^ (x >>> 13)) >>> 0;
}

/** As the kernel `fold`: one sum for every `count` words. */
export function folded(words: Uint32Array, count: number): Uint8Array {
  const sums = new Uint32Array(words.length / count);
  for (let i = 0; i < words.length; i++) {
    const at = Math.floor(i / count);
    sums[at] = sums[at]! + Math.imul(words[i]!, 2 * (i % count) + 1);
  }
  return new Uint8Array(sums.buffer);
}

/** A step in blocks of 256 threads; the work per thread is for the simulator's estimate. */
export function step(
  kernel: string,
  blocks: number,
  args: SourceArg[],
  flopsPerThread: number,
  bytesPerThread: number,
  threads = THREADS,
): SourceKernelStep {
  const shape: { grid: Dim3; block: Dim3 } = { grid: [blocks, 1, 1], block: [threads, 1, 1] };
  return { kernel, ...shape, args, ...estimates({ ...shape, flopsPerThread, bytesPerThread }) };
}

export function foldStep(from: string, blocks: number, count: number): SourceKernelStep {
  return step("fold", blocks, [{ buffer: from }, { buffer: "out" }, { u32: count }], count / 64, count / 64);
}

export function words(name: string, role: SourceBuffer["role"], ...shape: number[]): SourceBuffer {
  return { name, role, dtype: "u32", shape };
}

export function floats(name: string, role: SourceBuffer["role"], ...shape: number[]): SourceBuffer {
  return { name, role, dtype: "f32", shape };
}

export function source(
  name: string,
  description: string,
  buffers: SourceBuffer[],
  steps: SourceStep[],
  verify: { rtol: number; atol: number } = { rtol: 0, atol: 0 },
  sampleInput?: () => Uint8Array,
): BundleSource {
  return {
    manifest: { format: BUNDLE_FORMAT, name, description, license: "MIT", buffers, steps, verify },
    ...(sampleInput === undefined ? {} : { sampleInput: () => Promise.resolve(sampleInput()) }),
  };
}

export function reference(run: (input: Uint8Array) => Uint8Array) {
  return (_dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> => Promise.resolve({ run });
}
