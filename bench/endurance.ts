/**
 * Does anything grow that should not, over minutes of real time or a day of virtual time?
 *
 * ```sh
 * deno run -A --cached-only bench/endurance.ts --minutes 9 --out DIR --commit HASH   # on a GPU
 * deno run -A bench/endurance.ts --minutes 2 --backend sim
 * deno run -A --cached-only bench/endurance.ts --minutes 9 --external ...            # and a PyTorch process as critical task
 * deno run -A bench/endurance.ts --virtual 24h                                       # calypte simulate, no GPU
 * ```
 *
 * Memory, open files and threads of agent, engine and workers are read from /proc every few seconds, while critical work,
 * jobs of all kinds, a queue and a store are at work. Behind the warm-up, the median of the last third is compared with that
 * of the first. It fails if memory grows by more than a tenth and 12 MiB, files or threads by more than two, or if a process
 * ends before its time.
 */
import { parseArgs } from "../agent/std/mod.ts";
import { growthsOf, growthTable, type Sample } from "./faults/growth.ts";
import { aloneJob, features, mission } from "./faults/missions.ts";
import { usageOf } from "./faults/processes.ts";
import { pause, ROOT } from "./faults/scene.ts";
import { Stage } from "./faults/stage.ts";
import { randomOf } from "./statistics.ts";

const args = parseArgs(Deno.args, {
  boolean: ["external"],
  string: ["minutes", "virtual", "backend", "out", "commit", "every", "seed"],
});
const backend = args["backend"] === "sim" ? "sim" as const : "cuda" as const;
const minutes = Number(args["minutes"] ?? 9);
const everyMs = Number(args["every"] ?? 5) * 1000;
const seed = Number(args["seed"] ?? 1);

const SOCKET = "outside.sock";
const OUTSIDE = {
  critical: { outside: { external: SOCKET, rate: "30Hz", deadline: "25ms" } },
  top: { device: { backend, foreign: ["python3"] } },
};

interface Run {
  what: string;
  samples: Sample[];
  notes: string[];
  wrong: string[];
}

/** Samples between two writings. */
const KEEP_EVERY = 24;

function write(run: Run): void {
  if (typeof args["out"] !== "string") return;
  Deno.mkdirSync(args["out"], { recursive: true });
  const growths = growthsOf(run.samples);
  const wrong = [
    ...run.wrong,
    ...growths.filter(({ grew }) => grew.length > 0).map(({ who, grew }) => `${who}: ${grew.join("; ")}`),
  ];
  const report = { commit: args["commit"] ?? "unknown", seed, ...run, growths, wrong };
  Deno.writeTextFileSync(`${args["out"]}/endurance.json`, JSON.stringify(report) + "\n");
}

