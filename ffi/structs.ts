/**
 * How does a C struct of `calypte.h` lie in bytes? A typed window onto one, by the layouts in `ffi/abi.ts`.
 *
 * Fields are named, never addressed: no other file knows an offset. 64-bit integers become `number` if they are
 * exact there, else an `EngineError`; `bigint()` reads those that use all 64 bits. Little-endian, as all machines
 * that Calypte runs on are.
 */
import { CONSTANTS, type FieldLayout, type StructLayout, STRUCTS } from "./abi.ts";
import { EngineError } from "./errors.ts";

export type StructName = keyof typeof STRUCTS;
type Fields<N extends StructName> = (typeof STRUCTS)[N]["fields"];
type FieldsOfType<N extends StructName, T extends string> = {
  [F in keyof Fields<N>]: Fields<N>[F] extends { type: T } ? F : never;
}[keyof Fields<N>];

type IntegerType = "u32" | "i32" | "u64" | "i64";
/** Fields that hold integers. */
export type NumberField<N extends StructName> = FieldsOfType<N, IntegerType> & string;
/** Fields that hold 64-bit integers. */
export type WideField<N extends StructName> = FieldsOfType<N, "u64" | "i64"> & string;
/** Fields that hold NUL-terminated text. */
export type TextField<N extends StructName> = FieldsOfType<N, "char"> & string;
/** Fields that hold bytes. */
export type BytesField<N extends StructName> = FieldsOfType<N, "u8"> & string;
/** Fields that hold other structs. */
export type StructField<N extends StructName> = FieldsOfType<N, StructName> & string;
type NestedName<N extends StructName, F> = F extends keyof Fields<N>
  ? Fields<N>[F] extends { type: infer T extends StructName } ? T : never
  : never;

