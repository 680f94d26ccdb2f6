/**
 * What does the agent ask of the checkpoint compiler?
 *
 * The narrow side of `ptx/` that loading needs, as an interface, so that tests can do without PTX.
 */
import { kernelParams, type Level, PtxError, rewriteModule } from "../ptx/mod.ts";
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
}

/** The compiler of `ptx/`. */
export const checkpointCompiler: CheckpointCompiler = {
  params: (ptx, file) => asInputError(() => kernelParams(ptx, file)),
  rewrite: ({ ptx, file, kernels, pins, level, overlaps }) => {
    const minBlocksPerSm = new Map([...pins].map(([name, pin]) => [name, pin.minBlocksPerSm]));
    const maxThreads = new Map([...pins].map(([name, pin]) => [name, pin.maxThreads]));
    const levels = new Map(kernels.map((name) => [name, level] as const));
    const overlap = (kernel: string, written: number, read: number) =>
      overlaps.get(kernel)?.some(([w, r]) => w === written && r === read) ?? true;
    const { text, kernels: reports } = asInputError(() =>
      rewriteModule(ptx, { file, minBlocksPerSm, maxThreads, levels, overlap })
    );
    const wanted = reports.filter(({ kernel }) => kernels.includes(kernel));
    return {
      text,
      kernels: new Map(wanted.map(({ kernel, level, reason, line }) => [
        kernel,
        { level, reasons: reason === "" ? [] : [`${reason} (line ${line})`] },
      ])),
    };
  },
};

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
