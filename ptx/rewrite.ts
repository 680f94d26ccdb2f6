/**
 * How does a kernel become one at level `block`? Syntax tree in, syntax tree out.
 *
 * Parameters are added, reads of the block index and the grid are replaced, returns become jumps to the checkpoint, and
 * the wrapper (wrapper.ts) goes around. Whether that is allowed was decided before, by safety.ts.
 */

import type { Callable, Instruction, Module, Operand, Performance, Statement, Variable } from "./ast.ts";
import { parseParameters, parseStatements } from "./parser.ts";
import { CALYPTE_PARAMS, wrapper, type WrapperNames } from "./wrapper.ts";

export type Axis = "x" | "y" | "z";

/** What to pin in a rewritten kernel so that ptxas does not choose other registers than for the original. */
export interface Pins {
  /** For `.minnctapersm`: resident blocks per SM of the original. ptxas heeds it only beside a bound on threads. */
  readonly minBlocks?: number;
  /** For `.maxntid`, where the kernel states no bound of its own: threads of a block. */
  readonly maxThreads?: number;
}

type Kernel = Callable & { body: readonly Statement[] };

/** Rewrites a kernel that safety.ts found fit for level `block`. */
export function rewriteKernel(module: Module, kernel: Kernel, copiesAsync: boolean, pins: Pins): Kernel {
  const names = freshNames(module);
  const axes = new Set<Axis>();
  const gather = `${names.label}GATHER`;
  const body = kernel.body.map((statement) => rewriteStatement(statement, names, gather, axes));
  const parts = wrapper(names, axes, copiesAsync);

  // Declarations stay in front of what uses them, and the wrapper comes before the first label: a body that loops back
  // to its own start must not run the wrapper again.
  const found = body.findIndex((s) => s.kind === "instruction" || s.kind === "label" || s.kind === "scope");
  const start = found < 0 ? body.length : found;
  const parameters = CALYPTE_PARAMS.map((p) =>
    `.param .${p.type} ${names.parameter}${p.name.slice("calypte_".length)}`
  );
  return {
    ...kernel,
    parameters: [...kernel.parameters, ...parseParameters(parameters.join(", "), "the wrapper")],
    performance: pin(kernel.performance, pins),
    body: [
      ...body.slice(0, start),
      ...parseStatements(parts.before, "the wrapper"),
      ...body.slice(start),
      ...parseStatements(parts.after, "the wrapper"),
    ],
  };
}

/** The first of `calypte_`, `calypte1_`, `calypte2_` … that no name in the module begins with. */
function freshNames(module: Module): WrapperNames {
  const used = new Set<string>();
  const note = (name: string) => used.add(/^[%$]?(calypte[0-9]*_)/i.exec(name)?.[1]?.toLowerCase() ?? "");
  const noteVariable = (variable: Variable) => variable.names.forEach((d) => note(d.name));
  const noteBody = (body: readonly Statement[]) => {
    for (const s of body) {
      if (s.kind === "variable") noteVariable(s);
      else if (s.kind === "scope") noteBody(s.body);
      else if (s.kind === "label" || s.kind === "targets" || s.kind === "prototype") note(s.name);
    }
  };
  for (const item of module.items) {
    if (item.kind === "variable") noteVariable(item);
    if (item.kind !== "function") continue;
    note(item.name);
    [...item.results, ...item.parameters].forEach(noteVariable);
    noteBody(item.body ?? []);
  }
  for (let i = 0;; i++) {
    const name = `calypte${i === 0 ? "" : i}_`;
    if (!used.has(name)) return { register: `%${name}`, label: `$${name.toUpperCase()}`, parameter: name };
  }
}

function rewriteStatement(
  statement: Statement,
  names: WrapperNames,
  gather: string,
  axes: Set<Axis>,
): Statement {
  if (statement.kind === "scope") {
    return {
      ...statement,
      body: statement.body.map((inner) => rewriteStatement(inner, names, gather, axes)),
    };
  }
  if (statement.kind !== "instruction") return statement;
  if (statement.opcode === "ret" || statement.opcode === "exit") {
    return { ...statement, opcode: "bra", operands: [{ kind: "name", name: gather }] };
  }
  return rewriteIndex(statement, names, axes);
}

/** `mov.u32 %r1, %ctaid.x` and `mov.u32 %r1, %nctaid.x`; safety.ts has seen to it that there is no other form. */
function rewriteIndex(instruction: Instruction, names: WrapperNames, axes: Set<Axis>): Instruction {
  const [result, source] = instruction.operands;
  if (instruction.opcode !== "mov" || result === undefined || source?.kind !== "name") return instruction;
  const axis = source.part?.slice(1);
  if (axis !== "x" && axis !== "y" && axis !== "z") return instruction;
  if (source.name === "%ctaid") {
    axes.add(axis);
    return { ...instruction, operands: [result, { kind: "name", name: names.register + axis }] };
  }
  if (source.name !== "%nctaid") return instruction;
  const address: Operand = {
    kind: "address",
    items: [{ base: { kind: "name", name: `${names.parameter}grid_${axis}` } }],
  };
  return { ...instruction, opcode: "ld", modifiers: [".param", ".u32"], operands: [result, address] };
}

function pin(performance: readonly Performance[], pins: Pins): Performance[] {
  const isBound = (p: Performance) => p.name === ".maxntid" || p.name === ".reqntid";
  const directive = (name: string, value: number) => ({ name, words: [String(value)], semicolon: false });
  const result = performance.filter((p) => pins.minBlocks === undefined || p.name !== ".minnctapersm");
  if (pins.maxThreads !== undefined && !result.some(isBound)) {
    result.push(directive(".maxntid", pins.maxThreads));
  }
  if (pins.minBlocks !== undefined && result.some(isBound)) {
    result.push(directive(".minnctapersm", pins.minBlocks));
  }
  return result;
}
