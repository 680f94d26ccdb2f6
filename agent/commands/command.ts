/**
 * What is a command of `calypte`, and how are its arguments read?
 *
 * Strictly: an option that the command does not have, a value that is missing, one argument too many: each is an
 * `InputError` with the nearest known word and the way to the help.
 */
import { closest, InputError } from "../errors.ts";
import { parseArgs } from "../std/mod.ts";

/** Where a command writes: results to `out`, words for people to `err`. Texts come with their newlines. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Absent: nobody looks; both go into pipes or files. */
  screen?: Screen;
}

/** What people look at. */
export interface Screen {
  /** `out` is a terminal, and takes colours. */
  color: boolean;
  /** `out` is a terminal: it can be drawn on. */
  draws: boolean;
  /** `err` is a terminal: a line that is drawn over tells how far something is. */
  progress: boolean;
  /** As it is now. */
  columns(): number;
  rows(): number;
}

export interface Command {
  /** Such as `run` or `bundle verify`. */
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** Usage, options, an example. */
  help: string;
  /** Returns the exit status. Throws `InputError` for bad usage. */
  run(args: readonly string[], terminal: Terminal): Promise<number> | number;
}

export interface Options<B extends string, S extends string> {
  boolean: readonly B[];
  string: readonly S[];
  /** Names of the positional arguments; the last may end in `...`: one or more. Those that end in `?` may be left out. */
  positional: readonly string[];
}

export interface Parsed<B extends string, S extends string> {
  flags: Record<B, boolean>;
  values: Record<S, string | undefined>;
  positional: string[];
}

export function parseCommand<B extends string = never, S extends string = never>(
  command: string,
  args: readonly string[],
  { boolean, string, positional }: Options<B, S>,
): Parsed<B, S> {
  const fail = (field: string, rule: string, remedy = `calypte ${command} --help says more`): never => {
    throw new InputError({ file: "", field, rule, remedy });
  };
  const known = [...boolean, ...string].map((name) => `--${name}`);
  const parsed = parseArgs(args, {
    boolean,
    string: [...string, "_"],
    collect: string,
    ...(string.includes("output" as S) ? { alias: { output: "o" } } : {}),
    unknown: (arg, key) => {
      if (key === undefined) return true;
      const near = closest(arg, known);
      return fail(
        arg.replace(/=.*/s, ""),
        `is not an option of calypte ${command}`,
        near === undefined ? undefined : `did you mean ${near}?`,
      );
    },
  });
  const values = {} as Record<S, string | undefined>;
  for (const name of string) {
    const given = parsed[name] as string[] | undefined ?? [];
    if (given.length > 1) fail(`--${name}`, "must be given once");
    if (given[0] === "") fail(`--${name}`, "needs a value");
    values[name] = given[0];
  }
  const flags = {} as Record<B, boolean>;
  for (const name of boolean) flags[name] = parsed[name] === true;
  const rest = parsed._.map(String);
  const many = /\.\.\.\??$/.test(positional.at(-1) ?? "");
  const missing = positional[rest.length];
  if (missing !== undefined && !missing.endsWith("?")) fail(missing.replace("...", ""), "must be given");
  if (!many && rest.length > positional.length) {
    fail(rest[positional.length] ?? "", "is one argument too many");
  }
  return { flags, values, positional: rest };
}

export function wantsHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).some((arg) => arg === "--help" || arg === "-h");
}

/** `--seed`: an integer 0..2^53-1; 1 if it is not given. */
export function parseSeed(text: string | undefined): number {
  if (text === undefined) return 1;
  const seed = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(seed)) return seed;
  throw new InputError({ file: "", field: "--seed", rule: `must be a whole number 0..2^53-1, not ${text}` });
}

/** Aligned columns, each line with its newline. */
export function lines(rows: readonly string[]): string {
  return rows.map((row) => row + "\n").join("");
}
