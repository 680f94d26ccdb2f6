/**
 * An engine on whatever CUDA driver LD_LIBRARY_PATH names: a critical task closes the gate on a background job again and
 * again, and every output is compared. Prints what it saw as JSON. In a process of its own, since a driver is loaded once.
 *
 *   deno run -A tests/cuda_on_cpu/scenario.ts '{"units": 5, "leaves": 50}'
 */
import { loadBundle } from "../../agent/bundle.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { Loader, type WorkSettings } from "../../agent/load.ts";
import { type Feature, NativeEngine, openLibrary, type OpenOptions } from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { pause } from "../../bench/faults/scene.ts";
import { CRITICAL_WORDS, mixed, scaled, writeBackgroundBundle, writeCriticalBundle } from "./bundles.ts";

export interface Wanted {
  units: number;
  leaves: number;
  requests: number;
  limitMs: number;
  reserveSms: number;
  prefer: "measured" | "block" | "loop";
}

export interface Seen {
  features: Record<string, boolean>;
  levels: string[];
  events: string[];
  units: number;
  unitsWrong: number;
  requests: number;
  requestsWrong: number;
  leaves: number;
  preemptions: number;
  ended: string;
}

const WANTED: Wanted = {
  ...{ units: 10, leaves: 20, requests: 20, limitMs: 60_000, reserveSms: 0, prefer: "measured" },
};
const LEASE_NS = 2e9;
/** Between two requests. */
const OPEN_MS = 8;

function inputOf(request: number): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: CRITICAL_WORDS }, (_, i) => request * 7919 + i).buffer);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

async function run(wanted: Wanted): Promise<Seen> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-scenario-" });
  const options: OpenOptions = { backend: "cuda", reserveSms: wanted.reserveSms };
  using engine = NativeEngine.open(openLibrary(libraryPath()), options);
  try {
    await writeCriticalBundle(`${dir}/critical`);
    await writeBackgroundBundle(`${dir}/background`);
    const loader = new Loader({
      ...{ engine, checkpoint: checkpointCompiler, preemptionBoundNs: 50_000, prefer: wanted.prefer },
    });
    const critical: WorkSettings = {
      ...{ kind: "critical", name: "scale", source: { kind: "api" }, keepOutput: true, deadlineNs: 5e9 },
      ...{ from: "arrival", queue: "fifo", queueDepth: 4, onMiss: "publish-late", maxBlockingNs: 5e9 },
      ...{ yield: wanted.reserveSms > 0 ? "reserved" : "always", anticipate: false },
    };
    const task = loader.add(critical, await loadBundle(`${dir}/critical`), undefined);
    const background: WorkSettings = {
      ...{ kind: "background", name: "mix", source: { kind: "none" }, keepOutput: true },
    };
    const job = loader.add(background, await loadBundle(`${dir}/background`), undefined);
    engine.ready();
    const seen = await drive(engine, task.id, job.id, wanted);
    const launches = job.steps.map(({ launches }) => launches).reduce((sum, count) => sum + count, 0);
    seen.levels = Array.from({ length: launches }, (_, step) => engine.jobStep(job.id, step).level);
    return seen;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function drive(engine: NativeEngine, task: number, job: number, wanted: Wanted): Promise<Seen> {
  const seen: Seen = {
    features: Object.fromEntries(engine.features().map(({ name, on }: Feature) => [name, on])),
    levels: [],
    events: [],
    ...{ units: 0, unitsWrong: 0, requests: 0, requestsWrong: 0, leaves: 0, preemptions: 0, ended: "limit" },
  };
  const unit = mixed();
  const endMs = performance.now() + wanted.limitMs;
  let planId = 0, submitted = 0, plannedMs = -Infinity, answeredMs = -Infinity;
  while (performance.now() < endMs) {
    if (performance.now() > plannedMs + 200) {
      plannedMs = performance.now();
      engine.setPlan({ id: ++planId, leaseNs: LEASE_NS, entries: [{ job, weight: 1, maxUnits: 0 }] });
    }
    // Now and then the gate stays open.
    if (submitted === seen.requests && performance.now() > answeredMs + OPEN_MS) {
      if (engine.submit("critical", task, inputOf(submitted), 0) !== undefined) submitted += 1;
    }
    for (const result of engine.takeResults()) {
      if (result.kind === "background") {
        seen.units += 1;
        if (!same(result.payload, unit)) seen.unitsWrong += 1;
      } else {
        if (!same(result.payload, scaled(inputOf(result.number)))) seen.requestsWrong += 1;
        seen.requests += 1;
        answeredMs = performance.now();
      }
      engine.releaseResults(result.position);
    }
    const snapshot = engine.snapshot();
    if (snapshot.state !== "ready") {
      seen.ended = JSON.stringify(
        engine.takeEvents(),
        (_, value) => typeof value === "bigint" ? `${value}` : value,
      );
      return seen;
    }
    const { leaves, preemptions } = snapshot.jobs[job]!;
    Object.assign(seen, { leaves, preemptions });
    if (seen.units >= wanted.units && leaves >= wanted.leaves && seen.requests >= wanted.requests) {
      seen.ended = "enough";
      break;
    }
    await pause(3);
  }
  seen.events = engine.takeEvents().map(({ text }) => text);
  return seen;
}

if (import.meta.main) {
  console.log(JSON.stringify(await run({ ...WANTED, ...JSON.parse(Deno.args[0] ?? "{}") })));
}
