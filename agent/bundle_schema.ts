/**
 * Which texts are a `bundle.json`, field by field?
 *
 * The shape of bundle format version 1: types, ranges, names. Rules that join several fields (references,
 * ranges inside buffers) are in manifest.ts; rules about files are in bundle.ts.
 */
import { z } from "zod";
import { pluginSchema } from "./plugin_manifest.ts";
import { nameSchema, strictObject } from "./schema.ts";

export const BUNDLE_FORMAT = "calypte-bundle/1";
export const MAX_MODULES = 16;
/** CALYPTE_MAX_STEPS in calypte.h. */
export const MAX_STEPS = 1024;
/** CALYPTE_MAX_IO in calypte.h: input buffers, and output buffers, of one bundle. */
export const MAX_IO = 16;
export const MAX_BUFFERS = 4096;
export const MAX_ARGS = 512;

/** Bytes per element. */
export const DTYPE_BYTES = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  f16: 2,
  bf16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
} as const;
export type Dtype = keyof typeof DTYPE_BYTES;
const DTYPES = Object.keys(DTYPE_BYTES) as [Dtype, ...Dtype[]];

export const ROLES = ["input", "weight", "scratch", "output", "state"] as const;
export type BufferRole = typeof ROLES[number];

const I32_MAX = 2 ** 31 - 1;
const U32_MAX = 2 ** 32 - 1;
const F32_MAX = 3.4028234663852886e38;

const SHA256_RULE = "must be a SHA-256 of 64 lower-case hexadecimal digits";
const sha256 = z.string({ error: SHA256_RULE }).regex(/^[0-9a-f]{64}$/, SHA256_RULE);

const FILE_RULE = "must be a path inside the bundle, with / between names and without .. or a leading /";
/** No control characters, no backslash, no colon; no segment that is empty, `.` or `..`. */
const fileName = z.string({ error: FILE_RULE }).max(255, FILE_RULE).refine(
  (text) =>
    // deno-lint-ignore no-control-regex
    !/[\u0000-\u001f\u007f\\:]/.test(text) && text.split("/").every((part) => !/^\.{0,2}$/.test(part)),
  FILE_RULE,
);

const BUFFER_NAME_RULE = "must be a buffer's name: letters, digits and _ . -, at most 127";
const bufferName = z.string({ error: BUFFER_NAME_RULE }).regex(
  /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}$/,
  BUFFER_NAME_RULE,
);

const KERNEL_RULE = "must be the name of a PTX entry";
const kernelName = z.string({ error: KERNEL_RULE }).regex(/^[A-Za-z_$%][A-Za-z0-9_$]{0,1022}$/, KERNEL_RULE);

const ARCH_RULE = "must be sm_NN or compute_NN such as sm_87";
const arch = z.string({ error: ARCH_RULE }).regex(/^(sm|compute)_[1-9][0-9]{1,2}[af]?$/, ARCH_RULE);

const byteOffset = z.int().min(0);
const byteCount = z.int().min(1);

const dtype = z.enum(DTYPES, { error: `must be one of ${DTYPES.join(", ")}` });
const role = z.enum(ROLES, { error: `must be one of ${ROLES.join(", ")}` });

const moduleEntry = strictObject({ file: fileName, arch, sha256 });

const bufferEntry = strictObject({
  name: bufferName,
  role,
  dtype: dtype.optional(),
  shape: z.array(z.int().min(1).max(I32_MAX)).min(1).max(16).optional(),
  bytes: byteCount.optional(),
  file: fileName.optional(),
  offset: byteOffset.optional(),
  sha256: sha256.optional(),
});

const place = strictObject({ buffer: bufferName, offset: byteOffset.default(0) });

/** A 64-bit integer: a number that is exact, or a decimal text. Parses to a bigint. */
function integer64(min: bigint, max: bigint) {
  const rule = `must be a whole number ${min}..${max}; beyond 2^53 - 1 as a text`;
  const text = z.string().regex(/^-?[0-9]{1,20}$/, rule);
  return z.union([z.int({ error: rule }), text], { error: rule }).transform((value, context) => {
    const big = BigInt(value);
    if (big >= min && big <= max) return big;
    context.addIssue({ code: "custom", message: rule });
    return z.NEVER;
  });
}

const ARG_RULE = "must be one of {buffer}, {i32}, {u32}, {i64}, {u64}, {f32}, {f64}";
const arg = z.union([
  place,
  strictObject({ i32: z.int().min(-(2 ** 31)).max(I32_MAX) }),
  strictObject({ u32: z.int().min(0).max(U32_MAX) }),
  strictObject({ i64: integer64(-(2n ** 63n), 2n ** 63n - 1n) }),
  strictObject({ u64: integer64(0n, 2n ** 64n - 1n) }),
  strictObject({ f32: z.number().min(-F32_MAX).max(F32_MAX) }),
  strictObject({ f64: z.number() }),
], { error: ARG_RULE });

const yz = z.int().min(1).max(65535);
/** At least as much as any GPU has; what the device has is checked when the kernel is loaded. */
const sharedBytes = z.int().min(0).max(256 * 1024);
const estimateUs = z.number().gt(0, "must be more than zero").max(1e9);

const kernelStep = strictObject({
  kernel: kernelName,
  grid: z.tuple([z.int().min(1).max(I32_MAX), yz, yz], { error: "must be a list of 3 whole numbers" }),
  block: z.tuple([z.int().min(1).max(1024), z.int().min(1).max(1024), z.int().min(1).max(64)], {
    error: "must be a list of 3 whole numbers",
  }),
  sharedBytes: sharedBytes.default(0),
  args: z.array(arg).max(MAX_ARGS),
  estimateUs: estimateUs.optional(),
  blockUs: estimateUs.optional(),
});
const memsetStep = strictObject({
  memset: strictObject({
    buffer: bufferName,
    value: z.int().min(0).max(255),
    offset: byteOffset.default(0),
    bytes: byteCount.optional(),
  }),
});
const copyStep = strictObject({ copy: strictObject({ from: place, to: place, bytes: byteCount }) });

const tolerance = z.number().min(0).default(0);
const verify = strictObject({
  input: fileName.optional(),
  inputSha256: sha256.optional(),
  output: fileName,
  outputSha256: sha256,
  rtol: tolerance,
  atol: tolerance,
});

export const manifestSchema = strictObject({
  format: z.literal(BUNDLE_FORMAT),
  name: nameSchema,
  description: z.string().max(4096).optional(),
  license: z.string().max(256).optional(),
  modules: z.array(moduleEntry).max(MAX_MODULES).default([]),
  buffers: z.array(bufferEntry).min(1).max(MAX_BUFFERS),
  steps: z.array(
    z.union([kernelStep, memsetStep, copyStep], { error: "must be one of {kernel, …}, {memset}, {copy}" }),
  ).max(MAX_STEPS).default([]),
  plugin: pluginSchema(fileName, sha256).optional(),
  verify: verify.optional(),
  reference: fileName.optional(),
});

/** A manifest whose shape is right, with defaults applied. */
export type RawManifest = z.infer<typeof manifestSchema>;
export type RawBuffer = RawManifest["buffers"][number];
export type RawStep = RawManifest["steps"][number];
export type RawArg = z.infer<typeof arg>;

/** The JSON Schema of `bundle.json`; it states shapes and ranges, not the rules that join fields. */
export function bundleJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(manifestSchema, { io: "input" }) as Record<string, unknown>;
}
