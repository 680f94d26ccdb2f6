/**
 * How much of a processor does a run take: idle, at 30 Hz and at 100 Hz, with background and without?
 *
 * Flies missions on the simulator, in real time, with the engine in a process of its own, and reads what the kernel counts for
 * its threads and for the agent's. The critical thread waits actively while a request is under way and shortly before one is due;
 * so its part follows from how often requests come and how long they take. On the simulator the device is a part of that thread
 * too, and requests take what the bundle's estimates say: on a GPU other numbers come out.
 *
 *     .tools/deno run -A bench/cpu_use.ts [--out DIR] [--seconds N]
 *
 * Prints a table, and with `--out` writes DIR/cpu_use.json.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { VERSION } from "../agent/version.ts";
import { ROOT, Scene, until } from "./faults/scene.ts";

export interface CpuUse {
  name: string;
  /** 0: nothing asks for anything. */
  rateHz: number;
  /** Bundle of the background job; `null`: there is none. */
  background: string | null;
  /** Over which the shares were taken. */
  seconds: number;
  requests: number;
  units: number;
  /** Median, from arrival to its end. */
  responseUs: number | null;
  /** Parts of one core, 0..: of the dispatcher, of the engine's whole process with it, of the agent's. */
  share: { dispatcher: number; engine: number; agent: number };
}

/** Kernels of about 25 us, nine to a unit. */
const SHORT = "examples/bundles/vegetation-map";
/** One kernel of milliseconds: what is left is looking whether it is done. */
const LONG = "bench/bundles/long-blocks";

export const CASES: readonly Pick<CpuUse, "name" | "rateHz" | "background">[] = [
  { name: "idle", rateHz: 0, background: null },
  { name: "30 Hz", rateHz: 30, background: null },
  { name: "30 Hz, background of long kernels", rateHz: 30, background: LONG },
  { name: "30 Hz, background of short kernels", rateHz: 30, background: SHORT },
  { name: "100 Hz", rateHz: 100, background: null },
  { name: "100 Hz, background of long kernels", rateHz: 100, background: LONG },
  { name: "100 Hz, background of short kernels", rateHz: 100, background: SHORT },
];

/** Until learning and warming up are over. */
const SETTLE_MS = 3000;

function missionOf(rateHz: number, background: string | null): Record<string, unknown> {
  const frames = `${ROOT}/examples/frames`;
  return {
    device: { backend: "sim" },
    http: { listen: "127.0.0.1:0" },
    ...{ preemptionBound: "30us", state: "off" },
    critical: {
      "obstacle-detector": {
        bundle: `${ROOT}/examples/bundles/obstacle-detector`,
        source: rateHz === 0 ? { api: true, rate: "30Hz" } : { frames, rate: `${rateHz}Hz` },
        deadline: rateHz > 50 ? "9ms" : "15ms",
        output: "drop",
      },
    },
    background: background === null ? {} : {
      job: {
        bundle: `${ROOT}/${background}`,
        ...(background === SHORT ? { source: { frames } } : {}),
        ...{ isolation: "shared", output: "drop" },
      },
    },
  };
}

/** Of a process and of its dispatcher, ns of processor time since they began. */
function cpuNsOf(pid: number): { all: number; dispatcher: number } {
  // With those of its threads that have ended. In hundredths of a second. The name, in parentheses, may hold anything.
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const all = (Number(fields[11]) + Number(fields[12])) * 1e7;
  for (const { name: thread } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${thread}`;
    // The kernel keeps 15 characters of a name.
    if (readOrNothing(`${folder}/comm`).startsWith("calypte-critica")) {
      return { all, dispatcher: Number(readOrNothing(`${folder}/schedstat`).split(" ")[0]) };
    }
  }
  return { all, dispatcher: 0 };
}

/** A thread may end while its folder is read. */
function readOrNothing(file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

export async function cpuUseOf(
  { name, rateHz, background }: typeof CASES[number],
  seconds: number,
): Promise<CpuUse> {
  const scene = await Scene.open({
    ...{ name: "cpu-use", backend: "sim", seed: 1 },
    mission: missionOf(rateHz, background),
  });
  try {
    scene.start();
    const why = await scene.ready();
    if (why !== undefined) throw new Error(`${name}: ${why}`);
    await elapsed(SETTLE_MS);
    const [engine, agent] = [scene.pids("engine")[0], scene.agentPid()];
    if (engine === undefined || agent === undefined) throw new Error(`${name}: ${scene.lastWords()}`);
    const look = () => ({
      atNs: performance.now() * 1e6,
      engine: cpuNsOf(engine),
      agent: cpuNsOf(agent).all,
    });
    const countsOf = (status: Awaited<ReturnType<Scene["status"]>>) => ({
      requests: status.critical["obstacle-detector"].requests as number,
      units: (status.background.job?.units ?? 0) as number,
    });
    // Asked for outside what is measured: to answer takes processor time, too.
    const countsBefore = countsOf(await scene.status());
    const before = look();
    await elapsed(seconds * 1000);
    const after = look();
    const countsAfter = countsOf(await scene.status());
    const wallNs = after.atNs - before.atNs;
    const summary = await scene.stop();
    const round = (ns: number) => Math.round(ns / wallNs * 1e5) / 1e5;
    return {
      ...{ name, rateHz, background },
      seconds: Math.round(wallNs / 1e8) / 10,
      requests: countsAfter.requests - countsBefore.requests,
      units: countsAfter.units - countsBefore.units,
      responseUs: rateHz === 0 ? null : summary?.critical["obstacle-detector"].response.p50Us ?? null,
      share: {
        dispatcher: round(after.engine.dispatcher - before.engine.dispatcher),
        engine: round(after.engine.all - before.engine.all),
        agent: round(after.agent - before.agent),
      },
    };
  } finally {
    await scene.close();
  }
}

/** Measuring takes time that passes. */
async function elapsed(ms: number): Promise<void> {
  const end = performance.now() + ms;
  await until(() => performance.now() >= end, ms + 1000, 50);
}

export function tableOf(uses: readonly CpuUse[]): string {
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
  const rows = uses.map(({ name, requests, units, responseUs, share }) => [
    ...[name, percent(share.dispatcher), percent(share.engine), percent(share.agent)],
    ...[String(requests), String(units), responseUs === null ? "-" : `${responseUs} us`],
  ]);
  const head = ["mission", "critical thread", "engine", "agent", "requests", "units", "response"];
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]!.length)));
  const line = (cells: string[]) =>
    cells.map((cell, at) => at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)).join("  ");
  return ["Of one core, on the simulator: no GPU takes part.", line(head), ...rows.map(line)].join("\n");
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["out", "seconds"] });
  const seconds = Number(args.seconds ?? 20);
  if (!(seconds >= 1 && seconds <= 3600)) {
    console.error("--seconds: must be 1..3600");
    Deno.exit(2);
  }
  const uses: CpuUse[] = [];
  for (const each of CASES) uses.push(await cpuUseOf(each, seconds));
  console.log(tableOf(uses));
  if (args.out !== undefined) {
    const dir = String(args.out);
    await Deno.mkdir(dir, { recursive: true });
    const cpu = /^model name\s*:\s*(.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? null;
    const report = {
      simulated: true,
      ...{ version: VERSION, cpu, cores: navigator.hardwareConcurrency, uses },
    };
    await Deno.writeTextFile(path.join(dir, "cpu_use.json"), JSON.stringify(report, null, 1) + "\n");
  }
  Deno.exit(0);
}
