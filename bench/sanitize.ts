/**
 * Do rewritten kernels read or write where they may not, or race in shared memory? On a GPU, with NVIDIA's tool:
 *
 * ```sh
 * deno run -A bench/sanitize.ts --out DIR [--limit 300] [--tool memcheck,racecheck]
 * deno run -A bench/sanitize.ts --out DIR --backend sim      # to see that it runs; proves nothing about a GPU
 * ```
 *
 * Runs sanitize_program.ts under compute-sanitizer, memcheck and racecheck, once for each bundle. Prints a table, writes
 * DIR/sanitize.json and the tool's logs, and ends with 1 if it found something, or could judge nothing. Where the tool is
 * not there, it says so and ends with 0. In all it takes about --limit seconds.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { table } from "../agent/summary.ts";
import type { ProgramReport } from "./sanitize_program.ts";

const ROOT = path.dirname(import.meta.dirname!);
const PROGRAM = path.join(import.meta.dirname!, "sanitize_program.ts");
const WORKS = [
  ...["obstacle-detector", "vegetation-map", "keyframe-select"].map((name) => `examples/bundles/${name}`),
  ...["long-blocks", "mixed-steps"].map((name) => `bench/bundles/${name}`),
].map((bundle) => ({ name: path.basename(bundle), args: ["--bundle", path.join(ROOT, bundle)] }))
  .concat(
    ["block-sums", "early-threads", "softmax"].map((name) => ({ name, args: ["--kernel", name] })),
  );
const TOOLS = ["memcheck", "racecheck"] as const;
/** No run gets less than this, nor more than its share of what is left, three times over: some need little. */
const LEAST_S = 12;
const SHARES = 3;
const PROGRAM_S = 3;
/** All races, with their addresses. */
const RACES = ["--racecheck-report", "hazard", "--show-backtrace", "no", "--print-limit", "100000"];
const FOUND = 99;
const KILLED = 137;

type Verdict = "clean" | "found" | "wrong outputs" | "failed" | "not judged";

interface Row {
  tool: string;
  work: string;
  verdict: Verdict;
  /** Findings, as the tool's last line counts them. */
  findings: number;
  /** Races that are meant, see `racesIn`. */
  meant: number;
  why: string;
  seconds: number;
  report: ProgramReport | undefined;
}

async function findTool(): Promise<string | undefined> {
  const home = Deno.env.get("CUDA_HOME") ?? "/usr/local/cuda";
  for (const tool of ["compute-sanitizer", `${home}/bin/compute-sanitizer`]) {
    try {
      const { success } = await new Deno.Command(tool, {
        args: ["--version"],
        stdout: "null",
        stderr: "null",
      })
        .output();
      if (success) return tool;
    } catch {
      // Not there: the next place.
    }
  }
  return undefined;
}

interface Run {
  /** `undefined`: without the tool, on the simulator. */
  sanitizer: string | undefined;
  tool: string;
  work: (typeof WORKS)[number];
  out: string;
  limitS: number;
}

