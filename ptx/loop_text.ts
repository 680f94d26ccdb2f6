/**
 * Which instructions read the gate inside a loop, and give a block up there?
 *
 * The text of level `loop`, beside wrapper.ts, as docs/PREEMPTION.md prescribes. In a loop of strips nothing is added but a
 * nearer bound, in any other a countdown of three instructions; everything else is out of line. Where a block decides
 * together, a read of the gate is asked for at one checkpoint and used at the next, so that no thread waits for memory.
 */

import type { Checkpoint } from "./checkpoints.ts";
import { printOperand } from "./printer.ts";
import type { Strip } from "./strips.ts";
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
/** Between asking and using the answer, in a loop of strips: about what memory takes where few warps share an SM. */
const ANSWER_SLOTS = 128;
/** Turns of a strip, so that its length fits 32 bits (strips.ts). */
const MOST_TURNS = 4096;
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
  const { checkpoints } = facts;
  let text = "";
  if (has("together", facts)) text += `\n\t.reg .b32 ${r}budget, ${r}seen<2>;\n\t.reg .pred ${r}reader;`;
  if (has("alone", facts)) {
    text += `\n\t.reg .b32 ${r}own;\n\t.reg .pred ${r}gone;\n\t.shared .align 4 .b32 ${variable}given_up;`;
  }
  checkpoints.forEach(({ strip }, i) => {
    if (strip !== undefined) text += `\n\t.reg .b${strip.bits} ${r}limit${i}, ${r}rest${i}, ${r}far${i};`;
  });
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

/** Register that counts down to the next checkpoint, and how branches are marked that all threads take alike. */
function countedBy(r: string, { kind }: Checkpoint): { left: string; uni: string } {
  return kind === "together" ? { left: `${r}budget`, uni: ".uni" } : { left: `${r}own`, uni: "" };
}

function slotsPerTurn({ slots }: Checkpoint): number {
  return Math.max(1, Math.round(slots));
}

/**
 * In front of the first instruction of a loop's header, if it is not cut into strips. `inLine` is the checkpoint's text where
 * it cannot stand elsewhere: in a scope, whose labels nobody outside can name.
 */
export function countdown(
  { register: r, label }: WrapperNames,
  checkpoint: Checkpoint,
  index: number,
  inLine = "",
): string {
  const { left, uni } = countedBy(r, checkpoint);
  const [not, to] = inLine === "" ? ["", "CHECK"] : ["!", "GO"];
  return `
	add.s32 ${left}, ${left}, -${slotsPerTurn(checkpoint)};
	setp.lt.s32 ${r}due, ${left}, 0;
	@${not}${r}due bra${uni} ${label}${to}${index};${inLine}
${label}GO${index}:`;
}

/** At the end of a block that leads into a loop of strips: the first strip is one turn, whatever the bound. */
export function firstLimit(
  { register: r }: WrapperNames,
  { from, step, bits }: Strip,
  index: number,
): string {
  return `\n\tadd.s${bits} ${r}limit${index}, ${from}, ${step};`;
}

/** Behind the branch back of a loop of strips, and the true comparison: goes on to the checkpoint, or leaves the loop. */
export function stripEnd(
  { register: r, label }: WrapperNames,
  checkpoint: Checkpoint,
  strip: Strip,
  index: number,
  inLine = "",
): string {
  const { uni } = countedBy(r, checkpoint);
  const { register, negated } = guardOf(strip);
  const on = negated === (inLine === "") ? "!" : "";
  return inLine === ""
    ? `\n\t@${on}${register} bra${uni} ${label}CHECK${index};`
    : `\n\t@${on}${register} bra${uni} ${label}OVER${index};${inLine}\n${label}OVER${index}:`;
}

function guardOf({ latch }: Strip): { register: string; negated: boolean } {
  if (latch.guard === undefined) throw new Error("strips.ts takes no branch without a condition");
  return latch.guard;
}

/** A division by a constant that may be off by one, without the registers that ptxas would keep for an exact one. */
function divided(register: string, by: number): string {
  return by === 1 ? "" : `mul.hi.u32 ${register}, ${register}, ${Math.ceil(2 ** 32 / by)};`;
}

/**
 * The next strip: as many turns as the countdown allows, one at least, and not beyond the bound. They are paid for here, so
 * that nothing has to be counted while the loop turns.
 */
function nextStrip(
  { register: r }: WrapperNames,
  checkpoint: Checkpoint,
  strip: Strip,
  index: number,
): string {
  const { left, uni } = countedBy(r, checkpoint);
  const { count, bound, step, bits, latch } = strip;
  const slots = slotsPerTurn(checkpoint);
  const by = Math.abs(step);
  const [rest, far, limit] = ["rest", "far", "limit"].map((name) => `${r}${name}${index}`);
  const [ahead, behind] = step > 0 ? [printOperand(bound), count] : [count, printOperand(bound)];
  const widen = bits === 64 ? `mul.wide.u32 ${far}, ${r}w0, ${by};` : `mul.lo.u32 ${far}, ${r}w0, ${by};`;
  const narrow = bits === 64 ? `cvt.u32.u64 ${r}w1, ${rest};` : `mov.b32 ${r}w1, ${rest};`;
  return `
	max.s32 ${r}w0, ${left}, 0;
	setp.lt.s32 ${r}due, ${left}, ${ASKED};
	@${r}due mov.u32 ${r}w0, ${ANSWER_SLOTS};
	${divided(`${r}w0`, slots)}
	min.u32 ${r}w0, ${r}w0, ${MOST_TURNS - 1};
	add.u32 ${r}w0, ${r}w0, 1;
	${widen}
	mov.b${bits} ${rest}, ${ahead};
	sub.s${bits} ${rest}, ${rest}, ${behind};
	setp.le.u${bits} ${r}due, ${rest}, ${far};
	${step > 0 ? "add" : "sub"}.s${bits} ${limit}, ${count}, ${far};
	@${r}due mov.b${bits} ${limit}, ${printOperand(bound)};
	${narrow}
	${divided(`${r}w1`, by)}
	selp.b32 ${r}w0, ${r}w1, ${r}w0, ${r}due;
	mul.lo.u32 ${r}w0, ${r}w0, ${slots};
	sub.s32 ${left}, ${left}, ${r}w0;
	bra${uni} ${printOperand(latch.operands[0] ?? bound)};`;
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

/**
 * The gate is asked for by a weak load: of a strong one ptxas thinks that the loop may wait for another thread, and puts a
 * YIELD into every loop inside. It still goes to L2, as nobody keeps these lines in L1; the barrier between two of them
 * forbids to take one for the other.
 */
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
	@${r}reader ld.weak.global.L1::no_allocate.v2.u32 {${r}seen0, ${r}seen1}, [${r}control];
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
  checkpoint: Checkpoint,
  index: number,
  meeting: string | undefined,
  multipliesAsync: boolean,
): string {
  const { register: r, label } = names;
  const { kind, strip } = checkpoint;
  const check = kind === "together"
    ? checkTogether(names, index, multipliesAsync)
    : checkAlone(names, index, meeting ?? `${label}GATHER`);
  if (strip === undefined) return `\n${label}CHECK${index}:${check}`;
  const { left, uni } = countedBy(r, checkpoint);
  return `
${label}CHECK${index}:
	setp.ge.s32 ${r}due, ${left}, 0;
	@${r}due bra${uni} ${label}GO${index};${check}
${label}GO${index}:${nextStrip(names, checkpoint, strip, index)}`;
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
