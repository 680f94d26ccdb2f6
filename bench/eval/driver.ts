/**
 * How are the baselines' cells run? By the native driver (driver/main.cc): one process, or two that share the GPU by time
 * slicing or MPS. The harness makes their plans, starts them one after the other, and lets them begin at the same time.
 */
import { type Bundle, loadBundle } from "../../agent/bundle.ts";
import { path } from "../../agent/std/mod.ts";
import { openLibrary } from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { checkOutput, ROOT } from "./calypte_load.ts";
import { type CellSamples, WARM_NS } from "./calypte.ts";
import { folderOf, NONE, type System } from "./cells.ts";
import { writePlan } from "./launch_plan.ts";
import { Mps } from "./mps.ts";
import { within } from "./process.ts";
import type { CellPlan } from "./run.ts";
import type { Span } from "./statistics.ts";
import type { Verified } from "./store.ts";

export const DRIVER = path.join(ROOT, "build/eval/eval-driver");
/** Of these a request may still be answered in. The engine's cells have the same. */
const TAIL_NS = 200e6;
const QUEUE_DEPTH = 16;
/** Gating: launches of background at most ahead of the GPU. */
const IN_FLIGHT = 4;
/** From when all are ready to the first request that warms up. */
const AHEAD_NS = 50e6;
const READY_MS = 60_000;
/** Beyond what a process is told to take: then it hangs, and the GPU's time is worth more than its cell. */
const SLACK_MS = 20_000;
const KILLED_MS = 5000;

/** Of an H200's 132 SMs: what a detector of small kernels takes without slowing down; rounded up by the driver. */
export const GREEN_SMS = 32;

type Role = "critical" | "background";

/** The driver's mode, and which processes there are. */
export function layoutOf(system: System, hasCritical: boolean, hasBackground: boolean) {
  const both = [...(hasCritical ? ["critical"] : []), ...(hasBackground ? ["background"] : [])] as Role[];
  switch (system) {
    case "exclusive":
      return { mode: "process", processes: [both] };
    case "streams":
    case "priorities":
    case "green":
    case "gating":
      return { mode: system, processes: [both] };
    case "timeslice":
    case "mps":
      return { mode: "process", processes: both.map((role): Role[] => [role]) };
    default:
      throw new Error(`${system} is not run by the driver`);
  }
}

export interface DriverOptions {
  /** Default: as built into build/eval. */
  program?: string;
  /** For the driver's processes, in tests. */
  env?: Record<string, string>;
  /** Whether the first output must be the bundle's sample output. Default true; a double computes nothing. */
  checkSample?: boolean;
  greenSms?: number;
  startMps?: () => Promise<Mps>;
}

interface DriverResult {
  device: string;
  notes: string;
  cpuS: number;
  launchNs: number[];
  doneNs: number[];
  criticalChecked: number;
  criticalWrong: number;
  byWord: boolean;
  unitsDoneNs: number[];
  backgroundChecked: number;
  backgroundWrong: number;
  mostInFlight: number;
  gated: number;
  busy: Span[];
}

