/**
 * What does a critical process that is not ours notice of background that fills the GPU?
 *
 * ```sh
 * deno run -A --cached-only bench/external.ts --out DIR --commit HASH [--for 6] [--rate 30] [--kills 0]
 * ```
 *
 * Runs external/model.py (PyTorch, cuBLAS) by itself; beside the agent's background without a word to it; with the client's
 * begin and end; and with `expect` as well: in turn, twice. With --kills N it then goes on while agent, engine and the
 * background's process are killed N times each. Prints a table, and writes external.json after each run.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { realTimers } from "../agent/timers.ts";
import { randomOf, shuffled } from "./statistics.ts";

interface Answer {
  requests: number;
  failed: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
  callP50Us: number | null;
  callP99Us: number | null;
  states: string[];
  responsesUs: number[];
}

interface Row {
  name: string;
  background: "none" | "shared" | "process";
  client: boolean;
  expect: boolean;
  runs: (Answer & { units: number; missesSeen: number })[];
}

const args = parseArgs(Deno.args, { string: ["out", "commit", "for", "rate", "kills", "backend"] });
const seconds = Number(args["for"] ?? 6),
  rate = Number(args["rate"] ?? 30),
  kills = Number(args["kills"] ?? 0);
const backend = typeof args["backend"] === "string" ? args["backend"] : "cuda";
const ROUNDS = 2;
/** PyTorch takes its time to load. */
const STARTING_MS = 120_000;
const READY_MS = 60_000;
const ROOT = path.dirname(import.meta.dirname!);
const dir = Deno.makeTempDirSync();
const socket = `${dir}/outside.sock`;
const text = new TextDecoder();

function missionOf(isolation: string): string {
  return JSON.stringify({
    http: false,
    state: "off",
    critical: { outside: { external: socket, deadline: `${Math.floor(900 / rate)}ms`, rate: `${rate}Hz` } },
    background: {
      maps: {
        bundle: `${ROOT}/examples/bundles/vegetation-map`,
        isolation,
        source: { frames: `${ROOT}/examples/frames` },
      },
    },
  });
}

function model(row: Row, forSeconds: number): Promise<Answer> {
  const options = [
    ...["--rate", `${rate}`, "--seconds", `${forSeconds}`],
    ...(row.client ? ["--socket", socket] : []),
    ...(row.expect ? ["--expect"] : []),
  ];
  const signal = AbortSignal.timeout(1000 * forSeconds + STARTING_MS);
  const args = [`${ROOT}/bench/external/model.py`, ...options];
  return new Deno.Command("python3", { args, signal }).output().then(
    ({ code, stdout, stderr }) => {
      if (code !== 0) throw new Error(`the model ended with ${code}:\n${text.decode(stderr)}`);
      return JSON.parse(text.decode(stdout)) as Answer;
    },
  );
}

function startAgent(file: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--cached-only", "--unstable-worker-options", `${ROOT}/agent/entry.ts`]
      .concat(["run", file, "--json", "--backend", backend]),
    stdout: "piped",
    stderr: "piped",
    env: { CALYPTE_RUN_DIR: dir },
  }).spawn();
}

async function readyOf(agent: Deno.ChildProcess): Promise<{ log: () => string }> {
  let seen = "";
  const ready = Promise.withResolvers<void>();
  (async () => {
    for await (const part of agent.stderr) {
      seen += text.decode(part);
      if (seen.includes('"event":"ready"')) ready.resolve();
    }
    ready.reject(new Error(`the agent ended before it was ready:\n${seen}`));
  })();
  const timer = setTimeout(
    () => ready.reject(new Error(`the agent was not ready within ${READY_MS / 1000} s:\n${seen}`)),
    READY_MS,
  );
  try {
    await ready.promise;
  } finally {
    clearTimeout(timer);
  }
  return { log: () => seen };
}

async function once(row: Row): Promise<void> {
  if (row.background === "none") {
    row.runs.push({ ...await model(row, seconds), units: 0, missesSeen: 0 });
    return;
  }
  const file = `${dir}/${row.background}.yaml`;
  Deno.writeTextFileSync(file, missionOf(row.background));
  const agent = startAgent(file);
  const output = new Response(agent.stdout).text();
  let answer: Answer;
  try {
    await readyOf(agent);
    answer = await model(row, seconds);
  } catch (error) {
    // It must not keep the GPU from whatever is measured next.
    agent.kill("SIGTERM");
    throw error;
  }
  agent.kill("SIGINT");
  await agent.status;
  const { background, critical } = JSON.parse(await output);
  row.runs.push({ ...answer, units: background.maps.units, missesSeen: critical.outside.misses });
}

