/**
 * Which kernels are in the suite, and how is each launched?
 *
 * Types and the list of all; the entries are in cuda_kernels.ts and triton_kernels.ts. Sizes are such that an untouched
 * launch, or its repetitions, takes about 100 us to 3 ms on an H200, and that all buffers of one kernel stay below
 * 256 MiB. `estimateUs` is reckoned, not measured.
 */
import type { ElementType, Fill } from "./data.ts";
import { CUDA_KERNELS } from "./cuda_kernels.ts";
import { TRITON_KERNELS } from "./triton_kernels.ts";

export type Dim3 = [number, number, number];

/**
 * How a unit treats a buffer. `in`: random, never written. `inout`: a copy of random data, made anew for each unit;
 * compared. `out`: zero at the start of each unit, so that a block that did not run shows; compared. `scratch`: zero
 * at the start of each unit; not compared.
 */
export type SuiteBuffer =
  & { type: ElementType; count: number }
  & ({ use: "in" | "inout"; fill: Fill } | { use: "out" | "scratch" });

/** A buffer's name, or a scalar. */
export type SuiteArg = string | { u32: number } | { i32: number } | { u64: number } | { f32: number };

export type SuiteKernel =
  & {
    /** Kebab-case. */
    name: string;
    /** PTX, relative to bench/suite. */
    file: string;
    /** As in a bundle's modules. */
    arch: "compute_80" | "compute_90" | "sm_90a";
    entry: string;
    grid: Dim3;
    block: Dim3;
    /** Dynamic shared memory. */
    sharedBytes: number;
    buffers: Readonly<Record<string, SuiteBuffer>>;
    args: readonly SuiteArg[];
    /** Launches in a unit, one after the other. */
    repeat: number;
    /** Of one launch, untouched. */
    estimateUs: number;
  }
  & (
    /** Outputs are the same, bit for bit, whatever the order of the blocks. */
    | { exact: true }
    /** The order shows, for the reason given: elements, all f32, must agree within `rtol`. */
    | { exact: false; why: string; rtol: number }
  );

export const SUITE: readonly SuiteKernel[] = [...CUDA_KERNELS, ...TRITON_KERNELS];

/** The kernels of these names, all if none is given. Throws for a name that is not in the suite. */
export function suiteKernels(names: readonly string[]): readonly SuiteKernel[] {
  const unknown = names.find((name) => SUITE.every((kernel) => kernel.name !== name));
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot find kernel ${unknown}: the suite has ${SUITE.map((k) => k.name).join(", ")}`,
    );
  }
  return names.length === 0 ? SUITE : SUITE.filter(({ name }) => names.includes(name));
}
