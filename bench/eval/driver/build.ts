/**
 * Builds the evaluation's driver into build/eval, to be carried to a machine with a GPU:
 *
 *   .tools/deno run -A bench/eval/driver/build.ts
 *
 * Takes g++, and nvcc for the driver's own kernels (sm_90, and PTX for everything from compute_80 on). CUDA_HOME: the toolkit.
 */
import { path } from "../../../agent/std/mod.ts";

const FOLDER = import.meta.dirname!;
const ROOT = path.join(FOLDER, "../../..");
export const BUILD = path.join(ROOT, "build/eval");
export const DRIVER = path.join(BUILD, "eval-driver");
const SOURCES = ["cu", "plan", "device", "critical", "background", "feed", "realtime", "main"];

/** Throws with the compiler's words. `outDir`: default build/eval. */
export async function buildDriver(outDir = BUILD): Promise<string> {
  const include = path.join(Deno.env.get("CUDA_HOME") ?? "/usr/local/cuda", "include");
  await Deno.mkdir(outDir, { recursive: true });
  const out = path.join(outDir, "eval-driver");
  await run("g++", [
    ...["-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-isystem", include],
    ...["-I", path.join(ROOT, "ffi/native/include"), "-static-libstdc++", "-static-libgcc", "-pthread"],
    ...SOURCES.map((name) => path.join(FOLDER, `${name}.cc`)),
    ...["-o", out, "-ldl"],
  ]);
  return out;
}

/** Throws where there is no nvcc, or with its words. */
export async function buildKernels(outDir = BUILD): Promise<void> {
  const architectures = ["arch=compute_90,code=sm_90", "arch=compute_80,code=compute_80"];
  await run("nvcc", [
    ...["-fatbin", ...architectures.flatMap((one) => ["-gencode", one])],
    ...[path.join(FOLDER, "kernels.cu"), "-o", path.join(outDir, "driver_kernels.fatbin")],
  ]);
}

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`${program} failed:\n${new TextDecoder().decode(stderr)}`);
}

if (import.meta.main) {
  console.log(await buildDriver());
  await buildKernels();
}
