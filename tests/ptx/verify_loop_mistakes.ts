/** Which mistakes can be made in checkpoints inside a block, and in loops cut into strips? Planted by verify_test.ts. */

import { kernelText } from "./fixtures.ts";
import { WRITTEN } from "./preemption_kernels.ts";
import { drop, type Mistake, swap } from "./verify_mistakes.ts";

const { turns_together, meets_behind } = WRITTEN;

export const LOOP: readonly Mistake[] = [
  {
    what: "the checkpoint of a loop is gone around",
    of: turns_together,
    change: (t) => swap("LOOP:\n\tadd.s32", "\tadd.s32")(swap("$CALYPTE_GO0:\n", "$&LOOP:\n")(t)),
    rule: /A way leads around the countdown of a checkpoint/,
  },
  {
    what: "a loop does not count down",
    of: turns_together,
    change: swap(/(add\.s32 %calypte_budget, %calypte_budget, )-\d+/, "$10"),
    rule: /A loop with a checkpoint must count its turns down/,
  },
  {
    what: "a countdown does not begin with the block",
    of: turns_together,
    change: drop("\tld.param.u32 %calypte_budget, [calypte_period];\n"),
    rule: /Where a virtual block begins, the countdown is set/,
  },
  {
    what: "a checkpoint leaves gate words out",
    of: turns_together,
    change: swap(
      "mad.wide.u32 %calypte_control, %calypte_w2, 8,",
      "mad.wide.u32 %calypte_control, %calypte_w2, 4,",
    ),
    rule: /a block is given up where gate word \d is not 0|is not known/,
  },
  {
    what: "too few threads ask",
    of: turns_together,
    change: swap(
      "setp.lt.and.u32 %calypte_reader, %calypte_w2, 6,",
      "setp.lt.and.u32 %calypte_reader, %calypte_w2, 5,",
    ),
    rule: /a block is given up where pause is not 0/,
  },
  {
    what: "each thread gives up by what it saw itself",
    of: turns_together,
    change: swap(/(ANSWER0:[^]*?)bar\.red\.or\.pred %calypte_closed, 0, %calypte_closed;/, "$1bar.sync 0;"),
    rule: /An inserted barrier stands where only some threads of the block may come/,
  },
  {
    what: "a block that was given up counts as completed",
    of: turns_together,
    change: swap("$CALYPTE_ABANDON:\n", "$&\tadd.u32 %calypte_count, %calypte_count, 1;\n"),
    rule: /a block is given up where .*: completed must hold/,
  },
  {
    what: "a block that was given up is not in the record",
    of: turns_together,
    change: swap(/(ABANDON:[^]*?)\tst\.global\.u32 \[%calypte_record\+8\], %calypte_next;\n/, "$1"),
    rule: /a block is given up where .*: next of the record must hold 23/,
  },
  {
    what: "who gives a block up does not store left",
    of: turns_together,
    change: swap("\tbra $CALYPTE_LEAVE;\n", "\tbra $$CALYPTE_COUNT;\n"),
    rule: /a block is given up where/,
  },
  {
    what: "threads give up before an atomic that all have done",
    of: turns_together,
    both: swap("\tmov.u32 %r20, %r1;\n", "\tred.global.add.u32 [%rd2], 1;\n$&"),
    change: (t) => t,
    rule: /A block may be given up behind this, and it may not happen twice/,
  },
  {
    what: "a block is given up behind a store to what it reads",
    of: turns_together,
    both: swap("\tmov.u32 %r20, %r1;\n", "\tst.global.u32 [%rd3], %r1;\n$&"),
    change: (t) => t,
    rule: /A block may be given up behind this, and what it writes may be read when the block runs again/,
  },
  {
    what: "who gives up by itself does not wait for the others",
    of: meets_behind,
    change: swap(/bra \$CALYPTE_MEETING0;(\n\$CALYPTE_)/, "bra $$CALYPTE_ABANDON;$1"),
    rule: /Who gives up by itself must wait where the others come/,
  },
  {
    what: "the others go on when some have given up",
    of: meets_behind,
    change: swap(
      /(MEETING0:\n\tbarrier\.red\.or\.pred .*\n)\t@%calypte_closed bra \$CALYPTE_ABANDON;\n/,
      "$1",
    ),
    rule: /A block is given up where one of its threads has/,
  },
  {
    what: "nobody says at first that nobody has given up",
    of: meets_behind,
    change: drop(/.*st\.volatile\.shared\.u32 \[calypte_given_up\], .*\n/),
    rule: /given_up must be 0 where a worker begins/,
  },
  {
    what: "threads that gave up have given up the next block, too",
    of: meets_behind,
    change: drop("\tmov.pred %calypte_gone, 0;\n"),
    rule: /%calypte_gone must be false where a virtual block begins/,
  },
  {
    what: "lanes wait for others that have given up",
    of: meets_behind,
    both: swap("\tst.shared.u32 [%r11], %r6;\n", "\tshfl.sync.idx.b32 %r6, %r6, 0, 31, -1;\n$&"),
    change: (t) => t,
    rule: /Lanes that gave up by themselves are missing here/,
  },
];

