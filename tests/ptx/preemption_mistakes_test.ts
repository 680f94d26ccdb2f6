/**
 * Would the preemption tests notice a mistake in what the checkpoint compiler writes? One is planted at a time.
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test.
 */

import { assert, assertThrows } from "../assert.ts";
import { type Case, CASES, OWN_CASES, reaches, rewriteCase, rewritten, SEED } from "./preemption_cases.ts";
import type { Cap, Mistake, Options } from "./preemption_cases.ts";
import {
  checkCase,
  checkSliced,
  drains,
  endSticks,
  givesUp,
  refuses,
  sticks,
  sticksFromTheStart,
} from "./preemption_checks.ts";

/** Takes the barriers that gather a block away, those ahead of reading the gate. */
const ungathered: Mistake = (t) =>
  t.replaceAll(/\$CALYPTE_GATHER:[^]*?\$CALYPTE_MEET:/g, (text) => text.replaceAll(/\tbar\.sync 0;\n/g, ""));

Deno.test("a planted mistake is caught: thread 0 reads the gate on its own arrival", () => {
  assertThrows(() => drains({ mistake: ungathered }), Error, "wrote after the gate had closed");
});

/** What a mistake leads to; anything else would be a fault of the test. */
const CAUGHT =
  /not equal|hangs|still under way|does not end|^Threads (of|meet)|touches the mbarrier|outside the bounds|step word/;

function assertCaught(work: () => void): void {
  const error = assertThrows(work, Error);
  assert(CAUGHT.test(error.message), error.message);
}

interface Planted {
  readonly what: string;
  readonly change: Mistake;
  /** Absent: those of the fixtures. A case that a mistake does not change is left out. */
  readonly cases?: readonly Case[];
  readonly cap?: Cap;
}

/** Mistakes that change the data or hang; running the cases preempted must notice each. */
const MISTAKES: readonly Planted[] = [
  {
    what: "a record of an earlier step is taken for this step's",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_resumed, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_resumed, -1;",
      ),
  },
  {
    what: "records are never resumed from",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_resumed, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_resumed, 0;",
      ),
  },
  {
    what: "only one block counts as completed, however many were",
    change: (t) => t.replaceAll("add.u32 %calypte_count, %calypte_count, 1;", "mov.u32 %calypte_count, 1;"),
  },
  {
    what: "drawing begins one block too late",
    change: (t) =>
      t.replaceAll(
        "add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1;",
        "add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1; add.u32 %calypte_ticket, %calypte_ticket, 1;",
      ),
  },
  {
    what: "drawing begins at the first block",
    change: (t) => t.replaceAll("add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1;", ""),
  },
  {
    what: "a block that was drawn and not begun is forgotten",
    change: (t) => t.replaceAll("st.global.u32 [%calypte_record+8], %calypte_ticket;", ""),
  },
  {
    what: "the counter that blocks are drawn from is not set back at the end of a step",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+128\], %calypte_w4;/g, ""),
  },
  {
    what: "the record is stored without the step word",
    change: (t) => t.replaceAll("@%calypte_go st.global.u64 [%calypte_record], %calypte_word;", ""),
  },
  {
    what: "the count is not set back at the end of a step",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+32\], %calypte_w4;/g, ""),
  },
  {
    what: "the virtual block index ignores the width of the grid",
    change: (t) => t.replaceAll(/sub\.u32 %calypte_[xy], .*/g, ""),
  },
  {
    what: "threads do not wait for each other between two blocks",
    change: (t) =>
      ungathered(t)
        .replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "mov.pred %calypte_closed, 0;"),
  },
  {
    what: "thread 0 leaves without telling the others",
    change: (t) => t.replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "bar.sync 0;"),
  },
  {
    what: "each thread decides by itself whether to begin",
    change: (t) => t.replaceAll("bar.red.and.pred %calypte_go, 0, %calypte_go;", "bar.sync 0;"),
  },
  {
    what: "a worker that leaves does not count what it completed",
    change: (t) => t.replaceAll(/\tred\.relaxed\.gpu\.global\.add\.u32 .*/g, ""),
  },
  {
    what: "the host is not told",
    change: (t) => t.replaceAll("st.relaxed.sys.global.u64 [%calypte_record], %calypte_stored;", ""),
  },
  {
    what: "copies that are under way are not waited for",
    change: (t) => t.replaceAll(/(GATHER:\n)\tcp\.async\.wait_all;/g, "$1"),
    cases: [OWN_CASES.copies_ahead],
  },
  {
    what: "an mbarrier is not given up before the next block sets it up",
    change: (t) => t.replaceAll(/.*mbarrier\.inval.*/g, ""),
    cases: [OWN_CASES.meets_at_object],
  },
  {
    what: "shared memory is put in front of the kernel's own",
    change: (t) => t.replaceAll("\t.reg .pred %p<9>;", "\t.reg .pred %p<9>;\n\t.shared .b32 planted;"),
    cases: [OWN_CASES.looks_where],
  },
  {
    what: "threads that have returned are not counted at the barriers of the others",
    change: (t) => t.replaceAll(/\$CALYPTE_RETURNED:\n.*\n.*\n/g, "bar.sync 0;\n"),
    cases: [OWN_CASES.returns_early],
  },
  {
    what: "threads that have returned wait at one barrier of the others only",
    change: (t) => t.replaceAll("@!%calypte_go bra $CALYPTE_RETURNED;", ""),
    cases: [OWN_CASES.returns_early],
  },
  {
    what: "threads that returned from one block count as returned from the next",
    change: (t) => t.replaceAll("mov.pred %calypte_done, 0;", ""),
    cases: [OWN_CASES.returns_early],
  },
];

