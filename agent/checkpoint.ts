/**
 * What does the agent ask of the checkpoint compiler?
 *
 * The narrow side of `ptx/` that loading needs, as an interface, so that tests can do without PTX.
 */
import {
  kernelParams,
  type KernelReport,
  type Level,
  lowestVersion,
  parseModule,
  PtxError,
  rewriteModule,
  verifyRewrite,
} from "../ptx/mod.ts";
import { type Bundle, checkKernels, type ParamInfo } from "./bundle.ts";
import { InputError } from "./errors.ts";

/** Occupancy of the untouched kernel, to be kept by the rewritten one. */
export interface Pin {
  minBlocksPerSm: number;
  /** Threads of its largest block. */
  maxThreads: number;
}

export interface RewriteRequest {
  ptx: string;
  /** For messages. */
  file: string;
  /** Which of its kernels are wanted; the others are of no interest. */
  kernels: readonly string[];
  pins: ReadonlyMap<string, Pin>;
  /** The highest level to rewrite to; kernels that do not reach it get the highest that is safe. */
  level: "loop" | "block";
  /** Pairs of parameters, by position and per kernel, that may lead to the same memory. Others do not. */
  overlaps: ReadonlyMap<string, readonly (readonly [written: number, read: number])[]>;
}

export interface RewriteResult {
  text: string;
  /** By name; `reasons` say why a kernel is at no higher level. */
  kernels: ReadonlyMap<string, { level: Level; reasons: readonly string[] }>;
}

export interface CheckpointCompiler {
  /** The parameters of each entry of a module, by its name. Throws `InputError` for text that is not PTX. */
  params(ptx: string, file: string): ReadonlyMap<string, readonly ParamInfo[]>;
  rewrite(request: RewriteRequest): RewriteResult;
  /**
   * The same text under the lowest `.version` that its instructions allow, for a driver that takes PTX up to `newest` (85 for
   * 8.5; 0: unknown). A text that says no newer one comes back as it is. Throws `InputError` if the driver takes none that would do.
   */
  forDriver(ptx: string, file: string, newest: number): string;
}

const VERSION = /^(\s*(?:\/\/[^\n]*\n\s*)*\.version\s+)([0-9]+\.[0-9]+)/;

function forDriver(ptx: string, file: string, newest: number): string {
  const tenths = (version: string) => Math.round(Number(version) * 10);
  const own = ptx.match(VERSION)?.[2];
  if (own === undefined || newest === 0 || tenths(own) <= newest) return ptx;
  const lowest = asInputError(() => lowestVersion(parseModule(ptx, file)));
  if (tenths(lowest) <= newest) return ptx.replace(VERSION, `$1${lowest}`);
  throw new InputError({
    file,
    field: "",
    rule: `must be PTX ${(newest / 10).toFixed(1)} or older for this driver, and needs ${lowest}`,
    remedy: "update the driver (on a Jetson: JetPack), or compile it for an older chip",
  });
}

/** The compiler of `ptx/`, and its second reader. */
export const checkpointCompiler: CheckpointCompiler = compilerWith(verifyRewrite);

/** A kernel that `verify` objects to stays as it is: two readings must agree before anything rewritten runs. */
export function compilerWith(verify: typeof verifyRewrite): CheckpointCompiler {
  const params: CheckpointCompiler["params"] = (ptx, file) => asInputError(() => kernelParams(ptx, file));
  return {
    params,
    forDriver,
    rewrite: (request) => {
      const { ptx, file, kernels, level } = request;
      const levels = new Map(
        [...params(ptx, file).keys()].map((name) =>
          [name, kernels.includes(name) ? level : "whole"] as const
        ),
      );
      const first = rewriteOnce(request, levels);
      const claimed = new Map(first.reports.map((report) => [report.kernel, report.level]));
      const findings = asInputError(() => verify(ptx, first.text, claimed, file));
      if (findings.length === 0) return toResult(first, kernels, new Map());
      const objections = new Map(
        findings.toReversed().map(({ kernel, line, rule }) => [
          kernel,
          `the second reading of what the compiler made of it objects: ${rule} (line ${line} there)`,
        ]),
      );
      // What is said of the module and of no kernel in it speaks against all of them.
      const isRefused = (name: string) =>
        objections.has(name) || !findings.every(({ kernel }) => levels.has(kernel));
      const kept = new Map(
        [...levels].map(([name, wanted]) => [name, isRefused(name) ? "whole" : wanted] as const),
      );
      return toResult(rewriteOnce(request, kept), kernels, objections);
    },
  };
}

interface Rewritten {
  text: string;
  reports: readonly KernelReport[];
}

function rewriteOnce(
  { ptx, file, pins, overlaps }: RewriteRequest,
  levels: ReadonlyMap<string, Level>,
): Rewritten {
  const minBlocksPerSm = new Map([...pins].map(([name, pin]) => [name, pin.minBlocksPerSm]));
  const maxThreads = new Map([...pins].map(([name, pin]) => [name, pin.maxThreads]));
  const overlap = (kernel: string, written: number, read: number) =>
    overlaps.get(kernel)?.some(([w, r]) => w === written && r === read) ?? true;
  const { text, kernels } = asInputError(() =>
    rewriteModule(ptx, { file, minBlocksPerSm, maxThreads, levels, overlap })
  );
  return { text, reports: kernels };
}

function toResult(
  { text, reports }: Rewritten,
  kernels: readonly string[],
  objections: ReadonlyMap<string, string>,
): RewriteResult {
  const wanted = reports.filter(({ kernel }) => kernels.includes(kernel));
  return {
    text,
    kernels: new Map(wanted.map(({ kernel, level, reason, line }) => {
      const objection = objections.get(kernel);
      const why = objection === undefined ? reason === "" ? [] : [`${reason} (line ${line})`] : [objection];
      return [kernel, { level, reasons: why }];
    })),
  };
}

/** Checks the steps of a bundle against each of its modules, whichever a device would take. Throws `InputError`. */
export function checkModules(bundle: Bundle): void {
  for (const { file, text } of bundle.modules) {
    checkKernels(bundle, checkpointCompiler.params(text, `${bundle.dir}/${file}`));
  }
}

/** PTX comes from the user's bundle or command line, so what is wrong with it is the user's to mend. */
export function asInputError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PtxError)) throw error;
    const { file, position, rule, remedy } = error;
    throw new InputError({ file, field: `line ${position.line}, column ${position.column}`, rule, remedy }, {
      cause: error,
    });
  }
}
