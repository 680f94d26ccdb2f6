/**
 * Does the interpreter hold threads together as hardware does, and does it refuse what hardware leaves undefined?
 *
 * Only what waits is looked at here: barriers, instructions of a warp, mbarriers. Each body runs under several seeds.
 */

import { assertEquals, assertThrows } from "../assert.ts";
import { parseModule } from "../../ptx/mod.ts";
import { kernelText } from "./fixtures.ts";
import { BASE, GlobalMemory, randomFrom, run } from "./interpreter.ts";

const BEGIN =
  "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd2, %rd1, %rd2;";
const END = "st.global.u32 [%rd2], %r9; ret;";

/** Runs a body in one block of so many threads; the words that its threads stored, by thread. */
function words(threads: number, body: string, seed: number): number[] {
  const memory = new GlobalMemory(4 * threads);
  run({
    module: parseModule(kernelText(`${BEGIN} ${body}`), "k"),
    kernel: "k",
    grid: [1, 1, 1],
    block: [threads, 1, 1],
    args: [BASE, 0],
    memory,
    random: randomFrom(seed),
    limit: 100_000,
  });
  return Array.from({ length: threads }, (_, i) => memory.u32(BASE + 4 * i));
}

interface Rule {
  readonly what: string;
  readonly threads: number;
  readonly body: string;
  /** What each thread stores, or a piece of the error. */
  readonly then: ((thread: number) => number) | string;
}

/** Threads below 32, the first warp, go to A. */
const BY_WARP = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A;";
/** Even threads go to A. */
const BY_LANE = "and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra A;";
const EXCHANGE = (barrier: string) =>
  `shl.b32 %r2, %r1, 2; mov.u32 %r3, tile; add.u32 %r4, %r3, %r2; st.shared.u32 [%r4], %r1; ${barrier}
   xor.b32 %r5, %r2, 252; add.u32 %r5, %r3, %r5; ld.shared.u32 %r9, [%r5];`;