const TWO_32 = 2 ** 32;
const RANGES: Readonly<Record<IntegerType, readonly [low: number, high: number]>> = {
  u32: [0, TWO_32 - 1],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u64: [0, Number.MAX_SAFE_INTEGER],
  i64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Size of a struct in bytes. */
export function sizeOf(name: StructName): number {
  return STRUCTS[name].size;
}

/** Throws `EngineError` unless `value` is an integer that the C type `type` holds. `what` names it. */
export function checkInteger(value: number, type: IntegerType, operation: string, what: string): number {
  const [low, high] = RANGES[type];
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new EngineError(
    CONSTANTS.E_INVALID,
    operation,
    `${what} must be an integer from ${low} to ${high}, not ${value}`,
  );
}

/** One struct within bytes. It reads and writes in place and may be moved along them. */
export class StructView<N extends StructName> {
  readonly name: N;
  readonly #layout: StructLayout;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  #at: number;

  /** Over bytes of its own, all zero, or over `bytes` from `offset` on. */
  constructor(name: N, bytes: Uint8Array = new Uint8Array(sizeOf(name)), offset = 0) {
    this.name = name;
    this.#layout = STRUCTS[name];
    this.#bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = offset;
    this.moveTo(offset);
  }

  /** All bytes that this view was made over. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get size(): number {
    return this.#layout.size;
  }

  /** Moves the view to the struct at byte `offset`. */
  moveTo(offset: number): this {
    if (!(offset >= 0 && offset + this.size <= this.#bytes.length)) {
      throw new RangeError(
        `calypte_${this.name} takes ${this.size} bytes at ${offset}, but there are ${this.#bytes.length}`,
      );
    }
    this.#at = offset;
    return this;
  }

  /** Sets the struct to zero bytes. */
  clear(): this {
    this.#bytes.fill(0, this.#at, this.#at + this.size);
    return this;
  }

  /** Element `index` of an integer field. */
  number(field: NumberField<N>, index = 0): number {
    const { type, at, c } = this.#element(field, index);
    switch (type) {
      case "u32":
        return this.#data.getUint32(at, true);
      case "i32":
        return this.#data.getInt32(at, true);
      default: {
        const high = type === "i64" ? this.#data.getInt32(at + 4, true) : this.#data.getUint32(at + 4, true);
        const value = high * TWO_32 + this.#data.getUint32(at, true);
        if (Number.isSafeInteger(value)) return value;
        throw new EngineError(
          CONSTANTS.E_INVALID,
          `read calypte_${this.name}.${c}`,
          `${this.#wide(type, at)} lies beyond 2^53 and is not exact as a number`,
        );
      }
    }
  }

  /** Several integer fields as an object. */
  numbers<F extends NumberField<N>>(...fields: readonly F[]): Record<F, number> {
    const result: Partial<Record<F, number>> = {};
    for (const field of fields) result[field] = this.number(field);
    return result as Record<F, number>;
  }

  setNumber(field: NumberField<N>, value: number, index = 0): this {
    const { type, at, c } = this.#element(field, index);
    const what = this.#layout.fields[field]?.count === 1 ? c : `${c}[${index}]`;
    checkInteger(value, type as IntegerType, `write calypte_${this.name}`, what);
    if (type === "u32" || type === "i32") this.#data.setUint32(at, value, true);
    else {
      this.#data.setUint32(at, value % TWO_32, true);
      this.#data.setInt32(at + 4, Math.floor(value / TWO_32), true);
    }
    return this;
  }

  setNumbers(values: Partial<Record<NumberField<N>, number>>): this {
    for (const [field, value] of Object.entries<number | undefined>(values)) {
      if (value !== undefined) this.setNumber(field as NumberField<N>, value);
    }
    return this;
  }

  /** Element `index` of a 64-bit field, with all its bits. */
  bigint(field: WideField<N>, index = 0): bigint {
    const { type, at } = this.#element(field, index);
    return this.#wide(type, at);
  }

  setBigint(field: WideField<N>, value: bigint, index = 0): this {
    this.#data.setBigUint64(this.#element(field, index).at, BigInt.asUintN(64, value), true);
    return this;
  }

  /** Text up to its NUL. */
  text(field: TextField<N>): string {
    const all = this.#raw(field);
    const end = all.indexOf(0);
    return decoder.decode(end < 0 ? all : all.subarray(0, end));
  }

  /** Writes text and its NUL; `EngineError` if that does not fit, or if the text holds a NUL. */
  setText(field: TextField<N>, text: string): this {
    const target = this.#raw(field);
    const encoded = encoder.encode(text);
    if (encoded.length >= target.length || encoded.includes(0)) {
      throw new EngineError(
        CONSTANTS.E_INVALID,
        `write calypte_${this.name}`,
        `${field} must be at most ${target.length - 1} bytes of UTF-8 without a NUL, not ` +
          `${encoded.length} bytes: ${JSON.stringify(text.slice(0, 80))}`,
      );
    }
    target.fill(0).set(encoded);
    return this;
  }

  setBytes(field: BytesField<N>, value: Uint8Array): this {
    const target = this.#raw(field);
    if (value.length !== target.length) {
      throw new EngineError(
        CONSTANTS.E_INVALID,
        `write calypte_${this.name}`,
        `${field} must be ${target.length} bytes, not ${value.length}`,
      );
    }
    target.set(value);
    return this;
  }

  /** A copy of a byte field. */
  bytesOf(field: BytesField<N>): Uint8Array {
    return this.#raw(field).slice();
  }

  /** A copy of an array of 32-bit integers. */
  words(field: FieldsOfType<N, "u32"> & string): Uint32Array {
    return new Uint32Array(this.#raw(field).slice().buffer);
  }

  /** Element `index` of a field that holds structs, as a view over the same bytes. */
  struct<F extends StructField<N>>(field: F, index = 0): StructView<NestedName<N, F>> {
    const { type, at } = this.#element(field, index);
    return new StructView(type as NestedName<N, F>, this.#bytes, at);
  }

  #wide(type: string, at: number): bigint {
    return type === "i64" ? this.#data.getBigInt64(at, true) : this.#data.getBigUint64(at, true);
  }

  #field(field: string): FieldLayout {
    const layout = this.#layout.fields[field];
    if (layout === undefined) throw new RangeError(`calypte_${this.name} has no field '${field}'`);
    return layout;
  }

  #element(field: string, index: number): { type: string; at: number; c: string } {
    const { type, offset, count, c } = this.#field(field);
    if (!Number.isInteger(index) || index < 0 || index >= count) {
      throw new RangeError(`calypte_${this.name}.${c} has ${count} elements, none at ${index}`);
    }
    return { type, at: this.#at + offset + index * elementSize(type), c };
  }

  #raw(field: string): Uint8Array {
    const { type, offset, count } = this.#field(field);
    const at = this.#at + offset;
    return this.#bytes.subarray(at, at + count * elementSize(type));
  }
}

function elementSize(type: string): number {
  switch (type) {
    case "char":
    case "u8":
      return 1;
    case "u32":
    case "i32":
      return 4;
    case "u64":
    case "i64":
      return 8;
    default:
      return sizeOf(type as StructName);
  }
}
