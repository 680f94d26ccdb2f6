/**
 * What does a `bundle.json` say, and do its parts fit each other?
 *
 * Parses the text, resolves defaults and units, and checks every rule that can be checked without opening
 * another file: references, ranges inside buffers, launch limits.
 */
import {
  type BufferRole,
  type Dtype,
  DTYPE_BYTES,
  manifestSchema,
  MAX_IO,
  type RawArg,
  type RawBuffer,
  type RawManifest,
  type RawStep,
} from "./bundle_schema.ts";
import { InputError, type Problem, throwIfAny } from "./errors.ts";
import { checkHashes, type Report } from "./manifest_hashes.ts";
import { type PluginEntry, pluginOf } from "./plugin_manifest.ts";
import { parseWith } from "./schema.ts";

export interface ModuleEntry {
  /** Relative to the bundle's folder. */
  file: string;
  /** `sm_NN` or `compute_NN`. */
  arch: string;
  sha256: string;
}

export interface BufferEntry {
  name: string;
  role: BufferRole;
  /** 1..2^53-1. */
  sizeBytes: number;
  /** Both or neither; neither if the manifest gives `bytes`. */
  dtype: Dtype | undefined;
  shape: readonly number[] | undefined;
  /** Weights only: where the contents lie. `sha256` is that of the whole file. */
  data: { file: string; offsetBytes: number; sha256: string } | undefined;
}

export type ScalarType = "i32" | "u32" | "i64" | "u64" | "f32" | "f64";

export type StepArg =
  | { kind: "buffer"; buffer: string; offsetBytes: number }
  /** `bytes` is `value` in little-endian order, 4 or 8 bytes. */
  | { kind: "scalar"; type: ScalarType; value: number | bigint; bytes: Uint8Array };

export interface KernelStep {
  kind: "kernel";
  kernel: string;
  grid: readonly [number, number, number];
  block: readonly [number, number, number];
  /** Dynamic shared memory. */
  sharedBytes: number;
  args: readonly StepArg[];
  /** Time of the step alone; 0: unknown. */
  estimateNs: number;
  /** Time of one of its blocks; 0: unknown. */
  blockEstimateNs: number;
}

export interface MemsetStep {
  kind: "memset";
  buffer: string;
  offsetBytes: number;
  sizeBytes: number;
  /** 0..255. */
  value: number;
}

export interface CopyStep {
  kind: "copy";
  from: { buffer: string; offsetBytes: number };
  to: { buffer: string; offsetBytes: number };
  sizeBytes: number;
}

export type Step = KernelStep | MemsetStep | CopyStep;

export interface VerifyEntry {
  /** `undefined`: the bundle has no inputs. */
  input: { file: string; sha256: string } | undefined;
  output: { file: string; sha256: string };
  /** An element passes if |got - want| <= atol + rtol * |want|. Both 0: equal. */
  rtol: number;
  atol: number;
}

export interface Manifest {
  format: string;
  name: string;
  description: string;
  license: string;
  /** Empty with a plugin. */
  modules: readonly ModuleEntry[];
  buffers: readonly BufferEntry[];
  /** Empty with a plugin. */
  steps: readonly Step[];
  /** A library that does the work. */
  plugin?: PluginEntry | undefined;
  verify: VerifyEntry | undefined;
  /** A TypeScript module that exports `createReference(dir)`. */
  reference: string | undefined;
}

/** Where the input or output buffers lie in one blob. */
export interface BlobLayout {
  /** In manifest order; each offset is a multiple of 256. */
  entries: readonly { name: string; offset: number; sizeBytes: number }[];
  /** Up to the end of the last entry, without padding; 0 if there is none. */
  sizeBytes: number;
}

const BLOB_ALIGN_BYTES = 256;

/** One after the other in the order given, each at a multiple of 256, zeros between. */
export function blobLayout(buffers: readonly Pick<BufferEntry, "name" | "sizeBytes">[]): BlobLayout {
  let end = 0;
  const entries = buffers.map(({ name, sizeBytes }) => {
    const offset = Math.ceil(end / BLOB_ALIGN_BYTES) * BLOB_ALIGN_BYTES;
    end = offset + sizeBytes;
    return { name, offset, sizeBytes };
  });
  return { entries, sizeBytes: end };
}

/** The blob of one request's or unit's input. */
export function inputLayout(manifest: Manifest): BlobLayout {
  return blobLayout(manifest.buffers.filter((buffer) => buffer.role === "input"));
}

/** The blob of one request's or unit's output. */
export function outputLayout(manifest: Manifest): BlobLayout {
  return blobLayout(manifest.buffers.filter((buffer) => buffer.role === "output"));
}

/** Parses `bundle.json`. `file` is for messages. Throws one `InputError` with every problem found. */
export function parseManifest(text: string, file: string): Manifest {
  return manifestOf(parseWith(manifestSchema, parseJson(text, file), file), file);
}

