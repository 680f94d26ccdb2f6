/** `calypte ptx report|rewrite`: what the checkpoint compiler makes of PTX files. */
import { type Level, ptxasRegisters, reportModule, rewriteModule } from "../../ptx/mod.ts";
import { asInputError } from "../checkpoint.ts";
import { InputError, reasonOf } from "../errors.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { kernelJson, kernelLines } from "./kernel_table.ts";

const REPORT_HELP = `Usage: calypte ptx report FILE... [--json]

Says of every kernel how preemptible it is: the levels that are proven safe, its loops with a checkpoint, an
estimate for each level of how long it keeps the GPU after the gate has closed, and why there is not more.
Where ptxas is installed, also registers and the warps that they leave room for, as it is and rewritten.

In a file of its own nothing is known about buffers: parameters may lead to the same memory. bundle inspect
knows which do.

Options:
  --json  one JSON object per file and line instead of tables

Example:
  calypte ptx report examples/bundles/vegetation-map/kernels.compute_80.ptx
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
        terminal.out(JSON.stringify({ file, kernels: kernelJson(kernels) }) + "\n");
        continue;
      }
      if (positional.length > 1) terminal.out(`${file}:\n`);
      terminal.out(lines(kernelLines(kernels, file)));
    }
    return 0;
  },
};

const REWRITE_HELP = `Usage: calypte ptx rewrite FILE -o OUT [--level LEVEL]

Writes FILE with every kernel rewritten to the highest level that is proven safe; kernels that have none stay
as they are. Parameters are taken to lead to the same memory.

Options:
  -o, --output OUT          where to write; - is standard output
  --level loop|block|slice  the highest level to rewrite to; default loop

Example:
  calypte ptx rewrite examples/bundles/vegetation-map/kernels.compute_80.ptx -o out/kernels.ptx
`;

/** The most preemptible first. */
const REWRITTEN = ["loop", "block", "slice"] as const satisfies readonly Level[];

export const ptxRewriteCommand: Command = {
  name: "ptx rewrite",
  summary: "make the kernels of a PTX file preemptible",
  help: REWRITE_HELP,
  async run(args, terminal) {
    const { values, positional: [file = ""] } = parseCommand("ptx rewrite", args, {
      boolean: [],
      string: ["output", "level"],
      positional: ["FILE"],
    });
    if (values.output === undefined) throw new InputError({ file: "", field: "-o", rule: "must be given" });
    const cap = parseLevel(values.level);
    const ptx = await readText(file);
    const { text, kernels } = asInputError(() => {
      const levels = new Map(reportModule(ptx, file).map(({ kernel }) => [kernel, cap] as const));
      return rewriteModule(ptx, { file, levels });
    });
    if (values.output === "-") terminal.out(text);
    else await writeText(values.output, text);
    const counts = REWRITTEN.map((level) => ({ level, n: kernels.filter((k) => k.level === level).length }))
      .filter(({ n }) => n > 0);
    const rewritten = counts.reduce((sum, { n }) => sum + n, 0);
    const what = counts.map(({ level, n }) => `${n} to level ${level}`).join(", ");
    terminal.err(
      `${rewritten} of ${kernels.length} kernels rewritten${what === "" ? "" : ":"} ${what}`.trimEnd() + "\n",
    );
    for (const { kernel, level, reason, line } of kernels) {
      if (level !== cap) terminal.err(`${file}:${line}: ${kernel}: no more than ${level}: ${reason}\n`);
    }
    return 0;
  },
};

function parseLevel(text: string | undefined): typeof REWRITTEN[number] {
  const level = REWRITTEN.find((known) => known === (text ?? "loop"));
  if (level !== undefined) return level;
  throw new InputError({
    file: "",
    field: "--level",
    rule: `must be ${REWRITTEN.join(", ").replace(/, (\w+)$/, " or $1")}, not ${JSON.stringify(text)}`,
  });
}

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
