/**
 * How does a zod schema speak in this project's words?
 *
 * Strict objects with a did-you-mean, quantities with units, and the translation of zod's issues into
 * `Problem`s. Knows neither missions nor bundles.
 */
import { z } from "zod";
import { closest, fieldPath, InputError, type Problem, showValue } from "./errors.ts";
import {
  BYTES_PATTERN,
  DURATION_PATTERN,
  formatDurationNs,
  FREQUENCY_PATTERN,
  parseBytes,
  parseDurationNs,
  parseFrequencyToPeriodNs,
  parsePercent,
  parsePowerW,
  parseTemperatureC,
  PERCENT_PATTERN,
  POWER_PATTERN,
  type QuantityOptions,
  TEMPERATURE_PATTERN,
} from "./quantity.ts";

type Issue = z.core.$ZodIssue;
type Parsed = Pick<Problem, "rule" | "remedy"> & { path: PropertyKey[] };

/** Names of tasks, jobs, bundles and policies. 63 bytes is what the library's name fields hold. */
export const NAME_RULE = "must be a kebab-case name of at most 63 characters such as obstacle-detector";
export const nameSchema = z.string({ error: NAME_RULE }).regex(
  /^(?=.{1,63}$)[a-z][a-z0-9]*(-[a-z0-9]+)*$/,
  NAME_RULE,
);

const PATH_RULE = "must be a path";
export const pathSchema = z.string({ error: PATH_RULE }).min(1, PATH_RULE).max(4096).refine(
  (text) => !text.includes("\0"),
  PATH_RULE,
);

/**
 * An object without unknown keys. `elsewhere` are keys that stand elsewhere. The message
 * of its unknown-key issue carries both lists as JSON, for `toProblems` to make a did-you-mean of.
 */
export function strictObject<S extends z.core.$ZodLooseShape>(shape: S, elsewhere: readonly string[] = []) {
  const lists = JSON.stringify({ known: Object.keys(shape), elsewhere });
  return z.strictObject(shape, {
    error: (issue) => issue.code === "unrecognized_keys" ? lists : undefined,
  });
}

/** A duration with its unit; parses to nanoseconds. */
export function durationSchema(options: Omit<QuantityOptions, "where"> = {}) {
  const { allowZero = false, min, max } = options;
  const bounds = [
    ...(min === undefined
      ? [allowZero ? "0 or more" : "more than 0"]
      : [`at least ${formatDurationNs(min)}`]),
    ...(max === undefined ? [] : [`at most ${formatDurationNs(max)}`]),
  ];
  return quantitySchema(
    (text) => parseDurationNs(text, options),
    DURATION_PATTERN,
    `a duration such as "15ms", ${bounds.join(", ")}`,
    'a duration such as "15ms"',
  );
}

/** A frequency with its unit; parses to the period in nanoseconds. */
export function frequencySchema() {
  return quantitySchema(
    (text) => parseFrequencyToPeriodNs(text),
    FREQUENCY_PATTERN,
    'a frequency such as "30Hz"',
  );
}

/** A size with its unit; parses to bytes. */
export function bytesSchema() {
  return quantitySchema((text) => parseBytes(text), BYTES_PATTERN, 'a size such as "600MiB"');
}

/** A power with its unit; parses to watts. */
export function powerSchema() {
  return quantitySchema((text) => parsePowerW(text), POWER_PATTERN, 'a power such as "25W"');
}

/** A temperature with its unit; parses to degrees Celsius. */
export function temperatureSchema() {
  return quantitySchema(
    (text) => parseTemperatureC(text),
    TEMPERATURE_PATTERN,
    'a temperature such as "85C"',
  );
}

/** A percentage; parses to percent. */
export function percentSchema() {
  return quantitySchema((text) => parsePercent(text), PERCENT_PATTERN, 'a percentage such as "20%"');
}

