/**
 * Where do a kernel's parameters lie in the buffer that a launch passes?
 *
 * Natural alignment, as PTX prescribes. It does not check what the kernel reads from them.
 */

import type { Callable, Expression, Variable } from "./ast.ts";

/** One parameter of a kernel, as a launch must pass it. */
export interface KernelParameter {
  readonly name: string;
  /** `u64`, `f32`, `b8` …, without the point. */
  readonly type: string;
  /** Of the whole parameter, an array's elements together. */
  readonly sizeBytes: number;
  readonly align: number;
  /** From the start of the parameter buffer. */
  readonly offset: number;
}

/** Parameters of a kernel, in order; undefined where a size is not known (an unknown type, a computed dimension). */
export function parametersOf(kernel: Callable): KernelParameter[] | undefined {
  const result: KernelParameter[] = [];
  let end = 0;
  for (const parameter of kernel.parameters) {
    const one = sizeOf(parameter);
    if (one === undefined) return undefined;
    const offset = Math.ceil(end / one.align) * one.align;
    result.push({ ...one, offset });
    end = offset + one.sizeBytes;
  }
  return result;
}

function sizeOf(variable: Variable): Omit<KernelParameter, "offset"> | undefined {
  const declarator = variable.names[0];
  const element = typeBytes(variable.type);
  if (declarator === undefined || element === undefined) return undefined;
  const lanes = variable.vector === undefined ? 1 : Number(variable.vector.slice(2));
  let sizeBytes = element * lanes;
  for (const dimension of declarator.dimensions) {
    const length = dimension === null ? undefined : plainNumber(dimension);
    if (length === undefined) return undefined;
    sizeBytes *= length;
  }
  return {
    name: declarator.name,
    type: variable.type.slice(1),
    sizeBytes,
    align: variable.align ?? element * lanes,
  };
}

/** Bytes of a fundamental type such as `.u32` or `.f16x2`; references to textures are 64-bit handles. */
export function typeBytes(type: string): number | undefined {
  if (type === ".texref" || type === ".samplerref" || type === ".surfref") return 8;
  const match = /^\.(?:[subf]|bf)(8|16|32|64|128)(x2)?$/.exec(type);
  return match === null ? undefined : Number(match[1]) / 8 * (match[2] === undefined ? 1 : 2);
}

function plainNumber(value: Expression): number | undefined {
  if (value.kind !== "number" || !/^(0[xX][0-9a-fA-F]+|[0-9]+)[uU]?$/.test(value.text)) return undefined;
  return Number(value.text.replace(/[uU]$/, ""));
}
