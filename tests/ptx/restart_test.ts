/** May a block that was left in a loop be run again? What it did before, and through which pointers. */

import { assert, assertEquals } from "../assert.ts";
import { type KernelReport, reportModule } from "../../ptx/mod.ts";
import { kernelText } from "./fixtures.ts";

const PARAMETERS = ".param .u64 p, .param .u64 q, .param .u32 n";
/** %rd1 is `p`, %rd2 is `q`, as compilers write it. */
const POINTERS = "ld.param.u64 %rd1,[p]; cvta.to.global.u64 %rd1,%rd1; " +
  "ld.param.u64 %rd2,[q]; cvta.to.global.u64 %rd2,%rd2; ld.param.u32 %r1,[n];";
const READ_Q = "ld.global.u32 %r3,[%rd2];";
/** A loop that all threads turn alike, or one by one. */
const loop = (inner: string) => `L: ${inner} sub.u32 %r1,%r1,1; setp.gt.s32 %p1,%r1,0; @%p1 bra L;`;
const loopAlone = (inner: string) => `mov.u32 %r1,%tid.x; ${loop(inner)}`;

function report(body: string, head = "", overlap?: boolean): KernelReport {
  const options = overlap === undefined ? {} : { overlap: () => overlap };
  const [found] = reportModule(kernelText(`${POINTERS} ${body} ret;`, head, PARAMETERS), "k", options);
  assert(found !== undefined);
  return found;
}

const NOTHING = "nothing is written before the last checkpoint";
const NEVER_READ = "what it writes before the last checkpoint it never reads";

/** Body and head; why it may be run again, whatever the parameters lead to. */
const SAFE: readonly (readonly [string, string, string, string?])[] = [
  ["reads only", loop(READ_Q), NOTHING],
  ["a store behind the loop, to what was read", `${loop(READ_Q)} st.global.u32 [%rd2],%r3;`, NOTHING],
  ["an atomic behind the loop", `${loop(READ_Q)} red.global.add.u32 [%rd2],1;`, NOTHING],
  [
    "an atomic on a way that does not lead to the loop",
    `setp.eq.u32 %p2,%r1,4; @%p2 bra E; ${loop("")} ret; E: red.global.add.u32 [%rd1],1;`,
    NOTHING,
  ],
  ["a store that nothing reads", `st.global.u32 [%rd1],7; ${loop("")}`, NEVER_READ],
  [
    "shared memory, also by atomics",
    loop("st.shared.u32 [tile],%r1; atom.shared.add.u32 %r3,[tile],1;"),
    NOTHING,
  ],
  [
    "shared memory by a generic address",
    `cvta.shared.u64 %rd3,tile; st.u32 [%rd3],1; ${loop("ld.u32 %r3,[%rd3];")}`,
    NOTHING,
  ],
  [
    "local memory by a generic address",
    `.local .b8 own[16]; mov.u64 %rd3,own; cvta.local.u64 %rd4,%rd3; st.u32 [%rd4],1; ${
      loop("ld.u32 %r3,[%rd4];")
    }`,
    NOTHING,
  ],
  [
    "a variable of the module, and a parameter",
    `st.global.u32 [table],1; ${loop(READ_Q)}`,
    NEVER_READ,
    ".global .u32 table[4];",
  ],
  [
    "a copy into shared memory",
    loop("cp.async.ca.shared.global [tile],[%rd2],4; cp.async.wait_all;"),
    NOTHING,
  ],
  [
    "stores of the function that it calls, where nothing is read",
    `call f, (); ${loop("")}`,
    NEVER_READ,
    ".func f () { .reg .b64 %rd<3>; st.global.u32 [%rd1],1; ret; }",
  ],
  [
    "one by one: a store behind the barrier where they meet",
    `${loopAlone(READ_Q)} bar.sync 0; mov.u32 %r3,1; bra F; F: st.global.u32 [%rd2],%r3;`,
    NOTHING,
  ],
];

for (const [what, body, why, head] of SAFE) {
  Deno.test(`may be run again: ${what}`, () => {
    const found = report(body, head);
    assertEquals([found.level, found.restartable, found.disjoint], ["loop", true, []], found.reason);
    assertEquals(found.restartReason, why);
  });
}

