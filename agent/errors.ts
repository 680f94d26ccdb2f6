/**
 * What is wrong with what the user gave us, and what to do about it?
 *
 * Every fault in a mission, a bundle, a frame folder or a command line becomes an `InputError`: the file, the
 * path of the field, the rule that it breaks, and a remedy where there is one. Faults of the engine are
 * `EngineError` (ffi/errors.ts); broken invariants are plain exceptions and are defects.
 */

/** One fault. Texts are plain English without a final period. */
export interface Problem {
  /** As the user wrote it, or relative to that; "" if there is none. */
  file: string;
  /** Such as `steps[2].args` or `critical.obstacle-detector.deadline`; "" for the file as a whole. */
  field: string;
  /** What must hold, and the offending value: "must be 1..1000000, not 0". */
  rule: string;
  /** What to do instead: "shorten it or set `overlap: true`". */
  remedy?: string;
}

/** Where a value comes from, for messages. */
export type Where = Pick<Problem, "file" | "field">;

/** Problems that a message spells out; the rest is counted. */
const SPELLED_OUT = 20;

/** Bad input. Holds every problem found, at least one; `file`, `field`, `rule`, `remedy` are the first's. */
export class InputError extends Error {
  override readonly name = "InputError";
  /** The process exit status for bad input. */
  readonly exitCode = 2;
  readonly problems: readonly Problem[];
  readonly file: string;
  readonly field: string;
  readonly rule: string;
  readonly remedy: string | undefined;

  constructor(problems: Problem | readonly Problem[], options?: ErrorOptions) {
    const all = Array.isArray(problems) ? problems as readonly Problem[] : [problems as Problem];
    const [first] = all;
    if (first === undefined) throw new RangeError("InputError needs at least one problem");
    const lines = all.slice(0, SPELLED_OUT).map(formatProblem);
    if (all.length > SPELLED_OUT) lines.push(`and ${all.length - SPELLED_OUT} more problems`);
    super(lines.join("\n"), options);
    this.problems = all;
    this.file = first.file;
    this.field = first.field;
    this.rule = first.rule;
    this.remedy = first.remedy;
  }
}

/** `file: field: rule; remedy`, leaving out what is empty. One line that cannot steer a terminal. */
export function formatProblem(problem: Problem): string {
  const where = [problem.file, problem.field].filter((part) => part !== "").map((part) => `${part}: `).join(
    "",
  );
  const remedy = problem.remedy === undefined ? "" : `; ${problem.remedy}`;
  return `${where}${problem.rule}${remedy}`.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd");
}

/** Throws one `InputError` with all of `problems`, if there are any. */
export function throwIfAny(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new InputError(problems);
}

/** The problems of an `InputError`; anything else is rethrown, because it is not the user's fault. */
export function problemsOf(error: unknown): readonly Problem[] {
  if (error instanceof InputError) return error.problems;
  throw error;
}

/** `["steps", 2, "args"]` -> `steps[2].args`. Odd keys are quoted, so that a message stays one line. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else {
      const key = String(part);
      const shown = /^[\w$-]{1,63}$/.test(key) ? key : showValue(key);
      text += text === "" ? shown : `.${shown}`;
    }
  }
  return text;
}

/** A value from outside, for a message: short, on one line, never the whole of it. */
export function showValue(value: unknown): string {
  if (typeof value === "string") {
    const short = value.length > 40 ? `${value.slice(0, 37)}...` : value;
    return JSON.stringify(short);
  }
  if (value === null) return "nothing";
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object") return "a map";
  return String(value);
}

/** The known word that was probably meant, or `undefined` if none is near. */
export function closest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 63) return undefined;
  const lower = word.toLowerCase();
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(lower, candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance, with two neighbours in the wrong order as one error. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(change, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}

/** Why an operating-system call failed, in words that name no machine path. */
export function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "may not be read";
  if (error instanceof Deno.errors.NotCapable) {
    return "may not be read: Deno was started without the permission";
  }
  if (error instanceof Deno.errors.IsADirectory) return "is a folder";
  if (error instanceof Deno.errors.NotADirectory) return "lies below something that is not a folder";
  return `cannot be read: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
}