/** The same for what level loop adds. */
const LOOP_MISTAKES: readonly Planted[] = [
  {
    what: "a block that was given up counts as completed",
    change: (t) =>
      t.replaceAll("$CALYPTE_ABANDON:", "$CALYPTE_ABANDON:\n\tadd.u32 %calypte_count, %calypte_count, 1;"),
    cap: "loop",
  },
  {
    what: "a worker that gives up its block takes the next one",
    change: (t) =>
      t.replaceAll(
        "red.relaxed.gpu.global.add.u64 [%calypte_control+48], %calypte_stored;",
        "mov.u64 %calypte_record, 0; bra $CALYPTE_GATHER;",
      ),
    cap: "loop",
  },
  {
    what: "threads that turn a loop together give up one by one",
    change: (t) =>
      t.replaceAll(
        /bar\.red\.or\.pred %calypte_closed, 0, %calypte_closed;(\n.*)bra\.uni (.*ABANDON;)/g,
        "$1bra $2",
      ),
    cases: [OWN_CASES.turns_together],
    cap: "loop",
  },
  {
    what: "who gives up by itself does not wait for the others",
    change: (t) =>
      t.replaceAll(/bra \$CALYPTE_(MEETING0|GATHER);(\n\$CALYPTE_ABANDON:)/g, "bra $CALYPTE_ABANDON;$2"),
    cases: [OWN_CASES.turns_alone, OWN_CASES.meets_behind],
    cap: "loop",
  },
  {
    what: "the others go on when some have given up",
    change: (t) =>
      t.replaceAll(
        "barrier.red.or.pred %calypte_closed, 0, %calypte_gone;",
        "barrier.sync 0; mov.pred %calypte_closed, %calypte_gone;",
      ),
    cases: [OWN_CASES.turns_alone, OWN_CASES.meets_behind],
    cap: "loop",
  },
  {
    what: "nobody says at the start that no thread has given up yet",
    change: (t) => t.replaceAll(/.*st\.volatile\.shared\.u32 \[calypte_given_up\], .*/g, ""),
    cases: [OWN_CASES.turns_alone],
    cap: "loop",
  },
];

const WRONG_REFUSALS: readonly { what: string; change: Mistake; check: (options: Options) => void }[] = [
  {
    what: "a unit that was not granted is begun",
    change: (t) => t.replaceAll(/setp\.lt\.and\.u64 %calypte_mine, .*/g, ""),
    check: refuses,
  },
  {
    what: "a launch with another N takes part",
    change: (t) => t.replaceAll(/setp\.eq\.u32 %calypte_mine, .*/g, "mov.pred %calypte_mine, -1;"),
    check: refuses,
  },
  {
    what: "a launch takes part out of turn",
    change: (t) => t.replaceAll(/setp\.eq\.and\.u32 %calypte_mine, .*/g, ""),
    check: refuses,
  },
  {
    what: "leaving does not stick",
    change: (t) => t.replaceAll(/(@%\w+ )?st\.relaxed\.sys\.global\.u32 \[%calypte_control\+4\], .*/g, ""),
    check: sticks,
  },
  {
    what: "only the gate words count, and not what sticks",
    change: (t) => t.replaceAll(/setp\.eq\.or\.u32 %calypte_closed, .*/g, ""),
    check: sticks,
  },
  {
    what: "the end of a unit does not stick",
    change: (t) => t.replaceAll(/\tst\.relaxed\.sys\.global\.u32 .*\n(\tshr\.u64)/g, "$1"),
    check: endSticks,
  },
  {
    what: "an entering worker that sees the gate closed does not make it stick",
    change: (t) => t.replaceAll(/@%calypte_mine st\.relaxed\.sys\.global\.u32 .*/g, ""),
    check: sticksFromTheStart,
  },
];

