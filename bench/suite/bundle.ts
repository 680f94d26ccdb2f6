/**
 * How does an entry of the suite become a bundle?
 *
 * Writes `bundle.json`, PTX and random weights into a folder that `loadBundle` takes: a unit without input, whose
 * steps fill every buffer that is written, launch the kernel, and fold large outputs. An output of megabytes would
 * make a unit's transfer and digest longer than its kernel; folded, a difference in one word is still certain to show.
 */
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";
import type { BufferEntry, Bundle } from "../../agent/bundle.ts";
import { BUNDLE_FORMAT } from "../../agent/bundle_schema.ts";
import type { SourceBuffer, SourceKernelStep, SourceStep } from "../../tools/bundle_source.ts";
import { path } from "../../agent/std/mod.ts";
import { ELEMENT_BYTES, randomElements } from "./data.ts";
import type { SuiteBuffer, SuiteKernel } from "./kernels.ts";

const SUITE = import.meta.dirname!;
const FOLD_KERNEL = "calypte_suite_fold";
const FOLD_THREADS = 256;
const WORD_BYTES = 8;
/** Outputs up to here are left as they are. */
const UNFOLDED_BYTES = 64 * 1024;
/** Many lanes read fast; few lanes make a short output. */
const FIRST_LANES = 65536;
const LAST_LANES = 4096;
/** Time that one unit of the cost measurement should take, so that launching it does not count. */
const COST_UNIT_US = 2000;
const MOST_COST_LAUNCHES = 40;

export interface BundleOptions {
  seed: number;
  /** False: outputs as the kernel leaves them, to see where they differ. */
  fold: boolean;
  /** What the bundle says its PTX is made for, if not the truth: the simulator takes PTX for sm_87 only. */
  arch?: string;
}

/** Writes the bundle of one kernel into `dir`, which is made. */
export async function writeSuiteBundle(
  kernel: SuiteKernel,
  dir: string,
  options: BundleOptions,
): Promise<void> {
  Deno.mkdirSync(dir, { recursive: true });
  const text = withFold(read(kernel.file), read("cuda/fold.ptx"));
  const buffers: SourceBuffer[] = [];
  const before: SourceStep[] = [];
  const after: SourceStep[] = [];
  for (const [name, buffer] of Object.entries(kernel.buffers)) {
    const bytes = sizeBytes(buffer);
    if (buffer.use === "in" || buffer.use === "inout") {
      const weight = buffer.use === "in" ? name : `${name}-at-first`;
      const data = randomElements(
        buffer.type,
        bytes / ELEMENT_BYTES[buffer.type],
        buffer.fill,
        seedOf(kernel, name, options),
      );
      buffers.push(await writeWeight(dir, weight, data));
      if (buffer.use === "in") continue;
      before.push({ copy: { from: { buffer: weight }, to: { buffer: name }, bytes } });
    } else {
      before.push({ memset: { buffer: name, value: 0 } });
    }
    const compared = buffer.use !== "scratch";
    const fold = compared && kernel.exact && options.fold && bytes > UNFOLDED_BYTES;
    buffers.push({ name, role: compared && !fold ? "output" : "scratch", bytes });
    if (fold) {
      const [middle, last] = [`${name}-folding`, `${name}-folded`];
      buffers.push({ name: middle, role: "scratch", bytes: FIRST_LANES * WORD_BYTES });
      buffers.push({ name: last, role: "output", bytes: LAST_LANES * WORD_BYTES });
      after.push(foldStep(name, middle, bytes / WORD_BYTES, FIRST_LANES));
      after.push(foldStep(middle, last, FIRST_LANES, LAST_LANES));
    }
  }
  await writeBundle(dir, {
    name: kernel.name,
    text,
    arch: options.arch ?? kernel.arch,
    buffers,
    steps: [...before, ...Array<SourceStep>(kernel.repeat).fill(kernelStep(kernel)), ...after],
  });
}

