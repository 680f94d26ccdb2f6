/** How is an entry of the suite's tables written in few words? Helpers without knowledge of any one kernel. */
import type { ElementType, Fill } from "./data.ts";
import type { SuiteBuffer, SuiteKernel } from "./kernels.ts";

export const MEBI = 2 ** 20;

type Given = Pick<
  SuiteKernel,
  "name" | "file" | "entry" | "grid" | "block" | "buffers" | "args" | "estimateUs"
>;
type Rest = Pick<SuiteKernel, "arch" | "sharedBytes" | "repeat">;
type Exactness = { exact: true } | { exact: false; why: string; rtol: number };

/** An entry: exact, launched once, without dynamic shared memory, for `compute_80`, if nothing else is said. */
export function entry(
  given: Given & Partial<Rest> & { inexact?: { why: string; rtol: number } },
): SuiteKernel {
  const { inexact, ...rest } = given;
  const exactness: Exactness = inexact === undefined ? { exact: true } : { exact: false, ...inexact };
  return { arch: "compute_80", sharedBytes: 0, repeat: 1, ...rest, ...exactness };
}

export function reals(type: "f32" | "f16", count: number, from = -1, to = 1): SuiteBuffer {
  return { type, count, use: "in", fill: { kind: "reals", from, to } };
}

/** Whole numbers in [from, to); of a float type where sums must not depend on their order. */
export function integers(type: ElementType, count: number, from: number, to: number): SuiteBuffer {
  return { type, count, use: "in", fill: { kind: "integers", from, to } };
}

/** Any word at all. */
export function words(count: number): SuiteBuffer {
  return { type: "u32", count, use: "in", fill: ANY_WORD };
}

/** Changed in place. */
export function changing(count: number): SuiteBuffer {
  return { type: "u32", count, use: "inout", fill: ANY_WORD };
}

export function out(type: ElementType, count: number): SuiteBuffer {
  return { type, count, use: "out" };
}

export function scratch(type: ElementType, count: number): SuiteBuffer {
  return { type, count, use: "scratch" };
}

const ANY_WORD: Fill = { kind: "integers", from: 0, to: 2 ** 32 };