async function real(): Promise<Run> {
  const has = features();
  const stage = await Stage.open({
    ...{ name: "endurance", backend, seed, has, quick: false, random: randomOf(seed) },
    mission: mission(has, backend, { background: aloneJob(has), ...(args["external"] ? OUTSIDE : {}) }),
  });
  const samples: Sample[] = [], notes: string[] = [], wrong: string[] = [];
  for (const [name, is] of Object.entries(has)) if (!is) notes.push(`missions cannot ask for ${name} yet`);
  try {
    await stage.start();
    const model = args["external"] ? startModel(stage.scene.path(SOCKET)) : undefined;
    const processes: { pid: number; role: string }[] = stage.scene.processes();
    if (model !== undefined) processes.push({ pid: model.pid, role: "model" });
    const beganMs = performance.now();
    const endMs = beganMs + minutes * 60_000;
    let kept = 0;
    while (performance.now() < endMs) {
      const atS = (performance.now() - beganMs) / 1000;
      for (const { pid, role } of processes) {
        const usage = usageOf(pid);
        if (usage === undefined) {
          wrong.push(`${role} ${pid} ended after ${atS.toFixed(0)} s: ${stage.scene.lastWords()}`);
          return { what: `${backend}, ${minutes} min`, samples, notes, wrong };
        }
        samples.push({ who: `${role} ${pid}`, atS, ...usage });
      }
      // What is over the limit of a command is killed: what was seen by then remains.
      if (samples.length - kept > KEEP_EVERY) {
        kept = samples.length;
        write({ what: `${backend}, so far ${atS.toFixed(0)} s`, samples, notes, wrong });
      }
      await pause(Math.max(1, Math.min(everyMs, endMs - performance.now())));
    }
    stage.feeder?.stop();
    if (model !== undefined) notes.push(`model: ${await endModel(model)}`);
    const summary = await stage.scene.stop();
    notes.push(`summary: ${JSON.stringify(summary?.critical)} ${JSON.stringify(summary?.background)}`);
    if (summary === undefined) wrong.push("the agent gave no summary at its end");
  } finally {
    stage.feeder?.stop();
    const left = await stage.scene.close();
    if (left.length > 0 && wrong.length === 0) wrong.push(`left behind: ${left.join(", ")}`);
  }
  return { what: `${backend}, ${minutes} min`, samples, notes, wrong };
}

/** A detector of somebody else's at 30 Hz, which announces its requests. */
function startModel(socket: string): Deno.ChildProcess {
  return new Deno.Command("python3", {
    args: [
      ...[`${ROOT}/bench/external/model.py`, "--rate", "30", "--seconds", String(minutes * 60)],
      ...["--socket", socket, "--expect"],
    ],
    ...{ stdin: "null", stdout: "piped", stderr: "inherit" },
  }).spawn();
}

/** What it says of itself, without its samples. */
async function endModel(model: Deno.ChildProcess): Promise<string> {
  const { stdout } = await model.output();
  const { responsesUs: _, ...said } = JSON.parse(new TextDecoder().decode(stdout));
  return JSON.stringify(said);
}

async function virtual(duration: string): Promise<Run> {
  const deno = Deno.execPath();
  const child = new Deno.Command(deno, {
    args: [
      ...["run", "-A", "--quiet", "--cached-only", "--config", `${ROOT}/deno.json`, `${ROOT}/agent/entry.ts`],
      ...[
        "simulate",
        `${ROOT}/examples/missions/survey.yaml`,
        "--for",
        duration,
        "--seed",
        String(seed),
        "--json",
      ],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const samples: Sample[] = [], wrong: string[] = [];
  const output = child.output();
  let ended = false;
  output.then(() => ended = true);
  const beganMs = performance.now();
  // A day takes minutes: as many samples as a few minutes of real time have.
  const pauseMs = Math.min(everyMs, 1000);
  while (!ended) {
    const usage = usageOf(child.pid);
    if (usage !== undefined) {
      samples.push({ who: `simulate ${child.pid}`, atS: (performance.now() - beganMs) / 1000, ...usage });
    }
    await Promise.race([output, pause(pauseMs)]);
  }
  const { success, stdout } = await output;
  if (!success) wrong.push("the simulation failed");
  const text = new TextDecoder().decode(stdout).trim();
  return { what: `virtual, ${duration}`, samples, notes: [text.slice(0, 600)], wrong };
}

const run = typeof args["virtual"] === "string" ? await virtual(args["virtual"]) : await real();
const growths = growthsOf(run.samples);
const grown = growths.filter(({ grew }) => grew.length > 0);
const wrong = [...run.wrong, ...grown.map(({ who, grew }) => `${who}: ${grew.join("; ")}`)];
console.log(growthTable(growths));
for (const note of run.notes) console.log(note);
write(run);
for (const line of wrong) console.log(`FAIL  ${line}`);
console.log(`${run.what}: ${wrong.length === 0 ? "nothing grew" : "FAILED"}`);
Deno.exit(wrong.length === 0 ? 0 : 1);
