/**
 * Which parameters of a bundle's kernels may lead to the same memory?
 *
 * PTX cannot tell; the manifest can, because buffers are allocations of their own. A kernel that no step launches is not
 * answered for.
 */
import type { Step } from "./manifest.ts";

/** Of each kernel that is launched, the pairs of parameters that lead to the same buffer in some step. */
export type Overlaps = ReadonlyMap<string, readonly (readonly [written: number, read: number])[]>;

export function overlapsOf(steps: readonly Step[]): Overlaps {
  const overlaps = new Map<string, [number, number][]>();
  for (const step of steps) {
    if (step.kind !== "kernel") continue;
    const pairs = overlaps.get(step.kernel) ?? [];
    overlaps.set(step.kernel, pairs);
    for (const [i, a] of step.args.entries()) {
      for (const [j, b] of step.args.entries()) {
        if (a.kind === "buffer" && b.kind === "buffer" && a.buffer === b.buffer) pairs.push([i, j]);
      }
    }
  }
  return overlaps;
}

/** Whether what the kernel writes behind one parameter may be what it reads behind the other. */
export function mayOverlap(overlaps: Overlaps, kernel: string, written: number, read: number): boolean {
  return overlaps.get(kernel)?.some(([w, r]) => w === written && r === read) ?? true;
}
