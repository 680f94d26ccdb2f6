/**
 * Builds example bundles from their sources:
 *
 *   .tools/deno run --allow-read --allow-write --allow-run --allow-env tools/build_bundle.ts examples/bundles/obstacle-detector
 *
 * In each folder: compiles kernels.cu, writes the files of source.ts, lets reference.ts compute sample.out from sample.in,
 * and writes bundle.json with all hashes. The same sources give the same bytes. Without nvcc the PTX that is there stays.
 * It runs nothing on a GPU: `calypte bundle verify` does.
 */
import { hexOf, sha256Of } from "../agent/bundle_reader.ts";
import { checkKernels, loadBundle, MANIFEST_FILE } from "../agent/bundle.ts";
import { checkpointCompiler } from "../agent/checkpoint.ts";
import { formatProblem, InputError, problemsOf } from "../agent/errors.ts";
import type { Reference } from "../agent/reference.ts";
import { path } from "../agent/std/mod.ts";
import { parseModule } from "../ptx/mod.ts";
import { assemble } from "../ptx/ptxas.ts";
import { lowestVersion } from "../ptx/version.ts";
import { manifestText } from "./bundle_json.ts";
import type { BundleSource } from "./bundle_source.ts";

const ARCH = "compute_80";
const MODULE_FILE = `kernels.${ARCH}.ptx`;
/** Boards that the PTX is checked for. */
const ASSEMBLED_FOR = ["sm_80", "sm_87", "sm_90"];

/** Builds the bundle in `dir` and says what it made, in one line. */
export async function buildBundle(dir: string): Promise<string> {
  const source = (await importFrom(dir, "source.ts")).source as BundleSource | undefined;
  if (source === undefined) throw new Error(`Cannot build ${dir}: source.ts must export \`source\``);
  const { manifest } = source;
  const isCompiled = await compile(dir);
  const ptx = await Deno.readFile(path.join(dir, MODULE_FILE));
  const checked = checkAssembles(dir, new TextDecoder().decode(ptx));

  const files = source.files?.() ?? new Map<string, Uint8Array>();
  const hashes = new Map<string, string>();
  const write = async (name: string, content: Uint8Array) => {
    await Deno.writeFile(path.join(dir, name), content);
    hashes.set(name, await hashOf(content));
  };
  for (const [name, content] of files) await write(name, content);
  const hash = (name: string): string => {
    const known = hashes.get(name);
    if (known === undefined) throw new Error(`Cannot build ${dir}: files() must give ${name}`);
    return known;
  };

  const input = await source.sampleInput?.();
  if (input !== undefined) await write("sample.in", input);
  const create = (await importFrom(dir, "reference.ts")).createReference as (
    dir: string,
  ) => Promise<Reference>;
  const reference = await create(path.resolve(dir));
  const start = performance.now();
  await write("sample.out", await reference.run(input ?? new Uint8Array()));
  const referenceMs = Math.round(performance.now() - start);

  const text = manifestText({
    format: manifest.format,
    name: manifest.name,
    description: manifest.description,
    license: manifest.license,
    modules: [{ file: MODULE_FILE, arch: ARCH, sha256: await hashOf(ptx) }],
    buffers: manifest.buffers.map((buffer) => ({
      ...buffer,
      sha256: buffer.file === undefined ? undefined : hash(buffer.file),
    })),
    steps: manifest.steps,
    verify: {
      ...(input === undefined ? {} : { input: "sample.in", inputSha256: hash("sample.in") }),
      output: "sample.out",
      outputSha256: hash("sample.out"),
      ...manifest.verify,
    },
    reference: "reference.ts",
  });
  await Deno.writeTextFile(path.join(dir, MANIFEST_FILE), text);
  const bundle = await loadBundle(dir);
  checkKernels(bundle, checkpointCompiler.params(new TextDecoder().decode(ptx), MODULE_FILE));
  const parts = [
    `${manifest.buffers.length} buffers`,
    `${manifest.steps.length} steps`,
    `reference ${referenceMs} ms`,
    isCompiled ? `PTX compiled` : `PTX kept (no nvcc)`,
    checked ? `assembles for ${ASSEMBLED_FOR.join(", ")}` : `not assembled (no ptxas)`,
  ];
  return `${manifest.name}: ${parts.join(", ")}`;
}

async function importFrom(dir: string, file: string): Promise<Record<string, unknown>> {
  return await import(path.toFileUrl(path.resolve(dir, file)).href);
}

async function hashOf(content: Uint8Array): Promise<string> {
  return hexOf(await sha256Of(Uint8Array.from(content)));
}

/** Compiles kernels.cu to PTX; false: there is no nvcc. */
async function compile(dir: string): Promise<boolean> {
  const target = await Deno.makeTempFile({ suffix: ".ptx" });
  try {
    // Without --fmad=false a product and a sum would round once, and the reference would have to do the same.
    const args = [`-arch=${ARCH}`, "--ptx", "--fmad=false", "kernels.cu", "-o", target];
    const { success, stderr } = await new Deno.Command("nvcc", { args, cwd: dir }).output();
    if (!success) throw new Error(`Cannot compile ${dir}/kernels.cu:\n${new TextDecoder().decode(stderr)}`);
    const text = await Deno.readTextFile(target);
    const version = lowestVersion(parseModule(text, MODULE_FILE));
    // The compiler writes its own version, which older drivers refuse.
    await Deno.writeTextFile(
      path.join(dir, MODULE_FILE),
      text.replace(/^\.version .*$/m, `.version ${version}`),
    );
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  } finally {
    await Deno.remove(target);
  }
}

/** False: there is no ptxas. */
function checkAssembles(dir: string, text: string): boolean {
  for (const arch of ASSEMBLED_FOR) {
    const result = assemble(text, { arch });
    if (result === undefined) return false;
    if (!result.ok) throw new Error(`Cannot assemble ${dir}/${MODULE_FILE} for ${arch}:\n${result.messages}`);
  }
  return true;
}

if (import.meta.main) {
  if (Deno.args.length === 0) {
    console.error("Usage: build_bundle.ts DIR...");
    Deno.exit(2);
  }
  for (const dir of Deno.args) {
    try {
      console.log(await buildBundle(dir));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      for (const problem of problemsOf(error)) console.error(formatProblem(problem));
      Deno.exit(1);
    }
  }
}
