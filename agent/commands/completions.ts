/** `calypte completions`: what a shell needs to complete its command lines. */
import { InputError } from "../errors.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { completionEntries, type CompletionEntry } from "./completion_model.ts";

const HELP = `Usage: calypte completions bash|zsh|fish

Prints a script that completes commands, their words and options, and files. Load it where the shell looks:

  bash  calypte completions bash > ~/.local/share/bash-completion/completions/calypte
  zsh   calypte completions zsh > "\${fpath[1]}/_calypte"
  fish  calypte completions fish > ~/.config/fish/completions/calypte.fish

Example:
  calypte completions bash
`;

/** `commands`: all of them, this one too; asked for as it runs. */
export function completionsCommand(commands: () => readonly Command[]): Command {
  return {
    name: "completions",
    summary: "print completions for bash, zsh or fish",
    help: HELP,
    run(args, terminal) {
      const { positional: [shell = ""] } = parseCommand("completions", args, {
        boolean: [],
        string: [],
        positional: ["bash|zsh|fish"],
      });
      const script = SHELLS[shell];
      if (script === undefined) {
        throw new InputError({ file: "", field: shell, rule: "must be bash, zsh or fish" });
      }
      terminal.out(lines(script(completionEntries(commands()))));
      return 0;
    },
  };
}

const SHELLS: Readonly<Record<string, (entries: readonly CompletionEntry[]) => string[]>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** First words, each once, with the second ones of those that are groups. */
function groupsOf(entries: readonly CompletionEntry[]): Map<string, CompletionEntry[]> {
  const groups = new Map<string, CompletionEntry[]>();
  for (const entry of entries) {
    const [first = ""] = entry.words;
    groups.set(first, [...groups.get(first) ?? [], entry]);
  }
  return groups;
}

/** `case` branches in the syntax that bash and zsh share: they set `words` and `values`. */
function caseLines(entries: readonly CompletionEntry[], second: string): string[] {
  const branch = ({ options, operands }: CompletionEntry, pad: string) => [
    `${pad}options="${options.map(({ name }) => name).join(" ")}"`,
    ...(operands.length === 0 ? [] : [`${pad}operands="${operands.join(" ")}"`]),
    ...options.filter(({ values }) => values.length > 0).map(({ name, values }) =>
      `${pad}[ "$prev" = ${name} ] && values="${values.join(" ")}"`
    ),
  ];
  return [...groupsOf(entries)].flatMap(([first, members]) => {
    const [only] = members;
    if (only !== undefined && only.words.length === 1) {
      return [`    ${first})`, ...branch(only, "      "), "      ;;"];
    }
    return [
      `    ${first})`,
      `      members="${members.map(({ words }) => words[1]).join(" ")}"`,
      `      case "${second}" in`,
      ...members.flatMap((
        member,
      ) => [`        ${member.words[1]})`, ...branch(member, "          "), "          ;;"]),
      "      esac",
      "      ;;",
    ];
  });
}

function bashScript(entries: readonly CompletionEntry[]): string[] {
  return [
    "# Completions of calypte for bash: calypte completions bash",
    "_calypte() {",
    '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
    '  local options="" operands="" values="" members="" words="" at=2',
    '  case "${COMP_WORDS[1]}" in',
    ...caseLines(entries, "${COMP_WORDS[2]}"),
    "  esac",
    '  [ -n "$members" ] && at=3',
    `  if [ "$COMP_CWORD" -eq 1 ]; then words="${[...groupsOf(entries).keys()].join(" ")} help"`,
    '  elif [ -n "$members" ] && [ "$COMP_CWORD" -eq 2 ]; then words="$members"',
    '  elif [ -n "$values" ]; then words="$values"',
    '  elif [[ "$cur" == -* ]]; then words="$options"',
    '  elif [ "$COMP_CWORD" -eq "$at" ]; then words="$operands"',
    "  fi",
    '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
    "}",
    "# Where none of these fits: files.",
    "complete -o default -F _calypte calypte",
  ];
}

function zshScript(entries: readonly CompletionEntry[]): string[] {
  return [
    "#compdef calypte",
    "# Completions of calypte for zsh: calypte completions zsh",
    "_calypte() {",
    '  local cur="${words[CURRENT]}" prev="${words[CURRENT-1]}" first="${words[2]}" second="${words[3]}"',
    '  local options="" operands="" values="" members="" found="" at=3',
    '  case "$first" in',
    ...caseLines(entries, "$second"),
    "  esac",
    '  [ -n "$members" ] && at=4',
    `  if (( CURRENT == 2 )); then found="${[...groupsOf(entries).keys()].join(" ")} help"`,
    '  elif [[ -n "$members" ]] && (( CURRENT == 3 )); then found="$members"',
    '  elif [[ -n "$values" ]]; then found="$values"',
    '  elif [[ "$cur" == -* ]]; then found="$options"',
    '  elif (( CURRENT == at )); then found="$operands"',
    "  fi",
    '  if [[ -n "$found" ]]; then compadd -- ${=found}; else _files; fi',
    "}",
    'if [[ "$funcstack[1]" = _calypte ]]; then _calypte "$@"; else compdef _calypte calypte; fi',
  ];
}

function fishScript(entries: readonly CompletionEntry[]): string[] {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const complete = (condition: string, rest: string) => `complete -c calypte -n ${quoted(condition)} ${rest}`;
  const rows = [...groupsOf(entries)].flatMap(([first, members]) => {
    const summary = members[0]?.words.length === 1
      ? members[0].summary
      : members.map(({ words }) => words[1]).join(", ");
    return [
      complete("__calypte_behind", `-f -a ${first} -d ${quoted(summary)}`),
      ...members.flatMap(({ words, summary, options, operands }) => {
        const [, second] = words;
        const path = words.join(" ");
        return [
          ...(second === undefined
            ? []
            : [complete(`__calypte_behind ${first}`, `-f -a ${second} -d ${quoted(summary)}`)]),
          ...(operands.length === 0
            ? []
            : [complete(`__calypte_behind ${path}`, `-f -a ${quoted(operands.join(" "))}`)]),
          ...options.map(({ name, values }) =>
            complete(
              `__calypte_in ${path}`,
              `-l ${name.slice(2)}${values.length === 0 ? "" : ` -x -a ${quoted(values.join(" "))}`}`,
            )
          ),
        ];
      }),
    ];
  });
  return [
    "# Completions of calypte for fish: calypte completions fish",
    "# The words behind calypte begin with these.",
    "function __calypte_in",
    "    set -l typed (commandline -opc)[2..-1]",
    "    set -l count (count $argv)",
    "    test (count $typed) -ge $count; or return 1",
    "    test $count -eq 0; and return 0",
    '    test "$typed[1..$count]" = "$argv"',
    "end",
    "# ... and are no more than these.",
    "function __calypte_behind",
    "    set -l typed (commandline -opc)[2..-1]",
    '    test (count $typed) -eq (count $argv); and test "$typed" = "$argv"',
    "end",
    ...rows,
  ];
}
