/**
 * To which level may a kernel be rewritten at most? And why not higher, in words?
 *
 * `block` runs the blocks of a grid one after the other in a few workers, between other work; `slice` launches ranges of
 * them. Everything that would notice is listed here, and so is everything that this compiler does not know. Whether a block
 * may also be abandoned half-way (`loop`) is checkpoints.ts's question; whether rewriting is worth its cost is nobody's here.
 */

import type { Callable, Instruction, Module } from "./ast.ts";
import { fullName } from "./ast.ts";
import { checkBarriers, isBarrier, type Returns } from "./barriers.ts";
import { checkAsync, checkAsyncFlow, isMbarrierInit } from "./asynchronous.ts";
import { controlFlow, type Graph } from "./cfg.ts";
import { type Complaint, worst } from "./complaint.ts";
import { PtxError } from "./error.ts";
import { parametersOf } from "./layout.ts";
import { isSpecial, reads, writes } from "./registers.ts";
import { findEndless, findWaiting, instructionsOf } from "./waiting.ts";

export interface Verdict {
  /** The highest level that is safe, `loop` not asked for. */
  readonly level: "block" | "slice" | "whole";
  /** Why not `block`; empty when it is. */
  readonly reason: string;
  /** Line that the reason speaks of, else the kernel's own. */
  readonly line: number;
  /** Why the output may differ from run to run whatever one does, such as a clock that it stores; empty: it does not. */
  readonly inexact: string;
  /** How the threads of a block come together at its end. */
  readonly returns: Returns;
  /** Whether its threads share memory or meet barriers. */
  readonly shares: boolean;
  /** Whether asynchronous copies must be waited for at the end of a virtual block. */
  readonly copiesAsync: boolean;
  /** Whether `wgmma` runs asynchronously in it. */
  readonly multipliesAsync: boolean;
  /** Of the kernel's body, where its branches could be followed. */
  readonly graph: Graph | undefined;
  readonly callee: (call: Instruction) => Callable | undefined;
}

/** Instructions that affect nothing but registers, memory and the threads of the own warp or block. */
const SAFE = new Set(
  ("abs activemask add addc and applypriority atom bar barrier bfe bfi bfind bmsk bra brev brkpt brx call clz cnot " +
    "copysign cos cp createpolicy cvt cvta discard div dp2a dp4a elect ex2 exit fence fma fns isspacep ld ldmatrix ldu " +
    "lg2 lop3 mad mad24 madc match max mbarrier membar min mma mov movmatrix mul mul24 nanosleep neg not or pmevent popc " +
    "prefetch prefetchu prmt rcp red redux rem ret rsqrt sad selp set setp shf shfl shl shr sin slct sqrt st stmatrix sub " +
    "subc suld suq sured sust szext tanh testp tex tld4 trap txq vabsdiff vabsdiff2 vabsdiff4 vadd vadd2 vadd4 vavrg2 " +
    "vavrg4 vmad vmax vmax2 vmax4 vmin vmin2 vmin4 vote vset vset2 vset4 vshl vshr vsub vsub2 vsub4 wgmma wmma xor")
    .split(
      " ",
    ),
);

/** Special registers whose values stay right in a virtual block, or are made right by the rewriter. */
const SAFE_SPECIAL =
  /^%(tid|ntid|ctaid|nctaid|laneid|lanemask_\w+|total_smem_size|dynamic_smem_size|aggr_smem_size)/;

/** What the toolkit's headers declare for printf, new, delete and assert: they work from any block at any time. */
const HARMLESS = new Set(["vprintf", "malloc", "free", "__assertfail"]);

const CLUSTER_DIRECTIVES = new Set([
  ".reqnctapercluster",
  ".explicitcluster",
  ".maxclusterrank",
  ".blocksareclusters",
]);

/** A launch passes at most this many bytes of parameters before PTX 8.1. */
const MAX_PARAMETER_BYTES = 4096;
/** Four u64 and thirteen u32, and what aligning them may cost. */
const OWN_PARAMETER_BYTES = 96;

/** Decides for one kernel of a module. */
export function judge(module: Module, kernel: Callable & { body: NonNullable<Callable["body"]> }): Verdict {
  const functions = new Map<string, Callable>();
  for (const item of module.items) {
    // A declaration may stand before the definition.
    if (item.kind === "function" && (item.body !== undefined || !functions.has(item.name))) {
      functions.set(item.name, item);
    }
  }
  const callee = (call: Instruction) => functions.get(calleeName(call) ?? "");
  const called = new Set<Callable>();
  const moduleComplaint = checkModule(module, kernel);
  const reading = readFunction(module, kernel, callee, called);
  const complaint = worst([moduleComplaint, ...reading.complaints]);
  const bodies = [kernel, ...called].flatMap((f) => f.body === undefined ? [] : instructionsOf(f.body));
  return {
    level: complaint?.limit ?? "block",
    reason: complaint?.reason ?? "",
    line: complaint?.line ?? kernel.line,
    inexact: reading.inexact,
    returns: reading.returns,
    shares: bodies.some(isShared) || module.items.some((i) => i.kind === "variable" && i.space === ".shared"),
    copiesAsync: bodies.some((i) => i.opcode === "cp" && i.modifiers[0] === ".async"),
    multipliesAsync: bodies.some(({ opcode }) => opcode === "wgmma"),
    graph: reading.graph,
    callee,
  };
}

