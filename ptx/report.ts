/**
 * How preemptible is each kernel of a module, and why not more?
 *
 * Puts the findings of the other files into one record per kernel. It starts no process; who wants register counts passes
 * a function that finds them (ptxas.ts has one).
 */

import { type Callable, isKernel, type Module } from "./ast.ts";
import { isBarrier } from "./barriers.ts";
import { controlFlow } from "./cfg.ts";
import { PtxError } from "./error.ts";
import { type KernelParameter, parametersOf } from "./layout.ts";
import { parseModule } from "./parser.ts";
import { type Pins, rewriteKernel } from "./rewrite.ts";
import { printModule } from "./printer.ts";
import { judge } from "./safety.ts";
import { lowestVersion } from "./version.ts";
import { instructionsOf } from "./waiting.ts";

export type Level = "block" | "whole";

export interface KernelReport {
  readonly kernel: string;
  /** The level that the kernel was rewritten to, or would be. */
  readonly level: Level;
  /** All levels that are proven safe, the most preemptible first. */
  readonly safeLevels: readonly Level[];
  /** Why the kernel does not reach `block`, in words; empty when it does. */
  readonly reason: string;
  /** Line in the original text that the reason speaks of, else where the kernel begins. */
  readonly line: number;
  /** Parameters of the original kernel; those that the rewriter adds come behind. Empty where a size is not known. */
  readonly params: readonly KernelParameter[];
  /** Barriers of the whole block in the original text. */
  readonly barriers: number;
  /** Loops in the original text. */
  readonly loops: number;
  /** Registers per thread as ptxas allots them; undefined where nobody asked ptxas. */
  readonly registersBefore: number | undefined;
  readonly registersAfter: number | undefined;
}

/** Registers per thread of each kernel of a module, by name; undefined where they cannot be found out. */
export type CountRegisters = (text: string, file: string) => ReadonlyMap<string, number> | undefined;

export interface ReportOptions {
  readonly countRegisters?: CountRegisters;
}

export interface RewriteOptions extends ReportOptions {
  /** Name of the file, for errors. */
  readonly file: string;
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
 * Rewrites each kernel to level `block` where that is proven safe and leaves the others untouched, in one module with
 * the lowest `.version` that its contents allow. Throws PtxError where the text cannot be parsed.
 */
export function rewriteModule(text: string, options: RewriteOptions): RewriteResult {
  const module = parseModule(text, options.file);
  const kernels: KernelReport[] = [];
  const items = module.items.map((item) => {
    if (!isKernel(item)) return item;
    const verdict = judge(module, item);
    kernels.push(reportKernel(module, item, verdict));
    if (verdict.level === "whole") return item;
    return rewriteKernel(module, item, verdict.copiesAsync, pinsOf(item.name, options));
  });
  const rewritten: Module = { ...module, items };
  const output = printModule({ ...rewritten, version: lowestVersion(rewritten) });

  const before = options.countRegisters?.(text, options.file);
  const after = options.countRegisters?.(output, options.file);
  return {
    text: output,
    kernels: kernels.map((report) => ({
      ...report,
      registersBefore: before?.get(report.kernel),
      registersAfter: after?.get(report.kernel),
    })),
  };
}

function pinsOf(kernel: string, options: RewriteOptions): Pins {
  const minBlocks = options.minBlocksPerSm?.get(kernel);
  const maxThreads = options.maxThreads?.get(kernel);
  return {
    ...(minBlocks === undefined ? {} : { minBlocks }),
    ...(maxThreads === undefined ? {} : { maxThreads }),
  };
}

function reportKernel(
  module: Module,
  kernel: Callable,
  verdict: { level: Level; reason: string; line: number },
): KernelReport {
  const body = kernel.body ?? [];
  return {
    kernel: kernel.name,
    level: verdict.level,
    safeLevels: verdict.level === "block" ? ["block", "whole"] : ["whole"],
    reason: verdict.reason,
    line: verdict.line,
    params: parametersOf(kernel) ?? [],
    barriers: instructionsOf(body).filter(isBarrier).length,
    loops: countLoops(body, module.file),
    registersBefore: undefined,
    registersAfter: undefined,
  };
}

/** Zero where the branches cannot be followed; the reason of the verdict says so. */
function countLoops(body: NonNullable<Callable["body"]>, file: string): number {
  try {
    return controlFlow(body, file).loops.length;
  } catch (error) {
    if (error instanceof PtxError) return 0;
    throw error;
  }
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
