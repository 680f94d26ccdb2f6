/** Is a rewritten module what ptxas takes, on every target, with the lowest version, and with nothing else changed? */

import { assert, assertEquals } from "../assert.ts";
import {
  CALYPTE_LOOP_PARAMS,
  CALYPTE_PARAMS,
  CALYPTE_SLICE_PARAMS,
  divisionBy,
  kernelParams,
  type Level,
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

/** With every kernel at this level at most; `overlap` false: no two parameters lead to the same memory. */
function at(level: Level, text: string, overlap = true) {
  const names = reportModule(text, "x").map(({ kernel }) => kernel);
  const levels = new Map(names.map((name) => [name, level] as const));
  return rewriteModule(text, { file: "x", levels, overlap: () => overlap });
}

for (const name of FIXTURES) {
  for (const level of ["loop", "block", "slice"] as const) {
    Deno.test({
      name: `${name}: rewritten to ${level}, it assembles for sm_80, sm_87 and sm_90`,
      ignore: noPtxas !== undefined,
      fn: () => {
        const { text } = at(level, fixture(name), false);
        for (const arch of ["sm_80", "sm_87", "sm_90"]) mustAssemble(text, arch);
      },
    });
  }
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

for (
  const [level, added] of [
    ["loop", CALYPTE_LOOP_PARAMS],
    ["block", CALYPTE_PARAMS],
    ["slice", CALYPTE_SLICE_PARAMS],
  ] as const
) {
  Deno.test(`level ${level}: the added parameters come behind the kernel's own, in the order of the contract`, () => {
    const { text } = at(level, fixture("reduction"));
    const before = kernelParams(fixture("reduction")).get("block_sum") ?? [];
    const after = kernelParams(text).get("block_sum") ?? [];
    assertEquals(after.slice(0, before.length), before);
    assertEquals(after.slice(before.length).map(({ name, type }) => ({ name, type })), [...added]);
  });
}

Deno.test("dividing by the grid is exact for every number of blocks that a grid may have", () => {
  const divisors = [
    1,
    2,
    3,
    5,
    7,
    9,
    10,
    641,
    720,
    65535,
    65536,
    65537,
    2 ** 30 - 1,
    2 ** 30 + 1,
    2 ** 31 - 1,
  ];
  for (const divisor of divisors) {
    const { magic, shift } = divisionBy(divisor);
    assert(magic >= 0 && magic < 2 ** 32 && shift >= 0 && shift < 32, `${divisor}`);
    const numbers = [0, 1, divisor - 1, divisor, divisor + 1, 2 ** 30, 2 ** 31 - 2, 2 ** 31 - 1];
    for (let k = 1n; k < 40n; k++) {
      const multiple = Number((2n ** 31n - 1n) * k / 40n / BigInt(divisor)) * divisor;
      numbers.push(multiple - 1, multiple, multiple + 1);
    }
    for (const n of numbers.filter((n) => n >= 0 && n < 2 ** 31)) {
      const quotient = magic === 0 ? n : Number((BigInt(n) * BigInt(magic)) >> 32n) >>> shift;
      assertEquals(quotient, Math.floor(n / divisor), `${n} / ${divisor}`);
    }
  }
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
  assert(!rows.includes("%calypte_x") && !rows.includes("%calypte_z") && rows.includes("sub.u32 %calypte_y"));
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
  assert(/ld\.param\.u32 %calypte_extent, \[calypte_grid_y\];\s+mov\.u32 x, %calypte_extent;/.test(text));
  if (noPtxas === undefined) mustAssemble(text);
});

Deno.test("where threads return early, every barrier counts who has returned", () => {
  const body = "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; bar.sync 0; @%p2 bar.sync 0; ret;";
  const { text } = rewriteModule(kernelText(body), { file: "x" });
  const own = text.slice(text.indexOf("$CALYPTE_BODY:"), text.indexOf("$CALYPTE_GATHER:"));
  assert(!own.includes("bar.sync") && own.includes("@%p1 bra $CALYPTE_GATHER;"));
  assertEquals(own.match(/barrier\.red\.and\.pred %calypte_go, 0, %calypte_done;/g)?.length, 2);
  assert(own.includes("@%p2 barrier.red.and.pred"));
  if (noPtxas === undefined) mustAssemble(text);
});

Deno.test("an mbarrier is given up where it was set up, before the next block sets it up again", () => {
  const body =
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,0; @%p1 mbarrier.init.shared.b64 [tile+8], 1; bar.sync 0; ret;";
  const { text } = rewriteModule(kernelText(body), { file: "x" });
  assert(/@%calypte_live0 mbarrier\.inval\.shared\.b64 \[%calypte_mbarrier0\];/.test(text));
  assert(text.indexOf("mbarrier.inval") > text.indexOf("$CALYPTE_GATHER:"));
  if (noPtxas === undefined) mustAssemble(text);
});

Deno.test("only a kernel whose threads leave loops one by one takes shared memory of ours", () => {
  const loop = (from: string) => `${from} L: shr.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;`;
  const of = (body: string) =>
    rewriteModule(kernelText(body), { file: "x" }).text.includes("calypte_given_up");
  assertEquals([of(loop("mov.u32 %r1,%tid.x;")), of(loop("ld.param.u32 %r1,[n];"))], [true, false]);
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
