/**
 * What the agent loads is not a bundle's PTX but what it has made of it: does the oldest driver take that too, and every board's assembler?
 *
 * At each level at which a kernel may be run, of the example bundles and of those that misbehave.
 */
import { loadBundle } from "../../agent/bundle.ts";
import { type Level, parseModule, reportModule, rewriteModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { FAULT_BUNDLES } from "../../tools/make_fault_bundles.ts";
import { assert, assertEquals, assertGreater, assertLessOrEqual } from "../assert.ts";
import { whyNoPtxas } from "../ptx/fixtures.ts";
import { BUNDLE_FOLDERS } from "./bundle_folders.ts";

/** Of CUDA 12.2, which JetPack 6 begins with: its driver refuses what is newer. */
const NEWEST_PTX_VERSION = 8.2;
/** Orin and Thor. */
const BOARDS = ["sm_87", "sm_110"];
const LEVELS: readonly Level[] = ["loop", "block", "slice", "whole"];

const noPtxas = whyNoPtxas();
if (noPtxas !== undefined) console.log(`rewritten_test.ts: tests with ptxas are skipped: ${noPtxas}`);

const FAULTS = new URL("../../bench/bundles/faults/", import.meta.url).pathname;
const FOLDERS = [
  ...BUNDLE_FOLDERS,
  ...FAULT_BUNDLES.map(({ name }) => ({ name, dir: `${FAULTS}${name}` })),
];

/** Every different text that comes of a module: at most at each level, with inputs and outputs that may be the same memory or may not. */
function* rewritten(text: string, file: string): Iterable<{ how: string; text: string }> {
  const names = reportModule(text, file).map(({ kernel }) => kernel);
  const seen = new Set<string>();
  for (const level of LEVELS) {
    for (const overlap of [true, false]) {
      const levels = new Map(names.map((name) => [name, level] as const));
      const made = rewriteModule(text, { file, levels, overlap: () => overlap });
      if (seen.has(made.text)) continue;
      seen.add(made.text);
      yield { how: `${file}, ${level}${overlap ? "" : ", nothing overlaps"}`, text: made.text };
    }
  }
}

for (const { name, dir } of FOLDERS) {
  Deno.test(`${name}: as the agent loads it, its PTX needs no driver newer than CUDA 12.2`, async () => {
    for (const { text, file } of (await loadBundle(dir)).modules) {
      const all = [...rewritten(text, file)];
      assertGreater(all.length, 1, "it was rewritten");
      for (const { how, text } of all) {
        assertLessOrEqual(Number(parseModule(text, file).version), NEWEST_PTX_VERSION, how);
      }
    }
  });

  Deno.test({
    name: `${name}: as it is and as the agent loads it, its PTX assembles for ${BOARDS.join(" and ")}`,
    ignore: noPtxas !== undefined,
    fn: async () => {
      for (const { text, file } of (await loadBundle(dir)).modules) {
        for (const made of [{ how: file, text }, ...rewritten(text, file)]) {
          for (const arch of BOARDS) {
            const result = assemble(made.text, { arch });
            assert(result?.ok, `${made.how}, ${arch}: ${result?.messages}`);
          }
        }
      }
    },
  });
}

const BUILT_IN = new URL("../../ffi/native/kernels/builtin.ptx", import.meta.url).pathname;

Deno.test({
  name: "the kernels that copies become assemble for the boards, and need no driver newer than CUDA 12.2",
  ignore: noPtxas !== undefined,
  fn: async () => {
    const text = await Deno.readTextFile(BUILT_IN);
    for (const made of [{ how: "as it is", text }, ...rewritten(text, "builtin.ptx")]) {
      assertLessOrEqual(Number(parseModule(made.text, made.how).version), NEWEST_PTX_VERSION, made.how);
      for (const arch of BOARDS) assert(assemble(made.text, { arch })?.ok, `${made.how}, ${arch}`);
    }
  },
});

Deno.test({
  name: "the assembler holds a text to the version that it states: what came later is refused",
  ignore: noPtxas !== undefined,
  fn: () => {
    const text = (version: string) =>
      `.version ${version}\n.target sm_80\n.address_size 64\n.visible .entry late()\n{\n  .reg .b32 %r<5>;\n` +
      "  .reg .pred %p<3>;\n  lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x80, %p2;\n  ret;\n}\n";
    assertEquals(assemble(text("8.2"))?.ok, true);
    assertEquals(assemble(text("8.1"))?.ok, false);
  },
});
