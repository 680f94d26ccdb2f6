/**
 * How is a cell of Calypte's run? On the engine itself, through the same interface as the agent, with bundles loaded as the
 * agent loads them.
 *
 * On the simulator in virtual time: requests arrive exactly as given, and the same seed gives the same samples. In real time:
 * periodic requests by the engine's own timer; all others by a feeder, which writes a ring at the times given. A
 * response counts from the scheduled arrival, not from when the engine heard of it.
 */
import type { LoadedWork } from "../../agent/load.ts";
import {
  CONSTANTS,
  type Engine,
  NativeEngine,
  openLibrary,
  type Result,
  type TraceSlice,
} from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { pause } from "../session.ts";
import { parseArrivals } from "./arrivals.ts";
import { Scene } from "./calypte_load.ts";
import { IsolatedJob } from "./calypte_isolated.ts";
import { type Cell, type Extra, folderOf, NONE, type System } from "./cells.ts";
import { cpuSecondsOf } from "./machine.ts";
import { match } from "./match.ts";
import type { RawCell, Verified } from "./store.ts";
import type { Span } from "./statistics.ts";

const LEASE_NS = 2e9;
/** Rhythm, durations and drains are learned in this time, with the same work, ahead of the window. */
export const WARM_NS = 1e9;
/** What began in the window may end in this time. */
const TAIL_NS = 200e6;
const QUEUE_DEPTH = 16;
/** Of a request. Only `late` depends on it, which is not read: the report judges by its own limits. */
const DEADLINE_NS = 1e9;
/** Far enough ahead for a feeder to be told. */
const BEGIN_AHEAD_NS = 20e6;

export interface CalypteRequest {
  cell: Cell;
  backend: "sim" | "cuda";
  /** `virtual` on the simulator only. */
  clock: "real" | "virtual";
  windowNs: number;
  arrivalsNs: readonly number[];
  /** Ahead of the window, at negative times. */
  warmNs: readonly number[];
  seed: number;
  extra?: Extra;
  /** Real clock, arrivals that are not periodic: the ring to read, and who writes it from now on. */
  feed?: { ring: string; begin(windowBeginNs: number): Promise<void> };
}

/** What a cell of any system gives; the rest of `RawCell` is the harness's. */
export type CellSamples =
  & Pick<
    RawCell,
    | "launchNs"
    | "doneNs"
    | "busy"
    | "busyFrom"
    | "busyNs"
    | "units"
    | "verified"
    | "cpuS"
    | "levelsNs"
    | "notes"
  >
  & {
    /** Of the monotonic clock; virtual time: 0. */
    windowEndNs: number;
  };

interface Options {
  anticipate: boolean;
  prefer: "measured" | "block";
  /** The engine is told of other clocks again and again, and so knows no duration. */
  forget: boolean;
  isolated: boolean;
}

const PLAIN: Options = { anticipate: true, prefer: "measured", forget: false, isolated: false };
const OPTIONS: Partial<Record<System, Options>> = {
  "calypte-anticipated": PLAIN,
  calypte: { ...PLAIN, anticipate: false },
  "calypte-alone": PLAIN,
  "calypte-isolated": { ...PLAIN, isolated: true },
  "calypte-block": { ...PLAIN, prefer: "block" },
  "calypte-unlearned": { ...PLAIN, anticipate: false, forget: true },
};
const FORGET_EVERY_NS = 20e6;

