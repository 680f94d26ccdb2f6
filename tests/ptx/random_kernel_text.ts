/**
 * How is a random kernel written as PTX, and which kernels are a little smaller?
 *
 * The tree has only what shrinking must understand; everything else is lines of PTX. Registers are named by kind: `%v`
 * per thread, `%u` uniform in the block, `%c` and `%n` count and bound loops, `%t`, `%d` and `%q` are temporaries that
 * are written at one place each, as compilers do it. random_kernel.ts grows the trees.
 */

export interface Test {
  /** Lines that compute the predicate. */
  readonly lines: string;
  readonly predicate: string;
}

export type Node =
  | { readonly kind: "lines"; readonly lines: string }
  | {
    readonly kind: "loop";
    readonly id: number;
    /** Asks ahead of each turn, or behind it counting up or down (at least one turn then). */
    readonly form: "while" | "up" | "down";
    /** Lines that leave the number of turns in `%n` with the loop's number. */
    readonly trips: string;
    readonly body: readonly Node[];
  }
  | {
    readonly kind: "branch";
    readonly id: number;
    readonly test: Test;
    readonly yes: readonly Node[];
    readonly no: readonly Node[];
  }
  | {
    readonly kind: "table";
    readonly id: number;
    /** Lines that leave the number of the case in `%t` with the table's number. */
    readonly index: string;
    readonly cases: readonly (readonly Node[])[];
  }
  /** Out of a loop, or to its next turn; nothing where that loop is not around. */
  | { readonly kind: "jump"; readonly loop: number; readonly to: "E" | "N"; readonly test: Test }
  | { readonly kind: "return"; readonly test: Test; readonly opcode: "ret" | "exit" };

export interface RandomKernel {
  readonly seed: number;
  readonly grid: readonly [number, number, number];
  readonly block: readonly [number, number, number];
  /** The kernel's last argument. */
  readonly n: number;
  readonly body: readonly Node[];
}

/** Words of the output buffer that belong to each thread. */
export const OWN_WORDS = 4;
/** Words of the input buffer, and of the one that all threads add to: powers of two. */
export const INPUT_WORDS = 256;
export const SUM_WORDS = 16;

const IDS = 1000;

export function textOf({ grid, block, body }: RandomKernel): string {
  const threads = block[0] * block[1] * block[2];
  // A kernel of one dimension reads no more of its indices than it needs.
  const dimensions = grid[2] > 1 ? 3 : grid[1] > 1 ? 2 : 1;
  return `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(
	.param .u64 input,
	.param .u64 output,
	.param .u64 sums,
	.param .u64 state,
	.param .u32 number
)
${block[0] < 8 ? `.reqntid ${block.join(", ")}` : ""}
{
	.reg .pred %q<${IDS}>, %l<${IDS}>;
	.reg .b32 %v<5>, %u<3>, %c<${IDS}>, %n<${IDS}>, %t<${IDS}>;
	.reg .b32 %lin, %cta, %number, %thread, %tile, %slot, %ahead, %warp, %i<9>;
	.reg .b64 %d<${IDS}>, %input, %output, %sums, %state, %own, %mine;
	.shared .align 16 .b8 tile[${4 * threads}];
	.shared .align 16 .b8 copied[${4 * threads}];
	.shared .align 8 .b64 meeting;

	ld.param.u64 %input, [input];
	cvta.to.global.u64 %input, %input;
	ld.param.u64 %output, [output];
	cvta.to.global.u64 %output, %output;
	ld.param.u64 %sums, [sums];
	cvta.to.global.u64 %sums, %sums;
	ld.param.u64 %state, [state];
	cvta.to.global.u64 %state, %state;
	ld.param.u32 %number, [number];
	mov.u32 %lin, %tid.x;
	${block[1] > 1 ? "mov.u32 %i0, %tid.y; mov.u32 %i1, %ntid.x; mad.lo.u32 %lin, %i0, %i1, %lin;" : ""}
	mov.u32 %i2, %ctaid.x;
	mov.u32 %cta, %i2;
	${dimensions > 1 ? "mov.u32 %i3, %ctaid.y; mov.u32 %i4, %nctaid.x; mad.lo.u32 %cta, %i3, %i4, %i2;" : ""}
	${
    dimensions > 2
      ? "mov.u32 %i5, %ctaid.z; mov.u32 %i6, %nctaid.y; mul.lo.u32 %i7, %i4, %i6; mad.lo.u32 %cta, %i5, %i7, %cta;"
      : ""
  }
	mad.lo.u32 %thread, %cta, ${threads}, %lin;
	mad.wide.u32 %own, %thread, ${4 * OWN_WORDS}, %output;
	mad.wide.u32 %mine, %thread, 4, %state;
	mov.u32 %tile, tile;
	shl.b32 %slot, %lin, 2;
	add.u32 %slot, %tile, %slot;
	mov.u32 %ahead, copied;
	mad.lo.u32 %ahead, %lin, 4, %ahead;
	shr.u32 %warp, %lin, 5;
	mov.u32 %v0, %thread;
	mov.u32 %v1, %lin;
	mov.u32 %v2, 7;
	mov.u32 %v3, %cta;
	mov.u32 %v4, 0;
	mov.u32 %u0, %number;
	mov.u32 %u1, %cta;
	mov.u32 %u2, 3;
${textOfList(body, [])}
	ret;
}
`;
}