/** Body and head; the pair of parameters, written and read, that must not lead to the same memory. */
const CONDITIONAL: readonly (readonly [string, string, string, string])[] = [
  ["a store before the loop", `st.global.u32 [%rd1],7; ${loop(READ_Q)}`, "p", "q"],
  ["a store in the loop", loop(`${READ_Q} st.global.u32 [%rd1],%r3;`), "p", "q"],
  [
    "a store in the loop, at a computed address",
    loop(`${READ_Q} mad.wide.u32 %rd3,%r1,4,%rd1; st.global.u32 [%rd3+8],%r3;`),
    "p",
    "q",
  ],
  ["a store that is read behind the loop", `st.global.u32 [%rd1],7; ${loop("")} ${READ_Q}`, "p", "q"],
  [
    "a store by a generic address",
    `ld.param.u64 %rd3,[q]; st.u32 [%rd3],7; ${loop("ld.u32 %r3,[%rd1];")}`,
    "q",
    "p",
  ],
  [
    "a matrix that is stored",
    `wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%rd1],{%f1,%f2,%f3,%f4,%f5,%f6,%f7,%f8},%r3; ${
      loop(READ_Q)
    }`,
    "p",
    "q",
  ],
  [
    "what is copied into shared memory",
    `st.global.u32 [%rd1],7; ${loop("cp.async.ca.shared.global [tile],[%rd2],4; cp.async.wait_all;")}`,
    "p",
    "q",
  ],
  [
    "a read through a non-coherent cache",
    `st.global.u32 [%rd1],7; ${loop("ld.global.nc.u32 %r3,[%rd2];")}`,
    "p",
    "q",
  ],
  [
    "one by one: a store of those who go on",
    `${loopAlone(READ_Q)} st.global.u32 [%rd1],7; bar.sync 0;`,
    "p",
    "q",
  ],
  ["one by one: a store at the kernel's end", `${loopAlone(READ_Q)} st.global.u32 [%rd1],7;`, "p", "q"],
];

for (const [what, body, written, read] of CONDITIONAL) {
  Deno.test(`may be run again where parameters do not overlap: ${what}`, () => {
    const found = report(body, "", false);
    assertEquals([found.level, found.restartReason], ["loop", NEVER_READ], found.reason);
    assertEquals(found.disjoint, [{ written, read }]);
    for (const refused of [report(body, "", true), report(body)]) {
      assertEquals([refused.level, refused.restartable], ["block", false]);
      assert(refused.reason.includes("which may overlap"), refused.reason);
    }
  });
}

Deno.test("only the pairs that count are asked for, with the kernel's name", () => {
  const asked: string[] = [];
  const text = kernelText(`${POINTERS} ${loop(`${READ_Q} st.global.u32 [%rd1],%r3;`)} ret;`, "", PARAMETERS);
  const overlap = (kernel: string, written: number, read: number) => {
    asked.push(`${kernel} ${written} ${read}`);
    return false;
  };
  assertEquals(reportModule(text, "k", { overlap })[0]?.level, "loop");
  assertEquals([...new Set(asked)], ["k 0 1"]);
});

