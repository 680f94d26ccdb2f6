/** Which kernels reach level `block`, and what is said about the others? */

import { assert, assertEquals } from "../assert.ts";
import { reportModule } from "../../ptx/mod.ts";
import { fixture, FIXTURES, kernelText } from "./fixtures.ts";

const EXPECTED: Readonly<Record<string, string>> = {
  histogram: "",
  in_turn: "may wait for another block",
  locked: "its end depends on an atomic",
  last_adds: "",
  steps: "",
  choose: "",
  asks: "inside the function",
  prints: "calls vprintf, whose body is not in the module",
  scale: "",
  grid_stride: "",
  transpose3: "",
  rows: "",
  staged: "",
  processor: "reads %smid",
  lanes: "",
  block_sum: "",
  block_max: "",
  early_return: "threads may return at line",
  choose_by_table: "",
  corners: "threads may return at line",
};

Deno.test("every kernel of the fixtures gets the level that its source says", () => {
  const found = new Set<string>();
  for (const name of FIXTURES) {
    for (const report of reportModule(fixture(name), name)) {
      const reason = EXPECTED[report.kernel];
      assert(reason !== undefined, `${report.kernel} is not expected`);
      found.add(report.kernel);
      assertEquals(report.level, reason === "" ? "block" : "whole", `${report.kernel}: ${report.reason}`);
      assert(report.reason.includes(reason), `${report.kernel}: ${report.reason}`);
      assertEquals(report.safeLevels.includes("block"), report.level === "block");
      assert(report.line > 0);
    }
  }
  assertEquals(found.size, Object.keys(EXPECTED).length);
});

/** Body, and a piece of the reason; empty for level `block`. */
const BODIES: readonly (readonly [string, string, string])[] = [
  [
    "a barrier behind a branch that all threads take alike",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: ret;",
    "",
  ],
  [
    "a barrier behind a branch on the thread index",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: st.shared.u32 [tile],%r1; ret;",
    "only some threads may meet the barrier",
  ],
  [
    "a barrier behind a guarded return",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 ret; bar.sync 0; ret;",
    "threads may return at line",
  ],
  [
    "a barrier behind a branch on a loaded value",
    "ld.param.u64 %rd1,[p]; ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,3; @%p1 bra E; bar.sync 0; E: ret;",
    "barrier",
  ],
  [
    "a barrier in a loop that threads leave one by one",
    "mov.u32 %r1,%tid.x; L: bar.sync 0; sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;",
    "barrier",
  ],
  [
    "a barrier in a loop of uniform length",
    "ld.param.u32 %r1,[n]; L: bar.sync 0; sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; ret;",
    "",
  ],
  [
    "a register that a divergent branch writes decides about a barrier",
    "mov.u32 %r1,%tid.x; mov.u32 %r2,0; setp.eq.u32 %p1,%r1,3; @%p1 bra A; mov.u32 %r2,1; A: setp.eq.u32 %p2,%r2,1; @%p2 bra E; bar.sync 0; E: ret;",
    "barrier",
  ],
  [
    "a value that a predicate selected decides about a barrier",
    "mov.u32 %r1,%tid.x; mov.u32 %r2,0; setp.eq.u32 %p1,%r1,3; @%p1 mov.u32 %r2,1; setp.eq.u32 %p2,%r2,1; @%p2 bra E; bar.sync 0; E: ret;",
    "barrier",
  ],
  [
    "a shuffled value decides about a barrier",
    "mov.u32 %r1,0; shfl.sync.idx.b32 %r2,%r1,0,31,-1; setp.eq.u32 %p2,%r2,1; @%p2 bra E; bar.sync 0; E: ret;",
    "barrier",
  ],
  [
    "a barrier's own result decides about a barrier",
    "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; bar.red.or.pred %p2,0,%p1; @%p2 bra E; bar.sync 0; E: ret;",
    "",
  ],
  [
    "a guarded barrier",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bar.sync 0; ret;",
    "stands under a condition",
  ],
  ["a barrier that counts threads", "bar.sync 1, 64; ret;", "counts its threads"],
  ["a barrier of a computed number", "ld.param.u32 %r1,[n]; bar.sync %r1; ret;", "is not a constant"],
  ["an arrival without waiting", "bar.arrive 1, 64; ret;", "pass without waiting"],
  ["an early return without barriers", "mov.u32 %r1,%tid.x; setp.eq.u32 %p1,%r1,3; @%p1 exit; ret;", ""],
  ["a loop without exit", "L: bra L;", "has no exit"],
  [
    "a loop with two entries",
    "ld.param.u32 %r1,[n]; setp.eq.u32 %p1,%r1,3; @%p1 bra B; A: add.u32 %r1,%r1,1; B: sub.u32 %r1,%r1,2; setp.gt.s32 %p2,%r1,0; @%p2 bra A; ret;",
    "more than one entry",
  ],
  [
    "polling with a plain load",
    "ld.param.u64 %rd1,[p]; L: ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "the same word in every turn",
  ],
  [
    "polling with a plain load at an address computed in the loop",
    "ld.param.u64 %rd1,[p]; L: add.u64 %rd2,%rd1,8; ld.global.u32 %r1,[%rd2]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "the same word in every turn",
  ],
  [
    "polling with a fence",
    "ld.param.u64 %rd1,[p]; L: add.u64 %rd1,%rd1,0; membar.gl; ld.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;",
    "with a fence",
  ],
  [
    "polling through shared memory",
    "ld.param.u64 %rd1,[p]; L: ld.acquire.gpu.global.u32 %r1,[%rd1]; st.shared.u32 [tile],%r1; bar.sync 0; ld.shared.u32 %r2,[tile]; setp.eq.u32 %p1,%r2,0; @%p1 bra L; ret;",
    "may wait",
  ],
  [
    "polling that sets a flag by a branch",
    "ld.param.u64 %rd1,[p]; L: mov.u32 %r3,0; ld.relaxed.sys.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra N; mov.u32 %r3,1; N: setp.eq.u32 %p2,%r3,0; @%p2 bra L; ret;",
    "may wait",
  ],
  [
    "polling that returns from within",
    "ld.param.u64 %rd1,[p]; L: ld.volatile.global.u32 %r1,[%rd1]; setp.ne.u32 %p1,%r1,0; @%p1 ret; bra L;",
    "may wait",
  ],
  [
    "a linked list",
    "ld.param.u64 %rd1,[p]; L: ld.global.u64 %rd1,[%rd1]; setp.ne.u64 %p1,%rd1,0; @%p1 bra L; ret;",
    "",
  ],
  [
    "a volatile load that no loop depends on",
    "ld.param.u64 %rd1,[p]; mov.u32 %r2,9; L: ld.volatile.global.u32 %r1,[%rd1]; st.shared.u32 [tile],%r1; sub.u32 %r2,%r2,1; setp.ne.u32 %p1,%r2,0; @%p1 bra L; ret;",
    "",
  ],
  ["the clock", "mov.u64 %rd1, %clock64; ret;", "reads %clock64"],
  ["the grid id", "mov.u64 %rd1, %gridid; ret;", "reads %gridid"],
  ["the block index as a vector", ".reg .v4 .u32 v; mov.v4.u32 v, %ctaid; ret;", "otherwise than by moving"],
  ["a 16-bit block index", "mov.u16 %h1, %ctaid.x; ret;", "otherwise than by moving"],
  ["a bulk copy", "cp.async.bulk.commit_group; ret;", "in bulk"],
  ["an mbarrier", "mbarrier.init.shared.b64 [tile], 1; ret;", "mbarrier"],
  ["wgmma", "wgmma.fence.sync.aligned; ret;", "computes asynchronously"],
  ["a cluster barrier", "barrier.cluster.arrive; ret;", "cluster"],
  ["a dependent launch", "griddepcontrol.wait; ret;", "depends on other grids"],
  ["a trap", "trap;", "stops the whole grid"],
  ["an instruction of the future", "frobnicate.b32 %r1; ret;", "is not known"],
  ["a call through a register", "P: .callprototype _ (); call %rd1, (), P; ret;", "calls through %rd1"],
  ["a branch to nowhere", "bra NOWHERE;", "cannot be followed"],
];

