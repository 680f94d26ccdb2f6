/**
 * Which pieces of text do the parts of a rewritten kernel have in common?
 *
 * Names, offsets in the control block, and short runs of instructions that several checkpoints need.
 */

/** Offsets in the control block, in bytes (docs/PREEMPTION.md, "The control block"). */
export const LEFT = 4;
export const STEP_WORD = 16;
export const COMPLETED = 32;
export const LEAVES = 40;
export const ABANDONED = 48;
export const MIRROR = 64;
export const TICKET = 128;
export const RECORD_BYTES = 16;
export const RECORD_NEXT = 8;

/** Names that the inserted text may use: not declared anywhere in the module. */
export interface WrapperNames {
  /** In front of register names, such as `%calypte_`. */
  readonly register: string;
  /** In front of labels, such as `$CALYPTE_`. */
  readonly label: string;
  /** In front of the names of variables, such as `calypte_`. */
  readonly variable: string;
  /** The name of one of the parameters that the rewriter adds, from what stands behind `calypte_`. */
  readonly param: (name: string) => string;
}

/**
 * Leaves the address of the control block in `control`, *closed* in `closed`, and `entry` for who has to store it.
 * `meanwhile` is put where its memory accesses overlap with the gate's.
 */
export function readGate(r: string, param: (name: string) => string, meanwhile = ""): string {
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
export function findRecord(r: string, param: (name: string) => string): string {
  return `
	mov.u32 ${r}worker, %ctaid.x;
	ld.param.u64 ${r}record, [${param("records")}];
	cvta.to.global.u64 ${r}record, ${r}record;
	mad.wide.u32 ${r}record, ${r}worker, ${RECORD_BYTES}, ${r}record;`;
}

/** Whether this is thread 0, into `first`. Computed where it is needed, so that no register lives across the body. */
export function isFirstThread(r: string): string {
  return `
	mov.u32 ${r}w0, %tid.x;
	mov.u32 ${r}w1, %tid.y;
	mov.u32 ${r}w2, %tid.z;
	or.b32 ${r}w0, ${r}w0, ${r}w1;
	or.b32 ${r}w0, ${r}w0, ${r}w2;
	setp.eq.u32 ${r}first, ${r}w0, 0;`;
}
