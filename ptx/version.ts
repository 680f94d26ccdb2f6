/**
 * Which is the lowest `.version` that a module's instructions, directives and target allow?
 *
 * A driver refuses PTX whose version is newer than it knows, so a lower number runs on more boards. Where anything in the
 * module is not in version_table.ts, the module keeps its own version. The number is never raised.
 */

import type { Expression, Instruction, Module, Operand, Statement, Variable } from "./ast.ts";
import { parametersOf } from "./layout.ts";
import { isSpecial, reads } from "./registers.ts";
import { DIRECTIVES, LATE_REGISTERS, MODIFIERS, OPCODES, TARGETS } from "./version_table.ts";

/** Larger than every version: something here is not known. */
const UNKNOWN = Infinity;

const WGMMA_SHAPE = /^\.m64n[0-9]+k(8|16|32|256)$/;

/** What the rewriter inserts takes no more than this. */
const OWN_TEXT_NEEDS = 7.4;

/** The lowest version for the module; its own, or what the rewriter needs, where something in it is not known. */
export function lowestVersion(module: Module): string {
  const own = Number(module.version);
  const needed = Math.max(
    ...module.target.map((name) => TARGETS.get(name) ?? UNKNOWN),
    ...module.items.map((item) => {
      if (item.kind === "section") return 6.0;
      if (item.kind === "variable") return ofVariable(item);
      if (item.kind === "directive") return ofDirective(item.name, item.words);
      const head = [...item.results, ...item.parameters].map(ofVariable);
      const performance = item.performance.map((p) => ofDirective(p.name, p.words));
      const attribute = item.attribute === undefined ? 6.0 : UNKNOWN;
      return Math.max(6.0, attribute, ofSize(item), ...head, ...performance, ofBody(item.body ?? []));
    }),
  );
  if (needed !== UNKNOWN) return needed.toFixed(1);
  return own < OWN_TEXT_NEEDS ? OWN_TEXT_NEEDS.toFixed(1) : module.version;
}

/** The version that one instruction needs; Infinity where that is not known. */
export function versionOfInstruction(instruction: Instruction): number {
  const { opcode, modifiers, operands } = instruction;
  return Math.max(
    OPCODES.get(opcode) ?? UNKNOWN,
    ...modifiers.map((m) => MODIFIERS.get(m) ?? (opcode === "wgmma" && WGMMA_SHAPE.test(m) ? 8.0 : UNKNOWN)),
    ofCombination(opcode, new Set(modifiers), operands),
    ...operands.map(ofOperand),
    ...reads(instruction).map(ofRegister),
  );
}

/** What an instruction and its modifiers need together, beyond what each needs alone. */
function ofCombination(opcode: string, modifiers: ReadonlySet<string>, operands: readonly Operand[]): number {
  const has = (...names: string[]) => names.some((name) => modifiers.has(name));
  const isBfloat = has(".bf16", ".bf16x2");
  const isHalf = isBfloat || has(".f16", ".f16x2");
  const needs: number[] = [6.0];
  switch (opcode) {
    case "cvt":
      if (has(".satfinite")) needs.push(has(".tf32") ? 8.6 : 8.1);
      if (has(".tf32") && !has(".rna")) needs.push(7.8);
      // To bfloat from f32 came first, from bfloat to f32 next, all others with sm_90.
      if (isBfloat && !has(".f32")) needs.push(7.8);
      else if (isBfloat) needs.push(has(".rn", ".rz") ? 7.0 : 7.1);
      break;
    case "add":
    case "sub":
    case "mul":
    case "fma":
      if (isBfloat && opcode !== "fma") needs.push(7.8);
      if (isHalf && has(".f32")) needs.push(8.6);
      break;
    case "min":
    case "max":
      if (isHalf) needs.push(7.0);
      if (has(".relu") && !isHalf) needs.push(8.0);
      if (operands.length > 3) needs.push(8.8);
      break;
    case "neg":
    case "abs":
      if (isHalf) needs.push(6.5);
      break;
    case "ex2":
    case "tanh":
      if (isHalf) needs.push(isBfloat ? 7.8 : 7.0);
      break;
    case "set":
    case "setp":
    case "atom":
    case "red":
      if (isBfloat) needs.push(7.8);
      if (has(".noftz")) needs.push(6.2);
      if (has(".v2", ".v4", ".v8")) needs.push(8.1);
      if (has(".b16")) needs.push(6.3);
      if (has(".b128")) needs.push(8.4);
      break;
    case "mma":
      if (has(".f64")) needs.push(has(".m8n8k4") ? 7.0 : 7.8);
      break;
    case "lop3":
      if (has(".or", ".and")) needs.push(8.2);
      break;
    case "isspacep":
    case "cvta":
      if (has(".param")) needs.push(7.7);
      break;
    case "bar":
    case "barrier":
      if (has(".cta")) needs.push(7.8);
      break;
    case "fence":
      if (has(".acquire", ".release")) needs.push(8.6);
      if (has(".proxy") && has(".async")) needs.push(8.0);
      if (has(".mbarrier_init")) needs.push(8.0);
      break;
    case "cp":
      if (has(".bulk")) needs.push(UNKNOWN); // its many forms came one by one
      break;
    case "prefetch":
      if (has(".tensormap")) needs.push(UNKNOWN);
  }
  return Math.max(...needs);
}

