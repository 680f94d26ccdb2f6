/**
 * Is everything around the rewritten bodies what it was? Items of the module, heads of kernels, parameters.
 *
 * It does not read bodies; verify_body.ts does.
 */

import { type Callable, isKernel, type Module, type Variable } from "./ast.ts";
import { tokenize } from "./lexer.ts";
import type { Level } from "./report.ts";
import { isSame } from "./verify_names.ts";

type Kernel = Callable & { body: NonNullable<Callable["body"]> };

/** Says what is wrong, at a line of the rewritten text. */
export type Report = (line: number, rule: string) => void;

/** A kernel that was rewritten, beside what it was. */
export interface KernelPair {
  readonly level: Exclude<Level, "whole">;
  readonly before: Kernel;
  readonly after: Kernel;
  /** In front of all that was added: `calypte_`, `calypte1_` … */
  readonly prefix: string;
}

const DIVISION = [["magic_x", "u32"], ["shift_x", "u32"], ["magic_y", "u32"], ["shift_y", "u32"]] as const;

const BLOCK = [
  ["control", "u64"],
  ["gate", "u64"],
  ["records", "u64"],
  ["stored", "u64"],
  ["step", "u32"],
  ["steps", "u32"],
  ["total", "u32"],
  ["workers", "u32"],
  ["grid_x", "u32"],
  ["grid_y", "u32"],
  ["grid_z", "u32"],
  ["run_mask", "u32"],
  ...DIVISION,
] as const;

/** Inserted text may take this .version, no module more than its own. */
const VERSION_OF_INSERTED = 7.4;

/** Name behind the prefix and type of what each level adds to the parameters (docs/PREEMPTION.md, "Parameters"). */
const ADDED: Readonly<Record<KernelPair["level"], readonly (readonly [string, string])[]>> = {
  block: BLOCK,
  loop: [...BLOCK, ["period", "u32"]],
  slice: [
    ["first", "u32"],
    ["grid_x", "u32"],
    ["grid_y", "u32"],
    ["grid_z", "u32"],
    ["total", "u32"],
    ...DIVISION,
  ],
};

/** Names that a module has already. */
export function wordsOf(text: string, file: string): Set<string> {
  return new Set(tokenize(text, file).filter(({ kind }) => kind === "word").map((token) => token.text));
}

/** Compares two modules outside the bodies of rewritten kernels, and gives those kernels back. */
export function compareModules(
  before: Module,
  after: Module,
  levels: ReadonlyMap<string, Level>,
  words: ReadonlySet<string>,
  report: (kernel: string, line: number, rule: string) => void,
): KernelPair[] {
  if (!isSame(before.target, after.target) || before.addressSize !== after.addressSize) {
    report("", 1, "The target and the size of addresses must stay");
  }
  if (Number(after.version) > Math.max(Number(before.version), VERSION_OF_INSERTED)) {
    report("", 1, `.version was raised from ${before.version} to ${after.version}`);
  }
  if (before.items.length !== after.items.length) {
    report("", 1, `The module had ${before.items.length} items and has ${after.items.length}`);
    return [];
  }
  const pairs: KernelPair[] = [];
  after.items.forEach((item, i) => {
    const old = before.items[i];
    if (old === undefined) return;
    const name = item.kind === "function" ? item.name : "";
    const level = isKernel(old) ? levels.get(old.name) ?? "whole" : "whole";
    if (level === "whole" || !isKernel(old) || !isKernel(item)) {
      if (!isSame(old, item)) {
        const what = isKernel(old) ? `Kernel ${old.name}, level whole,` : "What is no rewritten kernel";
        report(name, item.line, `${what} must stay as it was`);
      }
      return;
    }
    const note: Report = (line, rule) => report(old.name, line, rule);
    compareHeads(old, item, level, note);
    const prefix = compareParameters(old, item, level, words, note);
    if (prefix !== undefined) pairs.push({ level, before: old, after: item, prefix });
  });
  return pairs;
}

function compareHeads(before: Kernel, after: Kernel, level: KernelPair["level"], report: Report): void {
  const head = (
    { linkage, directive, attribute, name, results }: Callable,
  ) => [linkage, directive, attribute, name, results];
  if (!isSame(head(before), head(after))) report(after.line, "The head of the kernel must stay");
  const isBound = (name: string) => name === ".maxntid" || name === ".reqntid";
  const hadBound = before.performance.some(({ name }) => isBound(name));
  const may = (name: string) =>
    level !== "slice" && (name === ".minnctapersm" || (name === ".maxntid" && !hadBound));
  const rest = (of: Kernel) => of.performance.filter(({ name }) => !may(name));
  if (!isSame(rest(before), rest(after))) {
    report(after.line, "Only .minnctapersm, and .maxntid where nothing bounds the threads, may be pinned");
  }
}

/** The prefix of what was added, or undefined where the parameters do not tell it. */
function compareParameters(
  before: Kernel,
  after: Kernel,
  level: KernelPair["level"],
  words: ReadonlySet<string>,
  report: Report,
): string | undefined {
  const own = before.parameters.length;
  if (!isSame(before.parameters, after.parameters.slice(0, own))) {
    report(after.line, "The kernel's own parameters must stay, and come first");
    return undefined;
  }
  const added = after.parameters.slice(own);
  const expected = ADDED[level];
  const prefix = /^(calypte[0-9]*_)/.exec(added[0]?.names[0]?.name ?? "")?.[1];
  if (prefix === undefined || added.length !== expected.length) {
    report(after.line, `Level ${level} adds ${expected.length} parameters, found ${added.length}`);
    return undefined;
  }
  for (const [i, [name, type]] of expected.entries()) {
    const variable = added[i];
    if (variable === undefined || !isScalar(variable, prefix + name, `.${type}`)) {
      report(after.line, `Added parameter ${i} must be .param .${type} ${prefix}${name}`);
      return undefined;
    }
  }
  for (const word of words) {
    if (word.toLowerCase().replace(/^[%$]/, "").startsWith(prefix)) {
      report(after.line, `The original has a name of its own that begins with ${prefix}: ${word}`);
      return undefined;
    }
  }
  return prefix;
}

function isScalar(variable: Variable, name: string, type: string): boolean {
  const { space, names, align, vector, pointer, attribute, linkage } = variable;
  const [only] = names;
  return space === ".param" && variable.type === type && names.length === 1 && only?.name === name &&
    only.dimensions.length === 0 && align === undefined && vector === undefined && pointer === undefined &&
    attribute === undefined && linkage.length === 0;
}