/** `description`: for the JSON Schema; `wanted`: for messages. */
function quantitySchema(
  parse: (value: unknown) => number,
  pattern: string,
  description: string,
  wanted = description,
) {
  const text = z.string({ error: (issue) => ruleFrom(() => parse(issue.input)) ?? `must be ${wanted}` });
  return text.meta({ pattern, description }).transform((value, context) => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      context.addIssue({ code: "custom", message: error.rule, params: { remedy: error.remedy } });
      return z.NEVER;
    }
  });
}

function ruleFrom(parse: () => number): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** Parses `data`; on failure throws one `InputError` with every problem found. */
export function parseWith<T>(schema: z.ZodType<T>, data: unknown, file: string): T {
  const problems = unsafeKeys(data).map((path) => ({
    file,
    field: fieldPath(path),
    rule: "is not a possible key",
  }));
  if (problems.length > 0) throw new InputError(problems);
  const result = schema.safeParse(data, { reportInput: true });
  if (result.success) return result.data;
  throw new InputError(
    result.error.issues.flatMap(toParsed).map(({ path, rule, remedy }) => {
      const problem = { file, field: fieldPath(path), rule };
      return remedy === undefined ? problem : { ...problem, remedy };
    }),
  );
}

interface Node {
  value: unknown;
  key: PropertyKey;
  parent: Node | undefined;
}

/**
 * Paths of keys `__proto__`, which zod passes over in silence. Aliases may make `data` a graph, even a cyclic one,
 * and it may be nested deeply: neither recursion nor a path for each node.
 */
function unsafeKeys(data: unknown): PropertyKey[][] {
  const found: PropertyKey[][] = [];
  const seen = new Set<object>();
  const stack: Node[] = [{ value: data, key: "", parent: undefined }];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    const { value } = node;
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const [key, inner] of Object.entries(value)) {
      const child = { value: inner, key: Array.isArray(value) ? Number(key) : key, parent: node };
      if (key === "__proto__") found.push(pathOf(child));
      if (typeof inner === "object") stack.push(child);
    }
  }
  return found;
}

function pathOf(node: Node): PropertyKey[] {
  const keys: PropertyKey[] = [];
  for (let at = node; at.parent !== undefined; at = at.parent) keys.unshift(at.key);
  return keys;
}

function toParsed(issue: Issue): Parsed[] {
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({ path: [...issue.path, key], ...unknownKey(key, issue.message) }));
    case "invalid_union": {
      const branch = bestBranch(issue.errors, issue.input);
      if (branch === undefined) {
        const near = nearKeys(issue);
        if (near.length > 0) return near;
        return [{ path: issue.path, rule: withValue(issue.message, issue.input) }];
      }
      return branch.flatMap(toParsed).map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
    }
    case "invalid_key":
      return [{ path: issue.path, rule: issue.issues[0]?.message ?? "is not a possible key" }];
    case "custom": {
      const remedy: unknown = issue.params?.remedy;
      const parsed = { path: issue.path, rule: issue.message };
      return [typeof remedy === "string" ? { ...parsed, remedy } : parsed];
    }
    case "invalid_value": {
      const meant = typeof issue.input === "string"
        ? closest(issue.input, issue.values.filter((value) => typeof value === "string"))
        : undefined;
      const parsed = { path: issue.path, rule: ruleOf(issue) };
      return [meant === undefined ? parsed : { ...parsed, remedy: `did you mean ${meant}?` }];
    }
    default:
      return [{ path: issue.path, rule: ruleOf(issue) }];
  }
}

/** Of a map that fits none of the alternatives: its keys that are near to one that some alternative has. */
function nearKeys({ errors, input, path }: Extract<Issue, { code: "invalid_union" }>): Parsed[] {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return [];
  const known = errors.flat().flatMap((issue) =>
    issue.code === "unrecognized_keys" && issue.path.length === 0
      ? (JSON.parse(issue.message) as { known: string[] }).known
      : []
  );
  return Object.keys(input).flatMap((key) => {
    const meant = known.includes(key) ? undefined : closest(key, known);
    return meant === undefined
      ? []
      : [{ path: [...path, key], rule: "is not a known key", remedy: `did you mean \`${meant}\`?` }];
  });
}

