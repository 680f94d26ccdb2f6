/** Does the real library do what ffi/engine.ts says? On the simulator, in virtual time. */
import { fromFileUrl } from "@std/path";
import { type CriticalSpec, EngineError, NativeEngine, openLibrary, probe } from "../../ffi/mod.ts";
import type { BackgroundSpec, Engine, OpenOptions, StepSpec } from "../../ffi/mod.ts";
import { assert, assertEquals, assertGreater, assertMatch, assertThrows } from "../assert.ts";

const PATH = Deno.env.get("CALYPTE_LIBRARY") ||
  fromFileUrl(new URL("../../build/libcalypte.so", import.meta.url));

/** Where the library is always built, its absence is a failure: openLibrary then says so. */
function ignored(): boolean {
  if (Deno.env.has("CI")) return false;
  try {
    Deno.statSync(PATH);
    return false;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log(`tests/ffi/engine_test.ts is ignored: there is no ${PATH}; run \`make build\``);
    return true;
  }
}
const ignore = ignored();

/** A test with a virtual engine of the real library. */
function test(name: string, body: (engine: NativeEngine) => void, options?: Partial<OpenOptions>): void {
  Deno.test({ name, ignore, fn: () => withEngine(body, options) });
}

function withEngine<T>(body: (engine: NativeEngine) => T, options?: Partial<OpenOptions>): T {
  using library = openLibrary(PATH);
  using engine = NativeEngine.open(library, { backend: "sim", clock: "virtual", seed: 7, ...options });
  return body(engine);
}

const MS = 1_000_000;
const PTX = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry work(.param .u64 p) { ret; }\n";
const FRAME_BYTES = 256;
const FRAMES = 3;

/** Loads a task that takes frames at 100 Hz, a task that is submitted to, and a job. Returns their ids. */
function load(engine: Engine): { detector: number; api: number; map: number } {
  const kernel = engine.kernel(engine.loadModule(PTX), "work");
  const input = engine.createBuffer(FRAME_BYTES);
  const output = engine.createBuffer(64);
  const frames = engine.addFrames(new Uint8Array(FRAME_BYTES * FRAMES), FRAME_BYTES, FRAMES);
  const step = (level: StepSpec["level"], estimateNs: number): StepSpec => ({
    kernel,
    level,
    grid: [64, 1, 1],
    block: [128, 1, 1],
    sharedBytes: 0,
    workers: 0,
    args: [{ kind: "buffer", buffer: input, offset: 0 }, {
      kind: "scalar",
      bytes: Uint8Array.of(1, 0, 0, 0),
    }],
    estimateNs,
    blockEstimateNs: 20_000,
  });
  const common = {
    digest: new Uint8Array(32).fill(7),
    inputs: [{ buffer: input, offset: 0, sizeBytes: FRAME_BYTES }],
    outputs: [{ buffer: output, offset: 0, sizeBytes: 64 }],
    inputBytes: FRAME_BYTES,
    outputBytes: 64,
    keepOutput: true,
    estimateNs: 0,
  };
  const critical: Omit<CriticalSpec, "name" | "source"> = {
    ...common,
    kind: "critical",
    steps: [step("whole", MS)],
    deadlineNs: 5 * MS,
    from: "arrival",
    queue: "latest",
    queueDepth: 1,
    onMiss: "publish-late",
    maxBlockingNs: 0,
    yield: "always",
    anticipate: false,
  };
  const background: BackgroundSpec = {
    ...common,
    kind: "background",
    preemptionBoundNs: 0,
    name: "map",
    steps: [step("block", MS), step("block", 2 * MS)],
    source: { kind: "frames", frames, periodNs: 0, phaseNs: 0 },
  };
  return {
    detector: engine.addWork({
      ...critical,
      name: "detector",
      source: { kind: "frames", frames, periodNs: 10 * MS, phaseNs: 2 * MS },
    }),
    api: engine.addWork({ ...critical, name: "api", source: { kind: "api" } }),
    map: engine.addWork(background),
  };
}

