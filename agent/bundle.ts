/**
 * Is this folder a bundle that can be run, and what is in it?
 *
 * Loads `bundle.json` and every file that it names, checking existence, place, size and SHA-256. Knows no
 * device and no PTX: `pickModule` and `checkKernels` are told about both.
 */
import { BundleReader, canonicalJson, decodeText, hexOf, sha256Of } from "./bundle_reader.ts";
import { InputError, type Problem, problemsOf, throwIfAny, type Where } from "./errors.ts";
import {
  type BlobLayout,
  type BufferEntry,
  inputLayout,
  type Manifest,
  type ModuleEntry,
  outputLayout,
  parseManifest,
  type StepArg,
} from "./manifest.ts";
import { pluginFileFor, pluginFiles } from "./plugin_manifest.ts";
import { path } from "./std/mod.ts";

export * from "./manifest.ts";

export const MANIFEST_FILE = "bundle.json";
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
const MAX_MODULE_BYTES = 256 * 2 ** 20;
const MAX_PLUGIN_BYTES = 2 ** 30;

export interface BundleModule extends ModuleEntry {
  /** The PTX. */
  text: string;
}

export interface Bundle {
  /** As given to `loadBundle`. */
  dir: string;
  /** Its `bundle.json`, for messages. */
  file: string;
  manifest: Manifest;
  /** SHA-256 of the manifest in canonical form; as the manifest holds the other hashes, of modules and weights too. */
  digest: Uint8Array;
  digestHex: string;
  modules: readonly BundleModule[];
  /** Contents of each weight buffer, by its name. Buffers that share a file share its memory: do not write. */
  weights: ReadonlyMap<string, Uint8Array>;
  /** The blob of `verify.input`, laid out as `inputLayout` says. */
  sampleInput: Uint8Array | undefined;
  /** The blob of `verify.output`, laid out as `outputLayout` says. */
  sampleOutput: Uint8Array | undefined;
  /** Absolute path of the plugin's library for this machine; `undefined`: there is no plugin, or not for this machine. */
  pluginFile?: string | undefined;
  /** Path of the reference implementation. */
  referenceFile: string | undefined;
}

/** One parameter of a PTX entry. */
export interface ParamInfo {
  name: string;
  /** Such as `u64` or `f32`. */
  type: string;
  sizeBytes: number;
}

/** Loads and checks the bundle in `dir`. Throws one `InputError` with every problem found. */
export async function loadBundle(dir: string): Promise<Bundle> {
  const file = path.join(dir, MANIFEST_FILE);
  const reader = await BundleReader.open(dir, { file: dir, field: "" });
  const whole = { file, field: "" };
  const text = decodeText(await reader.read(MANIFEST_FILE, whole, { maxBytes: MAX_MANIFEST_BYTES }), whole);
  const manifest = parseManifest(text, file);
  const digest = await sha256Of(Uint8Array.from(new TextEncoder().encode(canonicalJson(JSON.parse(text)))));
  const digestHex = hexOf(digest);
  return { dir, file, manifest, digest, digestHex, ...await loadFiles(reader, manifest, file) };
}

type Files = Pick<
  Bundle,
  "modules" | "weights" | "sampleInput" | "sampleOutput" | "referenceFile" | "pluginFile"
>;

async function loadFiles(reader: BundleReader, manifest: Manifest, file: string): Promise<Files> {
  const problems: Problem[] = [];
  const attempt = async <T>(load: Promise<T>): Promise<T | undefined> => {
    try {
      return await load;
    } catch (error) {
      problems.push(...problemsOf(error));
      return undefined;
    }
  };
  const modules: BundleModule[] = [];
  for (const [i, entry] of manifest.modules.entries()) {
    const module = await attempt(loadModule(reader, entry, { file, field: `modules[${i}]` }));
    if (module !== undefined) modules.push(module);
  }
  const pluginFile = await attempt(loadPlugin(reader, manifest, file));
  const weights = new Map<string, Uint8Array>();
  for (const [i, buffer] of manifest.buffers.entries()) {
    const weight = await attempt(loadWeight(reader, buffer, { file, field: `buffers[${i}]` }));
    if (weight !== undefined) weights.set(buffer.name, weight);
  }
  const { verify, reference } = manifest;
  const sample = (key: "input" | "output", layout: BlobLayout) =>
    attempt(loadSample(reader, verify?.[key], { file, field: `verify.${key}` }, layout));
  const sampleInput = await sample("input", inputLayout(manifest));
  const sampleOutput = await sample("output", outputLayout(manifest));
  const referenceFile = reference === undefined
    ? undefined
    : (await attempt(reader.locate(reference, { file, field: "reference" })))?.path;
  throwIfAny(problems);
  return { modules, weights, sampleInput, sampleOutput, referenceFile, pluginFile };
}

async function loadModule(reader: BundleReader, entry: ModuleEntry, where: Where): Promise<BundleModule> {
  const expected = { sha256: entry.sha256, minBytes: 1, maxBytes: MAX_MODULE_BYTES };
  return { ...entry, text: decodeText(await reader.read(entry.file, where, expected), where) };
}

