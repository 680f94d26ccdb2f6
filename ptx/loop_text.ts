/**
 * Which instructions read the gate inside a loop, and give a block up there?
 *
 * The text of level `loop`, beside wrapper.ts, as docs/PREEMPTION.md prescribes. In the loop itself stand three
 * instructions, a countdown; everything else is out of line. A read of the gate is asked for at one checkpoint and used at
 * the next, so that no thread waits for memory.
 */

import type { Checkpoint } from "./checkpoints.ts";
import {
  ABANDONED,
  findRecord,
  isFirstThread,
  readGate,
  RECORD_NEXT,
  type WrapperNames,
} from "./wrapper_text.ts";

/** Between the two halves of a read the countdown lies below this, where no period can take it. */
const ASKED = -(2 ** 30);
/** Threads that read the gate for their block: four pairs of words of the gate line, two of the control block. */
const READERS = 6;
/** Threads that a block must have along x: the readers, in one warp. */
export const LEAST_THREADS_X = 8;

export interface LoopFacts {
  readonly checkpoints: readonly Checkpoint[];
  readonly copiesAsync: boolean;
  readonly multipliesAsync: boolean;
}

export function has(kind: Checkpoint["kind"], { checkpoints }: LoopFacts): boolean {
  return checkpoints.some((c) => c.kind === kind);
}

/** Declarations, in front of everything else. */
export function loopDeclarations({ register: r, variable }: WrapperNames, facts: LoopFacts): string {
  let text = "";
  if (has("together", facts)) text += `\n\t.reg .b32 ${r}budget, ${r}seen<2>;\n\t.reg .pred ${r}reader;`;
  if (has("alone", facts)) {
    text += `\n\t.reg .b32 ${r}own;\n\t.reg .pred ${r}gone;\n\t.shared .align 4 .b32 ${variable}given_up;`;
  }
  return text;
}

/** Before anything else runs: nobody of this block has given up. A barrier follows. */
export function loopEnter(names: WrapperNames, facts: LoopFacts): string {
  if (!has("alone", facts)) return "";
  const { register: r, variable } = names;
  return `${isFirstThread(r)}
	mov.u32 ${r}w0, 0;
	@${r}first st.volatile.shared.u32 [${variable}given_up], ${r}w0;`;
}

/** Where a virtual block begins. */
export function loopBegin({ register: r, param }: WrapperNames, facts: LoopFacts): string {
  let text = "";
  if (has("together", facts)) text += `\n\tld.param.u32 ${r}budget, [${param("period")}];`;
  if (has("alone", facts)) {
    text += `\n\tld.param.u32 ${r}own, [${param("period")}];\n\tmov.pred ${r}gone, 0;`;
  }
  return text;
}

/**
 * In front of the first instruction of a loop's header. `inLine` is the checkpoint's text where it cannot stand elsewhere: in a
 * scope, whose labels nobody outside can name.
 */
export function countdown(
  { register: r, label }: WrapperNames,
  { kind, slots }: Checkpoint,
  index: number,
  inLine = "",
): string {
  const [left, uni] = kind === "together" ? [`${r}budget`, ".uni"] : [`${r}own`, ""];
  const [not, to] = inLine === "" ? ["", "CHECK"] : ["!", "GO"];
  return `
	add.s32 ${left}, ${left}, -${Math.max(1, Math.round(slots))};
	setp.lt.s32 ${r}due, ${left}, 0;
	@${not}${r}due bra${uni} ${label}${to}${index};${inLine}
${label}GO${index}:`;
}

/** In the place of the barrier where threads that gave up wait for the others. */
export function meetingBarrier({ register: r, label }: WrapperNames, index: number): string {
  return `
${label}MEETING${index}:
	barrier.red.or.pred ${r}closed, 0, ${r}gone;
	@${r}closed bra ${label}ABANDON;`;
}

export function meetingLabel({ label }: WrapperNames, index: number): string {
  return `${label}MEETING${index}`;
}