function ofOperand(operand: Operand): number {
  switch (operand.kind) {
    case "vector":
      return operand.items.some((item) => item.kind === "name" && item.name === "_") ? 7.1 : 6.0;
    case "constant":
      return ofExpression(operand.value);
    default:
      return 6.0;
  }
}

function ofRegister(name: string): number {
  if (!isSpecial(name)) return 6.0;
  return LATE_REGISTERS.find(([start]) => name.startsWith(start))?.[1] ?? 6.0;
}

/** Values are old; of the operators only `generic` is, and masks such as 0xFF(x) came later. */
function ofExpression(value: Expression): number {
  switch (value.kind) {
    case "apply":
      return value.name === "generic" ? ofExpression(value.value) : 7.1;
    case "list":
      return Math.max(6.0, ...value.items.map(ofExpression));
    default:
      return 6.0;
  }
}

function ofVariable(variable: Variable): number {
  const initial = variable.names.map((d) => d.initial === undefined ? 6.0 : ofExpression(d.initial));
  const attribute = variable.attribute === undefined || variable.attribute === ".managed" ? 6.0 : UNKNOWN;
  const isReference = [".texref", ".samplerref", ".surfref"].includes(variable.type);
  const type = isReference ? 6.0 : MODIFIERS.get(variable.type) ?? UNKNOWN;
  return Math.max(type, attribute, variable.vector === ".v8" ? 8.8 : 6.0, ...initial);
}

function ofDirective(name: string, words: readonly string[]): number {
  if (name === ".pragma") return words.every((w) => w === '"nounroll"' || w === ",") ? 6.0 : UNKNOWN;
  if (name === ".loc" && words.includes("inlined_at")) return 7.2;
  return DIRECTIVES.get(name) ?? UNKNOWN;
}

/** More than 4,096 bytes of parameters came with 8.1; sizes that are not known may be that large. */
function ofSize(item: Module["items"][number] & { kind: "function" }): number {
  const last = parametersOf(item)?.at(-1);
  if (item.parameters.length === 0 || item.directive === ".func") return 6.0;
  if (last === undefined) return UNKNOWN;
  return last.offset + last.sizeBytes > 4096 ? 8.1 : 6.0;
}

function ofBody(body: readonly Statement[]): number {
  let needed = 6.0;
  for (const statement of body) {
    if (statement.kind === "instruction") needed = Math.max(needed, versionOfInstruction(statement));
    else if (statement.kind === "variable") needed = Math.max(needed, ofVariable(statement));
    else if (statement.kind === "directive") {
      needed = Math.max(needed, ofDirective(statement.name, statement.words));
    } else if (statement.kind === "scope") needed = Math.max(needed, ofBody(statement.body));
  }
  return needed;
}
