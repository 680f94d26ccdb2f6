/** The workloads' kernels, compiled for the CPU, against their references. */
import { assertEquals, assertRejects } from "../../assert.ts";
import { loadBundle } from "../../../agent/bundle.ts";
import { BACKGROUND, CRITICAL } from "../../../bench/eval/cells.ts";
import { checkOutput } from "../../../bench/eval/calypte_load.ts";
import { runOnCpu } from "../../../bench/eval/bundles/on_cpu.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const OWN = "bench/eval/bundles/";

async function hasCompiler(): Promise<boolean> {
  try {
    return (await new Deno.Command("g++", { args: ["--version"], stdout: "null" }).output()).success;
  } catch {
    return false;
  }
}

const canCompile = await hasCompiler();

for (const folder of [...Object.values(CRITICAL), ...Object.values(BACKGROUND)]) {
  const name = folder.slice(OWN.length);
  // Blocks of grid-sync wait for each other, which fibers of one block after the other never see the end of.
  if (!folder.startsWith(OWN) || name === "grid-sync") continue;
  Deno.test({
    name: `the kernels of ${name} compute what its reference says`,
    ignore: !canCompile,
    async fn() {
      const bundle = await loadBundle(`${ROOT}${folder}`);
      checkOutput(bundle, await runOnCpu(bundle));
    },
  });
}

Deno.test("every workload is a bundle with a sample that can be verified", async () => {
  for (const folder of [...Object.values(CRITICAL), ...Object.values(BACKGROUND)]) {
    const { manifest, sampleOutput } = await loadBundle(`${ROOT}${folder}`);
    assertEquals([folder, manifest.verify !== undefined, sampleOutput !== undefined], [folder, true, true]);
  }
});

Deno.test({
  name: "another sum is found",
  ignore: !canCompile,
  async fn() {
    const bundle = await loadBundle(`${ROOT}${OWN}atomics`);
    const output = await runOnCpu(bundle);
    output[5] = output[5]! ^ 1;
    await assertRejects(
      () => Promise.resolve().then(() => checkOutput(bundle, output)),
      Error,
      "1 of 1024 elements",
    );
  },
});