/** A loop that counts up to a bound, so that it is cut into strips. */
const counts = kernelText(`
	ld.param.u64 %rd1, [p];
	ld.param.u32 %r1, [n];
	mov.u32 %r20, 0;
	mov.u32 %r2, 7;
LOOP:
	mad.lo.u32 %r2, %r2, %r2, %r20;
	setp.eq.u32 %p2, %r2, 3;
	add.u32 %r20, %r20, 2;
	setp.lt.u32 %p1, %r20, %r1;
	@%p1 bra LOOP;
	st.global.u32 [%rd1], %r2;
	ret;`.replaceAll("%r20", "%r9"));

/** In loops that threads leave one by one. */
export const ALONE: readonly Mistake[] = [];

export const STRIPS: readonly Mistake[] = [
  {
    what: "the limit of a strip lies beyond the bound",
    of: counts,
    change: drop("\t@%calypte_due mov.b32 %calypte_limit0, %r1;\n"),
    rule: /The limit of a strip lies beyond the bound of its loop/,
  },
  {
    what: "the first strip is two turns",
    of: counts,
    change: swap("add.s32 %calypte_limit0, %r9, 2;", "add.s32 %calypte_limit0, %r9, 4;"),
    rule: /The first strip of a loop must be one turn/,
  },
  {
    what: "the true comparison is not made where a strip ends",
    of: counts,
    change: drop("\tsetp.lt.u32 %p1, %r9, %r1;\n"),
    rule: /Where a strip ends, the true comparison must be made again/,
  },
  {
    what: "a strip is longer than the countdown",
    of: counts,
    change: swap("min.u32 %calypte_w0, %calypte_w0, 4095;", "mov.u32 %calypte_w0, 4095;"),
    rule: /A strip is longer than the countdown allows/,
  },
  {
    what: "a strip is for nothing",
    of: counts,
    change: swap(/sub\.s32 (%calypte_\w+), \1, %calypte_w0;/, "add.s32 $1, $1, %calypte_w0;"),
    rule: /A strip must be paid for out of the countdown/,
  },
  {
    what: "a loop is cut into strips that does not count in every turn",
    of: counts,
    both: swap("\tadd.u32 %r9, %r9, 2;", "\t@%p2 add.u32 %r9, %r9, 2;"),
    change: (t) => t,
    rule: /it does not count once in every turn/,
  },
  {
    what: "a loop is cut into strips whose bound changes",
    of: counts,
    both: swap("\tadd.u32 %r9, %r9, 2;", "$&\n\tmov.u32 %r1, %r2;"),
    change: (t) => t,
    rule: /its bound may change/,
  },
];