const RULES: readonly Rule[] = [
  {
    what: "a barrier keeps a load behind the others' stores",
    threads: 64,
    body: `${EXCHANGE("bar.sync 0;")} ${END}`,
    then: (t) => t ^ 63,
  },
  {
    what: "warps may stand at different instructions of the same barrier",
    threads: 64,
    body: `${BY_WARP} ${EXCHANGE("bar.sync 1;")} bra E; A: ${
      EXCHANGE("barrier.cta.sync.aligned 1;")
    } E: ${END}`,
    then: (t) => t ^ 63,
  },
  {
    what: "threads of a warp may not stand at different aligned instructions",
    threads: 32,
    body: `${BY_LANE} bar.sync 0; bra E; A: bar.sync 0; E: ${END}`,
    then: "Threads of warp 0 wait at different aligned barriers",
  },
  {
    what: "an aligned instruction does not go with one that is not, in one warp",
    threads: 32,
    body: `${BY_LANE} barrier.cta.sync 0; bra E; A: bar.sync 0; E: ${END}`,
    then: "Threads of warp 0 wait at different aligned barriers",
  },
  {
    what: "threads of a warp may stand at different instructions that are not aligned",
    threads: 64,
    body: `${BY_LANE} ${EXCHANGE("barrier.cta.sync 0;")} bra E; A: ${EXCHANGE("barrier.sync 0;")} E: ${END}`,
    then: (t) => t ^ 63,
  },
  {
    what: "those that are not aligned reduce over all of the block",
    threads: 40,
    body: `setp.lt.u32 %p2, %r1, 9; ${BY_LANE} barrier.cta.red.popc.u32 %r9, 3, %p2; bra E;
      A: barrier.cta.red.popc.u32 %r9, 3, !%p2; E: ${END}`,
    then: () => 4 + 15, // odd threads below 9, even ones from 10 on
  },
  {
    what: "a reduction tells all threads whether all, and whether any, said yes",
    threads: 33,
    body: `setp.ne.u32 %p1, %r1, 32; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1;
      selp.u32 %r9, 1, 0, %p2; selp.u32 %r2, 2, 0, %p3; add.u32 %r9, %r9, %r2; ${END}`,
    then: () => 2,
  },
  {
    what: "a reduction does not go with a plain barrier",
    threads: 64,
    body: `${BY_WARP} bar.sync 0; bra E; A: bar.red.or.pred %p2, 0, %p1; E: ${END}`,
    then: "Threads meet barrier 0 as",
  },
  {
    what: "reductions of one barrier have one operator",
    threads: 64,
    body: `${BY_WARP} bar.red.and.pred %p2, 0, %p1; bra E; A: bar.red.or.pred %p2, 0, %p1; E: ${END}`,
    then: "Threads meet barrier 0 as",
  },
  {
    what: "warps that wait at barriers of different numbers wait for ever",
    threads: 64,
    body: `${BY_WARP} bar.sync 0; bra E; A: bar.sync 1; E: ${END}`,
    then: "hangs",
  },
  {
    what: "threads that have ended are not waited for",
    threads: 64,
    body: `st.global.u32 [%rd2], %r1; setp.lt.u32 %p1, %r1, 40; @%p1 ret; setp.ne.u32 %p2, %r1, 50;
      bar.red.popc.u32 %r9, 0, %p2; ${END}`,
    then: (t) => t < 40 ? t : 23,
  },
  {
    what: "a thread that ends without coming lets those go on that wait",
    threads: 33,
    body: `mov.u32 %r9, 7; setp.eq.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 0; bra E;
      A: mov.u32 %r3, 400; L: sub.u32 %r3, %r3, 1; setp.ne.u32 %p2, %r3, 0; @%p2 bra L; E: ${END}`,
    then: () => 7,
  },
  {
    what: "a barrier that counts two warps does not wait for the third",
    threads: 96,
    body: `setp.ge.u32 %p1, %r1, 64; @%p1 bra A; bar.sync 2, 64; mov.u32 %r9, 5;
      A: selp.u32 %r9, 6, %r9, %p1; bar.sync 0; ${END}`,
    then: (t) => t < 64 ? 5 : 6,
  },
  {
    what: "an aligned barrier counts a warp as 32, though some of its threads have ended",
    threads: 64,
    body: `mov.u32 %r9, 3; st.global.u32 [%rd2], %r9; setp.eq.u32 %p1, %r1, 5; @%p1 ret;
      bar.sync 2, 64; mov.u32 %r9, 4; ${END}`,
    then: (t) => t === 5 ? 3 : 4,
  },
  {
    what: "a barrier that counts more threads than come is never passed",
    threads: 64,
    body: `${BY_WARP} bar.sync 2, 64; A: ${END}`,
    then: "hangs",
  },
  {
    what: "threads of one barrier give one count",
    threads: 64,
    body: `${BY_WARP} bar.sync 2, 64; bra E; A: bar.sync 2; E: ${END}`,
    then: "with different counts",
  },
  {
    what: "a count is of whole warps",
    threads: 64,
    body: `bar.sync 2, 40; ${END}`,
    then: "not whole warps",
  },
  {
    what: "there are sixteen barriers",
    threads: 32,
    body: `bar.sync 16; ${END}`,
    then: "does not exist",
  },
  {
    what: "who only arrives does not wait, and is waited for",
    threads: 64,
    body: `mov.u32 %r8, tile; ${BY_WARP} bar.sync 1, 64; ld.shared.u32 %r9, [%r8]; ${END}
      A: mov.u32 %r9, 8; st.shared.u32 [%r8], %r9; bar.arrive 1, 64; bar.warp.sync -1; mov.u32 %r9, 9; ${END}`,
    then: (t) => t < 32 ? 9 : 8,
  },
  {
    what: "a warp does not arrive twice at a barrier that nobody has passed",
    threads: 64,
    body: `${BY_WARP} bra E; A: bar.arrive 1, 96; bar.arrive 1, 96; E: ${END}`,
    then: "arrives twice",
  },
  {
    what: "a vote sees every thread of the warp that has not ended, and no others",
    threads: 64,
    body: `setp.eq.u32 %p1, %r1, 3; mov.u32 %r9, 1; st.global.u32 [%rd2], %r9; @%p1 ret;
      setp.lt.u32 %p2, %r1, 34; vote.sync.ballot.b32 %r9, %p2, -1; ${END}`,
    then: (t) => t === 3 ? 1 : t < 32 ? 0xffffffff - 8 : 3,
  },
  {
    what: "a vote of half a warp does not wait for the other half",
    threads: 32,
    body: `${BY_LANE} setp.lt.u32 %p2, %r1, 5; vote.sync.any.pred %p3, %p2, 0xaaaaaaaa; bra E;
      A: setp.lt.u32 %p2, %r1, 5; vote.sync.all.pred %p3, %p2, 0x55555555; E: selp.u32 %r9, 1, 0, %p3; ${END}`,
    then: (t) => t % 2,
  },
  {
    what: "a vote waits for all that its mask names",
    threads: 32,
    body: `${BY_LANE} bar.sync 0; bra E; A: vote.sync.any.pred %p3, %p1, -1; bar.sync 0; E: ${END}`,
    then: "hangs",
  },
  {
    what: "a thread that votes is named in its own mask",
    threads: 32,
    body: `vote.sync.any.pred %p3, %p1, 1; ${END}`,
    then: "is not in its own mask",
  },
  {
    what: "a shuffle down stops at the end of its segment",
    threads: 32,
    body: `shfl.sync.down.b32 %r9|%p1, %r1, 1, 0x181f, -1; ${END}`,
    then: (t) => t % 8 === 7 ? t : t + 1,
  },
];

