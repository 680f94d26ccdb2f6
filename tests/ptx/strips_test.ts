/** Which loops are cut into strips? Those whose count is a count of turns, and no others. */

import { assertEquals } from "../assert.ts";
import { reportModule, rewriteModule } from "../../ptx/mod.ts";
import { kernelText } from "./fixtures.ts";

const LOADED = "ld.param.u32 %r9,[n]; mov.u32 %r1,0; ";

/** What is asked of the loop, its text, and whether it is cut. */
const LOOPS: readonly (readonly [string, string, boolean])[] = [
  ["counts up to a bound", "L: add.u32 %r1,%r1,1; setp.lt.u32 %p1,%r1,%r9; @%p1 bra L;", true],
  ["counts down to a constant", "L: add.s32 %r9,%r9,-4; setp.ne.s32 %p1,%r9,0; @%p1 bra L;", true],
  [
    "counts in a second register",
    "L: add.u32 %r2,%r1,3; setp.lt.u32 %p1,%r2,%r9; mov.u32 %r1,%r2; @%p1 bra L;",
    true,
  ],
  ["goes on while a comparison fails", "L: add.u32 %r1,%r1,1; setp.ge.u32 %p1,%r1,%r9; @!%p1 bra L;", true],
  ["counts by what it computes", "L: add.u32 %r1,%r1,%r3; setp.lt.u32 %p1,%r1,%r9; @%p1 bra L;", false],
  [
    "has a bound that moves",
    "L: add.u32 %r1,%r1,1; add.u32 %r9,%r9,-1; setp.lt.u32 %p1,%r1,%r9; @%p1 bra L;",
    false,
  ],
  [
    "leaves the count out in some turns",
    "L: setp.eq.u32 %p2,%r9,7; @%p2 bra S; add.u32 %r1,%r1,1; S: setp.lt.u32 %p1,%r1,%r9; @%p1 bra L;",
    false,
  ],
  [
    "counts in a loop inside it",
    "L: mov.u32 %r4,%r9; M: add.u32 %r1,%r1,1; shr.u32 %r4,%r4,1; setp.ne.u32 %p2,%r4,0; @%p2 bra M; " +
    "setp.ne.u32 %p1,%r1,%r9; @%p1 bra L;",
    false,
  ],
  ["asks at its top", "L: setp.ge.u32 %p1,%r1,%r9; @%p1 bra E; add.u32 %r1,%r1,1; bra L; E:", false],
  ["includes its bound", "L: add.u32 %r1,%r1,1; setp.le.u32 %p1,%r1,%r9; @%p1 bra L;", false],
];

for (const [what, loop, isCut] of LOOPS) {
  Deno.test(`a loop that ${what} is ${isCut ? "" : "not "}cut into strips`, () => {
    const text = kernelText(`${LOADED}${loop} ret;`);
    assertEquals(reportModule(text, "k")[0]?.level, "loop", "it has a checkpoint in any case");
    assertEquals(rewriteModule(text, { file: "k" }).text.includes("%calypte_limit"), isCut);
  });
}

Deno.test("no thread gives up by itself where others of its block may wait for it", () => {
  const spin = "W: mbarrier.test_wait.shared.b64 %p2,[tile],%rd3; @!%p2 bra W;";
  const loop = `mov.u32 %r1,%tid.x; L: mbarrier.arrive.shared.b64 %rd3,[tile]; ${spin} ` +
    "sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;";
  const report = reportModule(kernelText(loop), "k")[0];
  assertEquals([report?.level, report?.checkpoints.length], ["block", 0]);
});
