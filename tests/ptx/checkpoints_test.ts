/** In which loops of a kernel is the gate read, do threads decide together or alone, and why not in the others? */

import { assert, assertEquals } from "../assert.ts";
import { type KernelReport, reportModule, rewriteModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { kernelText, whyNoPtxas } from "./fixtures.ts";

function report(body: string, head = ""): KernelReport {
  const [found] = reportModule(kernelText(body, head), "k");
  assert(found !== undefined);
  return found;
}

/** All threads turn it alike: `n` times. `L` is its label. */
const UNIFORM = "ld.param.u32 %r1,[n]; L: sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L;";
/** Each thread turns it as often as its index says, and that is no short turn. */
const WORK = "div.u32 %r5,%r4,3; ".repeat(4);
const SINGLE = `mov.u32 %r4,%tid.x; K: ${WORK} shr.u32 %r4,%r4,1; setp.gt.s32 %p4,%r4,0; @%p4 bra K;`;
/** The same with two blocks in it, so that it is looked at behind loops of one. */
const SINGLE_WITH_BRANCH =
  `mov.u32 %r4,%tid.x; K: ${WORK} @%p5 bra J; add.u32 %r6,%r6,1; J: shr.u32 %r4,%r4,1; setp.gt.s32 %p4,%r4,0; @%p4 bra K;`;

/** Around other statements: `n` turns, all threads alike. */
const around = (inner: string) =>
  `ld.param.u32 %r2,[n]; M: ${inner} sub.u32 %r2,%r2,1; setp.gt.s32 %p2,%r2,0; @%p2 bra M;`;
const HEAVY = "div.u32 %r7,%r7,3; ".repeat(4);

/** Body, and how the checkpoints are passed, in order of the text; none of its loops is without. */
const CHECKED: readonly (readonly [string, string, readonly string[]])[] = [
  ["a loop that all threads turn alike", `${UNIFORM} ret;`, ["together"]],
  ["a loop that threads leave one by one", `${SINGLE} ret;`, ["alone"]],
  ["one by one ahead of a barrier of all", `${SINGLE} bar.sync 0; ret;`, ["alone"]],
  ["one by one ahead of a barrier in another spelling", `${SINGLE} barrier.sync.aligned 0x0; ret;`, [
    "alone",
  ]],
  [
    "behind returns of some threads, where nobody meets any more",
    `mov.u32 %r1,%tid.x; setp.eq.u32 %p2,%r1,3; @%p2 ret; ${SINGLE} ret;`,
    ["alone"],
  ],
  ["one loop in another, both alike for all", `${around(UNIFORM.replace("L: ", `L: ${HEAVY}`))} ret;`, [
    "together",
    "together",
  ]],
  [
    "one by one within a loop for all, which they meet in a barrier to go on with",
    `${around(SINGLE + "bar.sync 0;")} ret;`,
    ["together", "alone"],
  ],
  ["two loops with a barrier between them", `${SINGLE} bar.sync 0; ${UNIFORM} ret;`, ["alone", "together"]],
  ["lanes that meet in a loop that all turn alike", around("vote.sync.any.pred %p3,%p2,-1;") + "ret;", [
    "together",
  ]],
  [
    "lanes that meet behind the barrier",
    `${SINGLE} bar.sync 0; bra F; F: vote.sync.any.pred %p3,%p2,-1; ret;`,
    [
      "alone",
    ],
  ],
  ["dynamic shared memory where all decide together", `${UNIFORM} ret;`, ["together"]],
];

for (const [what, body, kinds] of CHECKED) {
  Deno.test(`checkpoints: ${what}`, () => {
    const head = what.startsWith("dynamic") ? ".extern .shared .align 16 .b8 dyn[];" : "";
    const text = body.replaceAll(/(?=\b[KLM]: )/g, "\n"); // a line for each loop
    const found = report(text, head);
    assertEquals(found.level, "loop", found.reason);
    assertEquals(found.checkpoints.toSorted((a, b) => a.line - b.line).map(({ kind }) => kind), [...kinds]);
    assertEquals([found.unchecked, found.reason, found.restartable], [[], "", true]);
    assert((found.boundUs.loop ?? 0) > 0);
    if (whyNoPtxas() !== undefined) return;
    const result = assemble(rewriteModule(kernelText(text, head), { file: "k" }).text);
    assert(result?.ok, result?.messages);
  });
}

/** Body, a piece of the reason why some loop has none, and declarations. */
const UNCHECKED: readonly (readonly [string, string, string, string?])[] = [
  [
    "returns before barriers that others meet",
    `mov.u32 %r1,%tid.x; setp.eq.u32 %p2,%r1,3; @%p2 ret; ${SINGLE} bar.sync 0; ret;`,
    "threads leave it one by one, and return before barriers that others meet",
  ],
  [
    "dynamic shared memory",
    `${SINGLE} ret;`,
    "threads leave it one by one, and dynamic shared memory leaves no room to tell each other",
    ".extern .shared .align 16 .b8 dyn[];",
  ],
  [
    "the checkpoint of another loop ahead of a barrier",
    `setp.eq.u32 %p5,%r9,9; ${SINGLE_WITH_BRANCH} ${UNIFORM} ret;`,
    "threads may give up one by one in another loop, and not come there",
  ],
  [
    "lanes that meet ahead of a barrier",
    `${SINGLE} vote.sync.any.pred %p3,%p2,-1; bar.sync 0; ret;`,
    "threads leave it one by one, and lanes of a warp wait for each other at line",
  ],
  [
    "lanes that shuffle at the end",
    `${SINGLE} shfl.sync.down.b32 %r6,%r5,16,31,-1; ret;`,
    "threads leave it one by one, and lanes of a warp wait for each other at line",
  ],
  [
    "a barrier on either way",
    `${SINGLE} ld.param.u32 %r3,[n]; setp.eq.u32 %p3,%r3,1; @%p3 bra A; bar.sync 0; bra B; A: bar.sync 0; B: ret;`,
    "threads leave it one by one, and then meet different barriers",
  ],
  [
    "a barrier on one way only",
    `${SINGLE} ld.param.u32 %r3,[n]; setp.eq.u32 %p3,%r3,1; @%p3 bra A; bar.sync 0; A: ret;`,
    "threads leave it one by one, and then meet different barriers",
  ],
  [
    "a reducing barrier",
    `${SINGLE} bar.red.or.pred %p2,0,%p1; ret;`,
    "threads leave it one by one, and the barrier at line",
  ],
  ["a barrier of another number", `${SINGLE} bar.sync 1; ret;`, "is no plain one"],
  ["a barrier in a scope", `${SINGLE} { bar.sync 0; } ret;`, "stands in a scope of its own"],
  [
    "a loop one by one in it, and no barrier",
    `${around(SINGLE)} ret;`,
    "threads may give up one by one in another loop, and not come there",
  ],
  [
    "a product that is not committed",
    "ld.param.u32 %r1,[n]; L: wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4},%rd1,%rd2,1,1,1,0,0; " +
    "sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L; wgmma.commit_group.sync.aligned; " +
    "wgmma.wait_group.sync.aligned 0; ret;",
    "the product at line",
  ],
  [
    "short turns in a loop with a checkpoint",
    `${around("mov.u32 %r1,9; L: shr.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L;" + HEAVY)} ret;`,
    "short, and the loop around it has a checkpoint",
  ],
];

for (const [what, body, reason, head] of UNCHECKED) {
  Deno.test(`a loop without a checkpoint: ${what}`, () => {
    const found = report(body, head);
    assert(found.level === "loop" || found.level === "block", found.reason);
    assert(found.unchecked.some((loop) => loop.reason.includes(reason)), JSON.stringify(found.unchecked));
    // With no checkpoint at all, the first such loop is the reason why the kernel does not reach the level.
    assertEquals(found.level, found.checkpoints.length > 0 ? "loop" : "block");
    if (found.level === "block") {
      const [first] = found.unchecked;
      assertEquals(found.reason, `the loop at line ${first?.line} has no checkpoint: ${first?.reason}`);
      assertEquals(found.line, first?.line);
    }
  });
}

Deno.test("blocks of fewer than 8 threads along x have no level loop, others may", () => {
  const of = (directive: string) =>
    reportModule(kernelText(`${UNIFORM} ret;`).replace("{", `${directive} {`), "k")[0];
  assertEquals(of(".reqntid 4, 64, 1")?.level, "block");
  assert(of(".reqntid 4, 64, 1")?.reason.includes("fewer than 8 threads along x"));
  assertEquals(of(".reqntid 8, 8, 1")?.level, "loop");
  // A bound is not what it is launched with; whoever launches it looks at that.
  assertEquals(of(".maxntid 4, 64, 1")?.level, "loop");
});

Deno.test("what differs from run to run has no level loop, as nobody could tell whether it went on rightly", () => {
  const found = report(`${UNIFORM} mov.u32 %r3,%smid; st.shared.u32 [tile],%r3; ret;`);
  assertEquals([found.level, found.checkpoints, found.unchecked], ["block", [], []]);
  assertEquals(found.reason, found.inexact);
});

Deno.test("a cap takes the checkpoints out of the text, and leaves the report of what is safe", () => {
  const text = kernelText(`${UNIFORM} ret;`);
  const at = (level: "loop" | "block" | "slice" | "whole") =>
    rewriteModule(text, { file: "k", levels: new Map([["k", level]]) });
  for (const level of ["loop", "block", "slice", "whole"] as const) {
    const { kernels, text: rewritten } = at(level);
    assertEquals([kernels[0]?.level, kernels[0]?.safeLevels], [level, ["loop", "block", "slice", "whole"]]);
    assertEquals(rewritten.includes("[calypte_period]"), level === "loop");
    assertEquals(rewritten.includes("[calypte_gate]"), level === "loop" || level === "block");
    assertEquals(rewritten.includes("[calypte_first]"), level === "slice");
  }
});