/** Runs one cell of a baseline. Throws with the driver's words. */
export async function runBaseline(plan: CellPlan, options: DriverOptions = {}): Promise<CellSamples> {
  const { cell, windowNs, arrivalsNs, warmNs } = plan;
  const folders: Partial<Record<Role, string>> = {
    ...(cell.critical === NONE ? {} : { critical: folderOf(cell.critical, plan.extra) }),
    ...(cell.background === NONE ? {} : { background: folderOf(cell.background, plan.extra) }),
  };
  const { mode, processes } = layoutOf(cell.system, "critical" in folders, "background" in folders);
  const dir = await Deno.makeTempDir({ prefix: "calypte-eval-" });
  try {
    const bundles = new Map<Role, Bundle>();
    const lines = new Map<Role, string[]>();
    for (const [role, folder] of Object.entries(folders) as [Role, string][]) {
      const bundle = await loadBundle(path.resolve(ROOT, folder));
      bundles.set(role, bundle);
      lines.set(role, [`${role} ${await writePlan(bundle, dir, role)}`]);
    }
    const times = path.join(dir, "arrivals");
    const all = BigInt64Array.from([...warmNs, ...arrivalsNs], (at) => BigInt(Math.round(at)));
    await Deno.writeFile(times, new Uint8Array(all.buffer));
    lines.get("critical")?.push(`arrivals ${times}`, `queue_depth ${QUEUE_DEPTH}`);
    lines.get("background")?.push(`in_flight ${IN_FLIGHT}`);
    const common = [
      ...[`mode ${mode}`, `green_sms ${options.greenSms ?? GREEN_SMS}`],
      ...[`window_ns ${windowNs}`, `tail_ns ${TAIL_NS}`],
    ];
    await using mps = cell.system === "mps" ? await (options.startMps ?? Mps.start)() : undefined;
    const specs = processes.map((roles) => {
      const out = path.join(dir, `${roles[0]}.json`);
      const env = { ...options.env, ...(mps === undefined ? {} : mps.env[roles[0]!]) };
      return { out, env, lines: [...common, `out ${out}`, ...roles.flatMap((role) => lines.get(role)!)] };
    });
    // Background by itself gets as much time to warm up as beside requests, and as on Calypte's engine.
    const aheadNs = Math.min(warmNs[0] ?? 0, -WARM_NS) - AHEAD_NS;
    const limitMs = (windowNs + TAIL_NS - aheadNs) / 1e6 + SLACK_MS;
    const beginNs = await runTogether("run", dir, specs, options.program ?? DRIVER, aheadNs, limitMs);
    const results = await Promise.all(
      specs.map(async ({ out }) => JSON.parse(await Deno.readTextFile(out)) as DriverResult),
    );
    if (options.checkSample !== false) await checkOutputs(dir, processes, bundles);
    return { ...samplesOf(results, plan, mode), windowEndNs: beginNs + windowNs };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function checkOutputs(dir: string, processes: Role[][], bundles: Map<Role, Bundle>): Promise<void> {
  for (const roles of processes) {
    for (const role of roles) {
      const output = await Deno.readFile(path.join(dir, `${roles[0]}.json.${role}`));
      checkOutput(bundles.get(role)!, output);
    }
  }
}

function samplesOf(
  results: DriverResult[],
  { cell, windowNs }: CellPlan,
  mode: string,
): Omit<CellSamples, "windowEndNs"> {
  const sum = (of: (result: DriverResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  const critical = results.find(({ criticalChecked }) => criticalChecked > 0);
  const verified = (has: boolean, checked: number, wrong: number): Verified => ({
    why: has ? (checked === 0 ? "no output came" : "") : "there is no such work",
    ...{ checked, wrong },
  });
  return {
    launchNs: results.flatMap(({ launchNs }) => launchNs),
    doneNs: results.flatMap(({ doneNs }) => doneNs),
    busy: results.flatMap(({ busy }) => busy),
    busyFrom: cell.background === NONE ? "nothing ran" : "device",
    busyNs: 0,
    units: results.flatMap(({ unitsDoneNs }) => unitsDoneNs).filter((at) => at >= 0 && at < windowNs).length,
    verified: {
      critical: verified(cell.critical !== NONE, sum((r) => r.criticalChecked), sum((r) => r.criticalWrong)),
      background: verified(
        cell.background !== NONE,
        sum((r) => r.backgroundChecked),
        sum((r) => r.backgroundWrong),
      ),
    },
    ...{ cpuS: sum(({ cpuS }) => cpuS), levelsNs: {} },
    notes: [
      ...results.map(({ notes }) => notes),
      ...(critical === undefined || critical.byWord
        ? []
        : ["completion was asked of the driver: no stream memory operations"]),
      ...(mode === "gating" ? [`at most ${sum((r) => r.mostInFlight)} launches in flight`] : []),
    ],
  };
}

export interface ProcessSpec {
  env: Record<string, string>;
  lines: string[];
}

/**
 * Starts a driver for each spec, waits until each is ready, tells all the same beginning (`-aheadNs` and a little from now),
 * and waits for all, at most `limitMs`. Gives that beginning. If one fails or hangs all are killed, and its words are thrown.
 */
export async function runTogether(
  command: "run" | "probe",
  dir: string,
  specs: readonly ProcessSpec[],
  program: string,
  aheadNs: number,
  limitMs: number,
): Promise<number> {
  const children: DriverProcess[] = [];
  try {
    for (const [i, { env, lines }] of specs.entries()) {
      const file = path.join(dir, `${i}.spec`);
      await Deno.writeTextFile(file, lines.join("\n") + "\n");
      const child = DriverProcess.start(program, command, file, env);
      children.push(child);
      // One after the other: what loading costs one must not disturb another's clock.
      await child.ready();
    }
    const beginNs = nowNs() - aheadNs;
    await Promise.all(children.map((child) => child.begin(beginNs)));
    await Promise.all(children.map((child) => child.end(limitMs)));
    return beginNs;
  } finally {
    await Promise.all(children.map((child) => child.kill()));
  }
}

/** One process of the driver. */
export class DriverProcess {
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly #errors: Promise<string>;
  #ended = false;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#output = child.stdout.getReader();
    this.#errors = new Response(child.stderr).text();
  }

  static start(program: string, command: string, spec: string, env: Record<string, string>): DriverProcess {
    try {
      return new DriverProcess(
        new Deno.Command(program, {
          ...{ args: [command, spec], env, stdin: "piped", stdout: "piped", stderr: "piped" },
        }).spawn(),
      );
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new Error(
        `there is no ${program}: build it with bench/eval/driver/build.ts where there is a toolkit`,
      );
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  async ready(): Promise<void> {
    const read = await within(this.#output.read(), READY_MS);
    // Who called kills it.
    if (read === undefined) throw new Error(`the driver was not ready within ${READY_MS / 1000} s`);
    const { value } = read;
    const said = value === undefined ? "" : new TextDecoder().decode(value);
    if (!said.startsWith("ready")) {
      throw new Error(`the driver did not get ready: ${await this.#lastWords()}`);
    }
  }

  async begin(beginNs: number): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    try {
      await writer.write(new TextEncoder().encode(`begin ${Math.round(beginNs)}\n`));
      await writer.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      throw new Error(await this.#lastWords());
    }
  }

  /** Throws if it failed, or has not ended after `limitMs`. */
  async end(limitMs: number): Promise<void> {
    const status = await within(this.#child.status, limitMs);
    if (status === undefined) {
      throw new Error(`the driver did not end within ${(limitMs / 1000).toFixed(0)} s, and was killed`);
    }
    if (!status.success) throw new Error(await this.#lastWords());
  }

  async #lastWords(): Promise<string> {
    const { code, signal } = await this.#child.status;
    return (await this.#errors).trim() || `it ended with ${signal ?? code} and said nothing`;
  }

  async kill(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    // One that the GPU's driver holds cannot be killed; the harness goes on.
    await within(Promise.all([this.#child.status, this.#output.cancel(), this.#errors]), KILLED_MS);
    if (!this.#child.stdin.locked) await this.#child.stdin.abort().catch(() => {});
  }
}

/** Of the clock that the driver and the engine use. */
export function nowNs(): number {
  using library = openLibrary(libraryPath());
  return library.nowNs();
}