const INIT = (count: number) =>
  `mov.u32 %r8, tile; setp.ne.u32 %p1, %r1, 0; @%p1 bra I; mbarrier.init.shared.b64 [%r8], ${count}; I: bar.sync 0;`;
const UNTIL = (wait: string) => `W: mbarrier.${wait}; @!%p2 bra W;`;

const OBJECTS: readonly Rule[] = [
  {
    what: "a phase of an mbarrier ends with its last arrival",
    threads: 40,
    body: `${INIT(40)} mov.u32 %r9, 100; st.shared.u32 [tile+64], %r9; mbarrier.arrive.shared.b64 %rd3, [%r8];
      ${UNTIL("try_wait.shared.b64 %p2, [%r8], %rd3")} ${END}`,
    then: () => 100,
  },
  {
    what: "who waits by parity waits for the phase of that parity",
    threads: 33,
    body: `${INIT(1)} mov.u32 %r3, 0; @%p1 bra W;
      A: mov.u32 %r2, 41; st.shared.u32 [%r8+64], %r2; mbarrier.arrive.shared::cta.b64 _, [%r8];
      W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], 0; @!%p2 bra W; ld.shared.u32 %r9, [%r8+64]; ${END}`,
    then: () => 41,
  },
  {
    what: "polling by test_wait ends as well",
    threads: 8,
    body: `${INIT(8)} mbarrier.arrive.release.cta.shared.b64 %rd3, [%r8];
      ${UNTIL("test_wait.shared.b64 %p2, [%r8], %rd3")} mov.u32 %r9, 1; ${END}`,
    then: () => 1,
  },
  {
    what: "waiting at an mbarrier that nobody arrives at any more hangs",
    threads: 8,
    body: `${INIT(9)} mbarrier.arrive.shared.b64 %rd3, [%r8];
      ${UNTIL("try_wait.shared.b64 %p2, [%r8], %rd3")} ${END}`,
    then: "hangs",
  },
  {
    what: "an mbarrier is not initialised where one lives",
    threads: 1,
    body: `${INIT(1)} mbarrier.init.shared.b64 [%r8], 1; ${END}`,
    then: "touches the mbarrier",
  },
  {
    what: "an mbarrier that was invalidated may be initialised again, and its memory used in between",
    threads: 1,
    body: `${INIT(1)} mbarrier.inval.shared.b64 [%r8]; mov.u32 %r9, 6; st.shared.u32 [%r8], %r9;
      mbarrier.init.shared.b64 [%r8], 1; ${END}`,
    then: () => 6,
  },
  {
    what: "memory of an mbarrier is not plain memory",
    threads: 1,
    body: `${INIT(1)} ld.shared.u32 %r9, [%r8+4]; ${END}`,
    then: "as plain memory",
  },
  {
    what: "nobody arrives at an mbarrier that was not initialised",
    threads: 1,
    body: `mov.u32 %r8, tile; mbarrier.arrive.shared.b64 %rd3, [%r8]; ${END}`,
    then: "none is initialised",
  },
  {
    what: "nobody waits at an mbarrier that was invalidated",
    threads: 1,
    body: `${
      INIT(1)
    } mbarrier.inval.shared.b64 [%r8]; mbarrier.test_wait.parity.shared.b64 %p2, [%r8], 0; ${END}`,
    then: "none is initialised",
  },
  {
    what: "the state of an earlier mbarrier does not fit a new one in its place",
    threads: 1,
    body: `${INIT(2)} mbarrier.arrive.shared.b64 %rd3, [%r8]; mbarrier.inval.shared.b64 [%r8];
      mbarrier.init.shared.b64 [%r8], 2; mbarrier.test_wait.shared.b64 %p2, [%r8], %rd3; ${END}`,
    then: "neither the current nor the one before",
  },
  {
    what: "no more arrive at an mbarrier than its phase has left",
    threads: 1,
    body: `${INIT(2)} mbarrier.arrive.shared.b64 %rd3, [%r8], 3; ${END}`,
    then: "3 arrivals",
  },
];

