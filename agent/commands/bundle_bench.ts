/** `calypte bundle bench`: how long a bundle takes by itself, kernel by kernel, and what preemptibility costs it. */
import { type Bundle, loadBundle } from "../bundle.ts";
import { benchHtml } from "../bundle_bench/html.ts";
import { benchBundle } from "../bundle_bench/measure.ts";
import { type BenchReport, compareReports, readReport } from "../bundle_bench/report.ts";
import { benchLines, comparisonLines } from "../bundle_bench/text.ts";
import { checkModules, checkpointCompiler } from "../checkpoint.ts";
import { InputError, reasonOf } from "../errors.ts";
import { parseDurationNs } from "../quantity.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { reportKernels } from "./bundle.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { type BackendChoice, chooseBackend, openEngine, parseBackend } from "./engines.ts";
import { progress } from "./paint.ts";

const DEFAULT_RUNS = 200;
const DEFAULT_LOADS = 5;
const DEFAULT_BOUND = "30us";

const HELP = `Usage: calypte bundle bench DIR [options]

Runs the bundle in DIR by itself, with its sample as input, and says how long a unit of it takes on the GPU:
as a critical task, with its kernels as they are; and as a background job, with its kernels rewritten. Of each
kernel it says how long it takes untouched and at the level that was chosen for it, what that costs, how long
it keeps the GPU after the gate has closed, and what else it could safely be. Then, what it takes of memory.

The bundle is loaded several times, each time into a new engine: a kernel's time is, for each load, the
shortest of three runs, and the quantiles are those over the loads. Nothing else should use the GPU meanwhile.

Without a GPU the simulator tells what the bundle's own estimates come to, and says so: nothing is measured.
Bundles with a plugin are refused.

Options:
  --backend auto|cuda|sim  default auto: the GPU if there is one
  --bound DURATION         the preemption bound that levels are chosen for; default ${DEFAULT_BOUND}, as a mission's
  --runs N                 units that are timed for each use, 1..100000; default ${DEFAULT_RUNS}
  --loads N                how often the bundle is loaded, 1..100; default ${DEFAULT_LOADS}
  --compare DIR|FILE       also bench the bundle in DIR, or take what --json wrote into FILE, and show both
  --html FILE              also write a page that needs nothing else
  --json                   one JSON object instead of tables

Example:
  calypte bundle bench examples/bundles/obstacle-detector
  calypte bundle bench mine --json > before.json
  calypte bundle bench mine --compare before.json --html bench.html
`;

export const bundleBenchCommand: Command = {
  name: "bundle bench",
  summary: "time a bundle by itself, kernel by kernel",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [dir = ""] } = parseCommand("bundle bench", args, {
      boolean: ["json"],
      string: ["backend", "bound", "runs", "loads", "compare", "html"],
      positional: ["DIR"],
    });
    const settings = {
      preemptionBoundNs: parseBound(values.bound ?? DEFAULT_BOUND),
      runs: parseCount("--runs", values.runs, DEFAULT_RUNS, 100_000),
      loads: parseCount("--loads", values.loads, DEFAULT_LOADS, 100),
    };
    const choice = chooseBackend(parseBackend(values.backend) ?? "auto");
    const bundle = await readBundle(dir);
    // Before anything is measured: what cannot be read or written would be found minutes later.
    if (values.html !== undefined) await writePage(values.html, "");
    const other = values.compare === undefined ? undefined : await readOther(values.compare);
    if (choice.reason !== undefined) terminal.err(`no GPU found (${choice.reason}): simulating\n`);
    const report = bench(bundle, choice, settings, terminal);
    const then = other === undefined || "format" in other ? other : bench(other, choice, settings, terminal);
    const found = then === undefined ? undefined : compareReports(report, then, values.compare ?? "");
    const comparison = found === undefined ? undefined : { found, then: values.compare ?? "" };
    if (values.html !== undefined) await writePage(values.html, benchHtml(report, comparison));
    if (flags.json) {
      terminal.out(JSON.stringify(comparison === undefined ? report : { report, ...comparison }) + "\n");
    } else {
      terminal.out(lines(benchLines(report)));
      if (comparison !== undefined) {
        terminal.out(lines(["", ...comparisonLines(comparison.found, comparison.then)]));
      }
    }
    return 0;
  },
};

interface Settings {
  preemptionBoundNs: number;
  runs: number;
  loads: number;
}

function bench(
  bundle: Bundle,
  { backend }: BackendChoice,
  settings: Settings,
  terminal: Parameters<Command["run"]>[1],
): BenchReport {
  using bar = progress(terminal);
  const unkept: string[] = [];
  const folder = cacheFolder((name) => Deno.env.get(name));
  const report = benchBundle({
    open: () => openEngine(backend === "sim" ? { backend, clock: "virtual" } : { backend }),
    checkpoint: cachedCompiler(checkpointCompiler, { folder, note: (text) => unkept.push(text) }),
    reports: reportKernels(bundle),
    ...{ backend, bundle, ...settings },
    onLoad: (load) =>
      bar.at((load - 1) / settings.loads, `${bundle.manifest.name}, load ${load} of ${settings.loads}`),
  });
  return { ...report, notes: [...report.notes, ...unkept] };
}

async function readBundle(dir: string): Promise<Bundle> {
  const bundle = await loadBundle(dir);
  if (bundle.manifest.plugin !== undefined) {
    throw new InputError({
      file: bundle.file,
      field: "plugin",
      rule: "must be left out for a bench: what a plugin launches is not known before it runs",
      remedy: "calypte bundle verify times a unit of it",
    });
  }
  checkModules(bundle);
  return bundle;
}

async function readOther(fileOrDir: string): Promise<Bundle | BenchReport> {
  let isFile: boolean;
  try {
    isFile = (await Deno.stat(fileOrDir)).isFile;
  } catch (cause) {
    const rule = `must be a bundle's folder or what --json wrote: ${reasonOf(cause)}`;
    throw new InputError({ file: fileOrDir, field: "--compare", rule }, { cause });
  }
  return isFile ? await readReport(fileOrDir) : await readBundle(fileOrDir);
}

async function writePage(file: string, page: string): Promise<void> {
  try {
    await Deno.writeTextFile(file, page);
  } catch (cause) {
    const rule = `must be a file that can be written: ${reasonOf(cause)}`;
    throw new InputError({ file, field: "--html", rule }, { cause });
  }
}

function parseBound(text: string): number {
  return parseDurationNs(text, { where: { file: "", field: "--bound" }, min: 1000, max: 1e9 });
}

function parseCount(field: string, text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= most) return count;
  throw new InputError({ file: "", field, rule: `must be a whole number 1..${most}, not ${text}` });
}
