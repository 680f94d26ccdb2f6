/**
 * What numbers does an output blob hold?
 *
 * Decodes little-endian element types into plain numbers, nested by shape. It compares outputs too, element by
 * element, as `verify` of a bundle asks.
 */
import { type BufferEntry, type Manifest, outputLayout } from "./bundle.ts";
import { hexOf } from "./bundle_reader.ts";
import { type Dtype, DTYPE_BYTES } from "./bundle_schema.ts";

/** One output buffer and where it lies in the output blob. */
export interface OutputField {
  name: string;
  offset: number;
  sizeBytes: number;
  /** Both or neither; neither: plain bytes. */
  dtype: Dtype | undefined;
  shape: readonly number[] | undefined;
}

/** The bundle's output buffers, in the order of the blob. */
export function outputFields(manifest: Manifest): OutputField[] {
  const byName = new Map<string, BufferEntry>(manifest.buffers.map((buffer) => [buffer.name, buffer]));
  return outputLayout(manifest).entries.map(({ name, offset, sizeBytes }) => {
    const buffer = byName.get(name);
    return { name, offset, sizeBytes, dtype: buffer?.dtype, shape: buffer?.shape };
  });
}

/** JSON can say no NaN and no infinity, so these are texts; integers beyond 2^53 are texts too. */
export type JsonNumber = number | string;
export type Nested = JsonNumber | Nested[];

/** The values of each field: nested by shape, or the bytes in hexadecimal where no element type is declared. */
export function decodeOutputs(fields: readonly OutputField[], blob: Uint8Array): Record<string, Nested> {
  return Object.fromEntries(fields.map((field) => {
    const { name, offset, sizeBytes, dtype, shape } = field;
    const bytes = blob.subarray(offset, offset + sizeBytes);
    if (dtype === undefined || shape === undefined) return [name, hexOf(bytes)];
    return [name, nest(Array.from(elements(bytes, dtype), toJson), shape)];
  }));
}

export interface Mismatch {
  field: string;
  /** Position within the field, row-major. */
  index: number;
  got: number;
  want: number;
}

export interface Comparison {
  elements: number;
  mismatches: number;
  /** The first mismatch. */
  first: Mismatch | undefined;
  /** Largest |got - want| over all elements; NaN never counts. */
  maxError: number;
}

/** An element passes if |got - want| <= atol + rtol * |want|, or both are the same NaN or infinity. */
export function compareOutputs(
  fields: readonly OutputField[],
  got: Uint8Array,
  want: Uint8Array,
  tolerance: { rtol: number; atol: number },
): Comparison {
  const result: Comparison = { elements: 0, mismatches: 0, first: undefined, maxError: 0 };
  for (const { name, offset, sizeBytes, dtype = "u8" } of fields) {
    const wanted = elements(want.subarray(offset, offset + sizeBytes), dtype);
    let index = 0;
    for (const each of elements(got.subarray(offset, offset + sizeBytes), dtype)) {
      const a = Number(each);
      const b = Number(wanted.next().value);
      const error = Math.abs(a - b);
      if (Number.isFinite(b) && error > result.maxError) result.maxError = error;
      // An infinity would widen its own tolerance to infinity.
      const near = Number.isFinite(b) && error <= tolerance.atol + tolerance.rtol * Math.abs(b);
      if (!(near || a === b || Object.is(a, b))) {
        result.mismatches++;
        result.first ??= { field: name, index, got: a, want: b };
      }
      index++;
      result.elements++;
    }
  }
  return result;
}

function* elements(bytes: Uint8Array, dtype: Dtype): Generator<number | bigint, undefined> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = READERS[dtype];
  const size = DTYPE_BYTES[dtype];
  for (let at = 0; at + size <= bytes.length; at += size) yield read(view, at);
  return undefined;
}

const READERS: Record<Dtype, (view: DataView, at: number) => number | bigint> = {
  u8: (view, at) => view.getUint8(at),
  i8: (view, at) => view.getInt8(at),
  u16: (view, at) => view.getUint16(at, true),
  i16: (view, at) => view.getInt16(at, true),
  f16: (view, at) => halfToNumber(view.getUint16(at, true)),
  bf16: (view, at) => brainToNumber(view.getUint16(at, true)),
  u32: (view, at) => view.getUint32(at, true),
  i32: (view, at) => view.getInt32(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  u64: (view, at) => view.getBigUint64(at, true),
  i64: (view, at) => view.getBigInt64(at, true),
  f64: (view, at) => view.getFloat64(at, true),
};

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const WORD = new DataView(new ArrayBuffer(4));

/** bfloat16: the upper half of a binary32. */
function brainToNumber(bits: number): number {
  WORD.setUint32(0, bits << 16);
  return WORD.getFloat32(0);
}

function toJson(value: number | bigint): JsonNumber {
  if (typeof value === "bigint") {
    return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value.toString();
  }
  return Number.isFinite(value) ? value : String(value);
}

/** Splits from the innermost dimension outwards. */
function nest(flat: Nested[], shape: readonly number[]): Nested[] {
  let level = flat;
  for (let dimension = shape.length - 1; dimension > 0; dimension--) {
    const size = shape[dimension] ?? 1;
    const next: Nested[] = [];
    for (let at = 0; at < level.length; at += size) next.push(level.slice(at, at + size));
    level = next;
  }
  return level;
}
