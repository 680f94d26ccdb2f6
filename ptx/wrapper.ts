/**
 * Which instructions turn a kernel into one whose blocks take one virtual block after the other, and leave at the gate?
 *
 * The text of what is put in front of a kernel's body and behind it, as docs/PREEMPTION.md prescribes; the numbers in the
 * comments are that page's steps. It does not touch the body; rewrite.ts does.
 */

import type { Axis } from "./rewrite.ts";

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
] as const;

/** Offsets in the control block, in bytes (docs/PREEMPTION.md, "The control block"). */
const LEFT = 4;
const STEP_WORD = 16;
const COMPLETED = 32;
const LEAVES = 40;
const MIRROR = 64;
const TICKET = 128;
const RECORD_BYTES = 16;
const RECORD_NEXT = 8;

/** Names that the inserted text may use: not declared anywhere in the module. */
export interface WrapperNames {
  /** In front of register names, such as `%calypte_`. */
  readonly register: string;
  /** In front of labels, such as `$CALYPTE_`. */
  readonly label: string;
  /** In front of parameter names in the place of `calypte_`. */
  readonly parameter: string;
}

export interface WrapperParts {
  /** In front of the body's first instruction: steps 1 and 2. */
  readonly before: string;
  /** Behind the body: steps 3 and 4. Every return of the body jumps to `gather`. */
  readonly after: string;
  readonly gather: string;
}

/**
 * Leaves the address of the control block in `control`, *closed* in `closed`, and `entry` for who has to store it.
 * `meanwhile` is put where its memory accesses overlap with the gate's.
 */
function readGate(r: string, param: (name: string) => string, meanwhile = ""): string {
  return `
	ld.param.u64 ${r}control, [${param("gate")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.relaxed.sys.global.v4.u32 {${r}w0, ${r}w1, ${r}w2, ${r}w3}, [${r}control];
	ld.relaxed.sys.global.v4.u32 {${r}w4, ${r}w5, ${r}w6, ${r}w7}, [${r}control+16];
	ld.param.u64 ${r}control, [${param("control")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.relaxed.sys.global.v4.u32 {${r}entry, ${r}left, ${r}pause, ${r}unused}, [${r}control];${meanwhile}
	or.b32 ${r}w0, ${r}w0, ${r}w1;
	or.b32 ${r}w2, ${r}w2, ${r}w3;
	or.b32 ${r}w4, ${r}w4, ${r}w5;
	or.b32 ${r}w6, ${r}w6, ${r}w7;
	or.b32 ${r}w0, ${r}w0, ${r}w2;
	or.b32 ${r}w4, ${r}w4, ${r}w6;
	or.b32 ${r}w0, ${r}w0, ${r}w4;
	or.b32 ${r}w0, ${r}w0, ${r}pause;
	setp.ne.u32 ${r}closed, ${r}w0, 0;
	setp.eq.or.u32 ${r}closed, ${r}left, ${r}entry, ${r}closed;`;
}

/** The address of the worker's record into `record`, its index into `worker`. */
function findRecord(r: string, param: (name: string) => string): string {
  return `
	mov.u32 ${r}worker, %ctaid.x;
	ld.param.u64 ${r}record, [${param("records")}];
	cvta.to.global.u64 ${r}record, ${r}record;
	mad.wide.u32 ${r}record, ${r}worker, ${RECORD_BYTES}, ${r}record;`;
}

/** Whether this is thread 0, into `first`. Computed where it is needed, so that no register lives across the body. */
function isFirstThread(r: string): string {
  return `
	mov.u32 ${r}w0, %tid.x;
	mov.u32 ${r}w1, %tid.y;
	mov.u32 ${r}w2, %tid.z;
	or.b32 ${r}w0, ${r}w0, ${r}w1;
	or.b32 ${r}w0, ${r}w0, ${r}w2;
	setp.eq.u32 ${r}first, ${r}w0, 0;`;
}

/** Virtual block index from `next`, for the components that the body reads. */
function virtualIndex(
  r: string,
  label: string,
  param: (name: string) => string,
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
  if (axes.has("x")) lines.push(`rem.u32 ${r}x, ${r}next, ${r}w0;`);
  if (axes.has("y") || axes.has("z")) {
    lines.push(`div.u32 ${r}w1, ${r}next, ${r}w0;`, `ld.param.u32 ${r}w2, [${param("grid_y")}];`);
  }
  if (axes.has("y")) lines.push(`rem.u32 ${r}y, ${r}w1, ${r}w2;`);
  if (axes.has("z")) lines.push(`div.u32 ${r}z, ${r}w1, ${r}w2;`);
  return lines.map((line) => `\n\t${line}`).join("");
}

/**
 * @param axes components of %ctaid that the body reads, as registers `x`, `y`, `z` behind the prefix
 * @param copiesAsync whether the body starts asynchronous copies, which must have landed before the next block begins
 */
