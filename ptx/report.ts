/**
 * How preemptible is each kernel of a module, and why not more?
 *
 * Puts the findings of the other files into one record per kernel. It starts no process; who wants register counts passes
 * a function that finds them (ptxas.ts has one).
 */

import { type Callable, isKernel, type Module } from "./ast.ts";
import { isBarrier } from "./barriers.ts";
import { type BoundUs, estimateBound, threadsAlongX, threadsOf } from "./bound.ts";
import { type LoopPlan, planLoops } from "./checkpoints.ts";
import { PtxError } from "./error.ts";
import { type KernelParameter, parametersOf } from "./layout.ts";
import { parseModule } from "./parser.ts";
import { type Pins, rewriteKernel } from "./rewrite.ts";
import { printModule } from "./printer.ts";
import { judge, type Verdict } from "./safety.ts";
import { sliceKernel } from "./slice.ts";
import { lowestVersion } from "./version.ts";
import { instructionsOf } from "./waiting.ts";
import { LEAST_THREADS_X } from "./loop_text.ts";

export type Level = "loop" | "block" | "slice" | "whole";

/** The most preemptible first. */
const LEVELS: readonly Level[] = ["loop", "block", "slice", "whole"];

/** Names of two parameters that must not lead to the same memory. */
export interface DisjointNames {
  readonly written: string;
  readonly read: string;
}

export interface KernelReport {
  readonly kernel: string;
  /** The level that the kernel was rewritten to, or would be. */
  readonly level: Level;
  /** All levels that are proven safe, the most preemptible first. */
  readonly safeLevels: readonly Level[];
  /** Why the kernel does not reach `loop`, in words; empty when it does. */
  readonly reason: string;
  /** Line in the original text that the reason speaks of, else where the kernel begins. */
  readonly line: number;
  /** Whether a block that was abandoned at a checkpoint may be run again, and why or why not. */
  readonly restartable: boolean;
  readonly restartReason: string;
  /** What the caller vouched for by `overlap`, so that it may be run again. */
  readonly disjoint: readonly DisjointNames[];
  /** Loops that read the gate at level `loop`, by line; `together`: all threads of a block at once. */
  readonly checkpoints: readonly { readonly line: number; readonly kind: "together" | "alone" }[];
  /** Loops that do not, and why. */
  readonly unchecked: readonly { readonly line: number; readonly reason: string }[];
  /** Why its output differs from run to run even untouched; empty: it does not. */
  readonly inexact: string;
  /** Estimate from the text of how long it keeps the GPU after the gate has closed; null: not to be told. */
  readonly boundUs: BoundUs;
  /** Parameters of the original kernel; those that the rewriter adds come behind. Empty where a size is not known. */
  readonly params: readonly KernelParameter[];
  /** Barriers of the whole block in the original text. */
  readonly barriers: number;
  /** Loops in the original text. */
  readonly loops: number;
  /** Registers per thread as ptxas allots them; undefined where nobody asked ptxas. */
  readonly registersBefore: number | undefined;
  readonly registersAfter: number | undefined;
  /** Warps of an SM that the registers leave room for, where known. */
  readonly warpsBefore: number | undefined;
  readonly warpsAfter: number | undefined;
}

/** Registers per thread of each kernel of a module, by name; undefined where they cannot be found out. */
export type CountRegisters = (text: string, file: string) => ReadonlyMap<string, number> | undefined;

export interface ReportOptions {
  readonly countRegisters?: CountRegisters;
  /**
   * Whether what a kernel writes behind one parameter may overlap with what it reads behind the other, both by position.
   * Absent: it may, for all.
   */
  readonly overlap?: (kernel: string, written: number, read: number) => boolean;
}

export interface RewriteOptions extends ReportOptions {
  /** Name of the file, for errors. */
  readonly file: string;
  /** The highest level to rewrite a kernel to, by name; absent: the highest that is safe. */
  readonly levels?: ReadonlyMap<string, Level>;
  /** Resident blocks per SM of each untouched kernel, to pin with `.minnctapersm`; see docs/PREEMPTION.md. */
  readonly minBlocksPerSm?: ReadonlyMap<string, number>;
  /** Threads per block with which each kernel is launched, for `.maxntid` where it states no bound itself. */
  readonly maxThreads?: ReadonlyMap<string, number>;
}

export interface RewriteResult {
  readonly text: string;
  readonly kernels: readonly KernelReport[];
}

/** Says of each kernel what rewriteModule would do. Throws PtxError where the text cannot be parsed. */
export function reportModule(text: string, file: string, options: ReportOptions = {}): KernelReport[] {
  return [...rewriteModule(text, { ...options, file }).kernels];
}

/**
 * Rewrites each kernel to the highest level that is proven safe, or to the one asked for, in one module with the lowest
 * `.version` that its contents allow. Throws PtxError where the text cannot be parsed.
 */
export function rewriteModule(text: string, options: RewriteOptions): RewriteResult {
  const module = parseModule(text, options.file);
  const kernels: KernelReport[] = [];
  const items = module.items.map((item) => {
    if (!isKernel(item)) return item;
    const verdict = judge(module, item);
    const plan = planOf(module, item, verdict, options);
    const report = reportKernel(item, verdict, plan, options.levels?.get(item.name) ?? "loop");
    kernels.push(report);
    if (report.level === "whole") return item;
    if (report.level === "slice") return sliceKernel(module, item);
    const checkpoints = report.level === "loop" ? plan.checkpoints : [];
    return rewriteKernel(module, item, verdict, checkpoints, pinsOf(item.name, options));
  });
  const rewritten: Module = { ...module, items };
  const output = printModule({ ...rewritten, version: lowestVersion(rewritten) });
  return { text: output, kernels: withRegisters(kernels, module, text, output, options) };
}