/** JSON with an `InputError` for bad syntax. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0]?.slice(0, 120) : "unreadable";
    throw new InputError({ file, field: "", rule: `must be JSON: ${why}` }, { cause: error });
  }
}

function manifestOf(raw: RawManifest, file: string): Manifest {
  const problems: Problem[] = [];
  const report: Report = (field, rule, remedy) =>
    void problems.push({ file, field, rule, ...(remedy === undefined ? {} : { remedy }) });

  unique(raw.modules.map((module) => module.arch), (i) => `modules[${i}].arch`, report);
  unique(raw.buffers.map((buffer) => buffer.name), (i) => `buffers[${i}].name`, report);
  const buffers = raw.buffers.map((buffer, i) => bufferOf(buffer, `buffers[${i}]`, report));
  checkIo(buffers, report);
  const plugin = pluginOf(raw, report);
  checkHashes(raw, plugin, report);
  const byName = new Map(buffers.map((buffer) => [buffer.name, buffer]));
  const steps = raw.steps.map((step, i) => stepOf(step, `steps[${i}]`, byName, report));
  const verify = verifyOf(raw, buffers, report);
  throwIfAny(problems);

  const { format, name, description = "", license = "", modules, reference } = raw;
  return { format, name, description, license, modules, buffers, steps, plugin, verify, reference };
}

function unique(names: readonly string[], field: (index: number) => string, report: Report): void {
  const first = new Map<string, number>();
  names.forEach((name, i) => {
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, i);
    else report(field(i), `must be unique; ${name} is ${field(earlier)} already`);
  });
}

function bufferOf(raw: RawBuffer, field: string, report: Report): BufferEntry {
  const { name, role, dtype, shape, file, sha256 } = raw;
  const data = role === "weight" && file !== undefined && sha256 !== undefined
    ? { file, offsetBytes: raw.offset ?? 0, sha256 }
    : undefined;
  if (role === "weight") {
    if (file === undefined) report(`${field}.file`, "must be given for a weight");
    if (sha256 === undefined) report(`${field}.sha256`, "must be given for a weight");
  } else {
    for (const key of ["file", "offset", "sha256"] as const) {
      if (raw[key] !== undefined) report(`${field}.${key}`, `must not be given for role ${role}`);
    }
  }
  return { name, role, sizeBytes: bufferBytes(raw, field, report), dtype, shape, data };
}

/** The size, or 0 after a problem. */
function bufferBytes(raw: RawBuffer, field: string, report: Report): number {
  const { dtype, shape, bytes } = raw;
  if (bytes !== undefined) {
    if (dtype !== undefined || shape !== undefined) {
      report(field, "must give either dtype and shape, or bytes, not both", "leave `bytes` out");
    }
    return bytes;
  }
  if (dtype === undefined || shape === undefined) {
    report(field, "must give dtype and shape, or bytes");
    return 0;
  }
  const size = shape.reduce((product, n) => product * BigInt(n), BigInt(DTYPE_BYTES[dtype]));
  if (size <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(size);
  report(`${field}.shape`, "must not hold more than 2^53 - 1 bytes");
  return 0;
}

function checkIo(buffers: readonly BufferEntry[], report: Report): void {
  for (const role of ["input", "output"] as const) {
    const chosen = buffers.filter((buffer) => buffer.role === role);
    if (chosen.length > MAX_IO) {
      report("buffers", `must hold at most ${MAX_IO} of role ${role}, not ${chosen.length}`);
    }
    if (!Number.isSafeInteger(blobLayout(chosen).sizeBytes)) {
      report("buffers", `of role ${role} must not hold more than 2^53 - 1 bytes in all`);
    }
  }
}

type Buffers = ReadonlyMap<string, BufferEntry>;

function stepOf(raw: RawStep, field: string, buffers: Buffers, report: Report): Step {
  if ("memset" in raw) return memsetOf(raw.memset, `${field}.memset`, buffers, report);
  if ("copy" in raw) return copyOf(raw.copy, `${field}.copy`, buffers, report);
  const { kernel, grid, block, sharedBytes, estimateUs = 0, blockUs = 0 } = raw;
  // Up to 2^31 * 2^16 * 2^16: not exact as a double, but the comparison is.
  if (grid[0] * grid[1] * grid[2] >= 2 ** 31) {
    report(`${field}.grid`, "must have fewer than 2^31 blocks in all");
  }
  const threads = block[0] * block[1] * block[2];
  if (threads > 1024) report(`${field}.block`, `must have at most 1024 threads in all, not ${threads}`);
  const args = raw.args.map((arg, i) => argOf(arg, `${field}.args[${i}]`, buffers, report));
  const estimateNs = Math.ceil(estimateUs * 1000);
  const blockEstimateNs = Math.ceil(blockUs * 1000);
  if (estimateNs !== 0 && blockEstimateNs > estimateNs) {
    report(`${field}.blockUs`, "must not be more than estimateUs: a block is a part of its step");
  }
  return { kind: "kernel", kernel, grid, block, sharedBytes, args, estimateNs, blockEstimateNs };
}

function argOf(raw: RawArg, field: string, buffers: Buffers, report: Report): StepArg {
  if ("buffer" in raw) {
    const buffer = find(raw.buffer, `${field}.buffer`, buffers, report);
    if (buffer !== undefined && raw.offset >= buffer.sizeBytes) {
      report(
        `${field}.offset`,
        `must lie inside ${buffer.name} (${buffer.sizeBytes} bytes), not at ${raw.offset}`,
      );
    }
    return { kind: "buffer", buffer: raw.buffer, offsetBytes: raw.offset };
  }
  const bytes = new Uint8Array("i64" in raw || "u64" in raw || "f64" in raw ? 8 : 4);
  const view = new DataView(bytes.buffer);
  if ("i32" in raw) {
    view.setInt32(0, raw.i32, true);
    return { kind: "scalar", type: "i32", value: raw.i32, bytes };
  }
  if ("u32" in raw) {
    view.setUint32(0, raw.u32, true);
    return { kind: "scalar", type: "u32", value: raw.u32, bytes };
  }
  if ("i64" in raw) {
    view.setBigInt64(0, raw.i64, true);
    return { kind: "scalar", type: "i64", value: raw.i64, bytes };
  }
  if ("u64" in raw) {
    view.setBigUint64(0, raw.u64, true);
    return { kind: "scalar", type: "u64", value: raw.u64, bytes };
  }
  if ("f32" in raw) {
    view.setFloat32(0, raw.f32, true);
    return { kind: "scalar", type: "f32", value: raw.f32, bytes };
  }
  view.setFloat64(0, raw.f64, true);
  return { kind: "scalar", type: "f64", value: raw.f64, bytes };
}

function memsetOf(
  raw: Extract<RawStep, { memset: unknown }>["memset"],
  field: string,
  buffers: Buffers,
  report: Report,
): MemsetStep {
  const buffer = find(raw.buffer, `${field}.buffer`, buffers, report);
  const sizeBytes = raw.bytes ?? Math.max(1, (buffer?.sizeBytes ?? 0) - raw.offset);
  checkRange(buffer, raw.offset, sizeBytes, field, report);
  checkWritable(buffer, `${field}.buffer`, report);
  return { kind: "memset", buffer: raw.buffer, offsetBytes: raw.offset, sizeBytes, value: raw.value };
}

function copyOf(
  raw: Extract<RawStep, { copy: unknown }>["copy"],
  field: string,
  buffers: Buffers,
  report: Report,
): CopyStep {
  const { from, to, bytes } = raw;
  checkRange(
    find(from.buffer, `${field}.from.buffer`, buffers, report),
    from.offset,
    bytes,
    `${field}.from`,
    report,
  );
  const target = find(to.buffer, `${field}.to.buffer`, buffers, report);
  checkRange(target, to.offset, bytes, `${field}.to`, report);
  checkWritable(target, `${field}.to.buffer`, report);
  if (from.buffer === to.buffer && Math.abs(from.offset - to.offset) < bytes) {
    report(field, "must not copy between ranges that overlap", "copy by way of a scratch buffer");
  }
  return {
    kind: "copy",
    from: { buffer: from.buffer, offsetBytes: from.offset },
    to: { buffer: to.buffer, offsetBytes: to.offset },
    sizeBytes: bytes,
  };
}

function find(name: string, field: string, buffers: Buffers, report: Report): BufferEntry | undefined {
  const buffer = buffers.get(name);
  if (buffer === undefined) report(field, `must name one of the buffers, not ${name}`);
  return buffer;
}

function checkRange(
  buffer: BufferEntry | undefined,
  offset: number,
  sizeBytes: number,
  field: string,
  report: Report,
): void {
  // Sizes are below 2^53; a sum that is not exact is beyond every buffer.
  if (buffer === undefined || offset + sizeBytes <= buffer.sizeBytes) return;
  report(
    field,
    `must lie inside ${buffer.name} (${buffer.sizeBytes} bytes), not at ${offset}..${offset + sizeBytes}`,
  );
}

function checkWritable(buffer: BufferEntry | undefined, field: string, report: Report): void {
  if (buffer?.role === "weight" || buffer?.role === "input") {
    report(
      field,
      `must not be written to: ${buffer.name} has role ${buffer.role}`,
      "write to a scratch buffer",
    );
  }
}

function verifyOf(
  raw: RawManifest,
  buffers: readonly BufferEntry[],
  report: Report,
): VerifyEntry | undefined {
  if (raw.verify === undefined) return undefined;
  const { input, inputSha256, output, outputSha256, rtol, atol } = raw.verify;
  const hasInput = buffers.some((buffer) => buffer.role === "input");
  if (!buffers.some((buffer) => buffer.role === "output")) {
    report("verify", "must not be given: the bundle has no output buffer");
  }
  for (const [key, value] of [["input", input], ["inputSha256", inputSha256]] as const) {
    if (hasInput && value === undefined) report(`verify.${key}`, "must be given");
    if (!hasInput && value !== undefined) {
      report(`verify.${key}`, "must not be given: the bundle has no input buffer");
    }
  }
  return {
    input: input === undefined || inputSha256 === undefined
      ? undefined
      : { file: input, sha256: inputSha256 },
    output: { file: output, sha256: outputSha256 },
    rtol,
    atol,
  };
}
