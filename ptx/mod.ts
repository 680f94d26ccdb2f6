/**
 * The checkpoint compiler: reads PTX modules, says how preemptible their kernels are, and rewrites them.
 *
 * The public face of the folder; everything else in it is internal. It touches no GPU and starts no process, except for
 * `ptxasRegisters`, which asks ptxas.
 */

export { PtxError } from "./error.ts";
export type { Position } from "./error.ts";
export type { Module } from "./ast.ts";
export { parseModule } from "./parser.ts";
export { printModule } from "./printer.ts";
export { lowestVersion } from "./version.ts";
export { kernelParams, reportModule, rewriteModule } from "./report.ts";
export type {
  CountRegisters,
  DisjointNames,
  KernelReport,
  Level,
  ReportOptions,
  RewriteOptions,
  RewriteResult,
} from "./report.ts";
export type { KernelParameter } from "./layout.ts";
export { CALYPTE_LOOP_PARAMS, CALYPTE_PARAMS, divisionBy } from "./wrapper.ts";
export { CALYPTE_SLICE_PARAMS } from "./slice.ts";
export { ptxasRegisters } from "./ptxas.ts";
export type { PtxasOptions } from "./ptxas.ts";
export { verifyRewrite } from "./verify.ts";
export type { Finding } from "./verify.ts";