for (const [what, body, reason] of BODIES) {
  Deno.test(`${what}: ${reason === "" ? "block" : "whole"}`, () => {
    const report = reportModule(kernelText(body), "k")[0];
    assertEquals(report?.level, reason === "" ? "block" : "whole", report?.reason);
    assert(report?.reason.includes(reason), report?.reason);
  });
}

Deno.test("targets, address sizes and parameters that cannot carry the protocol are whole", () => {
  const text = kernelText("ret;");
  const reason = (t: string) => reportModule(t, "k")[0]?.reason ?? "";
  assertEquals(reason(text), "");
  assert(reason(text.replace("sm_80", "sm_61")).includes("sm_70 or newer"));
  assert(reason(text.replace(".address_size 64", ".address_size 32")).includes("64-bit"));
  assert(reason(kernelText("ret;", "", ".param .b8 a[4090]")).includes("4090 bytes of parameters"));
  assert(reason(text.replace("{", ".reqnctapercluster 2, 1, 1 {")).includes("clusters"));
});

Deno.test("a function that waits, ends threads or holds a barrier makes its caller whole", () => {
  const of = (inner: string) =>
    reportModule(
      kernelText(
        "call f, (); ret;",
        `.func f () { .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .pred %p<3>; ${inner} }`,
      ),
      "k",
    )[0];
  assertEquals(of("add.u32 %r1,%r1,1; ret;")?.level, "block");
  assert(of("exit;")?.reason.includes("ends the thread inside the function f"));
  assert(of("bar.sync 0; ret;")?.reason.includes("barrier inside the function f"));
  assert(
    of("L: ld.volatile.global.u32 %r1,[%rd1]; setp.eq.u32 %p1,%r1,0; @%p1 bra L; ret;")?.reason.includes(
      "may wait",
    ),
  );
});
