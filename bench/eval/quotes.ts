/**
 * Do README and docs quote what was measured? A figure of the evaluation stands in Markdown between two comments:
 *
 *     <!--eval bench/results/NAME detector.vegetation.periodic-100.calypte-anticipated.p99Us-->184.2<!--/eval-->
 *
 * The first names a run's folder, from the root, and one figure. Where many follow, as in a table, folder and load are named once ahead:
 *
 *     <!--eval-of bench/results/NAME detector.vegetation.periodic-100-->
 *     <!--eval calypte-anticipated.p99Us-->184.2<!--/eval--> <!--eval mps.p99Us-->201.0<!--/eval-->
 *
 * What stands between is computed from that folder's raw samples:
 *
 *     .tools/deno run -A bench/eval/quotes.ts           # says what differs
 *     .tools/deno run -A bench/eval/quotes.ts --write   # puts the figures in
 *
 * A line that quotes a simulated run must say "simulated". A test checks all of README.md and docs/.
 */
import { path } from "../../agent/std/mod.ts";
import { type System, SYSTEMS } from "./cells.ts";
import { Store } from "./store.ts";
import { type Figures, overRounds, ratioToReference, summarise, type Summary, systemOf } from "./summary.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const QUOTE = /<!--eval (?:(\S+) )?(\S+?)-->(.*?)<!--\/eval-->/g;
const LOAD = /<!--eval-of (\S+) (\S+?)-->/;

type Figure = { of: (figures: Figures) => number; digits: number };

/** Medians over rounds, but for the sums. */
const FIGURES: Readonly<Record<string, Figure>> = {
  ...Object.fromEntries(
    (["p50", "p99", "p999", "max"] as const).map((
      key,
    ) => [`${key}Us`, { of: (f) => f[key] / 1000, digits: 1 } as Figure]),
  ),
  attainedPercent: { of: ({ attained }) => 100 * attained[0], digits: 2 },
  attained120Percent: { of: ({ attained }) => 100 * attained[1], digits: 2 },
  attained150Percent: { of: ({ attained }) => 100 * attained[2], digits: 2 },
  goodputPercent: { of: ({ goodput }) => 100 * goodput, digits: 1 },
  fillPercent: { of: ({ fill }) => 100 * fill, digits: 1 },
  utilisationPercent: { of: ({ utilisation }) => 100 * utilisation, digits: 1 },
  longestMissRun: { of: ({ longestMissRun }) => longestMissRun, digits: 0 },
  cpuCores: { of: ({ cpuCores }) => cpuCores, digits: 2 },
  watts: { of: ({ watts }) => watts, digits: 0 },
};
const RATIOS: Readonly<Record<string, (figures: Figures) => number>> = {
  p50Ratio: ({ p50 }) => p50,
  p99Ratio: ({ p99 }) => p99,
};
const SUMS: Readonly<Record<string, (figures: Figures) => number>> = {
  requests: ({ requests }) => requests,
  misses: ({ misses }) => misses,
};

/** The figure's text. `key`: critical.background.arrivals.system.figure. Throws if there is none. */
export function figureText(summary: Summary, key: string): string {
  const [critical, background, arrivals, name, figure] = key.split(".");
  const system = SYSTEMS.find((one) => one === name) as System | undefined;
  const group = summary.groups.find((one) =>
    one.critical === critical && one.background === background && one.arrivals === arrivals
  );
  const found = group === undefined || system === undefined ? undefined : systemOf(group, system);
  if (group === undefined || found === undefined) throw new Error(`there are no samples for ${key}`);
  if (figure !== undefined && figure in FIGURES) {
    const { of, digits } = FIGURES[figure]!;
    return finite(overRounds(found, of).median, key).toFixed(digits);
  }
  if (figure !== undefined && figure in RATIOS) {
    return finite(ratioToReference(group, found, RATIOS[figure]!).median, key).toFixed(3);
  }
  if (figure !== undefined && figure in SUMS) {
    return String(found.rounds.reduce((sum, one) => sum + SUMS[figure]!(one), 0));
  }
  const all = [...Object.keys(FIGURES), ...Object.keys(RATIOS), ...Object.keys(SUMS)].join(", ");
  throw new Error(`there is no figure ${figure} in ${key}: must be of ${all}`);
}

function finite(value: number, key: string): number {
  if (!Number.isFinite(value)) throw new Error(`${key} is ${value}: it was not measured, or never answered`);
  return value;
}

export interface Quotes {
  /** With all figures put in. */
  text: string;
  count: number;
  /** What is wrong with the text as it was, in words; empty: nothing. */
  wrong: string[];
}

/** `summaryOf`: of a run's folder, from the root. */
export async function checkQuotes(
  file: string,
  text: string,
  summaryOf: (folder: string) => Promise<Summary>,
): Promise<Quotes> {
  const wrong: string[] = [];
  let count = 0;
  const lines: string[] = [];
  let load: { folder: string; key: string } | undefined;
  for (const [i, line] of text.split("\n").entries()) {
    const [, named, of] = line.match(LOAD) ?? [];
    if (named !== undefined) load = { folder: named, key: of! };
    let changed = line;
    for (const [whole, from, rest, written] of line.matchAll(QUOTE)) {
      count++;
      try {
        const folder = from ?? load?.folder;
        if (folder === undefined) {
          throw new Error(`${rest} is of no run: name its folder, or put <!--eval-of FOLDER LOAD--> ahead`);
        }
        const key = from === undefined ? `${load!.key}.${rest}` : rest!;
        const summary = await summaryOf(folder);
        if (summary.backend === "sim" && !/simulated/i.test(line.replaceAll(/<!--.*?-->/g, ""))) {
          throw new Error(`a line that quotes a simulated run must say "simulated"`);
        }
        const is = figureText(summary, key);
        if (is !== written) wrong.push(`${file}:${i + 1}: ${key} is ${is}, not ${written}`);
        changed = changed.replace(whole, whole.replace(`-->${written}<`, `-->${is}<`));
      } catch (error) {
        wrong.push(`${file}:${i + 1}: ${error instanceof Error ? error.message : error}`);
      }
    }
    lines.push(changed);
  }
  return { text: lines.join("\n"), count, wrong };
}

/** Summaries of run folders of this tree, each read once. */
export function summaries(root = ROOT): (folder: string) => Promise<Summary> {
  const known = new Map<string, Promise<Summary>>();
  return (folder) => {
    const found = known.get(folder) ?? Store.all(path.join(root, folder)).then(summarise);
    known.set(folder, found);
    return found;
  };
}

/** README.md and every Markdown file below docs, from the root. */
export function quotingFiles(root = ROOT): string[] {
  const files = ["README.md"];
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(path.join(root, folder))) {
      if (isDirectory) walk(`${folder}/${name}`);
      else if (name.endsWith(".md")) files.push(`${folder}/${name}`);
    }
  };
  walk("docs");
  return files.sort();
}

if (import.meta.main) {
  const read = summaries();
  let failed = false;
  for (const file of quotingFiles()) {
    const { text, count, wrong } = await checkQuotes(
      file,
      await Deno.readTextFile(path.join(ROOT, file)),
      read,
    );
    if (count === 0) continue;
    for (const line of wrong) console.error(line);
    if (Deno.args.includes("--write")) await Deno.writeTextFile(path.join(ROOT, file), text);
    else failed ||= wrong.length > 0;
    console.log(`${file}: ${count} quotes`);
  }
  if (failed) Deno.exit(1);
}
