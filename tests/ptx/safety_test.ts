/** Which level does a kernel reach at most, `loop` aside, and what is said where it is not `block`? */

import { assert, assertEquals } from "../assert.ts";
import { type Level, reportModule } from "../../ptx/mod.ts";
import { fixture, FIXTURES, kernelText } from "./fixtures.ts";

/** Level where parameters may overlap, and a piece of the reason why not more. */
const EXPECTED: Readonly<Record<string, readonly [Level, string]>> = {
  histogram: ["block", "it has no loop"],
  in_turn: ["whole", "may wait for another block"],
  locked: ["whole", "its end depends on an atomic"],
  last_adds: ["block", "atom.global.inc.u32 at line 154 may not happen twice"],
  steps: ["block", "it has no loop"],
  choose: ["block", "it has no loop"],
  asks: ["whole", "inside the function"],
  prints: ["block", "calls vprintf"],
  scale: ["block", "it has no loop"],
  grid_stride: ["block", "which may overlap"],
  transpose3: ["block", "it has no loop"],
  rows: ["block", "it has no loop"],
  staged: ["block", "it has no loop"],
  processor: ["block", "uses %smid"],
  lanes: ["block", "it has no loop"],
  block_sum: ["loop", ""],
  block_max: ["loop", ""],
  early_return: ["block", "it has no loop"],
  choose_by_table: ["block", "it has no loop"],
  corners: ["block", "it has no loop"],
};

const LEVELS: readonly Level[] = ["loop", "block", "slice", "whole"];

Deno.test("every kernel of the fixtures gets the level that its source says", () => {
  const found = new Set<string>();
  for (const name of FIXTURES) {
    for (const report of reportModule(fixture(name), name)) {
      const [level, reason] = EXPECTED[report.kernel] ?? [];
      assert(level !== undefined && reason !== undefined, `${report.kernel} is not expected`);
      found.add(report.kernel);
      assertEquals(report.level, level, `${report.kernel}: ${report.reason}`);
      assert(report.reason.includes(reason) && (report.reason === "") === (reason === ""), report.reason);
      assertEquals(report.safeLevels, LEVELS.slice(LEVELS.indexOf(level)));
      assert(report.line > 0);
    }
  }
  assertEquals(found.size, Object.keys(EXPECTED).length);
});

/** Up to the comparison of what was found with what was expected. */
const SWAP = "ld.param.u64 %rd1,[p]; ld.global.u32 %r2,[%rd1]; " +
  "L: add.u32 %r1,%r2,1; atom.global.cas.b32 %r3,[%rd1],%r2,%r1; setp.ne.u32 %p1,%r3,%r2;";