async function run({ sanitizer, tool, work, out, limitS }: Run): Promise<Row> {
  const log = path.join(out, `sanitize-${tool}-${work.name}.txt`);
  const program = [Deno.execPath(), "run", "-A", "--cached-only", PROGRAM, ...work.args];
  program.push("--seconds", `${PROGRAM_S}`, ...(sanitizer === undefined ? ["--backend", "sim"] : []));
  // Errors of single driver calls are no findings: what a device lacks is found out by asking.
  const [command = "", ...args] = sanitizer === undefined ? program : [
    ...[sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", `${FOUND}`],
    ...(tool === "racecheck" ? RACES : ["--print-limit", "20"]),
    ...["--log-file", log],
    ...(tool === "memcheck" ? ["--report-api-errors", "no"] : []),
    ...program,
  ];
  const begin = performance.now();
  // The tool's child is in its group, and ends with it.
  const { code, signal, stdout, stderr } = await new Deno.Command("timeout", {
    args: ["--signal=KILL", `${limitS}`, command, ...args],
    stdin: "null",
  }).output();
  const late = code === KILLED || signal === "SIGKILL";
  const seconds = Math.round((performance.now() - begin) / 100) / 10;
  const said = await Deno.readTextFile(log).catch(() => "");
  const { sharing = [], ...rest } = objectsIn(new TextDecoder().decode(stdout));
  const report = rest.units === undefined ? undefined : rest as ProgramReport;
  const races = tool === "racecheck" ? racesIn(said, sharing) : undefined;
  const findings = races?.unwanted ?? findingsIn(said);
  const row = { tool, work: work.name, findings: findings ?? 0, meant: races?.meant ?? 0, seconds, report };
  const fault = (verdict: Verdict, why: string): Row => ({ ...row, verdict, why });
  if ((findings ?? 0) > 0 || (code === FOUND && races === undefined)) {
    return fault("found", `see ${path.basename(log)}`);
  }
  if ((report?.wrong ?? 0) > 0) {
    return fault("wrong outputs", `${report?.wrong} of ${report?.compared} units`);
  }
  if (late) return fault("not judged", `did not end within ${Math.round(limitS)} s`);
  if (code !== 0 && code !== FOUND) {
    return fault("failed", new TextDecoder().decode(stderr).trim().slice(-300));
  }
  if (report === undefined || report.units === 0) return fault("not judged", "no unit ended");
  if (sanitizer === undefined) return fault("not judged", "simulated: no kernel was run");
  if (findingsIn(said) === undefined) return fault("not judged", "the tool said nothing");
  return fault("clean", report.leaves === 0 ? "no worker left: the gate was not met" : "");
}

/** "ERROR SUMMARY: 2 errors", "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)"; `undefined`: neither. */
export function findingsIn(log: string): number | undefined {
  let sum: number | undefined;
  for (const [, count] of log.matchAll(/SUMMARY: (\d+) (?:errors?|hazards?)\b/g)) {
    sum = (sum ?? 0) + Number(count);
  }
  return sum;
}

/**
 * Races by whether they are meant. The threads of a block tell each other by a word of shared memory that it is given up
 * (docs/PREEMPTION.md): any thread may set it at any time, from 0 to 1, and whether the block is abandoned is settled at a barrier.
 * In a kernel that had no shared memory before it was rewritten there is nothing else to race for; in another (`sharing`) the
 * races must all be for one word that is never more than 1.
 */
export function racesIn(log: string, sharing: readonly string[]): { unwanted: number; meant: number } {
  const kernels = new Map<string, { count: number; words: Set<number>; most: number }>();
  for (const record of log.split(/(?=hazard detected at __shared__ )/).slice(1)) {
    const address = Number(record.match(/__shared__ (0x[0-9a-f]+)/)?.[1]);
    const kernel = record.match(/Thread \([\d,]+\) at ([\w$]+)/)?.[1] ?? "unknown";
    const values = record.match(/Current Value : (\d+)(?:, Incoming Value : (\d+))?/)?.slice(1) ?? [];
    const seen = kernels.get(kernel) ?? { count: 0, words: new Set(), most: 0 };
    seen.count++;
    seen.words.add(Math.floor(address / 4));
    seen.most = Math.max(seen.most, ...values.filter((value) => value !== undefined).map(Number));
    kernels.set(kernel, seen);
  }
  let [unwanted, meant] = [0, 0];
  for (const [kernel, { count, words, most }] of kernels) {
    if (sharing.includes(kernel) && (words.size > 1 || most > 1)) unwanted += count;
    else meant += count;
  }
  return { unwanted, meant };
}

/** The fields of all JSON objects that the program printed. */
function objectsIn(output: string): Partial<ProgramReport> & { sharing?: string[] } {
  const lines = output.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
  return Object.assign({}, ...lines.map((line) => JSON.parse(line)));
}

function print(rows: readonly Row[]): void {
  const cells = rows.map(({ tool, work, verdict, findings, meant, seconds, report, why }) => [
    `${tool} ${work}`,
    verdict,
    `${findings}`,
    `${meant}`,
    `${report?.units ?? 0}`,
    `${report?.compared ?? 0}`,
    `${report?.closings ?? 0}`,
    `${report?.leaves ?? 0}`,
    `${seconds} s`,
    why.split("\n").at(-1) ?? "",
  ]);
  const head = ["", "verdict", "findings", "meant", "units", "compared", "closings", "leaves", "took", ""];
  console.log(table(head, cells).join("\n"));
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["out", "backend", "limit", "commit", "tool"] });
  const out = typeof args["out"] === "string" ? args["out"] : path.join(ROOT, "bench/results/local");
  const simulated = args["backend"] === "sim";
  const limitS = Number(args["limit"] ?? 300);
  const tools = typeof args["tool"] === "string" ? args["tool"].split(",") : TOOLS;
  Deno.mkdirSync(out, { recursive: true });
  const sanitizer = simulated ? undefined : await findTool();
  const save = (rest: Record<string, unknown>) =>
    Deno.writeTextFileSync(
      path.join(out, "sanitize.json"),
      JSON.stringify(
        { commit: args["commit"] ?? null, backend: simulated ? "sim" : "cuda", ...rest },
        null,
        2,
      ) +
        "\n",
    );
  if (!simulated && sanitizer === undefined) {
    console.log("compute-sanitizer is neither on PATH nor below CUDA_HOME: nothing was checked");
    save({ skipped: "compute-sanitizer was not found", rows: [] });
    Deno.exit(0);
  }
  const todo = (simulated ? ["no tool"] : tools).flatMap((tool) => WORKS.map((work) => ({ tool, work })));
  const rows: Row[] = [];
  const begin = performance.now();
  for (const [i, { tool, work }] of todo.entries()) {
    const leftS = limitS - (performance.now() - begin) / 1000;
    if (leftS < LEAST_S) {
      const row = {
        tool,
        work: work.name,
        verdict: "not judged" as const,
        findings: 0,
        meant: 0,
        seconds: 0,
      };
      rows.push({ ...row, why: "no time was left", report: undefined });
      continue;
    }
    const shareS = Math.min(leftS, Math.max(LEAST_S, SHARES * leftS / (todo.length - i)));
    rows.push(await run({ sanitizer, tool, work, out, limitS: shareS }));
  }
  print(rows);
  save({ rows });
  const bad = rows.filter(({ verdict }) => verdict !== "clean" && verdict !== "not judged");
  const judged = rows.filter(({ verdict }) => verdict !== "not judged").length;
  console.log(`${rows.length} runs, ${judged} judged, ${bad.length} with findings or faults`);
  Deno.exit(bad.length > 0 || (judged === 0 && !simulated) ? 1 : 0);
}
