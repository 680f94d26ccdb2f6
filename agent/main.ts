/**
 * The command line: which command, and what does the process answer?
 *
 * Exit status 0: good; 1: failed; 2: bad usage or input, or input that this machine cannot run. Every error ends here as one message that says
 * what, where, which rule and what to do; the stack is shown only with CALYPTE_DEBUG=1. What commands do is in commands/.
 */
import { EngineError } from "../ffi/errors.ts";
import { blackboxCommand } from "./commands/blackbox.ts";
import { bundleInspectCommand, bundleVerifyCommand } from "./commands/bundle.ts";
import { type Command, lines, type Terminal, wantsHelp } from "./commands/command.ts";
import { configCheckCommand, configSchemaCommand } from "./commands/config.ts";
import { policyBenchCommand, policyCheckCommand, policyListCommand } from "./commands/policy.ts";
import { ptxReportCommand, ptxRewriteCommand } from "./commands/ptx.ts";
import { closeLibrary } from "./commands/engines.ts";
import { runCommand } from "./commands/run.ts";
import { safeModeCommand } from "./commands/safe_mode.ts";
import { simulateCommand } from "./commands/simulate.ts";
import { statusCommand } from "./commands/status.ts";
import { versionCommand } from "./commands/version.ts";
import { closest, InputError } from "./errors.ts";

export const COMMANDS: readonly Command[] = [
  runCommand,
  simulateCommand,
  configCheckCommand,
  configSchemaCommand,
  bundleInspectCommand,
  bundleVerifyCommand,
  ptxReportCommand,
  ptxRewriteCommand,
  policyListCommand,
  policyCheckCommand,
  policyBenchCommand,
  statusCommand,
  safeModeCommand,
  blackboxCommand,
  versionCommand,
];

/** Runs one command line. Never throws; returns the exit status. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const status = await attempt(() => dispatch(args, terminal), terminal);
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

async function dispatch(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first, second] = args;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") {
    const command = first === "help" ? find(args.slice(1)) : undefined;
    terminal[first === undefined ? "err" : "out"](command === undefined ? overview() : command.command.help);
    return first === undefined ? 2 : 0;
  }
  if (first === "--version" || first === "-V") return await versionCommand.run([], terminal);
  const found = find(args);
  if (found === undefined && wantsHelp(args) && membersOf(first).length > 0) {
    terminal.out(overview(membersOf(first)));
    return 0;
  }
  if (found === undefined) throw unknownCommand(first, second);
  if (wantsHelp(found.rest)) {
    terminal.out(found.command.help);
    return 0;
  }
  return await found.command.run(found.rest, terminal);
}

/** The command whose words the arguments begin with. */
function find(args: readonly string[]): { command: Command; rest: readonly string[] } | undefined {
  for (const command of COMMANDS) {
    const words = command.name.split(" ");
    if (words.every((word, index) => args[index] === word)) {
      return { command, rest: args.slice(words.length) };
    }
  }
  return undefined;
}

function unknownCommand(first: string, second: string | undefined): InputError {
  const members = membersOf(first).map(({ name }) => name);
  if (members.length > 0 && (second === undefined || second.startsWith("-"))) {
    return new InputError({ file: "", field: first, rule: `must be one of ${members.join(", ")}` });
  }
  const given = members.length > 0 ? `${first} ${second}` : first;
  const near = closest(given, COMMANDS.map(({ name }) => name));
  const remedy = near === undefined ? "calypte help lists them" : `did you mean ${near}?`;
  return new InputError({ file: "", field: given, rule: "is not a command of calypte", remedy });
}

/** The commands of a group such as `bundle`. */
function membersOf(group: string): Command[] {
  return COMMANDS.filter(({ name }) => name.startsWith(`${group} `));
}

function overview(commands: readonly Command[] = COMMANDS): string {
  const rows = commands.map(({ name, summary }) => [`  ${name}`, summary]);
  const width = Math.max(...rows.map(([name = ""]) => name.length));
  return lines([
    "Usage: calypte COMMAND [arguments]",
    "",
    ...rows.map(([name = "", summary]) => `${name.padEnd(width)}  ${summary}`),
    "",
    "calypte COMMAND --help says more, with an example.",
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

/** Runs this process's command line and ends it. */
export async function start(): Promise<never> {
  const terminal = {
    out: (text: string) => write(Deno.stdout, text),
    err: (text: string) => write(Deno.stderr, text),
  };
  // What is forgotten elsewhere still ends as one message, not as a trace.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    terminal.err(explain(event.reason));
    Deno.exit(1);
  });
  Deno.exit(await main(Deno.args, terminal));
}

if (import.meta.main) await start();