/** The address of this thread's word of the tile, holding 99. */
const OWN =
  "shl.b32 %r2, %r1, 2; mov.u32 %r3, tile; add.u32 %r4, %r3, %r2; mov.u32 %r9, 99; st.shared.u32 [%r4], %r9;";
const COPY = (from: number) =>
  `cp.async.ca.shared.global [%r4], [%rd1+${4 * from}], 4; cp.async.commit_group;`;

const COPIES: readonly Rule[] = [
  {
    what: "a copy that was waited for has landed",
    threads: 4,
    body: `${OWN} st.global.u32 [%rd2], %r1; bar.sync 0; ${
      COPY(3)
    } cp.async.wait_group 0; ld.shared.u32 %r9, [%r4];
      bar.sync 0; ${END}`,
    then: () => 3,
  },
  {
    what: "waiting for all but the last group lets the one before land",
    threads: 4,
    body: `${OWN} st.global.u32 [%rd2], %r1; bar.sync 0; ${COPY(2)} add.u32 %r4, %r4, 64; ${COPY(3)}
      cp.async.wait_group 1; ld.shared.u32 %r9, [%r4+-64]; bar.sync 0; ${END}`,
    then: () => 2,
  },
];

for (const { what, threads, body, then } of [...RULES, ...OBJECTS, ...COPIES]) {
  Deno.test(what, () => {
    for (let seed = 1; seed <= 12; seed++) {
      if (typeof then === "string") assertThrows(() => words(threads, body, seed), Error, then);
      else {
        const expected = Array.from({ length: threads }, (_, t) => then(t) >>> 0);
        assertEquals(words(threads, body, seed), expected, `seed ${seed}`);
      }
    }
  });
}

Deno.test("a copy that nobody waits for has landed in some runs and not in others", () => {
  const turns = "mov.u32 %r5, 300; L: sub.u32 %r5, %r5, 1; setp.ne.u32 %p1, %r5, 0; @%p1 bra L;";
  const body = `${OWN} mov.u32 %r6, 5; st.global.u32 [%rd2], %r6; ${
    COPY(0)
  } ${turns} ld.shared.u32 %r9, [%r4]; ${END}`;
  const seen = new Set(Array.from({ length: 40 }, (_, seed) => words(1, body, seed + 1)[0]));
  assertEquals([...seen].sort(), [5, 99]);
});

Deno.test("mbarriers of one block are not there in the next", () => {
  const module = parseModule(kernelText("mbarrier.init.shared.b64 [tile], 1; ret;"), "k");
  for (let seed = 1; seed <= 12; seed++) {
    const launch = { module, kernel: "k", block: [1, 1, 1], args: [BASE, 0] } as const;
    run({ ...launch, grid: [5, 1, 1], memory: new GlobalMemory(8), random: randomFrom(seed) });
  }
});