function textOfList(nodes: readonly Node[], around: readonly number[]): string {
  return nodes.map((node) => textOfNode(node, around)).filter((text) => text !== "").join("\n");
}

const indent = (lines: string) => lines.split("\n").map((line) => `\t${line.trim()}`).join("\n");

function textOfNode(node: Node, around: readonly number[]): string {
  switch (node.kind) {
    case "lines":
      return indent(node.lines);
    case "loop":
      return textOfLoop(node, around);
    case "branch":
      return indent(`${node.test.lines}\n@!${node.test.predicate} bra $F${node.id};`) +
        `\n${textOfList(node.yes, around)}` +
        (node.no.length === 0 ? "" : `\n\tbra $J${node.id};`) +
        `\n$F${node.id}:\n${textOfList(node.no, around)}` +
        (node.no.length === 0 ? "" : `\n$J${node.id}:`);
    case "table": {
      const labels = node.cases.map((_, i) => `$C${node.id}_${i}`);
      return indent(node.index) +
        `\n$T${node.id}: .branchtargets ${labels.join(", ")};\n\tbrx.idx %t${node.id}, $T${node.id};\n` +
        node.cases.map((c, i) => `${labels[i]}:\n${textOfList(c, around)}\n\tbra $J${node.id};\n`).join("") +
        `$J${node.id}:`;
    }
    case "jump":
      if (!around.includes(node.loop)) return "";
      return indent(`${node.test.lines}\n@${node.test.predicate} bra $${node.to}${node.loop};`);
    case "return":
      return indent(`${node.test.lines}\n@${node.test.predicate} ${node.opcode};`);
  }
}

function textOfLoop(loop: Node & { kind: "loop" }, around: readonly number[]): string {
  const { id, form, trips } = loop;
  const body = textOfList(loop.body, [...around, id]);
  if (form === "while") {
    return `${indent(trips)}
	mov.u32 %c${id}, 0;
$L${id}:
	setp.ge.u32 %l${id}, %c${id}, %n${id};
	@%l${id} bra $E${id};
${body}
$N${id}:
	add.u32 %c${id}, %c${id}, 1;
	bra $L${id};
$E${id}:`;
  }
  const isUp = form === "up";
  const step = 1 + id % 3;
  const [first, bound] = isUp ? ["0", `%n${id}`] : [`%n${id}`, "0"];
  const compare = isUp ? "lt.u32" : id % 2 === 0 ? "ne.s32" : "gt.s32";
  // Compilers also count in a second register, and move it back.
  const count = id % 2 === 0 ? `%c${id}` : `%t${id}`;
  const back = count === `%c${id}` ? "" : `\n\tmov.u32 %c${id}, ${count};`;
  return `${indent(trips)}
	max.u32 %n${id}, %n${id}, 1;
	mul.lo.u32 %n${id}, %n${id}, ${step};
	mov.u32 %c${id}, ${first};
$L${id}:
${body}
$N${id}:
	add.s32 ${count}, %c${id}, ${isUp ? step : -step};
	setp.${compare} %l${id}, ${count}, ${bound};${back}
	@%l${id} bra $L${id};
$E${id}:`;
}

/** All kernels with one statement less, or with one replaced by what it holds; the largest steps first. */
export function* smaller(kernel: RandomKernel): Generator<RandomKernel> {
  for (const body of smallerLists(kernel.body)) yield { ...kernel, body };
}

function* smallerLists(nodes: readonly Node[]): Generator<readonly Node[]> {
  const replaced = (i: number, by: readonly Node[]) => [...nodes.slice(0, i), ...by, ...nodes.slice(i + 1)];
  for (const i of nodes.keys()) yield replaced(i, []);
  for (const [i, node] of nodes.entries()) {
    for (const list of listsIn(node)) if (list.length > 0) yield replaced(i, list);
  }
  for (const [i, node] of nodes.entries()) {
    for (const less of smallerNodes(node)) yield replaced(i, [less]);
  }
}

function listsIn(node: Node): readonly (readonly Node[])[] {
  if (node.kind === "loop") return [node.body];
  if (node.kind === "branch") return [node.yes, node.no];
  return node.kind === "table" ? node.cases : [];
}

function* smallerNodes(node: Node): Generator<Node> {
  if (node.kind === "loop") { for (const body of smallerLists(node.body)) yield { ...node, body }; }
  if (node.kind === "branch") {
    for (const yes of smallerLists(node.yes)) yield { ...node, yes };
    for (const no of smallerLists(node.no)) yield { ...node, no };
  }
  if (node.kind === "table") {
    for (const [i, list] of node.cases.entries()) {
      for (const less of smallerLists(list)) yield { ...node, cases: node.cases.with(i, less) };
    }
  }
}
