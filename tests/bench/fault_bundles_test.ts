/** The bundles whose kernels misbehave: are they what their generator makes, and do they misbehave in the way that they should? */
import { checkKernels, loadBundle } from "../../agent/bundle.ts";
import { loadReference } from "../../agent/reference.ts";
import { kernelParams, reportModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { FAULT_BUNDLES, filesOf } from "../../tools/make_fault_bundles.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { whyNoPtxas } from "../ptx/fixtures.ts";

const FOLDER = new URL("../../bench/bundles/faults/", import.meta.url).pathname;

for (const source of FAULT_BUNDLES) {
  const { name } = source;

  Deno.test(`${name}: its files are what tools/make_fault_bundles.ts makes`, async () => {
    for (const [file, content] of await filesOf(source)) {
      assertEquals(await Deno.readFile(`${FOLDER}${name}/${file}`), Uint8Array.from(content), file);
    }
  });

  Deno.test(`${name}: it loads, its kernels fit, and its reference gives the sample output`, async () => {
    const bundle = await loadBundle(`${FOLDER}${name}`);
    for (const { text, file } of bundle.modules) checkKernels(bundle, kernelParams(text, file));
    const reference = await loadReference(bundle);
    assertEquals(await reference!.run(bundle.sampleInput!), bundle.sampleOutput!);
  });

  Deno.test({
    name: `${name}: its PTX assembles for the boards`,
    ignore: whyNoPtxas() !== undefined,
    fn: async () => {
      for (const { text } of (await loadBundle(`${FOLDER}${name}`)).modules) {
        for (const arch of ["sm_80", "sm_87", "sm_90"]) {
          const result = assemble(text, { arch });
          assert(result?.ok, result?.messages);
        }
      }
    },
  });
}

Deno.test("there is a folder for each bundle, and no other", () => {
  assertEquals(
    [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort(),
    FAULT_BUNDLES.map(({ name }) => name).sort(),
  );
});

for (
  const [name, kernel, why] of [
    ["fault-spin", "spin_for_ever", "it may already have written"],
    ["fault-barriers", "meet_for_ever", "return before barriers that others meet"],
    ["fault-flood", "flood", "may not happen twice"],
  ] as const
) {
  Deno.test(`${name}: blocks can be left at their end, and not half-way`, async () => {
    const { modules } = await loadBundle(`${FOLDER}${name}`);
    const report = reportModule(modules[0]!.text, modules[0]!.file).find((one) => one.kernel === kernel)!;
    assertEquals(report.level, "block");
    assertStringIncludes(JSON.stringify(report), why);
  });
}

Deno.test("the reference does not compute what the kernel would not", async () => {
  const reference = await loadReference(await loadBundle(`${FOLDER}fault-trap`));
  let why = "";
  try {
    const input = new Uint8Array(256);
    input[0] = 1;
    await reference!.run(input);
  } catch (error) {
    why = (error as Error).message;
  }
  assertStringIncludes(why, "does not misbehave");
});
