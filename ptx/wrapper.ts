/**
 * Which instructions turn a kernel into one whose blocks take one virtual block after the other, and leave at the gate?
 *
 * The text of what is put in front of a kernel's body and behind it, as docs/PREEMPTION.md prescribes; the numbers in the
 * comments are that page's steps. It does not touch the body; rewrite.ts does.
 */

import type { Returns } from "./barriers.ts";
import { has, loopBegin, loopBehind, loopDeclarations, loopEnter, type LoopFacts } from "./loop_text.ts";
import {
  COMPLETED,
  findRecord,
  isFirstThread,
  LEAVES,
  LEFT,
  MIRROR,
  readGate,
  RECORD_NEXT,
  STEP_WORD,
  TICKET,
  type WrapperNames,
} from "./wrapper_text.ts";

/** How to divide by the grid along x and y; divisionBy gives the values. */
export const DIVISION_PARAMS = [
  { name: "calypte_magic_x", type: "u32" },
  { name: "calypte_shift_x", type: "u32" },
  { name: "calypte_magic_y", type: "u32" },
  { name: "calypte_shift_y", type: "u32" },
] as const;

/** Appended to the parameters of a kernel, in this order. `fields` of the control block are read by offset. */
export const CALYPTE_PARAMS = [
  { name: "calypte_control", type: "u64" },
  { name: "calypte_gate", type: "u64" },
  { name: "calypte_records", type: "u64" },
  { name: "calypte_stored", type: "u64" },
  { name: "calypte_step", type: "u32" },
  { name: "calypte_steps", type: "u32" },
  { name: "calypte_total", type: "u32" },
  { name: "calypte_workers", type: "u32" },
  { name: "calypte_grid_x", type: "u32" },
  { name: "calypte_grid_y", type: "u32" },
  { name: "calypte_grid_z", type: "u32" },
  { name: "calypte_run_mask", type: "u32" },
  ...DIVISION_PARAMS,
] as const;

/** At level `loop` one more: issue slots between two reads of the gate, 1..2^30 - 1. */
export const CALYPTE_LOOP_PARAMS = [...CALYPTE_PARAMS, { name: "calypte_period", type: "u32" }] as const;

export type Axis = "x" | "y" | "z";

/** What the wrapper has to know about the body. */
export interface BodyFacts extends LoopFacts {
  /** Components of %ctaid that it reads, as registers `x`, `y`, `z` behind the prefix. */
  readonly axes: ReadonlySet<Axis>;
  readonly returns: Returns;
  /** Whether it shares memory or meets barriers, so that one block must be over before the next begins. */
  readonly shares: boolean;
  /** By mbarrier that it sets up: registers that say whether, and where in shared memory. */
  readonly mbarriers: readonly { readonly live: string; readonly address: string; readonly type: string }[];
  /** Text of the checkpoints that stand out of line. */
  readonly checks: string;
}

export interface WrapperParts {
  /** In front of the body's first instruction: steps 1 and 2. */
  readonly before: string;
  /** Behind the body: steps 3 and 4. Every return of the body jumps to `gather`. */
  readonly after: string;
}

/** Virtual block index from `next`, for the components that the body reads. */
export function virtualIndex(
  { register: r, label, param }: WrapperNames,
  axes: ReadonlySet<Axis>,
): string {
  if (axes.size === 0) return "";
  const lines: string[] = [];
  if (axes.has("x")) lines.push(`mov.u32 ${r}x, ${r}next;`);
  if (axes.has("y")) lines.push(`mov.u32 ${r}y, 0;`);
  if (axes.has("z")) lines.push(`mov.u32 ${r}z, 0;`);
  // One row is the common grid; a branch that all threads take alike is cheaper than two divisions.
  lines.push(
    `ld.param.u32 ${r}w0, [${param("grid_x")}];`,
    `ld.param.u32 ${r}w1, [${param("total")}];`,
    `setp.eq.u32 ${r}first, ${r}w0, ${r}w1;`,
    `@${r}first bra ${label}BODY;`,
  );
  /** `quotient` = `number` / grid, by multiplying (divisionBy); a grid of one is left as it is. */
  const divide = (quotient: string, number: string, axis: "x" | "y") =>
    lines.push(
      `ld.param.u32 ${r}w3, [${param(`magic_${axis}`)}];`,
      `ld.param.u32 ${r}extent, [${param(`shift_${axis}`)}];`,
      `mul.hi.u32 ${quotient}, ${number}, ${r}w3;`,
      `shr.u32 ${quotient}, ${quotient}, ${r}extent;`,
      `setp.eq.u32 ${r}first, ${r}w3, 0;`,
      `selp.b32 ${quotient}, ${number}, ${quotient}, ${r}first;`,
    );
  divide(`${r}w1`, `${r}next`, "x");
  const rest = (number: string, quotient: string, extent: string, into: string) =>
    lines.push(`mul.lo.u32 ${r}w3, ${quotient}, ${extent};`, `sub.u32 ${into}, ${number}, ${r}w3;`);
  if (axes.has("x")) rest(`${r}next`, `${r}w1`, `${r}w0`, `${r}x`);
  if (axes.has("y") || axes.has("z")) {
    divide(`${r}w2`, `${r}w1`, "y");
    lines.push(`ld.param.u32 ${r}w0, [${param("grid_y")}];`);
    if (axes.has("y")) rest(`${r}w1`, `${r}w2`, `${r}w0`, `${r}y`);
    if (axes.has("z")) lines.push(`mov.u32 ${r}z, ${r}w2;`);
  }
  return lines.map((line) => `\n\t${line}`).join("");
}

