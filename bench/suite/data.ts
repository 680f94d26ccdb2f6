/**
 * What is in the input buffers of a suite kernel? Seeded random elements; the same seed gives the same bytes.
 *
 * It is no good random generator, only a fast one (xorshift, 32 bit): no two tiles of a buffer are alike, so that a block
 * that reads or writes in the wrong place shows.
 */

export type ElementType = "f32" | "f16" | "u32" | "i32";
export const ELEMENT_BYTES: Record<ElementType, number> = { f32: 4, f16: 2, u32: 4, i32: 4 };

/** Uniform in [from, to): real numbers, or whole numbers of any element type. */
export interface Fill {
  kind: "reals" | "integers";
  from: number;
  to: number;
}

const F16_VALUES = 4096;

export function randomElements(
  type: ElementType,
  count: number,
  fill: Fill,
  seed: number,
): Uint8Array<ArrayBuffer> {
  const { kind, from, to } = fill;
  if (!(to > from)) throw new RangeError(`Cannot fill a buffer: from ${from} must be less than to ${to}`);
  if (kind === "reals" && (type === "u32" || type === "i32")) {
    throw new RangeError(`Cannot fill a buffer of ${type}: it takes integers only`);
  }
  const value = (word: number) => {
    const real = from + (word / 2 ** 32) * (to - from);
    return kind === "reals" ? real : Math.floor(real);
  };
  if (type !== "f16") return words(type, count, value, seed);
  const table = Uint16Array.from(
    { length: F16_VALUES },
    (_, i) => f16Bits(value(i * (2 ** 32 / F16_VALUES))),
  );
  const halves = new Uint16Array(count);
  each(seed, count, (word, i) => halves[i] = table[word >>> 20]!);
  return new Uint8Array(halves.buffer);
}

function words(
  type: "f32" | "u32" | "i32",
  count: number,
  value: (word: number) => number,
  seed: number,
): Uint8Array<ArrayBuffer> {
  const target = type === "f32"
    ? new Float32Array(count)
    : type === "u32"
    ? new Uint32Array(count)
    : new Int32Array(count);
  each(seed, count, (word, i) => target[i] = value(word));
  return new Uint8Array(target.buffer);
}

function each(seed: number, count: number, take: (word: number, index: number) => void): void {
  let state = (seed ^ 0x9e3779b9) | 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    take(state >>> 0, i);
  }
}

/** The nearest half-precision number, ties to even; for numbers whose nearest is normal or 0. */
export function f16Bits(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127 + 15;
  if (exponent <= 0) return sign;
  if (exponent >= 31) throw new RangeError(`Cannot write ${value} as f16: it is too large`);
  const mantissa = bits & 0x7fffff;
  const rest = mantissa & 0x1fff;
  const truncated = (exponent << 10) | (mantissa >>> 13);
  return sign | (truncated + (rest > 0x1000 || (rest === 0x1000 && (truncated & 1) === 1) ? 1 : 0));
}
