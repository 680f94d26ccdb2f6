/**
 * Requests that are late for a reason that is known, as the seed draws them: by the simulator through the real engine,
 * in virtual time.
 */
import { NativeEngine, openLibrary } from "../../../ffi/mod.ts";
import type {
  CriticalSpec,
  Engine,
  SimFaults,
  StepSpec,
  TraceRecord,
  TraceRequest,
} from "../../../ffi/mod.ts";
import { libraryFile } from "../../../agent/assets/library.ts";
import type { Surroundings } from "../../../agent/explain/explain.ts";

export const MS = 1_000_000;
const PTX = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry work(.param .u64 p) { ret; }\n";
const PERIOD_NS = 10 * MS;

export interface Scenario {
  seed: number;
  /** How long a unit of the background job runs. Default 8 ms. */
  unitNs?: number;
  /** ... and a block of it. */
  blockNs?: number;
  faults?: Partial<SimFaults>;
  /** Requests of a long task, at times that the seed draws. */
  long?: boolean;
  yield?: CriticalSpec["yield"];
  deadlineNs?: number;
  /** The engine is told of other clocks between these times. */
  slowClocks?: readonly [number, number];
  durationNs?: number;
  foreign?: readonly string[];
}

/** Runs it and gives what the trace keeps. `detector` is task 0, `survey` job 0; a long task is `mapper`. */
export function fly(scenario: Scenario): Surroundings {
  const { seed, faults = {}, slowClocks, durationNs = 1000 * MS, foreign = [] } = scenario;
  using library = openLibrary(libraryFile());
  using engine = NativeEngine.open(library, { backend: "sim", clock: "virtual", seed, simFaults: faults });
  load(engine, scenario, durationNs);
  engine.ready();
  engine.setPlan({ id: 1, leaseNs: 2 * durationNs, entries: [{ job: 0, weight: 1, maxUnits: 0 }] });
  for (const [key, atNs] of [[1, slowClocks?.[0]], [0, slowClocks?.[1]]] as const) {
    if (atNs === undefined) continue;
    engine.advance(atNs);
    engine.setClocks(key);
  }
  engine.advance(durationNs);
  return {
    records: traceOf(engine),
    tasks: [{ name: "detector", from: "arrival" }, { name: "mapper", from: "arrival" }],
    jobs: [{ name: "survey" }],
    foreign,
  };
}

function traceOf(engine: Engine): TraceRecord[] {
  const all: TraceRecord[] = [];
  for (let at = 0;;) {
    const { records, next } = engine.takeTrace(at);
    if (records.length === 0) return all;
    all.push(...records);
    at = next;
  }
}

function load(engine: Engine, scenario: Scenario, durationNs: number): void {
  const kernel = engine.kernel(engine.loadModule(PTX), "work");
  const step = (level: StepSpec["level"], estimateNs: number, blockEstimateNs: number): StepSpec => ({
    ...{ kernel, level, grid: [64, 1, 1], block: [128, 1, 1], sharedBytes: 0, workers: 0 },
    ...{ args: [], estimateNs, blockEstimateNs },
  });
  const common = {
    ...{ digest: new Uint8Array(32), inputs: [], outputs: [], inputBytes: 0, outputBytes: 0 },
    ...{ keepOutput: false, estimateNs: 0 },
  };
  const critical: Omit<CriticalSpec, "name" | "source" | "steps"> = {
    ...common,
    ...{ kind: "critical", deadlineNs: scenario.deadlineNs ?? 2.5 * MS, from: "arrival", queue: "latest" },
    ...{ queueDepth: 1, onMiss: "publish-late", maxBlockingNs: 0, yield: scenario.yield ?? "always" },
    anticipate: false,
  };
  engine.addWork({
    ...critical,
    name: "detector",
    steps: [step("whole", MS, 0)],
    source: { kind: "none", periodNs: PERIOD_NS, phaseNs: 2 * MS },
  });
  if (scenario.long === true) {
    const mapper = engine.addWork({
      ...critical,
      name: "mapper",
      steps: [step("whole", 6 * MS, 0)],
      deadlineNs: 100 * MS,
      source: { kind: "api" },
    });
    engine.replayArrivals(mapper, drawTimes(scenario.seed, durationNs));
  }
  engine.addWork({
    ...common,
    kind: "background",
    preemptionBoundNs: 0,
    name: "survey",
    steps: [step("block", scenario.unitNs ?? 8 * MS, scenario.blockNs ?? 20_000)],
    source: { kind: "none", periodNs: 0, phaseNs: 0 },
  });
}

/** About every 50 ms. */
function drawTimes(seed: number, durationNs: number): BigUint64Array {
  let state = (seed * 2654435761) >>> 0;
  const times: bigint[] = [];
  for (let atNs = 10 * MS; atNs < durationNs - 60 * MS;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    atNs += Math.round((30 + 40 * (state / 2 ** 32)) * MS);
    times.push(BigInt(atNs));
  }
  return BigUint64Array.from(times);
}

/** One that was on time, but for what is changed. */
export function request(change: Partial<TraceRequest> = {}): TraceRequest {
  return {
    ...{ kind: "request", task: 0, number: 0, outcome: "on-time", arrivalNs: 0, sensorNs: 0 },
    ...{ deadlineNs: 10 * MS, launchNs: 1 * MS, doneNs: 3 * MS, queuedNs: 0, deferredNs: 0 },
    ...{ drainNs: 0, drainJob: -1, usualNs: 2 * MS, clockKey: 0 },
    ...change,
  };
}