function isShared(instruction: Instruction): boolean {
  return isBarrier(instruction) || instruction.modifiers.some((m) => m.startsWith(".shared"));
}

function checkModule(module: Module, kernel: Callable): Complaint | undefined {
  const { line } = kernel;
  const no = (limit: Complaint["limit"], reason: string): Complaint => ({ limit, reason, line });
  if (module.addressSize !== 64) return no("whole", "the module does not have 64-bit addresses");
  const directive = kernel.performance.find((p) => CLUSTER_DIRECTIVES.has(p.name));
  if (directive !== undefined) return no("whole", `its blocks form clusters (${directive.name})`);
  const parameters = parametersOf(kernel);
  if (parameters === undefined) return no("whole", "the size of a parameter is not known");
  const last = parameters.at(-1);
  const bytes = last === undefined ? 0 : last.offset + last.sizeBytes;
  if (bytes + OWN_PARAMETER_BYTES > MAX_PARAMETER_BYTES) {
    return no("whole", `it has ${bytes} bytes of parameters, too many to add ${OWN_PARAMETER_BYTES}`);
  }
  const architecture = Number(/^sm_([0-9]+)/.exec(module.target[0] ?? "")?.[1] ?? 0);
  if (architecture < 70) {
    return no(
      "slice",
      `the target ${module.target[0]} has no ordered loads; level block needs sm_70 or newer`,
    );
  }
  return undefined;
}

interface Reading {
  readonly complaints: readonly Complaint[];
  readonly inexact: string;
  readonly returns: Returns;
  readonly graph: Graph | undefined;
}

/** Reads a function, and all that it calls; those are added to `called`. */
function readFunction(
  module: Module,
  self: Callable,
  callee: (call: Instruction) => Callable | undefined,
  called: Set<Callable>,
): Reading {
  const body = self.body ?? [];
  const isKernel = self.directive === ".entry";
  const complaints: Complaint[] = [];
  let inexact = "";
  const no = (limit: Complaint["limit"], line: number, reason: string) =>
    complaints.push({ limit, line, reason });
  const tainted = dependents(instructionsOf(body));
  for (const instruction of instructionsOf(body)) {
    const { line } = instruction;
    const complaint = checkInstruction(instruction, isKernel, self.name);
    if (complaint !== undefined) complaints.push(complaint);
    const taint = checkTaint(instruction, tainted);
    if (taint?.decides === true) no("whole", line, taint.what);
    else if (taint !== undefined) inexact ||= taint.what;
    if (instruction.opcode === "trap" || instruction.opcode === "brkpt") {
      inexact ||= `line ${line} (${fullName(instruction)}) stops the grid where it stands`;
    }
    if (instruction.opcode !== "call") continue;
    const target = callee(instruction);
    const name = calleeName(instruction);
    if (HARMLESS.has(name ?? "") && target?.body === undefined) {
      inexact ||= `line ${line} calls ${name}`;
    } else if (target === undefined) no("whole", line, `line ${line} calls through ${name ?? "a register"}`);
    else if (target.directive === ".entry") no("whole", line, `line ${line} calls the kernel ${name}`);
    else if (target.body === undefined) {
      no("whole", line, `line ${line} calls ${name}, whose body is not in the module`);
    } else if (!called.has(target)) {
      called.add(target);
      const inner = readFunction(module, target, callee, called);
      complaints.push(...inner.complaints);
      inexact ||= inner.inexact;
    }
  }

  let graph: Graph | undefined;
  let returns: Returns = "gathered";
  try {
    graph = controlFlow(body, module.file);
    const flow = checkFlow(self, graph, callee);
    if (flow !== undefined) complaints.push(flow);
    const async = checkAsyncFlow(graph);
    if (async !== undefined) complaints.push(async);
    if (isKernel) {
      const barriers = checkBarriers(
        graph,
        new Set(self.parameters.flatMap((p) => p.names.map((d) => d.name))),
      );
      if (typeof barriers === "string") returns = barriers;
      else complaints.push(barriers);
    }
  } catch (error) {
    if (!(error instanceof PtxError)) throw error;
    no("whole", error.position.line, `its branches cannot be followed: ${error.rule}`);
  }
  return { complaints, inexact, returns, graph };
}

function checkFlow(
  self: Callable,
  graph: Graph,
  callee: (call: Instruction) => Callable | undefined,
): Complaint | undefined {
  const limit = "whole";
  const endless = findEndless(graph);
  if (endless !== undefined) {
    return { limit, line: endless, reason: `the loop at line ${endless} has no exit` };
  }
  if (graph.irreducible !== undefined) {
    const line = graph.blocks[graph.irreducible]?.instructions[0]?.line ?? self.line;
    const reason = `the loop at line ${line} has more than one entry, so that its end cannot be judged`;
    return { limit, line, reason };
  }
  const waiting = findWaiting(graph, callee);
  if (waiting === undefined) return undefined;
  return {
    limit,
    line: waiting.loopLine,
    reason: `the loop at line ${waiting.loopLine} may wait for another block: ` +
      `its end depends on ${waiting.what} at line ${waiting.readLine}`,
  };
}

