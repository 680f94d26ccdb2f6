/**
 * The command line: which command, and what does the process answer?
 *
 * Exit status 0: good; 1: failed; 2: bad usage or input, or input that this machine cannot run. Every error ends here as one message that says
 * what, where, which rule and what to do; the stack is shown only with CALYPTE_DEBUG=1. What commands do is in commands/.
 */
import { EngineError } from "../ffi/errors.ts";
import { type Command, lines, type Screen, type Terminal, wantsHelp } from "./commands/command.ts";
import { closeLibrary } from "./commands/engines.ts";
import { closest, InputError } from "./errors.ts";

/** Runs one command line with those commands that there are. Never throws; returns the exit status. */
export async function answer(
  commands: readonly Command[],
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const status = await attempt(() => dispatch(commands, args, terminal), terminal);
  return Math.max(status, await attempt(() => (closeLibrary(), 0), terminal));
}

async function attempt(run: () => Promise<number> | number, terminal: Terminal): Promise<number> {
  try {
    return await run();
  } catch (error) {
    terminal.err(explain(error));
    return error instanceof InputError ? error.exitCode : 1;
  }
}

async function dispatch(
  commands: readonly Command[],
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const [first, second] = args;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") {
    const command = first === "help" ? find(commands, args.slice(1)) : undefined;
    terminal[first === undefined ? "err" : "out"](
      command === undefined ? overview(commands) : command.command.help,
    );
    return first === undefined ? 2 : 0;
  }
  if (first === "--version" || first === "-V") return await dispatch(commands, ["version"], terminal);
  const found = find(commands, args);
  if (found === undefined && wantsHelp(args) && membersOf(commands, first).length > 0) {
    terminal.out(overview(membersOf(commands, first), `${first} COMMAND`));
    return 0;
  }
  if (found === undefined) throw unknownCommand(commands, first, second);
  if (wantsHelp(found.rest)) {
    terminal.out(found.command.help);
    return 0;
  }
  return await found.command.run(found.rest, terminal);
}

/** The command whose words the arguments begin with. */
function find(
  commands: readonly Command[],
  args: readonly string[],
): { command: Command; rest: readonly string[] } | undefined {
  for (const command of commands) {
    const words = command.name.split(" ");
    if (words.every((word, index) => args[index] === word)) {
      return { command, rest: args.slice(words.length) };
    }
  }
  return undefined;
}

function unknownCommand(commands: readonly Command[], first: string, second: string | undefined): InputError {
  const members = membersOf(commands, first).map(({ name }) => name);
  if (members.length > 0 && (second === undefined || second.startsWith("-"))) {
    return new InputError({ file: "", field: first, rule: `must be one of ${members.join(", ")}` });
  }
  const given = members.length > 0 ? `${first} ${second}` : first;
  const groups = commands.flatMap(({ name }) => name.includes(" ") ? [name.split(" ")[0]!] : []);
  const near = closest(given, commands.map(({ name }) => name)) ?? closest(given, groups);
  const remedy = near === undefined ? "calypte help lists them" : `did you mean ${near}?`;
  return new InputError({ file: "", field: given, rule: "is not a command of calypte", remedy });
}

/** The commands of a group such as `bundle`. */
function membersOf(commands: readonly Command[], group: string): Command[] {
  return commands.filter(({ name }) => name.startsWith(`${group} `));
}

function overview(commands: readonly Command[], usage = "COMMAND"): string {
  const rows = commands.map(({ name, summary }) => [`  ${name}`, summary]);
  const width = Math.max(...rows.map(([name = ""]) => name.length));
  return lines([
    `Usage: calypte ${usage} [arguments]`,
    "",
    ...rows.map(([name = "", summary]) => `${name.padEnd(width)}  ${summary}`),
    "",
    `calypte ${usage} --help says more, with an example.`,
    "Exit status: 0 good, 1 failed, 2 bad usage or input, or input that this machine cannot run.",
  ]);
}

/** What, where, which rule, what to do. A stack only for those who ask for it. */
function explain(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const stack = Deno.env.get("CALYPTE_DEBUG") === "1" && error instanceof Error ? `${error.stack}\n` : "";
  const prefix = error instanceof InputError || error instanceof EngineError ? "" : "internal error: ";
  return text.split("\n").map((line) => `calypte: ${prefix}${line}\n`).join("") + stack;
}

/** Standard output that was closed by its reader (`| head`) is no error worth a message. */
function write(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function screenHere(): Screen {
  const size = () => {
    try {
      return Deno.consoleSize();
    } catch {
      return { columns: 80, rows: 24 };
    }
  };
  const draws = Deno.stdout.isTerminal();
  return {
    color: draws && !Deno.noColor,
    draws,
    progress: Deno.stderr.isTerminal(),
    columns: () => size().columns,
    rows: () => size().rows,
  };
}

/** Runs this process's command line and ends it. */
export async function start(commands: readonly Command[]): Promise<never> {
  const terminal = {
    out: (text: string) => write(Deno.stdout, text),
    err: (text: string) => write(Deno.stderr, text),
    screen: screenHere(),
  };
  // What is forgotten elsewhere still ends as one message, not as a trace.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    terminal.err(explain(event.reason));
    Deno.exit(1);
  });
  Deno.exit(await answer(commands, Deno.args, terminal));
}
