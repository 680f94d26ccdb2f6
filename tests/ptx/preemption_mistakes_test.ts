/**
 * Would the preemption tests notice a mistake in the wrapper? One mistake is planted at a time.
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test.
 */

import { assertThrows } from "../assert.ts";
import { rewriteModule } from "../../ptx/mod.ts";
import { fixture } from "./fixtures.ts";
import { CASES, type Mistake, rewritten, SEED } from "./preemption_cases.ts";
import { checkCase, drains, refuses, sticks } from "./preemption_checks.ts";

Deno.test("a planted mistake is caught: thread 0 reads the gate on its own arrival", () => {
  const change = (t: string) => t.replaceAll("$CALYPTE_GATHER:\n\tbar.sync 0;", "$CALYPTE_GATHER:");
  assertThrows(() => drains(change), Error, "wrote after the gate had closed");
});

/** Mistakes that change the data or hang; running the cases preempted must notice each. */
const MISTAKES: readonly { what: string; change: Mistake }[] = [
  {
    what: "a record of an earlier step is taken for this step's",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_go, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_go, -1;",
      ),
  },
  {
    what: "records are never resumed from",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_go, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_go, 0;",
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
    change: (t) => t.replaceAll("st.global.u64 [%calypte_record], %calypte_word;", ""),
  },
  {
    what: "the count is not set back at the end of a step",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+32\], %calypte_w4;/g, ""),
  },
  {
    what: "the virtual block index ignores the width of the grid",
    change: (t) => t.replaceAll(/rem\.u32 %calypte_x, .*/g, "").replaceAll(/rem\.u32 %calypte_y, .*/g, ""),
  },
  {
    what: "threads do not wait for each other between two blocks",
    change: (t) =>
      t.replaceAll("$CALYPTE_GATHER:\n\tbar.sync 0;", "$CALYPTE_GATHER:")
        .replaceAll("$CALYPTE_GATHER:\n\tcp.async.wait_all;\n\tbar.sync 0;", "$CALYPTE_GATHER:")
        .replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "mov.pred %calypte_closed, 0;"),
  },
  {
    what: "thread 0 leaves without telling the others",
    change: (t) => t.replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "bar.sync 0;"),
  },
];

const WRONG_REFUSALS: readonly { what: string; change: Mistake; check: (mistake: Mistake) => void }[] = [
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
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+4\], .*/g, ""),
    check: sticks,
  },
  {
    what: "only the gate words count, and not what sticks",
    change: (t) => t.replaceAll(/setp\.eq\.or\.u32 %calypte_closed, .*/g, ""),
    check: sticks,
  },
];

for (const { what, change, check } of WRONG_REFUSALS) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => check(change), Error, "not equal");
  });
}

for (const { what, change } of MISTAKES) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => {
      for (const of of CASES) {
        const text = rewriteModule(fixture(of.file), { file: of.file }).text;
        if (change(text) === text) continue; // a mistake may touch only some kernels
        for (let i = 0; i < 4; i++) checkCase(of, rewritten(of, change), SEED + i, 3);
      }
    }, Error);
  });
}
