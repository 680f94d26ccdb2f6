/**
 * Is every bundle of the repository whole: files, reference, kernels, PTX that old drivers and all boards take?
 *
 * What the kernels compute is asked in kernels_test.ts.
 */
import { type Bundle, checkKernels, loadBundle } from "../../agent/bundle.ts";
import { loadReference } from "../../agent/reference.ts";
import { kernelParams, reportModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { assert, assertEquals, assertGreater, assertLessOrEqual } from "../assert.ts";
import { whyNoPtxas } from "../ptx/fixtures.ts";
import { BUNDLE_FOLDERS } from "./bundle_folders.ts";

/** Of CUDA 12.2, the oldest driver that the agent is for. */
const NEWEST_PTX_VERSION = 8.2;
const BOARDS = ["sm_80", "sm_87", "sm_90"];

/** The kernels that are `whole` on purpose, by bundle. */
const WHOLE = new Map<string, readonly string[]>([["mixed-steps", ["cross"]]]);

const noPtxas = whyNoPtxas();
if (noPtxas !== undefined) console.log(`bundles_test.ts: tests with ptxas are skipped: ${noPtxas}`);

async function load(dir: string): Promise<Bundle> {
  const bundle = await loadBundle(dir);
  assertGreater(bundle.modules.length, 0);
  return bundle;
}

Deno.test("there are bundles to look at", () => {
  assertGreater(BUNDLE_FOLDERS.length, 0);
});

for (const { name, dir } of BUNDLE_FOLDERS) {
  Deno.test(`${name}: it loads, and is named for its folder`, async () => {
    assertEquals((await load(dir)).manifest.name, name);
  });

  Deno.test(`${name}: its reference gives the sample output, bit for bit`, async () => {
    const bundle = await load(dir);
    const reference = await loadReference(bundle);
    assert(reference !== undefined, "it must have a reference");
    const output = await reference.run(bundle.sampleInput ?? new Uint8Array());
    assertEquals(firstDifference(output, bundle.sampleOutput ?? new Uint8Array()), undefined);
  });

  Deno.test(`${name}: its modules have its kernels with fitting parameters`, async () => {
    const bundle = await load(dir);
    for (const { text, file } of bundle.modules) checkKernels(bundle, kernelParams(text, file));
  });

  Deno.test(`${name}: its PTX needs no driver newer than CUDA 12.2`, async () => {
    for (const { text, file } of (await load(dir)).modules) {
      const version = Number(/^\.version\s+(\S+)/m.exec(text)?.[1]);
      assertLessOrEqual(version, NEWEST_PTX_VERSION, file);
    }
  });

  Deno.test({
    name: `${name}: its PTX assembles for ${BOARDS.join(", ")}`,
    ignore: noPtxas !== undefined,
    fn: async () => {
      for (const { text } of (await load(dir)).modules) {
        for (const arch of BOARDS) {
          const result = assemble(text, { arch });
          assert(result?.ok, result?.messages);
        }
      }
    },
  });

  Deno.test(`${name}: its kernels can be preempted at each block, but for those that are whole on purpose`, async () => {
    const { modules, manifest } = await load(dir);
    const used = new Set(manifest.steps.flatMap((step) => step.kind === "kernel" ? [step.kernel] : []));
    for (const { text, file } of modules) {
      const reports = reportModule(text, file).filter(({ kernel }) => used.has(kernel));
      const whole = reports.filter(({ level }) => level === "whole");
      const reasons = whole.map(({ kernel, reason }) => `${kernel}: ${reason}`).join("\n");
      assertEquals(whole.map(({ kernel }) => kernel), [...WHOLE.get(name) ?? []], reasons);
    }
  });
}

/** Where two byte strings differ, in words: their whole contents would fill the screen. */
function firstDifference(got: Uint8Array, want: Uint8Array): string | undefined {
  if (got.length !== want.length) return `${got.length} bytes, not ${want.length}`;
  const at = got.findIndex((byte, i) => byte !== want[i]);
  return at < 0 ? undefined : `byte ${at} is ${got[at]}, not ${want[at]}`;
}
