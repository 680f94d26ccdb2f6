/**
 * Which kernels show what the fixtures do not: loops with each kind of checkpoint, early returns, what outlives a block?
 *
 * Written by hand, small, on input `x` and output `y`, both of 32-bit words; `n` bounds loops. Lines that a planted mistake
 * changes are marked by a comment in preemption_mistakes_test.ts.
 */

const HEAD = ".version 7.0\n.target sm_80\n.address_size 64\n";

function kernel(name: string, declarations: string, body: string): string {
  return `
.visible .entry ${name}(.param .u64 x, .param .u64 y, .param .u32 n)
{
	.reg .pred %p<9>;
	.reg .b32 %r<30>;
	.reg .b64 %rd<20>;
	${declarations}
	ld.param.u64 %rd1, [x];
	cvta.to.global.u64 %rd1, %rd1;
	ld.param.u64 %rd2, [y];
	cvta.to.global.u64 %rd2, %rd2;
	ld.param.u32 %r1, [n];
	mov.u32 %r2, %tid.x;
	mov.u32 %r3, %ntid.x;
	mov.u32 %r4, %ctaid.x;
	mad.lo.u32 %r5, %r4, %r3, %r2;
	mad.wide.u32 %rd3, %r5, 4, %rd1;
	mad.wide.u32 %rd4, %r5, 4, %rd2;
	ld.global.u32 %r6, [%rd3];
${body}
}
`;
}

const TILE = ".shared .align 16 .b8 tile[256];";
/** Addresses of this thread's word of the tile, and of its neighbour's. */
const SLOTS = `
	mov.u32 %r10, tile;
	mad.lo.u32 %r11, %r2, 4, %r10;
	add.u32 %r12, %r2, 1;
	rem.u32 %r12, %r12, %r3;
	mad.lo.u32 %r12, %r12, 4, %r10;`;
const STORE = `
	st.global.u32 [%rd4], %r6;
	ret;`;

/** All threads turn a loop alike, and pass on values in it. */
const TURNS_TOGETHER = kernel(
  "turns_together",
  TILE,
  `${SLOTS}
	mov.u32 %r20, %r1;
LOOP:
	bar.sync 0;
	st.shared.u32 [%r11], %r6;
	bar.sync 0;
	ld.shared.u32 %r13, [%r12];
	mad.lo.u32 %r6, %r6, 3, %r13;
	sub.u32 %r20, %r20, 1;
	setp.ne.u32 %p1, %r20, 0;
	@%p1 bra LOOP;${STORE}`,
);

/** A loop that each thread turns as often as its data say; nobody meets before the end. */
const TURNS_ALONE = kernel(
  "turns_alone",
  "",
  `
	and.b32 %r20, %r6, 31;
	add.u32 %r20, %r20, 5;
LOOP:
	mad.lo.u32 %r6, %r6, 5, %r20;
	sub.u32 %r20, %r20, 1;
	setp.ne.u32 %p1, %r20, 0;
	@%p1 bra LOOP;${STORE}`,
);

/** The same, behind which threads meet at a barrier and read what others computed. */
const MEETS_BEHIND = kernel(
  "meets_behind",
  TILE,
  `${SLOTS}
	and.b32 %r20, %r6, 15;
	add.u32 %r20, %r20, 3;
LOOP:
	mad.lo.u32 %r6, %r6, 5, %r20;
	sub.u32 %r20, %r20, 1;
	setp.ne.u32 %p1, %r20, 0;
	@%p1 bra LOOP;
	st.shared.u32 [%r11], %r6;
	bar.sync 0;
	ld.shared.u32 %r6, [%r12];${STORE}`,
);

/** Some threads return ahead of barriers that the others still meet. */
const RETURNS_EARLY = kernel(
  "returns_early",
  TILE,
  `${SLOTS}
	st.shared.u32 [%r11], %r6;
	bar.sync 0;
	and.b32 %r13, %r6, 3;
	setp.eq.u32 %p1, %r13, 0;
	@%p1 ret;
	ld.shared.u32 %r14, [%r12];
	bar.sync 0;
	add.u32 %r14, %r14, %r6;
	st.shared.u32 [%r11], %r14;
	bar.sync 0;
	ld.shared.u32 %r6, [%r12];${STORE}`,
);

/** Threads wait for each other at an mbarrier, which is left as it is. */
const MEETS_AT_OBJECT = kernel(
  "meets_at_object",
  `${TILE}\n\t.shared .align 8 .b64 meeting;`,
  `${SLOTS}
	setp.ne.u32 %p1, %r2, 0;
	@%p1 bra READY;
	mbarrier.init.shared.b64 [meeting], %r3;
READY:
	bar.sync 0;
	st.shared.u32 [%r11], %r6;
	mbarrier.arrive.shared.b64 %rd5, [meeting];
WAIT:
	mbarrier.test_wait.shared.b64 %p2, [meeting], %rd5;
	@!%p2 bra WAIT;
	ld.shared.u32 %r6, [%r12];${STORE}`,
);

/** Copies one word more than it uses, and does not wait for that. */
const COPIES_AHEAD = kernel(
  "copies_ahead",
  TILE,
  `${SLOTS}
	st.shared.u32 [%r11], %r6;
	mov.u32 %r20, %r1;
LOOP:
	sub.u32 %r20, %r20, 1;
	setp.ne.u32 %p1, %r20, 0;
	@%p1 bra LOOP;
	ld.shared.u32 %r6, [%r11];
	add.u32 %r6, %r6, 1;
	cp.async.ca.shared.global [%r11], [%rd3], 4;
	cp.async.commit_group;${STORE}`,
);

/** Where dynamic shared memory begins: kernels take for granted that it is aligned as they ask for. */
const LOOKS_WHERE = `.extern .shared .align 1024 .b8 values[];
${
  kernel(
    "looks_where",
    "",
    `
	mov.u32 %r13, values;
	and.b32 %r13, %r13, 1023;
	add.u32 %r6, %r6, %r13;${STORE}`,
  )
}`;

export const WRITTEN = {
  turns_together: HEAD + TURNS_TOGETHER,
  turns_alone: HEAD + TURNS_ALONE,
  meets_behind: HEAD + MEETS_BEHIND,
  returns_early: HEAD + RETURNS_EARLY,
  meets_at_object: HEAD + MEETS_AT_OBJECT,
  copies_ahead: HEAD + COPIES_AHEAD,
  looks_where: HEAD + LOOKS_WHERE,
} as const;
