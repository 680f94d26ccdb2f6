/**
 * Do a workload's kernels compute what its reference says? Compiles kernels.cu with g++ (on_cpu.h), runs all steps of the bundle
 * on the sample input, and gives the output. Of the kernels as they are written; what nvcc makes of them only a GPU shows.
 */
import { type Bundle, inputLayout, outputLayout } from "../../../agent/bundle.ts";
import { path } from "../../../agent/std/mod.ts";

const FOLDER = import.meta.dirname!;

/** Throws with the compiler's words. */
export async function runOnCpu(bundle: Bundle): Promise<Uint8Array> {
  const dir = await Deno.makeTempDir();
  const file = (name: string) => path.join(dir, name);
  try {
    for (const [name, data] of bundle.weights) await Deno.writeFile(file(`${name}.weight`), data);
    if (bundle.sampleInput !== undefined) await Deno.writeFile(file("input"), bundle.sampleInput);
    await Deno.writeTextFile(file("main.cc"), programOf(bundle, path.resolve(bundle.dir, "kernels.cu")));
    await run("g++", [
      "-std=c++20",
      "-O2",
      "-w",
      "-ffp-contract=off",
      "-I",
      FOLDER,
      file("main.cc"),
      "-o",
      file("main"),
    ], dir);
    await run(file("main"), [], dir);
    return await Deno.readFile(file("output"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function run(program: string, args: string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, cwd }).output();
  if (!success) throw new Error(`${path.basename(program)} failed:\n${new TextDecoder().decode(stderr)}`);
}

function programOf({ manifest, weights, sampleInput }: Bundle, kernels: string): string {
  const source = Deno.readTextFileSync(kernels);
  const lines = manifest.buffers.map(({ name, sizeBytes }) =>
    `alignas(16) static char *${name}_buffer = (char *)aligned_alloc(16, ${Math.ceil(sizeBytes / 16) * 16});`
  );
  const load = (name: string, at: string, from: string, offset: number, sizeBytes: number) =>
    `  { FILE *f = fopen("${from}", "rb"); fseek(f, ${offset}, SEEK_SET); if (fread(${at}, 1, ${sizeBytes}, f) != ${sizeBytes}) return 1; fclose(f); } // ${name}`;
  const body: string[] = manifest.buffers.map(({ name, sizeBytes }) =>
    `  memset(${name}_buffer, 0, ${sizeBytes});`
  );
  for (const [name, data] of weights) {
    body.push(load(name, `${name}_buffer`, `${name}.weight`, 0, data.length));
  }
  if (sampleInput !== undefined) {
    for (const { name, offset, sizeBytes } of inputLayout(manifest).entries) {
      body.push(load(name, `${name}_buffer`, "input", offset, sizeBytes));
    }
  }
  for (const step of manifest.steps) {
    switch (step.kind) {
      case "memset":
        body.push(`  memset(${step.buffer}_buffer + ${step.offsetBytes}, ${step.value}, ${step.sizeBytes});`);
        break;
      case "copy":
        throw new Error("copies are not run on the CPU");
      case "kernel": {
        const args = step.args.map((arg) =>
          arg.kind === "buffer"
            ? `any{${arg.buffer}_buffer + ${arg.offsetBytes}}`
            : arg.type === "f32"
            ? `${arg.value}f`.replace(/^(-?\d+)f$/, "$1.0f")
            : String(arg.value)
        );
        const meets = kernelText(source, step.kernel).includes("__syncthreads");
        body.push(
          `  on_cpu::run(${step.grid[0]}, ${step.block[0]}, ${meets}, [&] { ${step.kernel}(${
            args.join(", ")
          }); });`,
        );
      }
    }
  }
  for (const { name, offset, sizeBytes } of outputLayout(manifest).entries) {
    body.push(`  fseek(out, ${offset}, SEEK_SET); fwrite(${name}_buffer, 1, ${sizeBytes}, out);`);
  }
  return `#include "on_cpu.h"
#include <stdio.h>
#include <string.h>
#include "${kernels}"
struct any { void *at; template <class T> operator T *() const { return (T *)at; } };
${lines.join("\n")}
int main() {
  FILE *out = fopen("output", "wb");
${body.join("\n")}
  return fclose(out);
}
`;
}

/** From its name to the next kernel. */
function kernelText(source: string, name: string): string {
  const common = Deno.readTextFileSync(path.join(FOLDER, "common.cuh"));
  const text = source.includes(`void ${name}(`) ? source : common;
  const begin = text.indexOf(`void ${name}(`);
  const end = text.indexOf('extern "C"', begin);
  return text.slice(begin, end < 0 ? undefined : end);
}
