/**
 * Do the bundles' CUDA kernels compute what their CPU references say, without a GPU?
 *
 * sample.out comes from reference.ts; here the kernels themselves, compiled by g++, must arrive at it: with blocks in
 * order, and again with blocks in random order and threads backwards. It is no test of nvcc, of the checkpoint compiler or
 * of races within a warp; `calypte bundle verify` on a GPU is.
 */
import { type Bundle, loadBundle } from "../../agent/bundle.ts";
import { path } from "../../agent/std/mod.ts";
import { compareOutputs, outputFields } from "../../agent/values.ts";
import { assert, assertEquals } from "../assert.ts";
import { BUNDLE_FOLDERS, ROOT } from "./bundle_folders.ts";
import { functionsWithBarriers, hostProgram } from "./host_program.ts";

const SEED = Number(Deno.env.get("KERNELS_SEED") ?? 20_240_607);

/** long-blocks takes a CPU a minute; its first blocks have all seeds. Output: one u32 of each block. */
const FIRST_BLOCKS_ONLY = new Map([["long-blocks", { blocks: 8, outputBytes: 8 * 4 }]]);

const noCompiler = whyNoCompiler();
// A machine that is there to test must not skip in silence.
const isSkipped = noCompiler !== undefined && Deno.env.get("CI") === undefined;
if (isSkipped) console.log(`kernels_test.ts: the kernels are not run on the CPU: ${noCompiler}`);

function whyNoCompiler(): string | undefined {
  try {
    const { success } = new Deno.Command("g++", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync();
    return success ? undefined : "g++ --version fails";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "there is no g++";
    throw error;
  }
}

async function mustRun(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdout: "null", stderr: "piped" })
    .output();
  assert(success, `${path.basename(program)} fails:\n${new TextDecoder().decode(stderr).slice(0, 4000)}`);
}

/** A bundle's unit as a program for this machine; each call runs it anew and gives the outputs of its two units. */
type HostRun = (...fault: number[]) => Promise<[Uint8Array, Uint8Array]>;

/** A source with the files of the bundles that it includes. */
async function textWithIncludes(file: string): Promise<string> {
  const text = await Deno.readTextFile(file);
  const names = Array.from(text.matchAll(/^#include "([^"]+)"/gm), (match) => match[1]!);
  const parts = names.map((name) => textWithIncludes(path.join(path.dirname(file), name)));
  return [...await Promise.all(parts), text].join("\n");
}

/** Compiles the bundle's unit and removes the program when `use` is done. */
async function withHostRun(
  bundle: Bundle,
  maxBlocks: number,
  use: (run: HostRun) => Promise<void>,
): Promise<void> {
  const kernels = await textWithIncludes(path.join(bundle.dir, "kernels.cu"));
  const dir = await Deno.makeTempDir();
  try {
    const at = (name: string) => path.join(dir, name);
    await Deno.writeTextFile(at("main.cc"), hostProgram(bundle, { kernels, maxBlocks, seed: SEED }));
    // No contraction, as in the PTX. No fortified longjmp: it refuses to change stacks.
    const flags = "-std=c++17 -O2 -ffp-contract=off -fno-strict-aliasing -U_FORTIFY_SOURCE -w".split(" ");
    const files = ["-I", import.meta.dirname!, "-x", "c++", at("main.cc"), "-o", at("main")];
    await mustRun("g++", [...flags, ...files]);
    await use(async (...fault) => {
      await mustRun(at("main"), [at("ascending"), at("shuffled"), ...fault.map(String)]);
      return [await Deno.readFile(at("ascending")), await Deno.readFile(at("shuffled"))];
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Compares `got` with the bundle's sample output, within its tolerance. */
function assertIsSample(bundle: Bundle, got: Uint8Array, order: string): void {
  const { manifest, sampleOutput: want } = bundle;
  assert(manifest.verify !== undefined && want !== undefined, "it must have a sample output");
  const part = FIRST_BLOCKS_ONLY.get(manifest.name);
  if (part !== undefined) {
    assertEquals(got.subarray(0, part.outputBytes), want.subarray(0, part.outputBytes), order);
    return;
  }
  assertEquals(got.length, want.length);
  const { mismatches, first } = compareOutputs(outputFields(manifest), got, want, manifest.verify);
  assertEquals({ mismatches, first }, { mismatches: 0, first: undefined }, order);
}

for (const { name, dir } of BUNDLE_FOLDERS) {
  Deno.test({
    name: `${name}: its kernels, run on the CPU in any order of blocks, give the sample output`,
    ignore: isSkipped,
    fn: async () => {
      assertEquals(noCompiler, undefined);
      const bundle = await loadBundle(dir);
      await withHostRun(bundle, FIRST_BLOCKS_ONLY.get(name)?.blocks ?? 0, async (run) => {
        const [ascending, shuffled] = await run();
        assertIsSample(bundle, ascending, "blocks ascending");
        assertIsSample(bundle, shuffled, `blocks shuffled with KERNELS_SEED=${SEED}`);
      });
    },
  });
}

Deno.test({
  name: "mixed-steps: a block that runs twice or not at all changes the output, in every kernel",
  ignore: isSkipped,
  fn: async () => {
    const bundle = await loadBundle(path.join(ROOT, "bench/bundles/mixed-steps"));
    await withHostRun(withOneRound(bundle), 0, async (run) => {
      const [want] = await run();
      for (const kernel of [0, 1, 2]) {
        for (const times of [0, 2]) {
          const [got] = await run(kernel, 100, times);
          const isSame = got.every((byte, i) => byte === want[i]);
          assert(!isSame, `kernel ${kernel} may run a block ${times} times unseen`);
        }
      }
    });
  },
});

/** The same bundle with blocks that end at once; `rounds` is the last argument of each kernel. */
function withOneRound(bundle: Bundle): Bundle {
  const one = { kind: "scalar", type: "u32", value: 1, bytes: Uint8Array.of(1, 0, 0, 0) } as const;
  const steps = bundle.manifest.steps.map((step) =>
    step.kind === "kernel" ? { ...step, args: [...step.args.slice(0, -1), one] } : step
  );
  return { ...bundle, manifest: { ...bundle.manifest, steps } };
}

Deno.test("a kernel has barriers if a function that it calls has", () => {
  const text = `
    template <typename T> __device__ T sum(T value) { __syncthreads(); return value; }
    /* __syncthreads() in a comment does not count */
    extern "C" __global__ void plain(int *x) { if (x) { x[0] = 1; } }
    extern "C" __global__ void waits(int *x) { if (x) { x[0] = sum<int>(1); } }
    extern "C" __global__ __launch_bounds__(256) void shuffles(int *x) { x[0] = __shfl_xor_sync(~0u, 1, 2); }`;
  assertEquals([...functionsWithBarriers(text)].sort(), ["shuffles", "sum", "waits"]);
});
