/**
 * What do 2,000 requests a second of `/v1/status` do to the server, and to a critical task?
 *
 * ```sh
 * deno run -A --cached-only bench/http_load.ts --out DIR --commit HASH [--backend sim|cuda] [--rate 2000] [--for 20]
 * ```
 *
 * One agent with a 100 Hz task and a background job that fills the rest. Windows of the given length in turn without and with the
 * load, in pairs; the task's results of each window are read from its own output. Prints a table, writes http-load.json.
 * Exit status 1 if a request of HTTP failed or the rate was not reached.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { realTimers } from "../agent/timers.ts";
import { quantilesOf } from "./statistics.ts";

const args = parseArgs(Deno.args, { string: ["out", "commit", "backend", "rate", "for", "pairs"] });
const given = (name: string, otherwise: string) =>
  typeof args[name] === "string" ? args[name] as string : otherwise;
const rate = Number(given("rate", "2000"));
const seconds = Number(given("for", "20"));
const pairs = Number(given("pairs", "2"));
const backend = given("backend", "sim");
const ROOT = path.dirname(import.meta.dirname!);
const dir = Deno.makeTempDirSync();
const text = new TextDecoder();
/** As many connections as a browser and a few scrapers would have. */
const CONNECTIONS = 16;

const mission = {
  http: { listen: "127.0.0.1:0" },
  state: "off",
  critical: {
    detector: {
      bundle: `${ROOT}/examples/bundles/obstacle-detector`,
      source: { frames: `${ROOT}/examples/frames`, rate: "100Hz" },
      deadline: "9ms",
      output: { jsonl: `${dir}/detections.jsonl` },
    },
  },
  background: {
    maps: {
      bundle: `${ROOT}/examples/bundles/vegetation-map`,
      source: { frames: `${ROOT}/examples/frames` },
    },
  },
};

interface Answers {
  sent: number;
  failed: number;
  perSecond: number;
  latencyMs: { p50: number; p99: number; max: number };
  bytes: number;
}

async function load(url: string): Promise<Answers> {
  const beginMs = performance.now();
  const endMs = beginMs + seconds * 1000;
  const [latencies, counts] = [[] as number[], { sent: 0, failed: 0, bytes: 0 }];
  const worker = async (index: number) => {
    for (let turn = index;; turn += CONNECTIONS) {
      const dueMs = beginMs + turn * 1000 / rate;
      if (dueMs >= endMs) return;
      const waitMs = dueMs - performance.now();
      if (waitMs > 1) await realTimers.pause(waitMs);
      const startMs = performance.now();
      counts.sent++;
      try {
        const response = await fetch(`${url}/v1/status`);
        counts.bytes += (await response.arrayBuffer()).byteLength;
        if (response.status !== 200) counts.failed++;
      } catch {
        counts.failed++;
      }
      latencies.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => worker(index)));
  const tookS = (performance.now() - beginMs) / 1000;
  return { ...counts, perSecond: counts.sent / tookS, latencyMs: quantilesOf(latencies) };
}

interface Line {
  frame: number;
  late?: boolean;
  arrivalNs: number;
  doneNs: number;
}

/** Responses of the task, in us, from the line `from` on. */
function responses(from: number): { us: number[]; lines: number } {
  const lines = Deno.readTextFileSync(`${dir}/detections.jsonl`).split("\n").filter((line) => line !== "");
  const us = lines.slice(from).map((line) => JSON.parse(line) as Line).map(({ arrivalNs, doneNs }) =>
    (doneNs - arrivalNs) / 1e3
  );
  return { us, lines: lines.length };
}

Deno.writeTextFileSync(`${dir}/mission.yaml`, JSON.stringify(mission));
const agent = new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "--quiet", "--cached-only", "--unstable-worker-options", `${ROOT}/agent/entry.ts`]
    .concat(["run", `${dir}/mission.yaml`, "--json", "--backend", backend]),
  stdout: "piped",
  stderr: "piped",
  env: { CALYPTE_RUN_DIR: dir },
}).spawn();
const output = new Response(agent.stdout).text();
// Whatever goes wrong here, the agent must not keep the GPU.
globalThis.addEventListener("unload", () => {
  try {
    agent.kill("SIGTERM");
  } catch {
    // it has ended
  }
});
let said = "";
const url = await (async () => {
  const reader = agent.stderr.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the agent ended before it was ready:\n${said}`);
    said += text.decode(value);
    const found = /status on (http:\/\/\S+?)\/v1\/status/.exec(said)?.[1];
    if (found === undefined) continue;
    void (async () => {
      while (!(await reader.read()).done) { /* its pipe must not fill */ }
    })();
    return found;
  }
})();

const rows: { loaded: boolean; task: ReturnType<typeof quantilesOf>; http?: Answers; residentMib: number }[] =
  [];
const residentMib = async () => {
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "rss=", "-p", `${agent.pid}`] }).output();
  return Number(text.decode(stdout)) / 1024;
};
await realTimers.pause(3_000);
for (let pair = 0; pair < pairs; pair++) {
  for (const loaded of pair % 2 === 0 ? [false, true] : [true, false]) {
    const { lines } = responses(0);
    const http = loaded ? await load(url) : undefined;
    if (!loaded) await realTimers.pause(seconds * 1000);
    const task = quantilesOf(responses(lines).us);
    rows.push({ loaded, task, residentMib: await residentMib(), ...(http === undefined ? {} : { http }) });
  }
}
agent.kill("SIGINT");
await agent.status;
const summary = JSON.parse((await output).trim().split("\n").at(-1) ?? "{}");

for (const { loaded, task, http, residentMib } of rows) {
  const line =
    `${loaded ? "loaded" : "quiet "}  task p50 ${task.p50.toFixed(1)} us, p99 ${task.p99.toFixed(1)} us, ` +
    `max ${task.max.toFixed(1)} us (${task.count}); agent ${residentMib.toFixed(0)} MiB`;
  const answers = http === undefined ? "" : `; HTTP ${http.perSecond.toFixed(0)}/s, ${http.failed} failed, ` +
    `p99 ${http.latencyMs.p99.toFixed(1)} ms`;
  console.log(line + answers);
}
const { misses } = summary.critical.detector;
console.log(`${misses} critical requests missed${backend === "sim" ? ", on the simulator" : ""}`);
if (typeof args["out"] === "string") {
  Deno.mkdirSync(args["out"], { recursive: true });
  const report = { commit: given("commit", ""), backend, rate, seconds, rows, summary };
  Deno.writeTextFileSync(`${args["out"]}/http-load.json`, JSON.stringify(report) + "\n");
}
const short = rows.some(({ http }) =>
  http !== undefined && (http.failed > 0 || http.perSecond < rate * 0.98)
);
Deno.removeSync(dir, { recursive: true });
Deno.exit(short ? 1 : 0);
