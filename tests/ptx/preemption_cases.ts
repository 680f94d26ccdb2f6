/**
 * Which jobs do the preemption tests run, and from which seed?
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test.
 */

import { assert } from "../assert.ts";
import type { Module } from "../../ptx/ast.ts";
import { parseModule, rewriteModule } from "../../ptx/mod.ts";
import { fixture } from "./fixtures.ts";
import { randomFrom } from "./interpreter.ts";
import { DATA, Job, type Step } from "./job.ts";
import { WRITTEN } from "./preemption_kernels.ts";

export const SEED = Number(Deno.env.get("CALYPTE_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
console.log(`tests/ptx/preemption_cases.ts: CALYPTE_SEED=${SEED}`);

export const A = DATA;
export const B = DATA + 4096;
export const C = DATA + 8192;

export interface Case {
  readonly text: string;
  readonly steps: readonly Step[];
  /** Data that the kernel needs to find, over the random ones. */
  readonly prepare?: (job: Job) => void;
}

/** The quickest first: a planted mistake is tried on one after the other. */
export const CASES: readonly Case[] = [
  {
    text: fixture("grids"),
    steps: [{ kernel: "transpose3", grid: [3, 4, 2], block: [4, 3, 1], args: [A, B] }],
  },
  { text: fixture("grids"), steps: [{ kernel: "rows", grid: [3, 5, 2], block: [8, 1, 1], args: [B, 11] }] },
  {
    text: fixture("elementwise"),
    steps: [
      { kernel: "grid_stride", grid: [7, 1, 1], block: [32, 1, 1], args: [A, B, 500] },
      { kernel: "scale", grid: [16, 1, 1], block: [32, 1, 1], args: [B, C, 0x3f000000, 500] },
    ],
  },
  {
    text: fixture("reduction"),
    steps: [
      { kernel: "block_sum", grid: [9, 1, 1], block: [64, 1, 1], args: [A, B, 550] },
      {
        kernel: "block_max",
        grid: [5, 1, 1],
        block: [48, 1, 1],
        args: [A, C],
        dynamicSharedBytes: 4 * 48,
      },
    ],
  },
  {
    text: fixture("calls"),
    steps: [
      { kernel: "steps", grid: [4, 1, 1], block: [16, 1, 1], args: [C] },
      { kernel: "choose", grid: [11, 1, 1], block: [32, 1, 1], args: [A, B] },
    ],
    prepare: (job) => {
      for (let i = 0; i < 400; i++) job.memory.setU32(A + 4 * i, i % 9);
    },
  },
  {
    text: fixture("atomics"),
    steps: [
      { kernel: "histogram", grid: [8, 1, 1], block: [40, 1, 1], args: [A, B, 300] },
      { kernel: "last_adds", grid: [13, 1, 1], block: [32, 1, 1], args: [A, C, C + 1024, C + 1028] },
    ],
    prepare: (job) => job.memory.setU32(C + 1024, 0),
  },
  {
    text: fixture("hardware"),
    steps: [
      { kernel: "staged", grid: [6, 1, 1], block: [32, 1, 1], args: [A, C] },
      { kernel: "lanes", grid: [6, 1, 1], block: [64, 1, 1], args: [A, B] },
    ],
  },
  {
    text: fixture("tables"),
    steps: [{ kernel: "choose_by_table", grid: [9, 1, 1], block: [32, 1, 1], args: [A, B] }],
  },
];

/** Kernels of preemption_kernels.ts, by name. */
export const OWN_CASES = Object.fromEntries(
  Object.entries(WRITTEN).map(([kernel, text]): [string, Case] => [kernel, {
    text,
    steps: [{ kernel, grid: [9, 1, 1], block: [40, 1, 1], args: [A, B, 12] }],
  }]),
) as Readonly<Record<keyof typeof WRITTEN, Case>>;

/** The case for tests that need no particular one. */
export const first = CASES[2] as Case;

/** A change to rewritten text, such as one that a mistake in the wrapper would make. */
export type Mistake = (text: string) => string;

/** The level that kernels are rewritten to, or the highest below it that is safe. */
export type Cap = "loop" | "block" | "slice";

export interface Options {
  readonly cap?: Cap;
  readonly mistake?: Mistake | undefined;
}

export function original(of: Case): Module {
  return parseModule(of.text, "the case");
}

/** Rewrites the kernels of a case, whose buffers do not overlap. */
export function rewriteCase(of: Case, cap: Cap) {
  const levels = new Map(of.steps.map(({ kernel }) => [kernel, cap] as const));
  return rewriteModule(of.text, { file: "the case", levels, overlap: () => false });
}

/** Whether a kernel of a case gets to this level. */
export function reaches(of: Case, cap: Cap): boolean {
  const kernels = new Set(of.steps.map((s) => s.kernel));
  return rewriteCase(of, cap).kernels.some(({ kernel, level }) => kernels.has(kernel) && level === cap);
}

export function rewritten(of: Case, { cap = "block", mistake }: Options = {}): Module {
  const { text } = rewriteCase(of, cap);
  const changed = mistake === undefined ? text : mistake(text);
  if (mistake !== undefined) assert(changed !== text, "The mistake changes nothing");
  return parseModule(changed, "the case");
}

/** A job on its first step, with random data. */
export function jobOf(of: Case, options?: Options): Job {
  const job = new Job(rewritten(of, options), of.steps, randomFrom(SEED));
  job.fill(SEED);
  of.prepare?.(job);
  return job;
}
