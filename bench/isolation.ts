/**
 * What does it cost critical work that a background job lives in a process of its own?
 *
 * ```sh
 * deno run -A --cached-only bench/isolation.ts --out DIR --commit HASH
 * ```
 *
 * Runs the agent on missions with the example's detector at 30 and 100 Hz: by itself, and beside vegetation maps in a process of
 * their own, with the gate closed ahead of requests and without; all in turn, twice, each time in another order. Prints a table,
 * and writes isolation.json after each mission, so that one that hangs costs itself only.
 */
import { parseArgs } from "../agent/std/mod.ts";
import { randomOf, shuffled } from "./statistics.ts";

interface Run {
  p50Us: number;
  p99Us: number;
  maxUs: number;
  requests: number;
  misses: number;
  idleFill: number;
  units: number;
}

interface Row {
  hz: number;
  background: boolean;
  anticipate: boolean;
  runs: Run[];
}

const args = parseArgs(Deno.args, { string: ["out", "commit", "backend", "for", "rounds", "hz"] });
const backend = typeof args["backend"] === "string" ? args["backend"] : "cuda";
const forS = Number(args["for"] ?? 6);
const rounds = Number(args["rounds"] ?? 2);
/** Loading, compiling where no cache is warm, and ending. */
const STARTING_MS = 60_000;
const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

function missionOf({ hz, background, anticipate }: Row): string {
  const bundles = `${root}/examples/bundles`;
  const frames = `${root}/examples/frames`;
  const job = background
    ? { maps: { bundle: `${bundles}/vegetation-map`, isolation: "process", source: { frames } } }
    : {};
  return JSON.stringify({
    http: false,
    state: "off",
    critical: {
      detector: {
        bundle: `${bundles}/obstacle-detector`,
        source: { frames, rate: `${hz}Hz` },
        deadline: `${Math.floor(900 / hz)}ms`,
        anticipate,
      },
    },
    background: job,
  });
}

async function fly(file: string): Promise<Run> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--cached-only", `${root}/agent/entry.ts`, "run", file, "--json"]
      .concat(["--backend", backend, "--for", `${forS}s`]),
    signal: AbortSignal.timeout(1000 * forS + STARTING_MS),
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`the agent ended with ${code}:\n${text.decode(stderr)}`);
  const { critical: { detector }, background, idleFill } = JSON.parse(text.decode(stdout));
  const { response: { p50Us, p99Us, maxUs }, requests, misses } = detector;
  return { p50Us, p99Us, maxUs, requests, misses, idleFill, units: background.maps?.units ?? 0 };
}

const rates = typeof args["hz"] === "string" ? [Number(args["hz"])] : [30, 100];
const rows: Row[] = rates.flatMap((hz) => [
  { hz, background: false, anticipate: true, runs: [] },
  { hz, background: true, anticipate: true, runs: [] },
  { hz, background: true, anticipate: false, runs: [] },
]);
const failed: string[] = [];

function write(): void {
  if (typeof args["out"] !== "string") return;
  Deno.mkdirSync(args["out"], { recursive: true });
  const report = { backend, commit: args["commit"] ?? "unknown", forS, rows, failed };
  Deno.writeTextFileSync(`${args["out"]}/isolation.json`, JSON.stringify(report) + "\n");
}

const dir = Deno.makeTempDirSync();
try {
  for (let round = 0; round < rounds; round++) {
    for (const row of shuffled(rows, randomOf(round))) {
      const file = `${dir}/mission.yaml`;
      Deno.writeTextFileSync(file, missionOf(row));
      try {
        row.runs.push(await fly(file));
      } catch (error) {
        const { hz, background, anticipate } = row;
        failed.push(`${JSON.stringify({ hz, background, anticipate, round })}: ${error}`);
        console.error(`FAIL  ${failed.at(-1)}`);
      }
      write();
    }
  }
} finally {
  Deno.removeSync(dir, { recursive: true });
}

const mean = (row: Row, of: (run: Run) => number) =>
  row.runs.reduce((sum, run) => sum + of(run), 0) / row.runs.length;
for (const row of rows) {
  const alone = rows.find((other) => other.hz === row.hz && !other.background)!;
  const name = row.background ? `isolated, ${row.anticipate ? "anticipated" : "not anticipated"}` : "alone";
  const each = row.runs.map(({ p50Us, p99Us, maxUs, misses, idleFill }) =>
    `p50 ${p50Us} p99 ${p99Us} max ${maxUs} us, misses ${misses}, fill ${idleFill.toFixed(3)}`
  );
  const ratio = (mean(row, (run) => run.p99Us) / mean(alone, (run) => run.p99Us)).toFixed(3);
  console.log(`${row.hz} Hz ${name}: mean p99 x ${ratio}; ${each.join(" | ")}`);
}
if (failed.length > 0) Deno.exit(1);