function checkTogether(
  { register: r, label, param }: WrapperNames,
  index: number,
  multipliesAsync: boolean,
): string {
  // A branch that some threads take, between the instructions of an asynchronous product, makes ptxas wait for each of them.
  // For the same reason they end before threads may part for good, and not where a block is abandoned.
  const drain = multipliesAsync ? "\n\twgmma.wait_group.sync.aligned 0;" : "";
  const skip = multipliesAsync ? "" : `\n\t@!${r}reader bra ${label}GO${index};`;
  return `
${label}CHECK${index}:
	setp.lt.s32 ${r}due, ${r}budget, ${ASKED};
	@${r}due bra.uni ${label}ANSWER${index};
	mov.u32 ${r}budget, ${ASKED - 1};
	mov.u32 ${r}w2, %tid.x;
	mov.u32 ${r}w1, %tid.y;
	mov.u32 ${r}w0, %tid.z;
	or.b32 ${r}w0, ${r}w0, ${r}w1;
	setp.eq.u32 ${r}first, ${r}w0, 0;
	setp.lt.and.u32 ${r}reader, ${r}w2, ${READERS}, ${r}first;${skip}
	// Ask: threads 0 to 3 for two words of the gate each, 4 for entry and left, 5 for pause.
	ld.param.u64 ${r}control, [${param("gate")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.param.u64 ${r}record, [${param("control")}];
	cvta.to.global.u64 ${r}record, ${r}record;
	add.s64 ${r}record, ${r}record, -32;
	setp.lt.u32 ${r}first, ${r}w2, 4;
	selp.b64 ${r}control, ${r}control, ${r}record, ${r}first;
	mad.wide.u32 ${r}control, ${r}w2, 8, ${r}control;
	@${r}reader ld.relaxed.sys.global.v2.u32 {${r}seen0, ${r}seen1}, [${r}control];
	bra${multipliesAsync ? ".uni" : ""} ${label}GO${index};
${label}ANSWER${index}:${drain}
	or.b32 ${r}w0, ${r}seen0, ${r}seen1;
	setp.ne.and.u32 ${r}closed, ${r}w0, 0, ${r}reader;
	mov.u32 ${r}w2, %tid.x;
	setp.eq.and.u32 ${r}first, ${r}w2, 4, ${r}reader;
	@${r}first setp.eq.u32 ${r}closed, ${r}seen0, ${r}seen1;
	bar.red.or.pred ${r}closed, 0, ${r}closed;
	@${r}closed bra.uni ${label}ABANDON;
	ld.param.u32 ${r}budget, [${param("period")}];
	bra.uni ${label}GO${index};`;
}

function checkAlone(names: WrapperNames, index: number, target: string): string {
  const { register: r, label, param, variable } = names;
  return `
${label}CHECK${index}:
	ld.param.u32 ${r}own, [${param("period")}];
	ld.volatile.shared.u32 ${r}w0, [${variable}given_up];
	setp.ne.u32 ${r}closed, ${r}w0, 0;
	@${r}closed bra ${label}GONE${index};
	// About one warp of the block in each period reads the gate; the clock draws which.
	mov.u32 ${r}w0, %ntid.x;
	mov.u32 ${r}w1, %ntid.y;
	mul.lo.u32 ${r}w0, ${r}w0, ${r}w1;
	mov.u32 ${r}w1, %ntid.z;
	mul.lo.u32 ${r}w0, ${r}w0, ${r}w1;
	clz.b32 ${r}w0, ${r}w0;
	shr.u32 ${r}w0, -1, ${r}w0;
	mov.u32 ${r}w1, %clock;
	and.b32 ${r}w0, ${r}w0, ${r}w1;
	shr.u32 ${r}w0, ${r}w0, 5;
	setp.ne.u32 ${r}closed, ${r}w0, 0;
	@${r}closed bra ${label}GO${index};
${readGate(r, param)}
	not.pred ${r}closed, ${r}closed;
	@${r}closed bra ${label}GO${index};
	mov.u32 ${r}w0, 1;
	st.volatile.shared.u32 [${variable}given_up], ${r}w0;
${label}GONE${index}:
	mov.pred ${r}gone, 1;
	bra ${target};`;
}

/** One checkpoint's text, out of line. `meeting` is the label where threads that gave up wait for the others. */
export function checkText(
  names: WrapperNames,
  { kind }: Checkpoint,
  index: number,
  meeting: string | undefined,
  multipliesAsync: boolean,
): string {
  return kind === "together"
    ? checkTogether(names, index, multipliesAsync)
    : checkAlone(names, index, meeting ?? `${names.label}GATHER`);
}

/** Behind the wrapper: how a block is abandoned, and the checkpoints that `checks` holds. */
export function loopBehind(names: WrapperNames, facts: LoopFacts, checks: string): string {
  if (facts.checkpoints.length === 0) return "";
  const { register: r, label, param } = names;
  // What is still under way writes where nobody reads any more; but the block must not end before it.
  const waits = facts.copiesAsync ? "\n\tcp.async.wait_all;" : "";
  return `${checks}
${label}ABANDON:${waits}
	// This block is to be run again: of its run, the record says where to go on.
${isFirstThread(r)}
	@!${r}first bra ${label}END;
${findRecord(r, param)}
	st.global.u32 [${r}record+${RECORD_NEXT}], ${r}next;
	ld.param.u64 ${r}control, [${param("control")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.relaxed.sys.global.u32 ${r}entry, [${r}control];
	mov.u64 ${r}stored, 1;
	red.relaxed.gpu.global.add.u64 [${r}control+${ABANDONED}], ${r}stored;
	bra ${label}LEAVE;`;
}
