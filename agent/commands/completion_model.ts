/**
 * What can stand on a command line? Found in the help texts, so that nothing is listed twice.
 *
 * Options are those of the lines below "Options:" that begin with one; fixed words are those of the usage lines, such as
 * `on|off|status`.
 */
import type { Command } from "./command.ts";

export interface CompletionOption {
  /** With its dashes. */
  name: string;
  /** Empty: it takes no value, or any. */
  values: readonly string[];
}

export interface CompletionEntry {
  /** Such as `["bundle", "verify"]`. */
  words: readonly string[];
  summary: string;
  options: readonly CompletionOption[];
  /** Words that may follow the command. */
  operands: readonly string[];
}

const CHOICE = /^[a-z][a-z-]*(\|[a-z][a-z-]*)+$/;

export function completionEntries(
  commands: readonly Pick<Command, "name" | "summary" | "help">[],
): CompletionEntry[] {
  return commands.map(({ name, summary, help }) => ({
    words: name.split(" "),
    summary,
    options: [...optionsOf(help), { name: "--help", values: [] }],
    operands: operandsOf(name, help),
  }));
}

function optionsOf(help: string): CompletionOption[] {
  const section = help.split(/^Options:$/m)[1] ?? "";
  const found = new Map<string, CompletionOption>();
  for (const line of section.split(/\n\s*\n/)[0]?.split("\n") ?? []) {
    // What an option does stands two spaces behind it, on its line or the next one.
    const head = /^ {2}(-.*?)(?: {2}|$)/.exec(line)?.[1];
    for (const [, name = "", value = ""] of head?.matchAll(/(--[a-z][a-z-]*)(?: ([^\s,]+))?/g) ?? []) {
      found.set(name, { name, values: CHOICE.test(value) ? value.split("|") : [] });
    }
  }
  return [...found.values()];
}

function operandsOf(name: string, help: string): string[] {
  const usage = help.split(/\n\s*\n/)[0] ?? "";
  const words = usage.split("\n").flatMap((line) => {
    const rest = line.split(`calypte ${name}`)[1]?.trim().split(/\s+/) ?? [];
    const first = rest[0]?.replace(/^\[(.*)\]$/, "$1") ?? "";
    return /^[a-z][a-z-]*$/.test(first) && first !== "options" || CHOICE.test(first) ? first.split("|") : [];
  });
  return [...new Set(words)];
}