/** Runs one cell on an engine in this process. Throws what the engine throws. */
export async function runCalypte(request: CalypteRequest): Promise<CellSamples> {
  const { cell, backend, clock, windowNs, arrivalsNs, warmNs, seed, feed } = request;
  const options = OPTIONS[cell.system];
  if (options === undefined) throw new Error(`${cell.system} does not run on the engine`);
  using library = openLibrary(libraryPath());
  using engine = NativeEngine.open(library, { backend, seed, clock, resultsBytes: 64 * 2 ** 20 });
  const scene = new Scene(engine, options.prefer);
  const isSim = backend === "sim";
  const task = cell.critical === NONE ? undefined : await addTask(scene, request, options);
  await using isolated = options.isolated && cell.background !== NONE
    ? await IsolatedJob.start(engine, backend, folderOf(cell.background, request.extra))
    : undefined;
  const job = cell.background === NONE || isolated !== undefined ? undefined : await addJob(scene, request);
  const digestOf = (work: LoadedWork | undefined) =>
    isSim || work === undefined ? undefined : scene.referenceDigest(work);
  const expected = { critical: digestOf(task), background: digestOf(job) };
  if (clock === "virtual" && task !== undefined) {
    const times = [...warmNs, ...arrivalsNs].map((at) => BigInt(Math.round(WARM_NS + at)));
    engine.replayArrivals(task.id, BigUint64Array.from(times));
  }
  engine.ready();
  const jobId = isolated?.id ?? job?.id;
  const run = new Run(engine, clock, jobId, options.forget);
  await isolated?.join();
  const beginNs = windowBegin(request, run);
  await feed?.begin(beginNs);
  run.until(beginNs);
  const before = engine.snapshot();
  const cpu = () => cpuSecondsOf("self") + (isolated === undefined ? 0 : cpuSecondsOf(isolated.pid));
  const cpuBefore = cpu();
  run.until(beginNs + windowNs);
  const after = engine.snapshot();
  const cpuS = cpu() - cpuBefore;
  run.until(beginNs + windowNs + TAIL_NS);

  const results = isolated === undefined ? run.results : run.results.concat(await isolated.results());
  const isInWindow = ({ doneNs }: Result) => doneNs >= beginNs && doneNs < beginNs + windowNs;
  const requests = results.filter(({ kind }) => kind === "critical");
  const units = results.filter(({ kind }) => kind === "background");
  const digests = { ...expected, background: isolated?.expected ?? expected.background };
  const { launchNs, doneNs, unmatched } = match(
    arrivalsNs,
    requests.map((one) => ({
      atNs: (feed === undefined ? one.arrivalNs : one.sensorNs) - beginNs,
      launchNs: one.startNs - beginNs,
      doneNs: one.doneNs - beginNs,
      dropped: one.dropped || one.failed,
    })),
    clock === "virtual" || feed !== undefined ? 1000 : 1e6,
  );
  const levelsNs: Record<string, number> = {};
  if (jobId !== undefined) {
    for (const [level, ns] of Object.entries(after.jobs[jobId]!.gpuNs)) {
      levelsNs[level] = ns - before.jobs[jobId]!.gpuNs[level as "loop"];
    }
  }
  // What background still had of the GPU while a request was at work is none of the idle time that it filled.
  const drains = run.drains.filter(({ atNs }) => atNs >= beginNs && atNs < beginNs + windowNs);
  const ran = launchNs.filter((at) => at >= 0 && at < windowNs).length;
  // Records that were overwritten count as those that are there.
  const drainedNs = drains.reduce((sum, { ns }) => sum + ns, 0) *
    Math.max(1, ran / Math.max(1, drains.length));
  return {
    windowEndNs: clock === "virtual" ? 0 : beginNs + windowNs,
    ...{ launchNs, doneNs, levelsNs, cpuS: clock === "virtual" ? 0 : cpuS },
    busy: run.slices
      .map(({ beginNs: from, endNs: to }): Span => [from - beginNs, to - beginNs])
      .filter(([from, to]) => to > 0 && from < windowNs),
    busyFrom: jobId === undefined ? "nothing ran" : isSim ? "simulated" : "engine",
    busyNs: Math.max(0, Object.values(levelsNs).reduce((sum, ns) => sum + ns, 0) - drainedNs),
    units: units.filter((one) => isInWindow(one) && !isWrong(one, digests.background)).length,
    verified: {
      critical: verify(requests, task === undefined ? "no critical work" : undefined, digests.critical),
      background: verify(units, jobId === undefined ? "no background" : undefined, digests.background),
    },
    notes: [
      ...(unmatched === 0 ? [] : [`${unmatched} answers belong to no scheduled arrival`]),
      ...(run.lost === 0 ? [] : [`${run.lost} records of the trace were overwritten: the timeline has gaps`]),
      ...(job === undefined
        ? []
        : [`loaded as ${job.steps.map((s) => `${s.kernel} ${s.level}`).join(", ")}`]),
    ],
  };
}

function addTask(
  scene: Scene,
  { cell, clock, feed, extra }: CalypteRequest,
  { anticipate }: Options,
): Promise<LoadedWork> {
  const { pattern, value } = parseArrivals(cell.arrivals);
  const periodNs = pattern === "load" ? 0 : Math.round(1e9 / value);
  return scene.add(folderOf(cell.critical, extra), () => ({
    ...{ kind: "critical", name: cell.critical, keepOutput: false, deadlineNs: DEADLINE_NS, from: "arrival" },
    ...{ queue: "fifo", queueDepth: QUEUE_DEPTH, onMiss: "publish-late", maxBlockingNs: 0, yield: "always" },
    anticipate,
    source: clock === "virtual"
      ? { kind: "api" }
      : feed !== undefined
      ? { kind: "ring", path: feed.ring, periodNs: pattern === "jitter" ? periodNs : 0 }
      : { kind: "frames", periodNs },
  }));
}

function addJob(scene: Scene, { cell: { background }, extra }: CalypteRequest): Promise<LoadedWork> {
  return scene.add(folderOf(background, extra), (_, isFramed) => ({
    ...{ kind: "background", name: background, keepOutput: false },
    source: isFramed ? { kind: "frames", periodNs: 0 } : { kind: "none" },
  }));
}

