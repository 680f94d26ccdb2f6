/**
 * Does anything grow that should not, over minutes of real time or a day of virtual time?
 *
 * ```sh
 * deno run -A --cached-only bench/endurance.ts --minutes 9 --out DIR --commit HASH   # on a GPU
 * deno run -A bench/endurance.ts --minutes 2 --backend sim
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
  string: ["minutes", "virtual", "backend", "out", "commit", "every", "seed"],
});
const backend = args["backend"] === "sim" ? "sim" as const : "cuda" as const;
const minutes = Number(args["minutes"] ?? 9);
const everyMs = Number(args["every"] ?? 5) * 1000;
const seed = Number(args["seed"] ?? 1);

interface Run {
  what: string;
  samples: Sample[];
  notes: string[];
  wrong: string[];
}

async function real(): Promise<Run> {
  const has = features();
  const stage = await Stage.open({
    ...{ name: "endurance", backend, seed, has, quick: false, random: randomOf(seed) },
    mission: mission(has, backend, { background: aloneJob(has) }),
  });
  const samples: Sample[] = [], notes: string[] = [], wrong: string[] = [];
  for (const [name, is] of Object.entries(has)) if (!is) notes.push(`missions cannot ask for ${name} yet`);
  try {
    await stage.start();
    const processes = stage.scene.processes();
    const beganMs = performance.now();
    const endMs = beganMs + minutes * 60_000;
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
      await pause(Math.max(1, Math.min(everyMs, endMs - performance.now())));
    }
    stage.feeder?.stop();
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
if (typeof args["out"] === "string") {
  Deno.mkdirSync(args["out"], { recursive: true });
  const report = { commit: args["commit"] ?? "unknown", seed, ...run, growths, wrong };
  Deno.writeTextFileSync(`${args["out"]}/endurance.json`, JSON.stringify(report) + "\n");
}
for (const line of wrong) console.log(`FAIL  ${line}`);
console.log(`${run.what}: ${wrong.length === 0 ? "nothing grew" : "FAILED"}`);
Deno.exit(wrong.length === 0 ? 0 : 1);