function run(engine: NativeEngine, untilNs: number) {
  const ids = load(engine);
  engine.ready();
  engine.setPlan({ id: 1, leaseNs: 10_000 * MS, entries: [{ job: ids.map, weight: 1, maxUnits: 0 }] });
  engine.advance(untilNs);
  return { ids, results: engine.takeResults(), events: engine.takeEvents(), snapshot: engine.snapshot() };
}

test("the library tells its version, and probes the simulator", () => {
  using library = openLibrary(PATH);
  assertMatch(library.version(), /^\d+\.\d+\.\d+ \(/);
  assertEquals(probe(library, "sim").backend, "sim");
  assertGreater(library.nowNs(), 0);
});

test("a simulated second runs every request in time, and fills the rest with units", (engine) => {
  const { ids, results, snapshot } = run(engine, 1000 * MS);
  assertEquals([snapshot.nowNs, snapshot.state, snapshot.holds], [1000 * MS, "ready", []]);
  const task = snapshot.tasks[ids.detector];
  assertEquals([task?.requests, task?.onTime, task?.late, task?.dropped], [100, 100, 0, 0]);
  assertEquals(task?.response.count, 100);
  const requests = results.filter((r) => r.kind === "critical");
  assertEquals(requests.map((r) => [r.number, r.frameSeq, r.frameIndex, r.arrivalNs]), [
    ...Array.from({ length: 100 }, (_, i) => [i, i, i % FRAMES, 2 * MS + i * 10 * MS]),
  ]);
  assert(
    requests.every((r) => r.simulated && !r.late && !r.dropped && r.payload.length === 0 && r.digest === 0n),
  );
  assert(requests.every((r) => r.doneNs > r.arrivalNs && r.deadlineNs === r.arrivalNs + 5 * MS));
  const units = results.filter((r) => r.kind === "background");
  assertGreater(units.length, 100);
  assertEquals(snapshot.jobs[ids.map]?.units, units.length);
  assertGreater(snapshot.jobs[ids.map]?.gpuNs.block ?? 0, 500 * MS);
});

Deno.test({
  name: "the same seed gives the same results, events and snapshot",
  ignore,
  fn: () => {
    const [a, b] = [1, 2].map(() => withEngine((engine) => run(engine, 300 * MS)));
    assertEquals(a, b);
  },
});

test("readiness and the end of a lease are events, and the hold says why", (engine) => {
  const { map } = load(engine);
  engine.ready();
  assertEquals(engine.snapshot().holds, ["no-plan"]);
  engine.setPlan({ id: 5, leaseNs: 20 * MS, entries: [{ job: map, weight: 1, maxUnits: 0 }] });
  engine.advance(10 * MS);
  assertEquals([engine.snapshot().holds, engine.snapshot().leaseEndNs], [[], 20 * MS]);
  engine.advance(50 * MS);
  const { holds, leaseExpired } = engine.snapshot();
  assertEquals([holds, leaseExpired], [["lease"], 1]);
  const events = engine.takeEvents();
  assertEquals(events.map((e) => e.sequence), events.map((_, i) => i + 1));
  assert(events.some((e) => e.kind === "ready" && e.source === undefined));
  assertEquals(events.find((e) => e.kind === "lease-expired")?.a, 5);
});

test("the caller's hold stops background until it is cleared", (engine) => {
  const { ids } = run(engine, 20 * MS);
  engine.hold("caller", true);
  engine.advance(40 * MS);
  const held = engine.snapshot();
  assertEquals(held.holds, ["caller"]);
  engine.advance(80 * MS);
  assertEquals(engine.snapshot().jobs[ids.map]?.units, held.jobs[ids.map]?.units);
  engine.hold("caller", false);
  engine.advance(120 * MS);
  assertGreater(engine.snapshot().jobs[ids.map]?.units ?? 0, held.jobs[ids.map]?.units ?? 0);
});

test("a rule of safe mode holds background after a miss, and the operator's word stands beside it", (engine) => {
  const { api, map } = load(engine);
  engine.setSafeMode({ misses: 1, staleLeases: 0, windowNs: 1000 * MS, clearAfterNs: 50 * MS });
  engine.ready();
  engine.setPlan({ id: 1, leaseNs: 10_000 * MS, entries: [{ job: map, weight: 1, maxUnits: 0 }] });
  engine.advance(5 * MS);
  // More than its queue takes: one is dropped.
  for (let i = 0; i < 6; i++) engine.submit("critical", api, new Uint8Array(FRAME_BYTES), 1);
  const { holds, safeModeReasons, safeModeSinceNs, safeModeUntilNs } = engine.snapshot();
  assertEquals([holds, safeModeReasons, safeModeSinceNs], [["safe-mode"], ["misses"], 5 * MS]);
  assertGreater(safeModeUntilNs, 50 * MS);
  engine.hold("safe-mode", true);
  engine.advance(500 * MS);
  assertEquals(engine.snapshot().safeModeReasons, ["caller"]);
  engine.hold("safe-mode", false);
  assertEquals([engine.snapshot().holds, engine.snapshot().safeMode], [[], 1]);
  const bits = engine.takeEvents().filter(({ kind }) => kind === "safe-mode").map(({ a }) => a);
  assertEquals(bits, [1, 3, 2, 0]);
});

test("what one engine learned is given to the next, and refused once it was changed", (engine) => {
  const { snapshot } = run(engine, 1000 * MS);
  const bytes = engine.takeLearned();
  withEngine((next) => {
    load(next);
    const spoilt = bytes.slice();
    spoilt[100]! ^= 1;
    assertEquals(assertThrows(() => next.giveLearned(spoilt), EngineError, "the checksum is wrong").code, -1);
    assertGreater(next.giveLearned(bytes), 0);
    next.ready();
    assertEquals(next.snapshot().tasks[0]?.executionP99Ns, snapshot.tasks[0]?.executionP99Ns);
    assertGreater(next.snapshot().tasks[0]?.executionP99Ns ?? 0, 0);
  });
});

test("requests are submitted with their sensor's time, and come back with it", (engine) => {
  const { api } = load(engine);
  engine.ready();
  engine.advance(4 * MS);
  const numbers = [1, 2].map((sensorNs) => {
    const number = engine.submit("critical", api, new Uint8Array(FRAME_BYTES), sensorNs);
    engine.advance(engine.snapshot().nowNs + 3 * MS);
    return number;
  });
  assertEquals(numbers, [0, 1]);
  const results = engine.takeResults().filter((r) => r.kind === "critical" && r.work === api);
  assertEquals(results.map((r) => [r.number, r.sensorNs]), [[0, 1], [1, 2]]);
});

test("runOnce gives zero output on the simulator, before ready only", (engine) => {
  const { detector } = load(engine);
  const input = new Uint8Array(FRAME_BYTES);
  assertEquals(engine.runOnce("critical", detector, input), { output: new Uint8Array(64), durationNs: 0 });
  assertThrows(() => engine.runOnce("critical", detector, new Uint8Array(3)), EngineError, "run_once");
  engine.ready();
  const error = assertThrows(() => engine.runOnce("critical", detector, input), EngineError);
  assertEquals(error.codeName, "E_STATE");
});

test("what the library refuses names the code", (engine) => {
  const codeOf = (call: () => unknown) => assertThrows(call, EngineError).codeName;
  const module = engine.loadModule(PTX);
  assertEquals(codeOf(() => engine.loadModule("hello")), "E_MODULE");
  assertEquals(codeOf(() => engine.kernel(module, "none")), "E_NOT_FOUND");
  assertEquals(codeOf(() => engine.createBuffer(0)), "E_INVALID");
  assertEquals(codeOf(() => engine.readBuffer(99, 0, 1)), "E_NOT_FOUND");
  assertEquals(codeOf(() => engine.setPlan({ id: 1, leaseNs: 1, entries: [] })), "E_STATE");
  assertEquals(codeOf(() => engine.advance(1)), "E_STATE");
  engine.ready();
  assertEquals(codeOf(() => engine.createBuffer(1)), "E_STATE");
});

test("every method of a closed engine throws E_CLOSED, and closing twice is fine", (engine) => {
  engine.close();
  engine.close();
  const bytes = new Uint8Array(1);
  const calls: Record<Exclude<keyof Engine, "backend" | "close" | "leave" | "ends" | symbol>, () => unknown> =
    {
      device: () => engine.device(),
      features: () => engine.features(),
      loadModule: () => engine.loadModule(PTX),
      kernel: () => engine.kernel(0, "work"),
      kernelInfo: () => engine.kernelInfo(0, 1, 0),
      createBuffer: () => engine.createBuffer(1),
      writeBuffer: () => engine.writeBuffer(0, 0, bytes),
      readBuffer: () => engine.readBuffer(0, 0, 1),
      plugin: () =>
        engine.plugin({
          kind: "background",
          path: "/p.so",
          config: "{}",
          capture: "auto",
          mostSteps: 1,
          buffers: [],
        }),
      pluginInfo: () => engine.pluginInfo(0),
      pluginStep: () => engine.pluginStep(0, 0),
      addFrames: () => engine.addFrames(bytes, 1, 1),
      socket: () => engine.socket("s"),
      ringInput: () => engine.ringInput("r"),
      external: () => engine.external("e"),
      ringOutput: () => engine.ringOutput({ path: "r", slots: 2, slotBytes: 64, expiryNs: 10 * MS }),
      addWork: () => load(engine),
      runOnce: () => engine.runOnce("critical", 0, bytes),
      checkSurplus: () => engine.checkSurplus(0, bytes, 1),
      jobStep: () => engine.jobStep(0, 0),
      warmUp: () => engine.warmUp(),
      timing: () => engine.timing(0),
      setClocks: () => engine.setClocks(1),
      ready: () => engine.ready(),
      isolatedOf: () => engine.isolatedOf(),
      addIsolated: () => engine.addIsolated(new Uint8Array(4096), "p"),
      admit: () => engine.admit(0, 1),
      join: () => engine.join("p"),
      setPlan: () => engine.setPlan({ id: 1, leaseNs: 1, entries: [] }),
      hold: () => engine.hold("caller", true),
      setSafeMode: () => engine.setSafeMode(undefined),
      takeLearned: () => engine.takeLearned(),
      giveLearned: () => engine.giveLearned(bytes),
      submit: () => engine.submit("critical", 0, bytes, 0),
      takeResults: () => engine.takeResults(),
      releaseResults: () => engine.releaseResults(1),
      retakeResults: () => engine.retakeResults(),
      dropResults: () => engine.dropResults(),
      takeEvents: () => engine.takeEvents(),
      takeTrace: () => engine.takeTrace(0),
      snapshot: () => engine.snapshot(),
      advance: () => engine.advance(1),
      replayDurations: () => engine.replayDurations("critical", 0, new BigUint64Array(1)),
      replayArrivals: () => engine.replayArrivals(0, new BigUint64Array(1)),
    };
  for (const [name, call] of Object.entries(calls)) {
    assertEquals([name, assertThrows(call, EngineError, "the engine is closed").code], [name, -2]);
  }
});

test("sockets and rings are refused in virtual time, with the reason", (engine) => {
  const ring = { path: "/dev/shm/calypte-none", slots: 2, slotBytes: 64, expiryNs: 10 * MS };
  for (
    const call of [
      () => engine.socket("s"),
      () => engine.ringInput("r"),
      () => engine.external("e"),
      () => engine.ringOutput(ring),
    ]
  ) {
    assertEquals(assertThrows(call, EngineError, "this engine's clock is virtual").code, -3);
  }
});

test("an engine that the library closed itself is E_CLOSED too", () => {
  using library = openLibrary(PATH);
  const code = library.symbols.calypte_sim_advance(12345, 0n);
  assertEquals(code, -2);
});

Deno.test({
  name: "an engine on the real clock stops its threads when the library is closed",
  ignore,
  fn: () => {
    const library = openLibrary(PATH);
    const engine = NativeEngine.open(library, { backend: "sim", clock: "real" });
    load(engine);
    engine.ready();
    assertEquals(engine.snapshot().state, "ready");
    library.close();
    assertEquals(assertThrows(() => engine.snapshot(), EngineError).code, -2);
  },
});
