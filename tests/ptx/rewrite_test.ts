/** Is a rewritten module what ptxas takes, on every target, with the lowest version, and with nothing else changed? */

import { assert, assertEquals } from "../assert.ts";
import {
  CALYPTE_PARAMS,
  kernelParams,
  parseModule,
  ptxasRegisters,
  reportModule,
  rewriteModule,
} from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { fixture, FIXTURES, kernelText, whyNoPtxas, zoo } from "./fixtures.ts";

const noPtxas = whyNoPtxas();
if (noPtxas !== undefined) console.log(`rewrite_test.ts: tests with ptxas are skipped: ${noPtxas}`);

/** Assembles and throws with what ptxas says. */
function mustAssemble(text: string, arch?: string): void {
  const result = assemble(text, arch === undefined ? {} : { arch });
  assert(result?.ok, result?.messages);
}

for (const name of FIXTURES) {
  Deno.test({
    name: `${name}: rewritten, it assembles for sm_80, sm_87 and sm_90`,
    ignore: noPtxas !== undefined,
    fn: () => {
      const { text } = rewriteModule(fixture(name), { file: name });
      for (const arch of ["sm_80", "sm_87", "sm_90"]) mustAssemble(text, arch);
    },
  });
}

Deno.test({
  name: "the zoo: rewritten, a sample of it assembles",
  ignore: noPtxas !== undefined || zoo().length === 0,
  fn: () => {
    zoo().filter((_, i) => i % 12 === 0).forEach(({ name, text }) =>
      mustAssemble(rewriteModule(text, { file: name }).text)
    );
  },
});

Deno.test("the added parameters come behind the kernel's own, in the order of the contract", () => {
  const { text } = rewriteModule(fixture("elementwise"), { file: "x" });
  const before = kernelParams(fixture("elementwise")).get("scale") ?? [];
  const after = kernelParams(text).get("scale") ?? [];
  assertEquals(after.slice(0, before.length), before);
  assertEquals(after.slice(before.length).map((p) => ({ name: p.name, type: p.type })), [...CALYPTE_PARAMS]);
});

Deno.test("kernels that stay whole are not touched", () => {
  const text = fixture("atomics");
  const pick = (t: string) =>
    JSON.stringify(
      parseModule(t, "x").items.find((i) => i.kind === "function" && i.name === "locked"),
      (k, v) => k === "line" || k === "column" ? undefined : v,
    );
  assertEquals(pick(rewriteModule(text, { file: "x" }).text), pick(text));
});

Deno.test("names of ours that a module has already are not used twice", () => {
  const head = ".global .u32 calypte_control;\n.func calypte1_x () { ret; }";
  const { text, kernels } = rewriteModule(
    kernelText("mov.u32 %r1, %ctaid.x; call calypte1_x, (); ret;", head),
    { file: "x" },
  );
  assertEquals(kernels[0]?.level, "block");
  assert(text.includes("%calypte2_next") && text.includes("$CALYPTE2_GATHER"));
  if (noPtxas === undefined) mustAssemble(text);
});

Deno.test("a module rewritten twice is whole or fresh, never clashing", () => {
  const once = rewriteModule(fixture("grids"), { file: "x" }).text;
  const twice = rewriteModule(once, { file: "x" });
  if (noPtxas === undefined) mustAssemble(twice.text);
});

Deno.test("only components of the block index that the body reads are computed", () => {
  const { text } = rewriteModule(fixture("grids"), { file: "x" });
  const rows = text.slice(text.indexOf(".entry rows"));
  assert(!rows.includes("%calypte_x") && !rows.includes("%calypte_z") && rows.includes("rem.u32 %calypte_y"));
});

Deno.test("asynchronous copies are waited for before the block gathers", () => {
  const { text } = rewriteModule(fixture("hardware"), { file: "x" });
  assert(/\$CALYPTE_GATHER:\n\tcp\.async\.wait_all;\n\tbar\.sync 0;/.test(text));
});

Deno.test("a return in a nested scope, and one under a condition, become jumps to the checkpoint", () => {
  const { text } = rewriteModule(
    kernelText(
      "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,1; @!%p1 ret; { .reg .b32 x; mov.u32 x, %nctaid.y; ret; }",
    ),
    { file: "x" },
  );
  assert(text.includes("@!%p1 bra $CALYPTE_GATHER;") && text.includes("\t\tbra $CALYPTE_GATHER;"));
  assert(text.includes("ld.param.u32 x, [calypte_grid_y];"));
  if (noPtxas === undefined) mustAssemble(text);
});

Deno.test("resident blocks and threads are pinned as asked", () => {
  const text = kernelText("ret;");
  const minBlocksPerSm = new Map([["k", 3]]);
  const pinned = rewriteModule(text, { file: "x", minBlocksPerSm, maxThreads: new Map([["k", 256]]) }).text;
  assert(pinned.includes(".maxntid 256\n.minnctapersm 3"));
  // ptxas ignores the one without the other, so it is left out.
  assert(!rewriteModule(text, { file: "x", minBlocksPerSm }).text.includes(".minnctapersm"));
  const bound =
    rewriteModule(text.replace("{", ".reqntid 128 .minnctapersm 1 {"), { file: "x", minBlocksPerSm }).text;
  assert(bound.includes(".reqntid 128\n.minnctapersm 3") && !bound.includes(".minnctapersm 1"));
});

Deno.test({
  name: "registers before and after come from ptxas when asked for",
  ignore: noPtxas !== undefined,
  fn: () => {
    const [report] = reportModule(fixture("elementwise"), "x", { countRegisters: ptxasRegisters });
    assert((report?.registersBefore ?? 0) > 0 && (report?.registersAfter ?? 99) <= 32);
    assertEquals(reportModule(fixture("elementwise"), "x")[0]?.registersBefore, undefined);
  },
});