export function wrapper(names: WrapperNames, axes: ReadonlySet<Axis>, copiesAsync: boolean): WrapperParts {
  const r = names.register;
  const label = names.label;
  const param = (name: string) => names.parameter + name;
  const components = [...axes].map((axis) => `, ${r}${axis}`).join("");

  const before = `
	.reg .pred ${r}closed, ${r}first, ${r}mine, ${r}go;
	.reg .b32 ${r}next${components}, ${r}w<8>, ${r}entry, ${r}left, ${r}pause, ${r}unused, ${r}worker, ${r}count, ${r}ticket;
	.reg .b64 ${r}control, ${r}record, ${r}generation, ${r}word, ${r}granted, ${r}stored;
	// 1. Enter, in the prescribed order.
	ld.param.u64 ${r}control, [${param("control")}];
	cvta.to.global.u64 ${r}control, ${r}control;
	ld.acquire.sys.global.v2.u64 {${r}word, ${r}granted}, [${r}control+${STEP_WORD}];
	ld.param.u64 ${r}stored, [${param("stored")}];
	cvta.to.global.u64 ${r}stored, ${r}stored;
	ld.relaxed.sys.global.u32 ${r}w0, [${r}stored];
	ld.param.u32 ${r}w1, [${param("workers")}];
	setp.eq.u32 ${r}mine, ${r}w0, ${r}w1;
	cvt.u32.u64 ${r}w2, ${r}word;
	and.b32 ${r}w2, ${r}w2, 65535;
	ld.param.u32 ${r}w3, [${param("step")}];
	setp.eq.and.u32 ${r}mine, ${r}w2, ${r}w3, ${r}mine;
	shr.u64 ${r}stored, ${r}word, 16;
	setp.lt.and.u64 ${r}mine, ${r}stored, ${r}granted, ${r}mine;
${findRecord(r, param)}
	ld.global.u64 ${r}generation, [${r}record];
	ld.global.u32 ${r}next, [${r}record+${RECORD_NEXT}];
	mov.u32 ${r}count, 0;
	setp.eq.u64 ${r}go, ${r}generation, ${r}word;
	selp.b32 ${r}next, ${r}next, ${r}worker, ${r}go;
${readGate(r, param)}
	ld.param.u32 ${r}w1, [${param("total")}];
	setp.lt.and.u32 ${r}go, ${r}next, ${r}w1, ${r}mine;
	not.pred ${r}first, ${r}closed;
	and.pred ${r}go, ${r}go, ${r}first;
	bar.red.and.pred ${r}go, 0, ${r}go;
	@${r}go bra ${label}BEGIN;
	and.pred ${r}mine, ${r}mine, ${r}closed;
	bar.red.or.pred ${r}mine, 0, ${r}mine;
${isFirstThread(r)}
	and.pred ${r}mine, ${r}mine, ${r}first;
	@!${r}mine bra ${label}END;
	st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
	bra ${label}END;
${label}BEGIN:
${isFirstThread(r)}
	@!${r}first bra ${label}RUN;
	st.global.u64 [${r}record], ${r}word;
	st.global.u32 [${r}record+${RECORD_NEXT}], ${r}next;
${label}RUN:
	// All lanes hold the same value; the shuffle lets ptxas know.
	shfl.sync.idx.b32 ${r}next, ${r}next, 0, 31, -1;
	// 2. Run virtual block "next".
${virtualIndex(r, label, param, axes)}
${label}BODY:
`;

  const draw = `
	atom.relaxed.gpu.global.add.u32 ${r}ticket, [${r}control+${TICKET}], 1;`;
  const after = `
${label}GATHER:
	// 3. Checkpoint.
	${copiesAsync ? "cp.async.wait_all;" : ""}
	bar.sync 0;
	mov.pred ${r}closed, 0;
	add.u32 ${r}count, ${r}count, 1;
${findRecord(r, param)}
${isFirstThread(r)}
	@!${r}first bra ${label}MEET;
${readGate(r, param, draw)}
	ld.param.u32 ${r}w1, [${param("workers")}];
	add.u32 ${r}ticket, ${r}ticket, ${r}w1;
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
	st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
	mov.u64 ${r}stored, 1;
	red.relaxed.gpu.global.add.u64 [${r}control+${LEAVES}], ${r}stored;
	red.relaxed.gpu.global.add.u32 [${r}control+${COMPLETED}], ${r}count;
	bra ${label}END;
${label}COUNT:
	fence.acq_rel.gpu;
	atom.relaxed.gpu.global.add.u32 ${r}w4, [${r}control+${COMPLETED}], ${r}count;
	add.u32 ${r}w4, ${r}w4, ${r}count;
	ld.param.u32 ${r}w2, [${param("total")}];
	setp.ne.u32 ${r}go, ${r}w4, ${r}w2;
	@${r}go bra ${label}END;
	// Behind everybody's draws, as the counts that were added are.
	fence.acq_rel.gpu;
	mov.u32 ${r}w4, 0;
	st.relaxed.sys.global.u32 [${r}control+${COMPLETED}], ${r}w4;
	st.relaxed.sys.global.u32 [${r}control+${TICKET}], ${r}w4;
	ld.relaxed.sys.global.u64 ${r}word, [${r}control+${STEP_WORD}];
	add.u64 ${r}stored, ${r}word, 1;
	ld.param.u32 ${r}w4, [${param("step")}];
	add.u32 ${r}w4, ${r}w4, 1;
	ld.param.u32 ${r}w5, [${param("steps")}];
	setp.lt.u32 ${r}go, ${r}w4, ${r}w5;
	@${r}go bra ${label}NEXT;
	// The last step: the end of a unit sticks, and the next step word is step 0 of the next unit.
	st.relaxed.sys.global.u32 [${r}control+${LEFT}], ${r}entry;
	shr.u64 ${r}stored, ${r}word, 16;
	add.u64 ${r}stored, ${r}stored, 1;
	shl.b64 ${r}stored, ${r}stored, 16;
${label}NEXT:
	fence.acq_rel.sys;
	st.relaxed.sys.global.u64 [${r}control+${STEP_WORD}], ${r}stored;
	ld.relaxed.sys.global.u64 ${r}record, [${r}control+${MIRROR}];
	cvta.to.global.u64 ${r}record, ${r}record;
	st.relaxed.sys.global.u64 [${r}record], ${r}stored;
${label}END:
	ret;
`;
  return { before, after, gather: `${label}GATHER` };
}