function calleeName(call: Instruction): string | undefined {
  const index = call.operands[0]?.kind === "list" && call.operands.length > 1 ? 1 : 0;
  const operand = call.operands[index];
  return operand?.kind === "name" ? operand.name : undefined;
}

function checkInstruction(instruction: Instruction, isKernel: boolean, owner: string): Complaint | undefined {
  const { opcode, operands, line } = instruction;
  const at = `line ${line} (${fullName(instruction)})`;
  const no = (limit: Complaint["limit"], reason: string): Complaint => ({ limit, line, reason });
  if (worksOnCluster(instruction)) return no("whole", `${at} works on a cluster of blocks`);
  if (opcode === "griddepcontrol") return no("whole", `${at} depends on other grids`);
  const async = checkAsync(instruction);
  if (async !== undefined) return no("slice", async);
  if (opcode === "alloca") return no("slice", `${at} takes stack that only the end of a kernel gives back`);
  if (!SAFE.has(opcode)) {
    // What may jump must be followed; anything else a block that runs by itself does as before.
    const mayJump = operands.some((o) => o.kind === "name" && !o.name.startsWith("%"));
    return no(mayJump ? "whole" : "slice", `${at} is not known to this version`);
  }
  for (const name of reads(instruction)) {
    if (!/^%n?ctaid/.test(name)) continue;
    const complaint = checkBlockIndex(instruction, isKernel, owner);
    if (complaint !== undefined) return no("whole", `${at} ${complaint}`);
  }
  if (isKernel) return undefined;
  if (isBarrier(instruction)) return no("slice", `${at} is a barrier inside the function ${owner}`);
  if (opcode === "exit") return no("slice", `${at} ends the thread inside the function ${owner}`);
  if (isMbarrierInit(instruction)) {
    return no("slice", `${at} sets up an mbarrier inside the function ${owner}`);
  }
  return undefined;
}

/** A fence or an mbarrier may name the scope of a cluster in a kernel that has none. */
function worksOnCluster({ opcode, modifiers }: Instruction): boolean {
  if (opcode === "mapa" || opcode === "getctarank") return true;
  if (opcode === "barrier") return modifiers.includes(".cluster");
  return modifiers.includes(".shared::cluster") && !modifiers.includes(".bulk");
}

/** The rewriter replaces whole reads of one component, in the kernel itself. */
function checkBlockIndex(instruction: Instruction, isKernel: boolean, owner: string): string | undefined {
  if (!isKernel) return `reads the block index inside the function ${owner}`;
  const isComponent = instruction.operands.every((o) =>
    o.kind !== "name" || !/^%n?ctaid/.test(o.name) || /^\.[xyz]$/.test(o.part ?? "")
  );
  const isPlain = instruction.opcode === "mov" || instruction.opcode === "cvt";
  return isComponent && isPlain ? undefined : "reads the block index otherwise than by moving one component";
}

/** Registers that hold, or were computed from, a special register that differs when blocks run in few workers. */
function dependents(all: readonly Instruction[]): ReadonlyMap<string, string> {
  const sources = new Map<string, string>();
  for (let changed = true; changed;) {
    changed = false;
    for (const instruction of all) {
      const source = reads(instruction).map((name) => foreign(name) ?? sources.get(name)).find((s) =>
        s !== undefined
      );
      if (source === undefined) continue;
      for (const name of writes(instruction)) {
        if (!sources.has(name)) {
          sources.set(name, source);
          changed = true;
        }
      }
    }
  }
  return sources;
}

function foreign(name: string): string | undefined {
  return isSpecial(name) && !SAFE_SPECIAL.test(name) ? name : undefined;
}

/** Whether such a value decides about an address, a branch or a call; or merely occurs. */
function checkTaint(
  instruction: Instruction,
  tainted: ReadonlyMap<string, string>,
): { decides: boolean; what: string } | undefined {
  const { opcode, operands, guard, line } = instruction;
  const of = (names: readonly string[]) =>
    names.map((name) => foreign(name) ?? tainted.get(name)).find((s) => s !== undefined);
  const addresses = operands.filter((o) => o.kind === "address");
  const deciding = opcode === "call" || opcode === "brx" || opcode === "bar" || opcode === "barrier"
    ? of(reads(instruction))
    : of([
      ...(guard === undefined ? [] : [guard.register]),
      ...addresses.flatMap((o) => reads({ ...instruction, opcode: "st", operands: [o] })),
    ]);
  const at = `line ${line} (${fullName(instruction)})`;
  if (deciding !== undefined) {
    const what = `${at} depends on ${deciding}, which differs when the blocks run in few workers`;
    return { decides: true, what };
  }
  const read = of(reads(instruction));
  return read === undefined
    ? undefined
    : { decides: false, what: `${at} uses ${read}, which differs from run to run` };
}
