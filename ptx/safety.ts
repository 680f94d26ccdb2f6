/**
 * May a kernel be rewritten to level `block`? If not, why, in words?
 *
 * `block` runs the blocks of a grid one after the other in a few workers, between other work. Everything that would
 * notice is listed here, and so is everything that this compiler does not know: what is not known to be safe is `whole`.
 * It does not ask whether rewriting is worth its cost.
 */

import type { Callable, Instruction, Module } from "./ast.ts";
import { fullName } from "./ast.ts";
import { checkBarriers, type Complaint, isBarrier } from "./barriers.ts";
import { controlFlow, type Graph } from "./cfg.ts";
import { PtxError } from "./error.ts";
import { parametersOf } from "./layout.ts";
import { isSpecial, reads } from "./registers.ts";
import { findEndless, findWaiting, instructionsOf } from "./waiting.ts";

export interface Verdict {
  readonly level: "block" | "whole";
  /** Why not `block`; empty when it is. */
  readonly reason: string;
  /** Line that the reason speaks of, else the kernel's own. */
  readonly line: number;
  /** Whether asynchronous copies must be waited for at the end of a virtual block. */
  readonly copiesAsync: boolean;
}

/** Instructions that affect nothing but registers, memory and the threads of the own warp or block. */
const SAFE = new Set(
  ("abs activemask add addc and applypriority atom bar barrier bfe bfi bfind bmsk bra brev brx call clz cnot copysign " +
    "cos cp createpolicy cvt cvta discard div dp2a dp4a elect ex2 exit fence fma fns isspacep ld ldmatrix ldu lg2 lop3 " +
    "mad mad24 madc match max membar min mma mov movmatrix mul mul24 nanosleep neg not or pmevent popc prefetch " +
    "prefetchu prmt rcp red redux rem ret rsqrt sad selp set setp shf shfl shl shr sin slct sqrt st stmatrix sub subc " +
    "suld suq sured sust szext tanh testp tex tld4 trap txq vabsdiff vabsdiff2 vabsdiff4 vadd vadd2 vadd4 vavrg2 vavrg4 " +
    "vmad vmax vmax2 vmax4 vmin vmin2 vmin4 vote vset vset2 vset4 vshl vshr vsub vsub2 vsub4 wmma xor").split(
      " ",
    ),
);

/** Special registers whose values stay right in a virtual block, or are made right by the rewriter. */
const SAFE_SPECIAL =
  /^%(tid|ntid|ctaid|nctaid|laneid|lanemask_\w+|total_smem_size|dynamic_smem_size|aggr_smem_size)/;

const CLUSTER_DIRECTIVES = new Set([
  ".reqnctapercluster",
  ".explicitcluster",
  ".maxclusterrank",
  ".blocksareclusters",
]);

/** A launch passes at most this many bytes of parameters before PTX 8.1. */
const MAX_PARAMETER_BYTES = 4096;
/** Four u64 and seven u32, and what aligning them may cost. */
const OWN_PARAMETER_BYTES = 68;

/** Decides for one kernel of a module. */
export function judge(module: Module, kernel: Callable & { body: NonNullable<Callable["body"]> }): Verdict {
  const functions = new Map<string, Callable>();
  for (const item of module.items) {
    // A declaration may stand before the definition.
    if (item.kind === "function" && (item.body !== undefined || !functions.has(item.name))) {
      functions.set(item.name, item);
    }
  }
  const called = new Set<Callable>();
  const complaint = checkModule(module, kernel) ?? checkFunction(module, kernel, functions, called);
  const bodies = [kernel, ...called].flatMap((f) => f.body === undefined ? [] : instructionsOf(f.body));
  const copiesAsync = bodies.some((i) => i.opcode === "cp" && i.modifiers[0] === ".async");
  return complaint === undefined
    ? { level: "block", reason: "", line: kernel.line, copiesAsync }
    : { level: "whole", ...complaint, copiesAsync };
}

function checkModule(module: Module, kernel: Callable): Complaint | undefined {
  const { line } = kernel;
  const architecture = Number(/^sm_([0-9]+)/.exec(module.target[0] ?? "")?.[1] ?? 0);
  if (architecture < 70) {
    return {
      line,
      reason: `the target ${module.target[0]} has no ordered loads; level block needs sm_70 or newer`,
    };
  }
  if (module.addressSize !== 64) return { line, reason: "the module does not have 64-bit addresses" };
  const directive = kernel.performance.find((p) => CLUSTER_DIRECTIVES.has(p.name));
  if (directive !== undefined) return { line, reason: `its blocks form clusters (${directive.name})` };
  const parameters = parametersOf(kernel);
  if (parameters === undefined) return { line, reason: "the size of a parameter is not known" };
  const last = parameters.at(-1);
  const bytes = last === undefined ? 0 : last.offset + last.sizeBytes;
  if (bytes + OWN_PARAMETER_BYTES > MAX_PARAMETER_BYTES) {
    return { line, reason: `it has ${bytes} bytes of parameters, too many to add ${OWN_PARAMETER_BYTES}` };
  }
  return undefined;
}

