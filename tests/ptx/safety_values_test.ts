/** What do special registers, functions, targets and parameters leave of a kernel's levels? */

import { assert, assertEquals } from "../assert.ts";
import { type Level, reportModule } from "../../ptx/mod.ts";
import { kernelText } from "./fixtures.ts";

/** What differs from block to block or run to run, in a register that it is moved to: level, and a piece of the reason. */
const FOREIGN: readonly (readonly [string, string, Level])[] = [
  ["occurs", "ret;", "block"],
  ["is stored", "ld.param.u64 %rd1,[p]; st.global.u32 [%rd1],%r1; ret;", "block"],
  [
    "is added up and stored",
    "ld.param.u64 %rd1,[p]; add.u32 %r2,%r1,1; st.global.u32 [%rd1],%r2; ret;",
    "block",
  ],
  [
    "selects what is stored",
    "ld.param.u64 %rd1,[p]; setp.eq.u32 %p1,%r1,0; selp.u32 %r2,1,2,%p1; st.global.u32 [%rd1],%r2; ret;",
    "block",
  ],
  ["decides about a branch", "setp.eq.u32 %p1,%r1,0; @%p1 bra E; st.shared.u32 [tile],%r1; E: ret;", "whole"],
  [
    "decides about a store",
    "ld.param.u64 %rd1,[p]; setp.eq.u32 %p1,%r1,0; @%p1 st.global.u32 [%rd1],%r1; ret;",
    "whole",
  ],
  [
    "is part of an address",
    "ld.param.u64 %rd1,[p]; mad.wide.u32 %rd2,%r1,4,%rd1; st.global.u32 [%rd2],7; ret;",
    "whole",
  ],
  ["is the number of a barrier", "bar.sync %r1; ret;", "whole"],
  ["chooses among branches", "T: .branchtargets A, B; brx.idx %r1, T; A: ret; B: ret;", "whole"],
];

for (
  const register of [
    "%smid",
    "%nsmid",
    "%warpid",
    "%nwarpid",
    "%gridid",
    "%clock",
    "%clock_hi",
    "%globaltimer_lo",
  ]
) {
  Deno.test(`${register} may be computed with, and decide about nothing`, () => {
    for (const [what, body, level] of FOREIGN) {
      const report = reportModule(kernelText(`mov.u32 %r1, ${register}; ${body}`), "k")[0];
      assertEquals(report?.level, level, `${what}: ${report?.reason}`);
      assert(report?.reason.includes(register), report?.reason);
      if (level === "block") assertEquals(report?.inexact, report?.reason);
    }
  });
}

Deno.test("64-bit clocks count as well", () => {
  for (const register of ["%clock64", "%globaltimer"]) {
    const report = reportModule(kernelText(`mov.u64 %rd1, ${register}; ret;`), "k")[0];
    assertEquals(report?.level, "block");
    assert(report?.inexact.includes(register));
  }
});

Deno.test("what prints or stops is block and inexact, and its loops take no checkpoint", () => {
  const declared = ".extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);";
  const loop = "ld.param.u32 %r1,[n]; L: sub.u32 %r1,%r1,1; setp.ne.u32 %p1,%r1,0; @%p1 bra L;";
  const prints = "{ .param .b64 a; .param .b64 b; .param .b32 r; call (r), vprintf, (a, b); }";
  for (const [odd, word] of [[prints, "vprintf"], ["trap;", "trap"], ["brkpt;", "brkpt"]] as const) {
    const report = reportModule(kernelText(`${loop} @%p1 bra E; ${odd} E: ret;`, declared), "k")[0];
    assertEquals([report?.level, report?.checkpoints], ["block", []], report?.reason);
    assert(report?.inexact.includes(word), report?.inexact);
    assertEquals(report?.reason, report?.inexact);
  }
});

Deno.test("targets, address sizes and parameters that cannot carry the protocol", () => {
  const text = kernelText("ret;");
  const of = (t: string) => {
    const report = reportModule(t, "k")[0];
    return [report?.level, report?.reason] as const;
  };
  const refused = (t: string, level: Level, reason: string) => {
    const [found, why] = of(t);
    assertEquals(found, level, why);
    assert(why?.includes(reason), why);
  };
  assertEquals(of(text)[0], "block");
  refused(text.replace("sm_80", "sm_61"), "slice", "sm_70 or newer");
  refused(text.replace(".address_size 64", ".address_size 32"), "whole", "64-bit");
  refused(kernelText("ret;", "", ".param .b8 a[4090]"), "whole", "4090 bytes of parameters");
  refused(text.replace("{", ".reqnctapercluster 2, 1, 1 {"), "whole", "clusters");
});

Deno.test("a function that holds a barrier or ends threads leaves slice, one that waits or asks for the block whole", () => {
  const of = (inner: string) =>
    reportModule(
      kernelText(
        "call f, (); ret;",
        `.func f () { .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .pred %p<3>; ${inner} }`,
      ),
      "k",
    )[0];
  const expect = (inner: string, level: Level, reason: string) => {
    const report = of(inner);
    assertEquals(report?.level, level, report?.reason);
    assert(report?.reason.includes(reason), report?.reason);
  };
  expect("add.u32 %r1,%r1,1; ret;", "block", "it has no loop");
  expect("exit;", "slice", "ends the thread inside the function f");
  expect("bar.sync 0; ret;", "slice", "barrier inside the function f");
  expect("mov.u32 %r1,%ctaid.x; ret;", "whole", "reads the block index inside the function f");
  expect(
    "L: ld.volatile.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "may wait",
  );
});

Deno.test("of several complaints the one that leaves least is told", () => {
  const both = reportModule(kernelText("bar.sync 1, 64; barrier.cluster.arrive; ret;"), "k")[0];
  assertEquals(both?.level, "whole");
  assert(both?.reason.includes("cluster"), both?.reason);
});
