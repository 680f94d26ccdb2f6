/** `calypte ptx report|rewrite`: what the checkpoint compiler makes of PTX files. */
import { type KernelReport, ptxasRegisters, reportModule, rewriteModule } from "../../ptx/mod.ts";
import { asInputError } from "../checkpoint.ts";
import { InputError, reasonOf } from "../errors.ts";
import { table } from "../summary.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const REPORT_HELP = `Usage: calypte ptx report FILE... [--json]

Says of every kernel how preemptible it is, and why not more; where ptxas is installed, also how many
registers it takes, as it is and rewritten.

Options:
  --json  one JSON object per file and line instead of tables

Example:
  calypte ptx report examples/bundles/vegetation-map/kernels.ptx
`;

export const ptxReportCommand: Command = {
  name: "ptx report",
  summary: "say how preemptible the kernels of PTX files are",
  help: REPORT_HELP,
  async run(args, terminal) {
    const { flags, positional } = parseCommand("ptx report", args, {
      boolean: ["json"],
      string: [],
      positional: ["FILE..."],
    });
    for (const file of positional) {
      const text = await readText(file);
      const kernels = asInputError(() => reportModule(text, file, { countRegisters: ptxasRegisters }));
      if (flags.json) {
        terminal.out(JSON.stringify({ file, kernels }) + "\n");
        continue;
      }
      if (positional.length > 1) terminal.out(`${file}:\n`);
      const rows = kernels.map((kernel) => [
        kernel.kernel,
        kernel.level,
        `${kernel.params.length}`,
        `${kernel.barriers}`,
        `${kernel.loops}`,
        registersOf(kernel),
      ]);
      terminal.out(lines(table(["kernel", "level", "params", "barriers", "loops", "registers"], rows)));
      for (const { kernel, reason, line } of kernels) {
        if (reason !== "") terminal.out(`${file}:${line}: ${kernel}: ${reason}\n`);
      }
    }
    return 0;
  },
};

/** Of the original and of the rewritten kernel; empty where ptxas was not asked. */
function registersOf({ registersBefore, registersAfter }: KernelReport): string {
  if (registersBefore === undefined && registersAfter === undefined) return "";
  return `${registersBefore ?? "?"} -> ${registersAfter ?? "?"}`;
}

const REWRITE_HELP = `Usage: calypte ptx rewrite FILE -o OUT

Writes FILE with every kernel that is proven safe rewritten to level block; the others stay as they are.

Options:
  -o, --output OUT  where to write; - is standard output

Example:
  calypte ptx rewrite examples/bundles/vegetation-map/kernels.ptx -o out/kernels.ptx
`;

export const ptxRewriteCommand: Command = {
  name: "ptx rewrite",
  summary: "make the kernels of a PTX file preemptible",
  help: REWRITE_HELP,
  async run(args, terminal) {
    const { values, positional: [file = ""] } = parseCommand("ptx rewrite", args, {
      boolean: [],
      string: ["output"],
      positional: ["FILE"],
    });
    if (values.output === undefined) throw new InputError({ file: "", field: "-o", rule: "must be given" });
    const ptx = await readText(file);
    const { text, kernels } = asInputError(() => rewriteModule(ptx, { file }));
    if (values.output === "-") terminal.out(text);
    else await writeText(values.output, text);
    const rewritten = kernels.filter((kernel) => kernel.level === "block").length;
    terminal.err(`${rewritten} of ${kernels.length} kernels rewritten to level block\n`);
    for (const { kernel, reason, line } of kernels) {
      if (reason !== "") terminal.err(`${file}:${line}: ${kernel} stays whole: ${reason}\n`);
    }
    return 0;
  },
};

async function readText(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    throw new InputError({ file, field: "", rule: reasonOf(error) }, { cause: error });
  }
}

async function writeText(file: string, text: string): Promise<void> {
  try {
    await Deno.writeTextFile(file, text);
  } catch (error) {
    const rule = reasonOf(error).replace("be read", "be written");
    throw new InputError({ file, field: "--output", rule }, { cause: error });
  }
}