/** Checks a function, and all that it calls; those are added to `called`. */
function checkFunction(
  module: Module,
  self: Callable,
  functions: ReadonlyMap<string, Callable>,
  called: Set<Callable>,
): Complaint | undefined {
  const body = self.body ?? [];
  const isKernel = self.directive === ".entry";
  for (const instruction of instructionsOf(body)) {
    const complaint = checkInstruction(instruction, isKernel, self.name);
    if (complaint !== undefined) return { reason: complaint, line: instruction.line };
    if (instruction.opcode !== "call") continue;
    const target = calleeOf(instruction, functions);
    const name = calleeName(instruction);
    const at = { line: instruction.line };
    if (target === undefined) {
      return { ...at, reason: `line ${at.line} calls through ${name ?? "a register"}` };
    }
    if (target.directive === ".entry") return { ...at, reason: `line ${at.line} calls the kernel ${name}` };
    if (target.body === undefined) {
      return { ...at, reason: `line ${at.line} calls ${name}, whose body is not in the module` };
    }
    if (called.has(target)) continue;
    called.add(target);
    const inner = checkFunction(module, target, functions, called);
    if (inner !== undefined) return inner;
  }

  let graph: Graph;
  try {
    graph = controlFlow(body, module.file);
  } catch (error) {
    if (!(error instanceof PtxError)) throw error;
    return { line: error.position.line, reason: `its branches cannot be followed: ${error.rule}` };
  }
  return checkFlow(self, graph, functions);
}

function checkFlow(
  self: Callable,
  graph: Graph,
  functions: ReadonlyMap<string, Callable>,
): Complaint | undefined {
  const endless = findEndless(graph);
  if (endless !== undefined) return { line: endless, reason: `the loop at line ${endless} has no exit` };
  if (graph.irreducible !== undefined) {
    const line = graph.blocks[graph.irreducible]?.instructions[0]?.line ?? self.line;
    return {
      line,
      reason: `the loop at line ${line} has more than one entry, so that its end cannot be judged`,
    };
  }
  const waiting = findWaiting(graph, (call) => calleeOf(call, functions));
  if (waiting !== undefined) {
    return {
      line: waiting.loopLine,
      reason: `the loop at line ${waiting.loopLine} may wait for another block: ` +
        `its end depends on ${waiting.what} at line ${waiting.readLine}`,
    };
  }
  if (self.directive !== ".entry") return undefined;
  return checkBarriers(graph, new Set(self.parameters.flatMap((p) => p.names.map((d) => d.name))));
}

function calleeName(call: Instruction): string | undefined {
  const index = call.operands[0]?.kind === "list" && call.operands.length > 1 ? 1 : 0;
  const operand = call.operands[index];
  return operand?.kind === "name" ? operand.name : undefined;
}

function calleeOf(call: Instruction, functions: ReadonlyMap<string, Callable>): Callable | undefined {
  return functions.get(calleeName(call) ?? "");
}

function checkInstruction(instruction: Instruction, isKernel: boolean, owner: string): string | undefined {
  const { opcode, modifiers, line } = instruction;
  const at = `line ${line} (${fullName(instruction)})`;
  if (modifiers.some((m) => m.includes("cluster"))) return `${at} works on a cluster of blocks`;
  if (opcode === "griddepcontrol") return `${at} depends on other grids`;
  if (opcode === "wgmma" || opcode === "tcgen05") {
    return `${at} computes asynchronously, which this version does not follow across blocks`;
  }
  if (opcode === "mbarrier" || modifiers.some((m) => m.startsWith(".mbarrier"))) {
    return `${at} uses an mbarrier, whose phase this version does not carry from block to block`;
  }
  if (opcode === "setmaxnreg") return `${at} moves registers between warps`;
  const isAsync = modifiers.includes(".async") || modifiers.some((m) => m.startsWith(".bulk"));
  if (opcode === "tensormap" || modifiers.some((m) => m.startsWith(".tensormap"))) {
    return `${at} uses a tensor map, which this version does not handle`;
  }
  if (
    isAsync && (opcode !== "cp" || modifiers[0] !== ".async" || modifiers.some((m) => m.startsWith(".bulk")))
  ) {
    if (!modifiers.some((m) => m.startsWith(".proxy"))) {
      return `${at} copies asynchronously in bulk, which this version does not wait for`;
    }
  }
  if (opcode === "trap" || opcode === "brkpt") return `${at} stops the whole grid`;
  if (opcode === "alloca") return `${at} takes stack that only the end of a kernel gives back`;
  if (!SAFE.has(opcode)) return `${at} is not known to this version`;
  for (const name of reads(instruction)) {
    if (!isSpecial(name)) continue;
    if (!SAFE_SPECIAL.test(name)) {
      return `${at} reads ${name}, which differs when the blocks run in few workers`;
    }
    const complaint = checkBlockIndex(instruction, name, isKernel, owner);
    if (complaint !== undefined) return `${at} ${complaint}`;
  }
  if (isKernel) return undefined;
  if (isBarrier(instruction)) return `${at} is a barrier inside the function ${owner}`;
  if (opcode === "exit") return `${at} ends the thread inside the function ${owner}`;
  return undefined;
}

/** The rewriter replaces whole reads of one component into a 32-bit register, in the kernel itself. */
function checkBlockIndex(
  instruction: Instruction,
  name: string,
  isKernel: boolean,
  owner: string,
): string | undefined {
  if (!/^%n?ctaid/.test(name)) return undefined;
  if (!isKernel) return `reads ${name} inside the function ${owner}`;
  const isMove = instruction.opcode === "mov" && /^\.[usb]32$/.test(instruction.modifiers[0] ?? "");
  const source = instruction.operands[1];
  const isComponent = source?.kind === "name" && /^\.[xyz]$/.test(source.part ?? "");
  return isMove && isComponent ? undefined : `reads ${name} otherwise than by moving one 32-bit component`;
}
