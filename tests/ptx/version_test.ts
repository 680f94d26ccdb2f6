/** Is the version that a rewritten module states the lowest that its instructions allow, and never too low? */

import { assert, assertEquals } from "../assert.ts";
import { rewriteModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { TARGETS } from "../../ptx/version_table.ts";
import { kernelText, whyNoPtxas } from "./fixtures.ts";

const noPtxas = whyNoPtxas();

function versionOf(body: string, target: string, head = ""): string {
  const text = kernelText(body, head).replace("sm_80", target).replace(".version 8.5", ".version 9.0");
  return /\.version (\S+)/.exec(rewriteModule(text, { file: "x" }).text)?.[1] ?? "";
}

/** Instruction, target, lowest version. */
const CASES: readonly (readonly [string, string, string])[] = [
  ["", "sm_75", "6.3"],
  ["", "sm_80", "7.0"],
  ["", "sm_86", "7.1"],
  ["", "sm_87", "7.4"],
  ["", "sm_89", "7.8"],
  ["", "sm_90", "7.8"],
  ["", "sm_90a", "8.0"],
  ["", "sm_100", "8.6"],
  ["", "sm_120", "8.7"],
  ["", "sm_110", "9.0"],
  ["cp.async.cg.shared.global [%r1], [%rd1], 16;", "sm_80", "7.0"],
  ["cp.async.cg.shared.global.L2::128B [%r1], [%rd1], 16;", "sm_80", "7.4"],
  ["createpolicy.fractional.L2::evict_first.b64 %rd1, 1.0;", "sm_80", "7.4"],
  ["ld.global.L1::evict_last.b32 %r1, [%rd1];", "sm_80", "7.4"],
  ["ld.shared::cta.b32 %r1, [%rd1];", "sm_80", "7.8"],
  [
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r1,%r2,%r3,%r4},{%r1,%r2,%r3,%r4},{%r1,%r2},{%r1,%r2,%r3,%r4};",
    "sm_80",
    "7.0",
  ],
  ["ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1,%r2,%r3,%r4}, [%rd1];", "sm_75", "6.5"],
  ["fma.rn.bf16x2 %r1, %r2, %r3, %r4;", "sm_80", "7.0"],
  ["add.bf16x2 %r1, %r2, %r3;", "sm_90", "7.8"],
  ["add.s16x2 %r1, %r2, %r3;", "sm_90", "8.0"],
  ["cvt.f32.bf16 %r1, %h1;", "sm_80", "7.1"],
  ["cvt.rn.bf16x2.f32 %r1, %r2, %r3;", "sm_80", "7.0"],
  ["max.xorsign.abs.f32 %r1, %r2, %r3;", "sm_86", "7.2"],
  ["bmsk.clamp.b32 %r1, %r2, %r3;", "sm_80", "7.6"],
  ["cvta.param.u64 %rd1, %rd2;", "sm_80", "7.7"],
  ["lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x80, %p2;", "sm_80", "8.2"],
  ["atom.global.v4.f32.add {%r1,%r2,%r3,%r4}, [%rd1], {%r1,%r2,%r3,%r4};", "sm_90", "8.1"],
  ["ld.global.v8.b32 {%r1,%r2,%r3,%r4,%r5,%r6,%r7,%r8}, [%rd1];", "sm_100", "8.8"],
  ["fence.proxy.async.shared::cta;", "sm_90", "8.0"],
  ["elect.sync %r1|%p1, -1;", "sm_90", "8.0"],
];

for (const [instruction, target, version] of CASES) {
  Deno.test(`${instruction || "an empty kernel"} needs ${version} on ${target}`, () => {
    assertEquals(versionOf(instruction + " ret;", target), version);
  });
}

Deno.test({
  name: "at the version stated everything assembles, and one lower nothing does",
  ignore: noPtxas !== undefined,
  fn: () => {
    const versions = "6.3 6.4 6.5 7.0 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 8.0 8.1 8.2 8.3 8.4 8.5 8.6 8.7 8.8 9.0"
      .split(" ");
    for (const [instruction, target, version] of CASES) {
      if (assemble(`.version 9.0\n.target ${target}\n`)?.ok !== true) continue; // an older or newer CUDA has other targets
      const text = kernelText(instruction + " ret;").replace("sm_80", target);
      const at = (v: string | undefined) => assemble(text.replace("8.5", v ?? "1.0"));
      assert(at(version)?.ok, `${instruction} ${target} ${version}: ${at(version)?.messages}`);
      const lower = versions[versions.indexOf(version) - 1];
      assert(!at(lower)?.ok, `${instruction} assembles for ${target} with ${lower} already`);
    }
  },
});

Deno.test({
  name: "the lowest version of every target is the one that ptxas takes",
  ignore: noPtxas !== undefined,
  fn: () => {
    for (const [target, version] of TARGETS) {
      const text = (v: string) =>
        `.version ${v}\n.target ${target}\n.address_size 64\n.visible .entry k() { ret; }\n`;
      if (assemble(text("9.0"))?.ok !== true) continue; // this ptxas knows no such target
      assert(assemble(text(version.toFixed(1)))?.ok, `${target} ${version}`);
    }
  },
});

Deno.test("a module with something unknown keeps its version, and one that is too low is raised", () => {
  assertEquals(versionOf("frobnicate.b32 %r1; ret;", "sm_80"), "9.0");
  assertEquals(versionOf("ld.global.mystery.b32 %r1, [%rd1]; ret;", "sm_80"), "9.0");
  assertEquals(versionOf('.pragma "something new"; ret;', "sm_80"), "9.0");
  assertEquals(versionOf("ret;", "sm_999"), "9.0");
  const own = kernelText("bmsk.clamp.b32 %r1, %r2, %r3; ret;").replace("8.5", "7.3");
  assert(rewriteModule(own, { file: "x" }).text.startsWith(".version 7.6"));
});
