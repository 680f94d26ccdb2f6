import { assert, assertEquals } from "../assert.ts";
import type { Dtype } from "../../agent/bundle_schema.ts";
import { hexOf } from "../../agent/bundle_reader.ts";
import { compareOutputs, decodeOutputs, type OutputField } from "../../agent/values.ts";

function field(
  dtype: Dtype | undefined,
  shape: number[] | undefined,
  sizeBytes: number,
  offset = 0,
): OutputField {
  return { name: "x", offset, sizeBytes, dtype, shape };
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

Deno.test("outputs are nested by shape, from the offset of their field", () => {
  const blob = new Uint8Array(256 + 24);
  blob.set(bytesOf(Float32Array.of(1, 2, 3, 4, 5, 6)), 256);
  assertEquals(decodeOutputs([field("f32", [2, 3], 24, 256)], blob), { x: [[1, 2, 3], [4, 5, 6]] });
  assertEquals(decodeOutputs([field("f32", [3, 1, 2], 24, 256)], blob), {
    x: [[[1, 2]], [[3, 4]], [[5, 6]]],
  });
});

Deno.test("every element type is read as little-endian numbers", () => {
  const cases: [Dtype, ArrayBufferView, unknown[]][] = [
    ["u8", Uint8Array.of(0, 255), [0, 255]],
    ["i8", Int8Array.of(-128, 127), [-128, 127]],
    ["u16", Uint16Array.of(65535), [65535]],
    ["i16", Int16Array.of(-32768), [-32768]],
    ["u32", Uint32Array.of(4294967295), [4294967295]],
    ["i32", Int32Array.of(-2147483648), [-2147483648]],
    ["u64", BigUint64Array.of(5n, 2n ** 64n - 1n), [5, "18446744073709551615"]],
    ["i64", BigInt64Array.of(-5n, -(2n ** 63n)), [-5, "-9223372036854775808"]],
    ["f64", Float64Array.of(0.1, NaN, -Infinity), [0.1, "NaN", "-Infinity"]],
    ["f16", Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0xfc00, 0x7e00), [
      1,
      -2,
      2 ** -24,
      65504,
      "-Infinity",
      "NaN",
    ]],
    ["bf16", Uint16Array.of(0x3f80, 0xc040, 0x7f80), [1, -3, "Infinity"]],
  ];
  for (const [dtype, array, expected] of cases) {
    const bytes = bytesOf(array);
    assertEquals(decodeOutputs([field(dtype, [expected.length], bytes.length)], bytes), {
      x: expected as number[],
    }, dtype);
  }
});

Deno.test("a buffer without an element type is shown as hexadecimal", () => {
  assertEquals(decodeOutputs([field(undefined, undefined, 3)], Uint8Array.of(0, 171, 255)), { x: "00abff" });
  assertEquals(hexOf(new Uint8Array()), "");
});

Deno.test("outputs match within atol + rtol * |want|, and not beyond", () => {
  const fields = [field("f32", [3], 12)];
  const want = bytesOf(Float32Array.of(100, -1, 0));
  const compare = (got: number[], rtol: number, atol: number) =>
    compareOutputs(fields, bytesOf(Float32Array.from(got)), want, { rtol, atol });
  assertEquals(compare([100.5, -1, 0], 0.01, 0).mismatches, 0);
  assertEquals(compare([100.5, -1, 0.25], 0.01, 0).first, { field: "x", index: 2, got: 0.25, want: 0 });
  assertEquals(compare([100.5, -1, 0.25], 0.01, 0.25).mismatches, 0);
  assertEquals(compare([103, -2, 1], 0.01, 0).mismatches, 3);
  assertEquals(compare([100.5, -1, 0], 0, 0).maxError, 0.5);
});

Deno.test("NaN and infinity match only themselves", () => {
  const fields = [field("f32", [2], 8)];
  const blob = (...values: number[]) => bytesOf(Float32Array.from(values));
  const tolerance = { rtol: 1, atol: 1 };
  assertEquals(compareOutputs(fields, blob(NaN, Infinity), blob(NaN, Infinity), tolerance).mismatches, 0);
  assertEquals(compareOutputs(fields, blob(0, 0), blob(NaN, Infinity), tolerance).mismatches, 2);
  assertEquals(compareOutputs(fields, blob(NaN, -Infinity), blob(0, Infinity), tolerance).mismatches, 2);
  assert(Number.isFinite(compareOutputs(fields, blob(NaN, 1), blob(0, 0), tolerance).maxError));
});