/**
 * `n / divisor` is `(n * magic >> 32) >> shift` for all n below 2^31: magic is 2^(32 + shift) / divisor rounded up, with
 * 2^shift < divisor <= 2^(shift + 1), so that the error stays below n / 2^31 (Granlund and Montgomery 1994). Of 1: magic 0.
 */
export function divisionBy(divisor: number): { magic: number; shift: number } {
  if (divisor === 1) return { magic: 0, shift: 0 };
  const shift = 31 - Math.clz32(divisor - 1);
  const magic = Number(((1n << BigInt(32 + shift)) + BigInt(divisor) - 1n) / BigInt(divisor));
  return { magic, shift };
}

/** Where the threads of a block come together, and what they leave behind for the next one. */
function gather({ register: r, label }: WrapperNames, facts: BodyFacts): string {
  const wait = facts.copiesAsync ? "\n\tcp.async.wait_all;" : "";
  let text: string;
  if (facts.returns === "counted") {
    // Who has returned stays here, at one barrier after the other, until all have.
    text = `
${label}GATHER:${wait}
	mov.pred ${r}done, 1;
${label}RETURNED:
	barrier.red.and.pred ${r}go, 0, ${r}done;
	@!${r}go bra ${label}RETURNED;`;
  } else if (has("alone", facts)) {
    text = `
${label}GATHER:${wait}
	barrier.red.or.pred ${r}closed, 0, ${r}gone;
	@${r}closed bra ${label}ABANDON;`;
  } else {
    text = `
${label}GATHER:${wait}${facts.shares ? "\n\tbar.sync 0;" : ""}`;
  }
  const inval = facts.mbarriers.map(({ live, address }) =>
    `\n\t@${live} mbarrier.inval.shared.b64 [${address}];`
  );
  // Another thread may be the one that sets it up again.
  return text + inval.join("") + (inval.length > 0 ? "\n\tbar.sync 0;" : "");
}

/** What a virtual block finds in the registers that the body shares with the wrapper. */
function begin(names: WrapperNames, facts: BodyFacts): string {
  const { register: r } = names;
  const done = facts.returns === "counted" ? `\n\tmov.pred ${r}done, 0;` : "";
  const live = facts.mbarriers.map((m) => `\n\tmov.pred ${m.live}, 0;`);
  return done + live.join("") + loopBegin(names, facts);
}