const plain = { background: "none", client: false, expect: false, runs: [] } as const;
const rows: Row[] = [
  { ...plain, name: "alone", runs: [] },
  { ...plain, name: "beside, without a word", background: "shared", runs: [] },
  { ...plain, name: "beside, begin and end", background: "shared", client: true, runs: [] },
  { ...plain, name: "beside, and expect", background: "shared", client: true, expect: true, runs: [] },
  {
    ...plain,
    name: "beside a worker, and expect",
    background: "process",
    client: true,
    expect: true,
    runs: [],
  },
];

/** Kills in turn what is at work, and starts what does not start itself. Returns how many of each were killed. */
async function killing(until: Promise<unknown>): Promise<Record<string, number>> {
  const file = `${dir}/process.yaml`;
  Deno.writeTextFileSync(file, missionOf("process"));
  const killed = { agent: 0, engine: 0, worker: 0 };
  let over = false;
  const end = () => over = true;
  until.then(end, end);
  let agent = startAgent(file);
  await readyOf(agent);
  const processesOf = (word: string) =>
    [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name)).map(({ name }) => name).filter(
      (pid) => {
        try {
          const line = Deno.readTextFileSync(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
          return line.includes(" engine ") && line.includes(dir) && line.includes(word);
        } catch {
          return false;
        }
      },
    ).map(Number);
  for (let n = 0; !over && n < 3 * kills; n++) {
    const what = (["agent", "worker", "engine"] as const)[n % 3]!;
    try {
      if (what === "agent") {
        agent.kill("SIGKILL");
        await agent.status;
        agent = startAgent(file);
        await Promise.race([readyOf(agent), realTimers.pause(8_000)]);
      } else {
        const found = processesOf(what === "worker" ? "maps" : "").filter((pid) => {
          const line = Deno.readTextFileSync(`/proc/${pid}/cmdline`);
          return what === "worker" || !line.includes("maps");
        });
        for (const pid of found) Deno.kill(pid, "SIGKILL");
        await realTimers.pause(1_500);
        if (found.length === 0) continue;
      }
      killed[what]++;
    } catch (error) {
      console.error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  await until;
  agent.kill("SIGINT");
  await agent.status;
  return killed;
}

let killed: Record<string, number> | undefined;

function write(): void {
  if (typeof args["out"] !== "string") return;
  Deno.mkdirSync(args["out"], { recursive: true });
  const report = { backend, commit: args["commit"] ?? "unknown", rate, seconds, rows, killed };
  Deno.writeTextFileSync(`${args["out"]}/external.json`, JSON.stringify(report) + "\n");
}

const underKills: Row = {
  name: "while all is killed",
  background: "process",
  client: true,
  expect: true,
  runs: [],
};
try {
  for (let round = 0; round < ROUNDS; round++) {
    for (const row of shuffled(rows, randomOf(round))) {
      await once(row);
      write();
    }
  }
  if (kills > 0) {
    const answer = model(underKills, kills * 5);
    answer.catch(() => {}); // told where it is awaited
    killed = await killing(answer);
    underKills.runs.push({ ...await answer, units: 0, missesSeen: 0 });
    rows.push(underKills);
  }
} finally {
  Deno.removeSync(dir, { recursive: true });
}

const mean = (row: Row, of: (run: Answer) => number) =>
  row.runs.reduce((sum, run) => sum + of(run), 0) / row.runs.length;
const alone = rows[0]!;
for (const row of rows) {
  const each = row.runs.map(({ p50Us, p99Us, maxUs, failed, requests, callP50Us, callP99Us, units }) =>
    `p50 ${p50Us.toFixed(0)} p99 ${p99Us.toFixed(0)} max ${
      maxUs.toFixed(0)
    } us, ${failed} of ${requests} failed` +
    (callP50Us === null ? "" : `, a call ${callP50Us.toFixed(1)} (${callP99Us?.toFixed(1)}) us`) +
    (units === 0 ? "" : `, ${units} units`)
  );
  const ratio = mean(row, (run) => run.p99Us) / mean(alone, (run) => run.p99Us);
  console.log(`${row.name}: mean p99 x ${ratio.toFixed(3)}; ${each.join(" | ")}`);
}
if (killed !== undefined) console.log(`killed: ${JSON.stringify(killed)}`);
write();
