/** What was asked for on the command line of the evaluation? */
import { parseArgs } from "../../agent/std/mod.ts";
import {
  ARRIVALS,
  BACKGROUND,
  BASELINES,
  chosen,
  CRITICAL,
  type Extra,
  type Matrix,
  OURS,
  SYSTEMS,
} from "./cells.ts";
import { parseArrivals } from "./arrivals.ts";
import { argsOfPart } from "./parts.ts";

export const USAGE = `Usage: deno task eval --out DIR [options]

  --backend cuda|sim   sim: Calypte's systems only, in virtual time, labelled as simulated (default: cuda)
  --systems LIST       of ${SYSTEMS.join(", ")}
  --critical LIST      of ${Object.keys(CRITICAL).join(", ")} (default: detector)
  --background LIST    of ${Object.keys(BACKGROUND).join(", ")} (default: vegetation)
  --arrivals LIST      such as periodic-100, poisson-30, bursts-100, jitter-220, load-40 (default: periodic-100)
  --bundle LIST        other workloads, NAME=FOLDER: such as exported models; usable in --critical and --background
  --all                all of each list that is not given
  --part N             one of the parts that fit into minutes, see --plan; options given beside it count more
  --rounds N | N-M     interleaved rounds, the first to the last (default: 1-5); below five nothing is claimed
  --requests N         of each cell (default: 1000)
  --seed N             of orders and arrivals (default: 1)
  --budget TIME        such as 8m or 90s: no cell is begun that would not end in it (default: none)
  --resume             goes on with the run in DIR, on the same GPU; cells that are done are not repeated
  --archive DIR2       after each cell writes what is new into few tar files, for machines that give back few files
  --preemption         behind the cells also measures preemption latency against block length (a minute on a GPU)
  --commit HASH        what is measured, where git cannot tell
  --report-only        makes the report anew from what is in DIR
  --plan               shows the cells in their order with the seconds that each is expected to take, and runs
                       nothing; without --part and --systems: all parts, in brief
  --list               shows the cells in their order, and runs nothing`;

export interface EvalOptions {
  out: string;
  backend: "cuda" | "sim";
  matrix: Matrix;
  requests: number;
  /** `undefined`: none. */
  budgetMs: number | undefined;
  resume: boolean;
  preemption: boolean;
  reportOnly: boolean;
  list: boolean;
  plan: boolean;
  /** Whether the command line says what to measure; else a plan is of all parts. */
  isChosen: boolean;
  /** `undefined`: none. */
  archive: string | undefined;
  commit: string | undefined;
  /** Folders of workloads by name. */
  extra: Extra;
}