/** Body, level at most, and a piece of the reason; empty: nothing stands against `block`. */
const BODIES: readonly (readonly [string, string, Level, string])[] = [
  [
    "a barrier behind a branch that all threads take alike",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: ret;",
    "block",
    "",
  ],
  [
    "a barrier behind a branch on the thread index",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: st.shared.u32 [tile],%r1; ret;",
    "block",
    "",
  ],
  [
    "a barrier behind a guarded return",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; bar.sync 0; ret;",
    "block",
    "",
  ],
  [
    "a barrier behind a branch on a loaded value",
    "ld.param.u64 %rd1,[p]; ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: ret;",
    "block",
    "",
  ],
  [
    "a barrier in a loop that threads leave one by one",
    "mov.u32 %r1,%tid.x; L: bar.sync 0; sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;",
    "block",
    "",
  ],
  [
    "a barrier in a loop of uniform length",
    "ld.param.u32 %r1,[n]; L: bar.sync 0; sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;",
    "block",
    "",
  ],
  [
    "a shuffled value decides about a barrier",
    "mov.u32 %r1,0; shfl.sync.idx.b32 %r2,%r1,0,31,-1; setp.eq.u32 %p2,%r2,1; @%p2 bra E; bar.sync 0; E: ret;",
    "block",
    "",
  ],
  [
    "a guarded barrier",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bar.sync 0; ret;",
    "block",
    "",
  ],
  [
    "an early return without barriers",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 exit; ret;",
    "block",
    "",
  ],
  [
    "a reducing barrier behind an early return",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; bar.red.or.pred %p2,0,%p1; ret;",
    "slice",
    "is not one that could count them",
  ],
  [
    "a second barrier behind an early return",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; bar.sync 0; bar.sync 1; ret;",
    "slice",
    "is not one that could count them",
  ],
  [
    "lanes that meet where others have returned",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; vote.sync.any.pred %p2,%p1,-1; ret;",
    "slice",
    "lanes may return before line",
  ],
  [
    "lanes that meet behind a branch without a return",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 bra A; mov.u32 %r1,0; A: vote.sync.any.pred %p2,%p1,-1; st.shared.u32 [tile],%r1; ret;",
    "block",
    "",
  ],
  [
    "a barrier of another number, met by all",
    "bar.sync 1; ret;",
    "block",
    "",
  ],
  [
    "a barrier that counts threads",
    "bar.sync 1, 64; ret;",
    "slice",
    "counts its threads",
  ],
  [
    "a barrier of a computed number",
    "ld.param.u32 %r1,[n]; bar.sync %r1; ret;",
    "slice",
    "is not a constant",
  ],
  [
    "an arrival without waiting",
    "bar.arrive 1, 64; ret;",
    "slice",
    "pass without waiting",
  ],
  [
    "a bulk copy",
    "cp.async.bulk.commit_group; ret;",
    "slice",
    "in bulk",
  ],
  [
    "a copy that reports to an mbarrier",
    "cp.async.mbarrier.arrive.shared.b64 [tile]; ret;",
    "slice",
    "when the block may have ended",
  ],
  [
    "an asynchronous store",
    "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r1], %r2, [%r3]; ret;",
    "whole",
    "cluster",
  ],
  [
    "registers that move between warps",
    "setmaxnreg.inc.sync.aligned.u32 240; ret;",
    "slice",
    "moves registers between warps",
  ],
  [
    "tensor memory",
    "tcgen05.wait::ld.sync.aligned; ret;",
    "slice",
    "tensor memory",
  ],
  [
    "an mbarrier",
    "mbarrier.init.shared.b64 [tile], 1; ret;",
    "block",
    "",
  ],
  [
    "mbarriers that a loop sets up",
    "ld.param.u32 %r1,[n]; L: mbarrier.init.shared.b64 [tile], 1; sub.u32 %r1,%r1,1; setp.ne.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "slice",
    "sets up in a loop",
  ],
  [
    "a product that is waited for",
    "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4}, %rd1, %rd2, 1, 1, 1, 0, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; ret;",
    "block",
    "",
  ],
  [
    "a product that nobody waits for",
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4}, %rd1, %rd2, 1, 1, 1, 0, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1; ret;",
    "slice",
    "may still be under way when the block ends",
  ],
  [
    "stack that is taken",
    "alloca.u64 %rd1, %rd2; ret;",
    "slice",
    "takes stack",
  ],
  [
    "an instruction of the future",
    "frobnicate.b32 %r1; ret;",
    "slice",
    "is not known",
  ],
  [
    "an instruction of the future that may jump",
    "frobnicate.b32 %r1, E; E: ret;",
    "whole",
    "is not known",
  ],
  [
    "a loop without exit",
    "L: bra L;",
    "whole",
    "has no exit",
  ],
  [
    "a loop with two entries",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bra B; A: add.u32 %r1,%r1,1; B: sub.u32 %r1,%r1,2; setp.gt.s32 %p2,%r1,0; @%p2 bra A; ret;",
    "whole",
    "more than one entry",
  ],
  [
    "polling with a plain load",
    "ld.param.u64 %rd1,[p]; L: ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "the same word in every turn",
  ],
  [
    "polling with a plain load at an address computed in the loop",
    "ld.param.u64 %rd1,[p]; L: add.u64 %rd2,%rd1,8; ld.global.u32 %r1,[%rd2]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "the same word in every turn",
  ],
  [
    "polling with a fence",
    "ld.param.u64 %rd1,[p]; L: add.u64 %rd1,%rd1,0; membar.gl; ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "with a fence",
  ],
  [
    "polling with an acquiring load",
    "ld.param.u64 %rd1,[p]; L: ld.acquire.gpu.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "may wait for another block",
  ],
  [
    "a lock",
    "ld.param.u64 %rd1,[p]; L: atom.global.cas.b32 %r1,[%rd1],0,1; setp.ne.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "whole",
    "depends on an atomic",
  ],
  [
    "polling through shared memory",
    "ld.param.u64 %rd1,[p]; L: ld.acquire.gpu.global.u32 %r1,[%rd1]; st.shared.u32 [tile],%r1; bar.sync 0; ld.shared.u32 %r2,[tile]; setp.eq.u32 %p1,%r2,0; @%p1 bra L; ret;",
    "whole",
    "may wait",
  ],
  [
    "polling that sets a flag by a branch",
    "ld.param.u64 %rd1,[p]; L: mov.u32 %r3,0; ld.relaxed.sys.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra N; mov.u32 %r3,1; N: setp.eq.u32 %p2,%r3,0; @%p2 bra L; ret;",
    "whole",
    "may wait",
  ],
  [
    "polling that returns from within",
    "ld.param.u64 %rd1,[p]; L: ld.volatile.global.u32 %r1,[%rd1]; setp.ne.u32 %p1,%r1,0; @%p1 ret; bra L;",
    "whole",
    "may wait",
  ],
  [
    "a linked list",
    "ld.param.u64 %rd1,[p]; L: ld.global.u64 %rd1,[%rd1]; setp.ne.u64 %p1,%rd1,0; @%p1 bra L; ret;",
    "block",
    "",
  ],
  [
    "a volatile load that no loop depends on",
    "ld.param.u64 %rd1,[p]; mov.u32 %r2,9; L: ld.volatile.global.u32 %r1,[%rd1]; st.shared.u32 [tile],%r1; sub.u32 %r2,%r2,1; setp.ne.u32 %p1,%r2,0; @%p1 bra L; ret;",
    "block",
    "",
  ],
  [
    "an atomic that no loop depends on",
    "ld.param.u64 %rd1,[p]; atom.global.add.u32 %r1,[%rd1],1; setp.eq.u32 %p1,%r1,0; @%p1 st.global.u32 [%rd1],%r1; ret;",
    "block",
    "",
  ],
  [
    "a 16-bit block index",
    "mov.u16 %h1, %ctaid.x; ret;",
    "block",
    "",
  ],
  [
    "the block index as a vector",
    ".reg .v4 .u32 v; mov.v4.u32 v, %ctaid; ret;",
    "whole",
    "otherwise than by moving",
  ],
  [
    "a cluster barrier",
    "barrier.cluster.arrive; ret;",
    "whole",
    "cluster",
  ],
  [
    "shared memory of another block",
    "mapa.shared::cluster.u32 %r1, %r2, 0; ret;",
    "whole",
    "cluster",
  ],
  [
    "a dependent launch",
    "griddepcontrol.wait; ret;",
    "whole",
    "depends on other grids",
  ],
  [
    "a call through a register",
    "P: .callprototype _ (); call %rd1, (), P; ret;",
    "whole",
    "calls through %rd1",
  ],
  [
    "a swap that is tried again with what it found",
    `${SWAP} mov.u32 %r2,%r3; @%p1 bra L; ret;`,
    "block",
    "",
  ],
  [
    "a swap that waits for one value",
    `${SWAP} @%p1 bra L; ret;`,
    "whole",
    "its end depends on an atomic",
  ],
  [
    "a swap that goes on as long as it succeeds",
    `${SWAP} mov.u32 %r2,%r3; @!%p1 bra L; ret;`,
    "whole",
    "its end depends on an atomic",
  ],
  [
    "a branch to nowhere",
    "bra NOWHERE;",
    "whole",
    "cannot be followed",
  ],
];

for (const [what, body, level, reason] of BODIES) {
  Deno.test(`${what}: ${level}`, () => {
    const report = reportModule(kernelText(body), "k")[0];
    // Whether a kernel at level block has loops that may be left is not asked here.
    const found = report?.level === "loop" ? "block" : report?.level;
    assertEquals(found, level, report?.reason);
    if (level !== "block") assert(report?.reason.includes(reason), report?.reason);
    assertEquals(report?.inexact, "");
    assertEquals(report?.safeLevels.at(-1), "whole");
  });
}