function planOf(
  module: Module,
  kernel: Callable,
  verdict: Verdict,
  options: ReportOptions,
): LoopPlan {
  const none = (reason: string): LoopPlan => ({ checkpoints: [], reason, disjoint: [], unchecked: [] });
  const { level, graph, returns, callee, inexact } = verdict;
  if (level !== "block" || graph === undefined) return none(verdict.reason);
  if (inexact !== "") return none(inexact);
  if (threadsAlongX(kernel) < LEAST_THREADS_X) {
    return none(`a block of it has fewer than ${LEAST_THREADS_X} threads along x`);
  }
  const overlap = (written: number, read: number) => options.overlap?.(kernel.name, written, read) ?? true;
  return planLoops({ module, kernel, graph, returns, callee, overlap });
}

function withRegisters(
  kernels: readonly KernelReport[],
  module: Module,
  text: string,
  output: string,
  { countRegisters, file }: RewriteOptions,
): KernelReport[] {
  const before = countRegisters?.(text, file);
  const after = countRegisters?.(output, file);
  const threads = new Map(module.items.filter(isKernel).map((k) => [k.name, threadsOf(k)] as const));
  return kernels.map((report) => {
    const [registersBefore, registersAfter] = [before?.get(report.kernel), after?.get(report.kernel)];
    const warps = (registers: number | undefined) => warpsOf(registers, threads.get(report.kernel) ?? 0);
    return {
      ...report,
      registersBefore,
      registersAfter,
      warpsBefore: warps(registersBefore),
      warpsAfter: warps(registersAfter),
    };
  });
}

/** Registers are allotted to a warp in units of 256, 65536 in all; CUDA C++ Programming Guide, compute capabilities. */
function warpsOf(registers: number | undefined, threads: number): number | undefined {
  if (registers === undefined || threads === 0) return undefined;
  const warps = Math.ceil(threads / 32);
  const perBlock = Math.ceil(registers * 32 / 256) * 256 * warps;
  return Math.min(Math.floor(65536 / perBlock), Math.floor(64 / warps)) * warps;
}

function pinsOf(kernel: string, options: RewriteOptions): Pins {
  const minBlocks = options.minBlocksPerSm?.get(kernel);
  const maxThreads = options.maxThreads?.get(kernel);
  return {
    ...(minBlocks === undefined ? {} : { minBlocks }),
    ...(maxThreads === undefined ? {} : { maxThreads }),
  };
}

function reportKernel(kernel: Callable, verdict: Verdict, plan: LoopPlan, cap: Level): KernelReport {
  const body = kernel.body ?? [];
  const canLoop = plan.checkpoints.length > 0;
  const best = canLoop ? "loop" : verdict.level;
  const safeLevels = LEVELS.slice(LEVELS.indexOf(best)).filter((level) =>
    level !== "slice" || best !== "whole"
  );
  const level = safeLevels.find((l) => LEVELS.indexOf(l) >= LEVELS.indexOf(cap)) ?? "whole";
  const refused = plan.unchecked[0];
  const reason = canLoop
    ? ""
    : verdict.level === "block" && refused !== undefined
    ? `the loop at line ${refused.line} has no checkpoint: ${refused.reason}`
    : plan.reason;
  const nameOf = (index: number) => kernel.parameters[index]?.names[0]?.name ?? `${index}`;
  return {
    kernel: kernel.name,
    level,
    safeLevels,
    reason,
    line: verdict.level === "block" ? refused?.line ?? verdict.line : verdict.line,
    restartable: canLoop,
    restartReason: canLoop ? plan.reason : reason,
    disjoint: plan.disjoint.map(({ written, read }) => ({ written: nameOf(written), read: nameOf(read) })),
    checkpoints: plan.checkpoints.map(({ line, kind }) => ({ line, kind })),
    unchecked: plan.unchecked.map(({ line, reason }) => ({ line, reason })),
    inexact: verdict.inexact,
    boundUs: estimateBound(
      kernel,
      verdict.graph,
      plan.checkpoints,
      plan.unchecked.filter(({ around }) => !around).length,
      undefined,
    ),
    params: parametersOf(kernel) ?? [],
    barriers: instructionsOf(body).filter(isBarrier).length,
    loops: verdict.graph?.loops.length ?? 0,
    registersBefore: undefined,
    registersAfter: undefined,
    warpsBefore: undefined,
    warpsAfter: undefined,
  };
}

/** For each kernel of a module the parameters that a launch must pass. Throws PtxError where a size is not known. */
export function kernelParams(text: string, file = "the module"): Map<string, KernelParameter[]> {
  const module = parseModule(text, file);
  const result = new Map<string, KernelParameter[]>();
  for (const item of module.items) {
    if (!isKernel(item)) continue;
    const params = parametersOf(item);
    if (params === undefined) {
      const rule = `A parameter of kernel ${item.name} has no known size`;
      throw new PtxError(file, item, rule, "Give it a fundamental type and constant dimensions");
    }
    result.set(item.name, params);
  }
  return result;
}
