/**
 * How does a copy or a memset become a kernel?
 *
 * Gives the launch of each kernel of ffi/native/kernels/builtin.cu as an engine step. Inside a background job these
 * are rewritten to level `block` like any other kernel (docs/PREEMPTION.md says why); inside a critical task they run as they are.
 */
import { assetPath } from "./assets/place.ts";
import type { ArgSpec, StepSpec } from "../ffi/engine.ts";

export const BUILTIN_KERNELS = [
  "calypte_copy",
  "calypte_fill",
  "calypte_upload",
  "calypte_download",
] as const;
export type BuiltinKernel = typeof BUILTIN_KERNELS[number];

/** As in builtin.cu. */
export const CHUNK_BYTES = 16 * 1024;
export const THREADS = 256;

/**
 * Bytes per nanosecond that the estimates assume until the device is measured: 8 for what crosses from or to host
 * memory (PCIe 3.0 with 8 lanes, as on small boards), 50 for what stays in GPU memory (a quarter of Orin's 204 GB/s,
 * as a copy reads and writes).
 */
const HOST_BYTES_PER_NS = 8;
const DEVICE_BYTES_PER_NS = 50;
/** What a launch costs besides. */
const LAUNCH_NS = 3000;

export function builtinPtx(): string {
  return Deno.readTextFileSync(assetPath("ffi/native/kernels/builtin.ptx"));
}

/** A step but for its kernel id and level, which depend on how the module was loaded. */
export interface BuiltinStep extends Omit<StepSpec, "kernel" | "level"> {
  builtin: BuiltinKernel;
}

/** A place in GPU memory. */
export interface Place {
  buffer: number;
  offsetBytes: number;
}

export function copyStep(to: Place, from: Place, sizeBytes: number): BuiltinStep {
  return step("calypte_copy", sizeBytes, DEVICE_BYTES_PER_NS, [address(to), address(from), u64(sizeBytes)]);
}

/** `value` 0..255 into every byte. */
export function fillStep(to: Place, value: number, sizeBytes: number): BuiltinStep {
  return step("calypte_fill", sizeBytes, DEVICE_BYTES_PER_NS, [address(to), u32(value), u64(sizeBytes)]);
}

/** From `offset` of the unit's input slot. */
export function uploadStep(to: Place, offset: number, sizeBytes: number): BuiltinStep {
  return step("calypte_upload", sizeBytes, HOST_BYTES_PER_NS, slotArgs(to, "input-slots", offset, sizeBytes));
}

/** To `offset` of the unit's output slot. */
export function downloadStep(from: Place, offset: number, sizeBytes: number): BuiltinStep {
  return step(
    "calypte_download",
    sizeBytes,
    HOST_BYTES_PER_NS,
    slotArgs(from, "output-slots", offset, sizeBytes),
  );
}

function slotArgs(
  place: Place,
  table: "input-slots" | "output-slots",
  offset: number,
  sizeBytes: number,
): ArgSpec[] {
  return [address(place), { kind: table }, u64(offset), u64(sizeBytes), { kind: "control" }, {
    kind: "slot-count",
  }];
}

function step(builtin: BuiltinKernel, sizeBytes: number, bytesPerNs: number, args: ArgSpec[]): BuiltinStep {
  const blocks = Math.ceil(sizeBytes / CHUNK_BYTES);
  const chunkNs = Math.ceil(Math.min(sizeBytes, CHUNK_BYTES) / bytesPerNs);
  const estimateNs = LAUNCH_NS + Math.ceil(sizeBytes / bytesPerNs);
  return {
    builtin,
    grid: [blocks, 1, 1],
    block: [THREADS, 1, 1],
    sharedBytes: 0,
    workers: 0,
    args,
    estimateNs,
    blockEstimateNs: Math.min(estimateNs, chunkNs),
  };
}

function address({ buffer, offsetBytes }: Place): ArgSpec {
  return { kind: "buffer", buffer, offset: offsetBytes };
}

function u32(value: number): ArgSpec {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return { kind: "scalar", bytes };
}

function u64(value: number): ArgSpec {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return { kind: "scalar", bytes };
}