export function wrapper(names: WrapperNames, facts: BodyFacts): WrapperParts {
  const { register: r, label, param } = names;
  const { axes } = facts;
  const components = [...axes].map((axis) => `, ${r}${axis}`).join("");

  const before = `
	.reg .pred ${r}closed, ${r}first, ${r}mine, ${r}go, ${r}done, ${r}due, ${r}resumed;
	.reg .b32 ${r}next${components}, ${r}w<8>, ${r}entry, ${r}left, ${r}pause, ${r}unused, ${r}worker, ${r}count, ${r}ticket, ${r}extent;
	.reg .b64 ${r}control, ${r}record, ${r}generation, ${r}word, ${r}granted, ${r}stored;${
    declarations(names, facts)
  }
	// 1. Enter: thread 0 alone decides, so that control block and gate are read once for each worker.${
    loopEnter(names, facts)
  }
	mov.u32 ${r}count, 0;
	mov.pred ${r}go, 1;
	mov.pred ${r}resumed, 0;
${isFirstThread(r)}
	@!${r}first bra ${label}ENTER;
${findRecord(r, param)}
	ld.global.u64 ${r}generation, [${r}record];
	ld.global.u32 ${r}next, [${r}record+${RECORD_NEXT}];
	ld.param.u64 ${r}stored, [${param("stored")}];
	cvta.to.global.u64 ${r}stored, ${r}stored;
	ld.relaxed.sys.global.u32 ${r}extent, [${r}stored];
${
    readGate(
      r,
      param,
      `
	ld.relaxed.sys.global.v2.u64 {${r}word, ${r}granted}, [${r}control+${STEP_WORD}];`,
    )
  }
	ld.param.u32 ${r}w1, [${param("workers")}];
	setp.eq.u32 ${r}mine, ${r}extent, ${r}w1;
	cvt.u32.u64 ${r}w2, ${r}word;
	and.b32 ${r}w2, ${r}w2, 65535;
	ld.param.u32 ${r}w3, [${param("step")}];
	setp.eq.and.u32 ${r}mine, ${r}w2, ${r}w3, ${r}mine;
	shr.u64 ${r}stored, ${r}word, 16;
	setp.lt.and.u64 ${r}mine, ${r}stored, ${r}granted, ${r}mine;
	setp.eq.u64 ${r}resumed, ${r}generation, ${r}word;
	ld.param.u32 ${r}w1, [${param("run_mask")}];
	mad.lo.u32 ${r}worker, ${r}worker, ${r}w1, ${r}worker;
	selp.b32 ${r}next, ${r}next, ${r}worker, ${r}resumed;
	ld.param.u32 ${r}w1, [${param("total")}];
	setp.lt.and.u32 ${r}go, ${r}next, ${r}w1, ${r}mine;
	and.pred ${r}mine, ${r}mine, ${r}closed;
	not.pred ${r}closed, ${r}closed;
	and.pred ${r}go, ${r}go, ${r}closed;
	// The step word of a job of one step may be the next unit's already, whose blocks another launch must run.
	ld.param.u32 ${r}w1, [${param("steps")}];
	setp.ne.u32 ${r}first, ${r}w1, 1;
	@${r}first bra ${label}TAKE;
	fence.acq_rel.sys;
	ld.relaxed.sys.global.u32 ${r}left, [${r}control+${LEFT}];
	setp.ne.and.u32 ${r}go, ${r}left, ${r}entry, ${r}go;
${label}TAKE:
	@${r}go st.global.u64 [${r}record], ${r}word;
	@${r}go st.global.u32 [${r}record+${RECORD_NEXT}], ${r}next;
	@${r}mine st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
${label}ENTER:
	bar.red.and.pred ${r}go, 0, ${r}go;
	@!${r}go bra ${label}END;
	bar.red.or.pred ${r}resumed, 0, ${r}resumed;
${findRecord(r, param)}
	ld.param.u32 ${r}w1, [${param("run_mask")}];
	mad.lo.u32 ${r}next, ${r}worker, ${r}w1, ${r}worker;
	@${r}resumed ld.global.u32 ${r}next, [${r}record+${RECORD_NEXT}];
${label}RUN:
	// All lanes hold the same value; the shuffle lets ptxas know.
	shfl.sync.idx.b32 ${r}next, ${r}next, 0, 31, -1;${begin(names, facts)}
	// 2. Run virtual block "next".
${virtualIndex(names, axes)}
${label}BODY:
`;

  const draw = `
	atom.relaxed.gpu.global.add.u32 ${r}ticket, [${r}control+${TICKET}], 1;`;
  // Within a run of blocks nothing is read and nothing drawn; behind it the gate must be read after the whole block.
  const gathered = facts.shares || facts.returns === "counted" || has("alone", facts);
  const after = `${gather(names, facts)}
	add.u32 ${r}count, ${r}count, 1;
	add.u32 ${r}next, ${r}next, 1;
	ld.param.u32 ${r}w0, [${param("run_mask")}];
	and.b32 ${r}w0, ${r}next, ${r}w0;
	setp.ne.u32 ${r}go, ${r}w0, 0;
	ld.param.u32 ${r}w1, [${param("total")}];
	setp.lt.and.u32 ${r}go, ${r}next, ${r}w1, ${r}go;
	@${r}go bra ${label}RUN;
	// 3. Checkpoint.${gathered ? "" : "\n\tbar.sync 0;"}
	mov.pred ${r}closed, 0;
${findRecord(r, param)}
${isFirstThread(r)}
	ld.param.u32 ${r}w0, [${param("run_mask")}];
	ld.param.u32 ${r}w2, [${param("workers")}];
	mad.lo.u32 ${r}w0, ${r}w0, ${r}w2, ${r}w2;
	ld.param.u32 ${r}w1, [${param("total")}];
	setp.ge.u32 ${r}go, ${r}w0, ${r}w1;
	@${r}go bra ${label}DEALT;
	@!${r}first bra ${label}MEET;
${readGate(r, param, draw)}
	ld.param.u32 ${r}w1, [${param("workers")}];
	add.u32 ${r}ticket, ${r}ticket, ${r}w1;
	ld.param.u32 ${r}w1, [${param("run_mask")}];
	mad.lo.u32 ${r}ticket, ${r}ticket, ${r}w1, ${r}ticket;
	st.global.u32 [${r}record+${RECORD_NEXT}], ${r}ticket;
${label}MEET:
	bar.red.or.pred ${r}closed, 0, ${r}closed;
	ld.global.u32 ${r}next, [${r}record+${RECORD_NEXT}];
	ld.param.u32 ${r}w2, [${param("total")}];
	setp.lt.u32 ${r}go, ${r}next, ${r}w2;
	not.pred ${r}closed, ${r}closed;
	and.pred ${r}mine, ${r}go, ${r}closed;
	@${r}mine bra ${label}RUN;
	// 4. Leave or end: thread 0 alone.
${isFirstThread(r)}
	@!${r}first bra ${label}END;
	@!${r}go bra ${label}COUNT;
	// Leaving waits for nothing: what is left undone can only be completed in a later launch.
${label}LEAVE:
	st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
	mov.u64 ${r}stored, 1;
	red.relaxed.gpu.global.add.u64 [${r}control+${LEAVES}], ${r}stored;
	red.relaxed.gpu.global.add.u32 [${r}control+${COMPLETED}], ${r}count;
	bra ${label}END;
${label}DEALT:
	// The first runs were all there is: nothing to draw, and no reason to look at the gate.
	@!${r}first bra ${label}END;
	st.global.u32 [${r}record+${RECORD_NEXT}], ${r}w1;
	ld.param.u64 ${r}control, [${param("control")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.relaxed.sys.global.u32 ${r}entry, [${r}control];
${label}COUNT:
	// Releases what this block wrote, without giving up the L1 cache that others on this SM still use.
	atom.release.gpu.global.add.u32 ${r}w4, [${r}control+${COMPLETED}], ${r}count;
	add.u32 ${r}w4, ${r}w4, ${r}count;
	ld.param.u32 ${r}w2, [${param("total")}];
	setp.ne.u32 ${r}go, ${r}w4, ${r}w2;
	@${r}go bra ${label}END;
	// The last one. All others leave these words alone by now, and so are not asked for them.
	ld.relaxed.sys.global.u64 ${r}word, [${r}control+${STEP_WORD}];
	ld.relaxed.sys.global.u64 ${r}record, [${r}control+${MIRROR}];
	fence.acq_rel.gpu;
	mov.u32 ${r}w4, 0;
	st.relaxed.sys.global.u32 [${r}control+${COMPLETED}], ${r}w4;
	st.relaxed.sys.global.u32 [${r}control+${TICKET}], ${r}w4;
	add.u64 ${r}stored, ${r}word, 1;
	ld.param.u32 ${r}w4, [${param("step")}];
	add.u32 ${r}w4, ${r}w4, 1;
	ld.param.u32 ${r}w5, [${param("steps")}];
	setp.lt.u32 ${r}go, ${r}w4, ${r}w5;
	@${r}go bra ${label}NEXT;
	// The last step: the end of a unit sticks, and the next step word is step 0 of the next unit. The host reads what the
	// unit wrote by it; what other steps leave is read on the GPU only, which a fence of its scope is enough for.
	st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
	shr.u64 ${r}stored, ${r}word, 16;
	add.u64 ${r}stored, ${r}stored, 1;
	shl.b64 ${r}stored, ${r}stored, 16;
	fence.acq_rel.sys;
	bra ${label}MOVE;
${label}NEXT:
	fence.acq_rel.gpu;
${label}MOVE:
	st.relaxed.sys.global.u64 [${r}control+${STEP_WORD}], ${r}stored;
	cvta.to.global.u64 ${r}record, ${r}record;
	st.relaxed.sys.global.u64 [${r}record], ${r}stored;
${label}END:
	ret;
${loopBehind(names, facts, facts.checks)}
`;
  return { before, after };
}

function declarations(names: WrapperNames, facts: BodyFacts): string {
  const mbarriers = facts.mbarriers.map(({ live, address, type }) =>
    `\n\t.reg .pred ${live};\n\t.reg ${type} ${address};`
  );
  return mbarriers.join("") + loopDeclarations(names, facts);
}
