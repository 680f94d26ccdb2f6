/**
 * How are the compiler's findings about kernels shown to people and to programs?
 *
 * One table, and below it what stands against more: `ptx report` and `bundle inspect` show the same. It finds nothing out.
 */
import type { KernelReport } from "../../ptx/mod.ts";
import { table } from "../summary.ts";

const HEAD = [
  "kernel",
  "level",
  "safe levels",
  "checkpoints",
  "loop us",
  "block us",
  "slice us",
  "registers",
  "warps",
];

/** Lines without their newlines; `file` stands in front of what is said about a line. */
export function kernelLines(kernels: readonly KernelReport[], file: string): string[] {
  const rows = kernels.map((kernel) => [
    kernel.kernel,
    kernel.level,
    kernel.safeLevels.join(" "),
    checkpointsOf(kernel),
    ...(["loop", "block", "slice"] as const).map((level) => boundOf(kernel, level)),
    change(kernel.registersBefore, kernel.registersAfter),
    change(kernel.warpsBefore, kernel.warpsAfter),
  ]);
  return [...table(HEAD, rows), ...kernels.flatMap((kernel) => remarksOn(kernel, file))];
}

/** As `reportModule` gives it, with null for what is not known. */
export function kernelJson(kernels: readonly KernelReport[]): Record<string, unknown>[] {
  return JSON.parse(JSON.stringify(kernels, (_, value) => value === undefined ? null : value));
}

/** How many of the kernel's loops have one. */
function checkpointsOf({ checkpoints, loops }: KernelReport): string {
  return loops === 0 ? "no loop" : `${checkpoints.length} of ${loops} loops`;
}

/** `?`: not to be told from the text; `-`: it has no such level. */
function boundOf({ safeLevels, boundUs }: KernelReport, level: "loop" | "block" | "slice"): string {
  if (!safeLevels.includes(level)) return "-";
  return boundUs[level] === null ? "?" : boundUs[level].toFixed(1);
}

/** Of the original and of the rewritten kernel; empty where ptxas was not asked. */
function change(before: number | undefined, after: number | undefined): string {
  return before === undefined && after === undefined ? "" : `${before ?? "?"} -> ${after ?? "?"}`;
}

function remarksOn(report: KernelReport, file: string): string[] {
  const { kernel, level, reason, line, unchecked, inexact, disjoint } = report;
  const at = (where: number, text: string) => `${file}:${where}: ${kernel}: ${text}`;
  const remarks: string[] = [];
  // Where a loop without a checkpoint is the reason, the loops below say it.
  const isSaid = unchecked.some((loop) => loop.line === line && reason.endsWith(loop.reason));
  if (reason !== "" && !isSaid) remarks.push(at(line, `no more than ${level}: ${reason}`));
  for (const loop of unchecked) remarks.push(at(loop.line, `no checkpoint in this loop: ${loop.reason}`));
  for (const [written, apart] of Map.groupBy(disjoint, (pair) => pair.written)) {
    const reads = apart.map(({ read }) => read).sort().join(", ");
    remarks.push(at(line, `loop because what ${written} leads to is no buffer of ${reads}`));
  }
  if (inexact !== "" && inexact !== reason) {
    remarks.push(at(line, `its output differs from run to run: ${inexact}`));
  }
  return remarks;
}