/** Checks every file of it, also libraries for other machines. */
async function loadPlugin(
  reader: BundleReader,
  { plugin }: Manifest,
  file: string,
): Promise<string | undefined> {
  if (plugin === undefined) return undefined;
  const here = pluginFileFor(plugin, Deno.build.arch);
  let found: string | undefined;
  for (const { field, entry } of pluginFiles(plugin)) {
    const where = { file, field };
    await reader.read(entry.file, where, { sha256: entry.sha256, minBytes: 1, maxBytes: MAX_PLUGIN_BYTES });
    if (entry === here) found = await Deno.realPath((await reader.locate(entry.file, where)).path);
  }
  return found;
}

async function loadWeight(
  reader: BundleReader,
  { data, name, sizeBytes }: BufferEntry,
  where: Where,
): Promise<Uint8Array | undefined> {
  if (data === undefined) return undefined;
  const end = data.offsetBytes + sizeBytes;
  const because = `${name} ends there`;
  const content = await reader.read(data.file, where, { sha256: data.sha256, minBytes: end, because });
  return content.subarray(data.offsetBytes, end);
}

async function loadSample(
  reader: BundleReader,
  entry: { file: string; sha256: string } | undefined,
  where: Where,
  layout: BlobLayout,
): Promise<Uint8Array | undefined> {
  if (entry === undefined) return undefined;
  const because = "the size of the blob";
  return await reader.read(entry.file, where, { sha256: entry.sha256, sizeBytes: layout.sizeBytes, because });
}

/**
 * The module to load on a device of this compute capability. An exact `sm_NN` first (one with suffix `a` or `f`,
 * which runs on that capability only, before one without); else the highest `compute_NN`, else the highest `sm_NN`,
 * that is not newer than the device, since PTX without suffix runs on every later device.
 */
export function pickModule(bundle: Bundle, computeMajor: number, computeMinor: number): BundleModule {
  const device = computeMajor * 10 + computeMinor;
  let best: { module: BundleModule; rank: number } | undefined;
  for (const module of bundle.modules) {
    const rank = rankOf(module.arch, device);
    if (rank !== undefined && (best === undefined || rank > best.rank)) best = { module, rank };
  }
  if (best !== undefined) return best.module;
  const has = bundle.modules.map((module) => module.arch).join(", ");
  throw new InputError({
    file: bundle.file,
    field: "modules",
    rule: `must hold one that runs on compute capability ${computeMajor}.${computeMinor}, not only ${has}`,
    remedy: `export the bundle for compute_${device} or older`,
  });
}

/** Higher is better; `undefined`: does not run there. */
function rankOf(arch: string, device: number): number | undefined {
  const match = /^(sm|compute)_(\d+)([af]?)$/.exec(arch);
  if (match === null) return undefined;
  const [, kind, number, suffix] = match;
  const capability = Number(number);
  const exact = capability === device;
  if (suffix !== "") return exact ? (kind === "sm" ? 5000 : 3000) : undefined;
  if (capability > device) return undefined;
  if (exact && kind === "sm") return 4000;
  return kind === "compute" ? 1000 + capability : capability;
}

/**
 * Checks that every kernel of the steps is in the module and takes the arguments given. `params` holds the
 * parameters of each entry of the picked module. Throws one `InputError` with every problem found.
 */
export function checkKernels(bundle: Bundle, params: ReadonlyMap<string, readonly ParamInfo[]>): void {
  const problems: Problem[] = [];
  const { file } = bundle;
  for (const [i, step] of bundle.manifest.steps.entries()) {
    if (step.kind !== "kernel") continue;
    const field = `steps[${i}]`;
    const takes = params.get(step.kernel);
    if (takes === undefined) {
      const has = [...params.keys()].slice(0, 8).join(", ");
      const rule = `must name an entry of the module, not ${step.kernel}`;
      problems.push({
        file,
        field: `${field}.kernel`,
        rule,
        remedy: has === "" ? "it has none" : `it has ${has}`,
      });
      continue;
    }
    if (takes.length !== step.args.length) {
      const list = takes.map((param) => `.${param.type} ${param.name}`).join(", ");
      const rule = `must be ${takes.length} for ${step.kernel}, not ${step.args.length}`;
      problems.push({ file, field: `${field}.args`, rule, remedy: `it takes (${list})` });
      continue;
    }
    for (const [j, arg] of step.args.entries()) {
      const param = takes[j];
      if (param === undefined || param.sizeBytes === sizeOf(arg)) continue;
      const got = `${arg.kind === "buffer" ? "an address" : arg.type} of ${sizeOf(arg)}`;
      const rule = `must have ${param.sizeBytes} bytes for .${param.type} ${param.name}, not ${got}`;
      problems.push({ file, field: `${field}.args[${j}]`, rule });
    }
  }
  throwIfAny(problems);
}

function sizeOf(arg: StepArg): number {
  return arg.kind === "buffer" ? 8 : arg.bytes.length;
}
