/** Which mistakes can be made in how a worker begins, gathers, leaves and ends? Planted by verify_test.ts. */

import { fixture } from "./fixtures.ts";
import { WRITTEN } from "./preemption_kernels.ts";
import { drop, type Mistake, swap } from "./verify_mistakes.ts";

const { turns_together, turns_alone, returns_early, meets_at_object, copies_ahead } = WRITTEN;
const grids = fixture("grids");

export const PROTOCOL: readonly Mistake[] = [
  ...[0, 1, 2].map((which): Mistake => ({
    what: `load ${which} of the gate is dropped where a worker begins`,
    of: turns_together,
    change: (t) => {
      const loads = [...t.matchAll(/\tld\.relaxed\.sys\.global\.v4\.u32 .*\n/g)].map(([load]) => load);
      return drop(loads[which] ?? "no load")(t);
    },
    rule: /(is not known|that nobody wrote) \(A worker whose turn it is/,
  })),
  {
    what: "the pause word is not looked at",
    of: turns_together,
    change: (t) => t.replaceAll("or.b32 %calypte_w0, %calypte_w0, %calypte_pause;\n", ""),
    rule: /must not begin where pause is not 0/,
  },
  {
    what: "closing words are combined by AND",
    of: turns_together,
    change: (t) =>
      t.replaceAll(
        "or.b32 %calypte_w4, %calypte_w4, %calypte_w6;",
        "and.b32 %calypte_w4, %calypte_w4, %calypte_w6;",
      ),
    rule: /a worker leaves where gate word \d is not 0/,
  },
  {
    what: "signed numbers of blocks are compared",
    of: turns_together,
    change: (t) =>
      t.replaceAll("setp.lt.u32 %calypte_go, %calypte_next", "setp.lt.s32 %calypte_go, %calypte_next"),
    rule: /draws beyond the grid counts and ends/,
  },
  {
    what: "the barrier where a worker begins is met by thread 0 only",
    of: turns_together,
    change: swap(
      "\tbar.red.and.pred %calypte_go, 0, %calypte_go;",
      "\t@%calypte_first bar.red.and.pred %calypte_go, 0, %calypte_go;",
    ),
    rule: /An inserted barrier is met by some threads only/,
  },
  {
    what: "thread 0 alone meets the barrier at the end of a run",
    of: turns_together,
    change: (t) =>
      swap("$CALYPTE_MEET:\n\tbar.red.or.pred %calypte_closed, 0, %calypte_closed;\n", "$$CALYPTE_MEET:\n")(
        swap(
          "\tst.global.u32 [%calypte_record+8], %calypte_ticket;\n",
          "$&\tbar.red.or.pred %calypte_closed, 0, %calypte_closed;\n",
        )(t),
      ),
    rule: /An inserted barrier stands where only some threads of the block may come/,
  },
  {
    what: "threads go by what they saw themselves",
    of: turns_together,
    change: swap("bar.red.and.pred %calypte_go, 0, %calypte_go;", "bar.sync 0;"),
    rule: /A worker must not begin where/,
  },
  {
    what: "all threads store left",
    of: turns_together,
    change: swap("\t@!%calypte_first bra $CALYPTE_END;\n\t@!%calypte_go", "\t@!%calypte_go"),
    rule: /Only thread 0 may do this/,
  },
  {
    what: "the next block is read without a barrier",
    of: grids,
    change: swap("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "mov.pred %calypte_closed, 0;"),
    rule: /No barrier lies between thread 0's store to the record and others that read it/,
  },
  {
    what: "the gate is read before the block has gathered",
    of: turns_together,
    cap: "block",
    change: swap(/(GATHER:\n)\tbar\.sync 0;\n/, "$1"),
    rule: /The gate is read before all threads have ended the block/,
  },
  {
    what: "nothing keeps shared memory of two blocks apart",
    of: turns_together,
    cap: "block",
    change: swap(/(GATHER:\n)\tbar\.sync 0;\n/, "$1"),
    rule: /keep the shared memory of one virtual block apart/,
  },
  {
    what: "a draw is not stored",
    of: grids,
    change: drop("\tst.global.u32 [%calypte_record+8], %calypte_ticket;\n"),
    rule: /the next is drawn and stored in the record: next of the record must hold/,
  },
  {
    what: "a count is not reset",
    of: grids,
    change: drop("\tst.relaxed.sys.global.u32 [%calypte_control+32], %calypte_w4;\n"),
    rule: /Whoever completes a step moves step_word on: completed must hold 0/,
  },
  {
    what: "the fence ahead of step_word is missing",
    of: grids,
    change: swap(/(NEXT:\n)\tfence\.acq_rel\.gpu;\n/, "$1"),
    rule: /step_word is written without a fence behind everything else/,
  },
  {
    what: "the fence at the end of a unit does not reach the host",
    of: grids,
    change: swap(/\tfence\.acq_rel\.sys;(\n\tbra \$CALYPTE_MOVE)/, "\tfence.acq_rel.gpu;$1"),
    rule: /step_word is written without a fence of system scope behind everything else/,
  },
  {
    what: "a counting worker releases nothing",
    of: grids,
    change: swap(
      "atom.release.gpu.global.add.u32 %calypte_w4",
      "atom.relaxed.gpu.global.add.u32 %calypte_w4",
    ),
    rule: /A worker counts its blocks without a fence behind what they wrote/,
  },
  {
    what: "the counters are reset without having acquired the counts of others",
    of: grids,
    change: drop("\tfence.acq_rel.gpu;\n"),
    rule: /The counters are set back without a fence behind the count/,
  },
  {
    what: "the mirror is written first",
    of: grids,
    change: (t) =>
      swap(
        "\tst.relaxed.sys.global.u64 [%calypte_record], %calypte_stored;\n",
        "$&\tst.relaxed.sys.global.u64 [%calypte_control+16], %calypte_stored;\n",
      )(
        drop("\tst.relaxed.sys.global.u64 [%calypte_control+16], %calypte_stored;\n")(t),
      ),
    rule: /\*mirror must be written behind step_word/,
  },
  {
    what: "a worker writes a word that is the dispatcher's",
    of: grids,
    change: swap("[%calypte_control+40], %calypte_stored;", "[%calypte_control+24], %calypte_stored;"),
    rule: /A worker must not write granted/,
  },
  {
    what: "another worker's record is written",
    of: grids,
    change: swap(
      "mad.wide.u32 %calypte_record, %calypte_worker, 16,",
      "mad.wide.u32 %calypte_record, %calypte_worker, 8,",
    ),
    rule: /the record of another worker|memory that is not its own|is not known/,
  },
  {
    what: "left is stored weakly",
    of: grids,
    change: (t) =>
      t.replaceAll("st.relaxed.sys.global.u32 [%calypte_control+4]", "st.global.u32 [%calypte_control+4]"),
    rule: /left is written by a store that may be seen late/,
  },
  {
    what: "in a job of one step nobody looks at left again",
    of: grids,
    change: drop("\tsetp.ne.and.u32 %calypte_go, %calypte_left, %calypte_entry, %calypte_go;\n"),
    rule: /In a job of one step, a worker looks at left once more/,
  },
  {
    what: "one block is begun without looking at the gate",
    of: grids,
    change: swap(
      "\tmov.pred %calypte_closed, 0;\n",
      "\tsetp.eq.u32 %calypte_go, %calypte_next, 12345;\n\t@%calypte_go bra $$CALYPTE_RUN;\n$&",
    ),
    rule: /A way leads to a virtual block past the decision whether to run it/,
  },
  {
    what: "lanes that return are waited for by others of their warp",
    of: returns_early,
    both: swap("\tadd.u32 %r14, %r14, %r6;\n", "\tshfl.sync.idx.b32 %r14, %r14, 0, 31, -1;\n$&"),
    change: (t) => t,
    rule: /Lanes may have returned ahead of this/,
  },
  {
    what: "an inserted loop has no end",
    of: grids,
    change: swap("$CALYPTE_TAKE:\n", "$&\tbra $$CALYPTE_TAKE;\n"),
    rule: /comes to no end/,
  },
  {
    what: "threads that have returned are not counted",
    of: returns_early,
    change: swap(/\$CALYPTE_RETURNED:\n.*\n.*\n/, "bar.sync 0;\n"),
    rule: /Who has returned must be counted at the barriers of the body and where the block gathers alike/,
  },
  {
    what: "threads that have returned wait at one barrier of the others only",
    of: returns_early,
    change: drop("\t@!%calypte_go bra $CALYPTE_RETURNED;\n"),
    rule: /Threads that have returned must wait until all have/,
  },
  {
    what: "one barrier does not count who has returned",
    of: returns_early,
    change: swap("barrier.red.and.pred %calypte_go, 0, %calypte_done;", "bar.sync 0;"),
    rule: /Where one barrier counts the threads that have returned, all must/,
  },
  {
    what: "who returned from one block has returned from the next",
    of: returns_early,
    change: drop("\tmov.pred %calypte_done, 0;\n"),
    rule: /%calypte_done must be false where a virtual block begins/,
  },
  {
    what: "copies are not waited for",
    of: copies_ahead,
    cap: "block",
    change: drop("\tcp.async.wait_all;\n"),
    rule: /Asynchronous copies must be waited for before the block gathers/,
  },
  {
    what: "an mbarrier is not given up",
    of: meets_at_object,
    change: drop(/.*mbarrier\.inval.*\n/),
    rule: /An mbarrier must be given up/,
  },
  {
    what: "an mbarrier's address is not kept",
    of: meets_at_object,
    change: drop("\tmov.pred %calypte_live0, 1;\n"),
    rule: /Where an mbarrier is set up, its address must be kept/,
  },
  {
    what: "at level slice another block runs",
    of: grids,
    cap: "slice",
    change: drop("\tadd.u32 %calypte_next, %calypte_next, %calypte_w0;\n"),
    rule: /%ctaid must be that of virtual block/,
  },
  {
    what: "at level slice memory is written",
    of: turns_alone,
    cap: "slice",
    change: swap("\tmov.u32 %r4, %calypte_x;", "\tst.shared.u32 [%calypte_x], %calypte_x;\n$&"),
    rule: /Only a checkpoint may touch memory/,
  },
];