/** Body and head; a piece of why not, even where no two parameters overlap. */
const REFUSED: readonly (readonly [string, string, string, string?])[] = [
  [
    "a store to what it reads",
    loop("ld.global.u32 %r3,[%rd1]; st.global.u32 [%rd1+4],%r3;"),
    "what it reads at line",
  ],
  [
    "a store under a condition",
    `@%p3 st.global.u32 [%rd1],7; ${loop("ld.global.u32 %r3,[%rd1];")}`,
    "what it reads at line",
  ],
  [
    "a store that it reads behind the loop",
    `st.global.u32 [%rd1],7; ${loop("")} ld.global.u32 %r3,[%rd1];`,
    "what it reads at line",
  ],
  [
    "a store by one of two pointers",
    `selp.u64 %rd3,%rd1,%rd2,%p3; st.global.u32 [%rd3],7; ${loop(READ_Q)}`,
    "what it reads at line",
  ],
  [
    "a store by a difference of pointers",
    `sub.u64 %rd3,%rd2,%rd1; add.u64 %rd4,%rd1,%rd3; st.global.u32 [%rd4],7; ${loop(READ_Q)}`,
    "what it reads at line",
  ],
  [
    "a variable of the module that it reads",
    `st.global.u32 [table],1; ${loop("ld.global.u32 %r3,[table+4];")}`,
    "what it reads at line",
    ".global .u32 table[4];",
  ],
  [
    "one by one: a store of those who go on, to what others read",
    `${loopAlone(READ_Q)} st.global.u32 [%rd2],7; bar.sync 0;`,
    "what it reads at line",
  ],
  [
    "an atomic before",
    `red.global.add.u32 [%rd1],1; ${loop("")}`,
    "red.global.add.u32 at line 12 may not happen twice",
  ],
  [
    "an atomic before, by a generic address",
    `ld.param.u64 %rd3,[p]; atom.add.u32 %r3,[%rd3],1; ${loop("")}`,
    "may not happen twice",
  ],
  ["an atomic in the loop", loop("atom.global.add.u32 %r3,[%rd1],1;"), "may not happen twice"],
  [
    "an atomic of threads that have returned",
    `mov.u32 %r8,%tid.x; setp.ne.u32 %p8,%r8,0; @%p8 bra S; red.global.add.u32 [%rd1],1; ret; S: ${loop("")}`,
    "may not happen twice",
  ],
  [
    "one by one: an atomic at the kernel's end",
    `${loopAlone("")} red.global.add.u32 [%rd1],1;`,
    "may not happen twice",
  ],
  [
    "an image that is written",
    `sust.b.1d.b32.trap [image,{%r3}],{%r4}; ${loop("")}`,
    "may not happen twice",
    ".global .surfref image;",
  ],
  [
    "a function with an atomic",
    `call f, (); ${loop("")}`,
    "call at line 12 may not happen twice",
    ".func f () { .reg .b64 %rd<3>; red.global.add.u32 [%rd1],1; ret; }",
  ],
  [
    "a function that stores, where something is read",
    `call f, (); ${loop(READ_Q)}`,
    "is not known",
    ".func f () { .reg .b64 %rd<3>; st.global.u32 [%rd1],1; ret; }",
  ],
  [
    "a store by a pointer from memory",
    `ld.global.u64 %rd3,[%rd1]; st.global.u32 [%rd3],1; ${loop("")}`,
    "is not known",
  ],
  [
    "a read by a pointer from memory",
    `st.global.u32 [%rd1],1; ${loop("ld.global.u64 %rd3,[%rd2]; ld.global.u32 %r3,[%rd3];")}`,
    "is not known",
  ],
  [
    "a pointer from shared memory",
    `ld.shared.u64 %rd3,[tile]; st.global.u32 [%rd3],1; ${loop(READ_Q)}`,
    "is not known",
  ],
  [
    "a pointer put together from halves",
    `mov.b64 {%r5,%r6},%rd1; mov.b64 %rd3,{%r5,%r6}; st.global.u32 [%rd3],1; ${loop(READ_Q)}`,
    "is not known",
  ],
  [
    "a pointer computed from nothing",
    `mov.u64 %rd3,4096; st.global.u32 [%rd3],1; ${loop(READ_Q)}`,
    "is not known",
  ],
  [
    "a store, and a texture",
    `st.global.u32 [%rd1],1; ${loop("tex.1d.v4.f32.s32 {%f1,%f2,%f3,%f4},[image,{%r3}];")}`,
    "is not known",
    ".global .texref image;",
  ],
];

for (const [what, body, reason, head] of REFUSED) {
  Deno.test(`may not be run again: ${what}`, () => {
    const found = report(body, head, false);
    assertEquals([found.level, found.restartable], ["block", false]);
    assert(found.unchecked[0]?.reason.includes(reason), found.unchecked[0]?.reason);
    assert(found.restartReason.includes(reason), found.restartReason);
  });
}

Deno.test("of two loops the one ahead of an atomic has a checkpoint, the one behind it has none", () => {
  const found = report(
    `${
      loop("")
    } red.global.add.u32 [%rd1],1;\nld.param.u32 %r2,[n]; M: sub.u32 %r2,%r2,1; setp.gt.s32 %p2,%r2,0; @%p2 bra M;`,
  );
  assertEquals([found.level, found.checkpoints], ["loop", [{ line: 12, kind: "together" }]]);
  assertEquals(found.unchecked, [{ line: 13, reason: "red.global.add.u32 at line 12 may not happen twice" }]);
});