/** Runs until all is warm, and says when the window begins. Periodic requests keep the phase of the engine's timer. */
function windowBegin({ cell, clock, arrivalsNs, feed }: CalypteRequest, run: Run): number {
  if (clock === "virtual") return WARM_NS;
  // From now on: an isolated background has joined meanwhile, which may take longer than warming up.
  const fromNs = run.engine.snapshot().nowNs;
  if (feed !== undefined) return fromNs + WARM_NS + BEGIN_AHEAD_NS;
  run.until(fromNs + WARM_NS);
  const nowNs = run.engine.snapshot().nowNs;
  const last = run.results.findLast(({ kind }) => kind === "critical");
  if (last === undefined) return nowNs;
  const periodNs = Math.round(1e9 / parseArrivals(cell.arrivals).value);
  const firstNs = last.arrivalNs + Math.ceil((nowNs + BEGIN_AHEAD_NS - last.arrivalNs) / periodNs) * periodNs;
  return firstNs - (arrivalsNs[0] ?? 0);
}

/** Without an expected digest nothing is found wrong; `verify` says so. */
function isWrong({ digest, dropped, failed }: Result, expected: bigint | undefined): boolean {
  return expected !== undefined && !dropped && !failed && digest !== expected;
}

function verify(results: readonly Result[], why: string | undefined, expected: bigint | undefined): Verified {
  if (expected === undefined) return { why: why ?? "the simulator computes nothing", checked: 0, wrong: 0 };
  const answered = results.filter(({ dropped, failed }) => !dropped && !failed);
  return {
    why: "",
    checked: answered.length,
    wrong: answered.filter((one) => isWrong(one, expected)).length,
  };
}

/** The cell's background is gone; the engine kills a worker that does not answer in time. */
export class WorkerLost extends Error {
  override name = "WorkerLost";
}

/** Renews the plan and collects what comes back. */
class Run {
  readonly engine: Engine;
  readonly results: Result[] = [];
  readonly slices: TraceSlice[] = [];
  /** Of each request that ran: from its launch until background was seen to have left. */
  readonly drains: { atNs: number; ns: number }[] = [];
  lost = 0;
  readonly #isVirtual: boolean;
  readonly #job: number | undefined;
  readonly #forget: boolean;
  #plan = 0;
  #renewedNs = -Infinity;
  #forgottenNs = -Infinity;
  #clocks = 0;
  #trace = 0;

  constructor(engine: Engine, clock: "real" | "virtual", job: number | undefined, forget: boolean) {
    this.engine = engine;
    this.#isVirtual = clock === "virtual";
    this.#job = job;
    this.#forget = forget;
  }

  /** Goes on to this time of the engine's clock. Throws if the engine has stopped. */
  until(endNs: number): void {
    const { engine } = this;
    const stepNs = this.#forget ? FORGET_EVERY_NS : 50e6;
    for (let { nowNs } = engine.snapshot(); nowNs < endNs;) {
      this.#steer(nowNs);
      if (this.#isVirtual) engine.advance(Math.min(endNs, nowNs + stepNs));
      else pause(Math.min(5, Math.max(0.1, (endNs - nowNs) / 1e6)));
      this.#collect();
      const snapshot = engine.snapshot();
      if (snapshot.state !== "ready") {
        throw new Error(`the engine stopped: ${engine.takeEvents().map(({ text }) => text).join("; ")}`);
      }
      nowNs = snapshot.nowNs;
    }
  }

  #steer(nowNs: number): void {
    if (nowNs >= this.#renewedNs + LEASE_NS / 4) {
      const entries = this.#job === undefined ? [] : [{ job: this.#job, weight: 1, maxUnits: 0 }];
      this.engine.setPlan({ id: ++this.#plan, leaseNs: LEASE_NS, entries });
      this.#renewedNs = nowNs;
    }
    if (this.#forget && nowNs >= this.#forgottenNs + FORGET_EVERY_NS) {
      this.engine.setClocks(++this.#clocks);
      this.#forgottenNs = nowNs;
    }
  }

  #collect(): void {
    for (let some = this.engine.takeResults(); some.length > 0; some = this.engine.takeResults()) {
      this.results.push(...some);
      this.engine.releaseResults(some.at(-1)!.position);
    }
    for (const { kind, a, text } of this.engine.takeEvents()) {
      if (kind === "worker" && a !== CONSTANTS.WORKER_JOINED) {
        throw new WorkerLost(`the process of the isolated background was lost: ${text || `reason ${a}`}`);
      }
    }
    for (let reading = true; reading;) {
      const { records, next, lost } = this.engine.takeTrace(this.#trace);
      this.lost += lost;
      this.#trace = next;
      for (const record of records) {
        if (record.kind === "slice") this.slices.push(record);
        else if (record.launchNs > 0) this.drains.push({ atNs: record.launchNs, ns: record.drainNs });
      }
      reading = records.length > 0;
    }
  }
}