/** Throws an `Error` for people. */
export function parseOptions(args: string[]): EvalOptions {
  const { part, backend: wanted } = parseArgs(args, { string: ["part", "backend"] });
  // The last that is given counts.
  if (typeof part === "string" && part !== "") {
    const own = args.filter((arg, i) =>
      arg !== "--part" && args[i - 1] !== "--part" && !arg.startsWith("--part=")
    );
    const all = argsOfPart(whole("part", part, 0, 1000));
    const known = wanted === "sim"
      ? all.map((arg, i) => all[i - 1] === "--systems" ? simulable(arg) : arg)
      : all;
    return { ...parseOptions([...known, ...own]), isChosen: true };
  }
  const flags = ["resume", "preemption", "all", "report-only", "list", "plan"] as const;
  const texts = [
    "out",
    "backend",
    "systems",
    "critical",
    "background",
    "arrivals",
    "rounds",
    "requests",
    "seed",
  ];
  const others = ["budget", "commit", "bundle", "archive", "part"];
  const known = new Set<string>([...flags, ...texts, ...others]);
  const given = parseArgs(args, { string: [...texts, ...others], boolean: [...flags] });
  for (const name of Object.keys(given)) {
    if (name !== "_" && !known.has(name)) throw new Error(`There is no option --${name}\n\n${USAGE}`);
  }
  if (given._.length > 0) throw new Error(`Cannot use '${given._[0]}'\n\n${USAGE}`);
  const text = (name: string): string | undefined => {
    const all = given[name];
    const value = Array.isArray(all) ? all.at(-1) : all;
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const out = text("out");
  if (out === undefined) throw new Error(`--out must be given\n\n${USAGE}`);
  const backend = text("backend") ?? "cuda";
  if (backend !== "cuda" && backend !== "sim") {
    throw new Error(`--backend must be cuda or sim, not ${backend}`);
  }
  const all = given["all"] === true;
  const extra = extraOf(text("bundle"));
  const systems = chosen("system", text("systems"), SYSTEMS);
  const usable = systems.filter((system) => backend === "cuda" || isSimulable(system));
  if (text("systems") !== undefined && usable.length < systems.length) {
    const left = systems.filter((system) => !usable.includes(system));
    throw new Error(
      `The simulator cannot run ${left.join(", ")}: they take a GPU's own sharing, or processes`,
    );
  }
  const list = (name: string, names: Readonly<Record<string, string>>, first: string) =>
    chosen(
      name,
      text(name) ?? (all ? undefined : first),
      [...Object.keys(names), ...(text(name) === undefined ? [] : Object.keys(extra))],
    );
  const arrivals = text("arrivals")?.split(",") ?? (all ? ARRIVALS : ["periodic-100"]);
  arrivals.forEach(parseArrivals);
  return {
    ...{ out, backend, resume: given["resume"] === true, preemption: given["preemption"] === true },
    matrix: {
      systems: usable,
      critical: list("critical", CRITICAL, "detector"),
      background: list("background", BACKGROUND, "vegetation"),
      arrivals,
      ...roundsOf(text("rounds") ?? "5"),
      seed: whole("seed", text("seed"), 1, 2 ** 31),
    },
    requests: whole("requests", text("requests"), 1000, 1e6),
    budgetMs: text("budget") === undefined ? undefined : durationMs(text("budget")!),
    ...{
      reportOnly: given["report-only"] === true,
      list: given["list"] === true,
      plan: given["plan"] === true,
      isChosen: all ||
        ["systems", "critical", "background", "arrivals"].some((name) => text(name) !== undefined),
      archive: text("archive"),
      commit: text("commit"),
      extra,
    },
  };
}

/** Names are part of file names and keys. */
function extraOf(list: string | undefined): Extra {
  const pairs = (list?.split(",") ?? []).map((pair) => {
    const match = /^([a-z][a-z0-9-]*)=(.+)$/.exec(pair);
    if (match === null || match[1]! in CRITICAL || match[1]! in BACKGROUND) {
      throw new Error(`--bundle must be NAME=FOLDER with a new name of a-z, 0-9 and -, not ${pair}`);
    }
    return [match[1]!, match[2]!];
  });
  return Object.fromEntries(pairs);
}

/** Of a part: what the simulator can run, beside what stands for exclusive use there. */
function simulable(systems: string): string {
  return [...new Set([...systems.split(",").filter(isSimulable), "calypte-alone"])].join(",");
}

function isSimulable(system: string): boolean {
  return !BASELINES.includes(system as never) && OURS.includes(system as never) &&
    system !== "calypte-isolated";
}

function whole(name: string, text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new Error(`--${name} must be a whole number from 1 to ${most}, not ${text}`);
  }
  return value;
}

function roundsOf(text: string): { firstRound: number; rounds: number } {
  const match = /^(?:(\d+)-)?(\d+)$/.exec(text);
  const [firstRound, rounds] = [Number(match?.[1] ?? 1), Number(match?.[2])];
  if (match === null || firstRound < 1 || rounds < firstRound || rounds > 1000) {
    throw new Error(
      `--rounds must be a number, or the first and the last as in 6-10, of 1 to 1000, not ${text}`,
    );
  }
  return { firstRound, rounds };
}

function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (match === null) throw new Error(`--budget must be a time such as 8m or 90s, not ${text}`);
  return Number(match[1]) * { ms: 1, s: 1e3, m: 60e3, h: 3600e3 }[match[2] as "ms" | "s" | "m" | "h"];
}