function unknownKey(key: string, lists: string): Pick<Problem, "rule" | "remedy"> {
  const { known, elsewhere } = JSON.parse(lists) as { known: string[]; elsewhere: string[] };
  if (elsewhere.includes(key)) {
    return {
      rule: "is a key of bundles",
      remedy: "it stands in the manifest of the folder that `bundle` names",
    };
  }
  const meant = closest(key, known);
  const remedy = meant === undefined ? `known here: ${known.join(", ")}` : `did you mean \`${meant}\`?`;
  return { rule: "is not a known key", remedy };
}

function ruleOf(issue: Issue): string {
  const missing = issue.input === undefined;
  if (missing && issue.code === "invalid_type") return "must be given";
  if (!/^(Invalid|Too|Unrecognized)/.test(issue.message)) return withValue(issue.message, issue.input);
  const size = sizeWord(issue);
  switch (issue.code) {
    case "invalid_type":
      return withValue(`must be ${typeName(issue.expected)}`, issue.input);
    case "too_small":
      return withValue(`must ${size.verb} at least ${issue.minimum}${size.noun}`, shownSize(issue.input));
    case "too_big":
      return withValue(`must ${size.verb} at most ${issue.maximum}${size.noun}`, shownSize(issue.input));
    case "invalid_value":
      if (missing) return "must be given";
      return withValue(`must be ${issue.values.map(String).join(" or ")}`, issue.input);
    default:
      return withValue("has the wrong form", issue.input);
  }
}

/** The value behind the rule, unless the rule names it already (a quantity's does). */
function withValue(rule: string, input: unknown): string {
  if (input === undefined && !rule.includes(", not ")) return "must be given";
  return rule.includes(", not ") ? rule : `${rule}, not ${showValue(input)}`;
}

function sizeWord(issue: Issue): { verb: string; noun: string } {
  if (issue.code !== "too_small" && issue.code !== "too_big") return { verb: "be", noun: "" };
  if (issue.origin === "string") return { verb: "have", noun: " characters" };
  return issue.origin === "array" ? { verb: "have", noun: " entries" } : { verb: "be", noun: "" };
}

function shownSize(input: unknown): unknown {
  return Array.isArray(input) ? input.length : input;
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    object: "a map",
    record: "a map",
    array: "a list",
    tuple: "a list",
    string: "a text",
    number: "a number",
    int: "a whole number",
    boolean: "true or false",
  };
  return names[expected] ?? expected;
}

/**
 * The alternative that was probably meant: it knows at least one of the keys, and fits best at its own level, with
 * no other that fits as well.
 */
function bestBranch(branches: readonly (readonly Issue[])[], input: unknown): readonly Issue[] | undefined {
  const keys = typeof input === "object" && input !== null ? Object.keys(input).length : undefined;
  const [first, second] = branches
    .filter((issues) => keys === undefined || unknownKeys(issues) < keys)
    .map((issues) => ({ issues, score: misfit(issues) }))
    .sort((a, b) => a.score - b.score);
  if (first === undefined || first.score >= 100) return undefined;
  return second?.score === first.score ? undefined : first.issues;
}

function unknownKeys(issues: readonly Issue[]): number {
  const issue = issues.find((issue) => issue.path.length === 0 && issue.code === "unrecognized_keys");
  return issue?.code === "unrecognized_keys" ? issue.keys.length : 0;
}

function misfit(issues: readonly Issue[]): number {
  let score = unknownKeys(issues);
  for (const issue of issues) {
    if (issue.path.length === 0 && issue.code !== "unrecognized_keys" && issue.code !== "custom") {
      score += 100;
    } else if (issue.path.length === 1 && issue.input === undefined) score += 1;
  }
  return score;
}