for (const { what, change, check } of WRONG_REFUSALS) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => check({ mistake: change }), Error, "not equal");
  });
}

for (const { what, change, cases = CASES, cap = "block" } of [...MISTAKES, ...LOOP_MISTAKES]) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertCaught(() => {
      for (const of of cases) {
        const { text } = rewriteCase(of, cap);
        if (change(text) === text) continue;
        const module = rewritten(of, { cap, mistake: change });
        for (let i = 0; i < 12; i++) checkCase(of, module, SEED + i, 3);
      }
    });
  });
}

/** Mistakes that keep a loop from giving its block up: harmless to the data, and late. */
const LATE: readonly { what: string; change: Mistake }[] = [
  {
    what: "what was read of the gate is never looked at",
    change: (t) => t.replaceAll("@%calypte_due bra.uni $CALYPTE_ANSWER0;", ""),
  },
  {
    what: "a loop looks at every other word of the gate only",
    change: (t) =>
      t.replaceAll(
        "or.b32 %calypte_w0, %calypte_seen0, %calypte_seen1;",
        "mov.b32 %calypte_w0, %calypte_seen1;",
      ),
  },
];

for (const { what, change } of LATE) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => givesUp(OWN_CASES.turns_together, { mistake: change }), Error, "blocks were given up");
  });
}

const SLICE_MISTAKES: readonly { what: string; change: Mistake }[] = [
  {
    what: "every slice begins at the first block",
    change: (t) => t.replaceAll("add.u32 %calypte_next, %calypte_next, %calypte_w0;", ""),
  },
  {
    what: "the grid of a slice is taken for the kernel's",
    change: (t) =>
      t.replaceAll(/ld\.param\.u32 (%calypte_extent), \[calypte_grid_(.)\];/g, "mov.u32 $1, %nctaid.$2;"),
  },
];

for (const { what, change } of SLICE_MISTAKES) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertCaught(() => {
      for (const of of CASES) {
        const { text } = rewriteCase(of, "slice");
        if (change(text) === text) continue;
        const module = rewritten(of, { cap: "slice", mistake: change });
        for (let i = 0; i < 4; i++) checkSliced(of, module, SEED + i);
      }
    });
  });
}

/**
 * Kernels that the compiler rightly refuses a checkpoint, and what it is shown in their place: the rewritten text gets back
 * what was hidden from it, and has the checkpoint nevertheless.
 */
const HIDDEN: readonly { what: string; of: Case; hidden: string; shown: string }[] = [
  {
    what: "a block is given up after a store that its second run reads",
    of: OWN_CASES.turns_together,
    hidden:
      "ld.global.u32 %r25, [%rd4]; add.u32 %r25, %r25, %r20; st.global.u32 [%rd4], %r25; add.u32 %r6, %r6, %r25;",
    shown: "prefetch.global.L2 [%rd4];",
  },
  {
    what: "a block is given up after an atomic addition",
    of: OWN_CASES.turns_together,
    hidden: "red.global.add.u32 [%rd2+4000], %r6;",
    shown: "prefetch.global.L2 [%rd2+4000];",
  },
  {
    what: "threads decide together in a loop that they leave one by one",
    of: OWN_CASES.turns_alone,
    hidden: "and.b32 %r20, %r6, 31;",
    shown: "and.b32 %r20, %r1, 31;",
  },
];

for (const { what, of, hidden, shown } of HIDDEN) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    // What is hidden takes the place of what is shown, or comes ahead of the loop's last instructions.
    const place = of.text.includes(hidden) ? hidden : "sub.u32 %r20, %r20, 1;";
    const rest = place === hidden ? "" : `\n\t${place}`;
    const real: Case = { ...of, text: of.text.replace(place, hidden + rest) };
    const harmless: Case = { ...of, text: of.text.replace(place, shown + rest) };
    const checkpoints = (c: Case) => rewriteCase(c, "loop").kernels[0]?.checkpoints.map(({ kind }) => kind);
    assert(checkpoints(harmless)?.includes("together") && !checkpoints(real)?.includes("together"));
    assert(reaches(harmless, "loop"));
    const module = rewritten(harmless, { cap: "loop", mistake: (t) => t.replaceAll(shown, hidden) });
    assertCaught(() => {
      for (let i = 0; i < 12; i++) checkCase(real, module, SEED + i, 3);
    });
  });
}