/** A critical task that keeps the GPU for as many microseconds as its input, one u32, says. */
export async function writeCloserBundle(dir: string, options: Pick<BundleOptions, "arch">): Promise<void> {
  Deno.mkdirSync(dir, { recursive: true });
  const args = [{ buffer: "microseconds" }, { buffer: "elapsed-ns" }];
  await writeBundle(dir, {
    name: "closer",
    text: read("cuda/closer.ptx"),
    arch: options.arch ?? "compute_80",
    buffers: [
      { name: "microseconds", role: "input", dtype: "u32", shape: [1] },
      { name: "elapsed-ns", role: "output", dtype: "u32", shape: [1] },
    ],
    steps: [{ kernel: "closer", grid: [1, 1, 1], block: [1, 1, 1], args, estimateUs: 50, blockUs: 50 }],
  });
}

/** The same kernel over and over without anything else, to be timed: nothing is reset, and nothing comes out. */
export function costBundle(bundle: Bundle, kernel: SuiteKernel): Bundle {
  const launches = Math.ceil(COST_UNIT_US / kernel.estimateUs);
  const step = bundle.manifest.steps.find((step) => step.kind === "kernel" && step.kernel === kernel.entry);
  if (step === undefined) throw new Error(`the bundle of ${kernel.name} does not launch ${kernel.entry}`);
  const asScratch = (buffer: BufferEntry): BufferEntry =>
    buffer.role === "output" ? { ...buffer, role: "scratch" } : buffer;
  const buffers = bundle.manifest.buffers.filter(({ name }) => Object.hasOwn(kernel.buffers, name));
  return {
    ...bundle,
    manifest: {
      ...bundle.manifest,
      buffers: buffers.map(asScratch),
      steps: Array(Math.min(launches, MOST_COST_LAUNCHES)).fill(step),
    },
  };
}

function kernelStep({ entry, grid, block, sharedBytes, args, estimateUs }: SuiteKernel): SourceKernelStep {
  return {
    ...{ kernel: entry, grid, block, sharedBytes, estimateUs, blockUs: estimateUs / 4 },
    args: args.map((arg) => typeof arg === "string" ? { buffer: arg } : arg),
  };
}

function foldStep(from: string, to: string, words: number, lanes: number): SourceKernelStep {
  return {
    kernel: FOLD_KERNEL,
    grid: [lanes / FOLD_THREADS, 1, 1],
    block: [FOLD_THREADS, 1, 1],
    args: [{ buffer: from }, { buffer: to }, { u64: words }, { u32: lanes }],
    estimateUs: 20,
    blockUs: 20,
  };
}

/** Whole words, so that a fold misses nothing. */
function sizeBytes({ type, count }: SuiteBuffer): number {
  return Math.ceil(count * ELEMENT_BYTES[type] / WORD_BYTES) * WORD_BYTES;
}

function read(file: string): string {
  return Deno.readTextFileSync(path.join(SUITE, file));
}

/** `fold` has nothing but one entry behind its header; it goes ahead of what `text` has. */
function withFold(text: string, fold: string): string {
  const header = /^\.address_size 64$/m;
  const [, body] = fold.split(header);
  if (body === undefined || !header.test(text)) throw new Error("a module has no line .address_size 64");
  return text.replace(header, () => `.address_size 64\n${body}`);
}

function seedOf(kernel: SuiteKernel, buffer: string, { seed }: BundleOptions): number {
  let hash = seed | 0;
  for (const char of `${kernel.name}/${buffer}`) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
  return hash;
}

async function writeWeight(
  dir: string,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<SourceBuffer & { sha256: string }> {
  Deno.writeFileSync(path.join(dir, `${name}.bin`), bytes);
  return {
    name,
    role: "weight",
    bytes: bytes.length,
    file: `${name}.bin`,
    sha256: hexOf(await sha256Of(bytes)),
  };
}

async function writeBundle(
  dir: string,
  parts: { name: string; text: string; arch: string; buffers: SourceBuffer[]; steps: SourceStep[] },
): Promise<void> {
  const { name, text, arch, buffers, steps } = parts;
  const file = "kernels.ptx";
  const bytes = Uint8Array.from(new TextEncoder().encode(text));
  Deno.writeFileSync(path.join(dir, file), bytes);
  const modules = [{ file, arch, sha256: hexOf(await sha256Of(bytes)) }];
  const manifest = { format: BUNDLE_FORMAT, name, modules, buffers, steps };
  Deno.writeTextFileSync(path.join(dir, "bundle.json"), JSON.stringify(manifest));
}
