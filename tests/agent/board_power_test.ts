import {
  BoardPower,
  MAX_AGE_NS,
  PolledTelemetry,
  SAMPLE_NS,
  type SampleSource,
} from "../../agent/board_power.ts";
import { openBoard } from "../../agent/board_run.ts";
import { modelledBoard, SimulatedBoard } from "../../agent/board_simulated.ts";
import type { Conditions } from "../../agent/conditions.ts";
import { type Logger, SILENT } from "../../agent/log.ts";
import { Planner } from "../../agent/planner.ts";
import { emptySample, type TelemetrySample } from "../../jetson/telemetry.ts";
import type { PolicySnapshot } from "../../policies/policy.ts";
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../assert.ts";
import { FakeEngine, jobStats, plannedJob } from "./fake_engine.ts";

/** A planner whose board says what `sees` gives. */
function setUp(
  limits: { temperatureC?: number; powerW?: number } = {},
  known: Conditions = { phase: "unknown" },
) {
  const engine = new FakeEngine();
  engine.state.jobs = [jobStats({}), jobStats({})];
  const said: string[] = [];
  const keep = (message: string) => void said.push(message);
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep };
  const scene = {
    engine,
    said,
    closed: 0,
    sample: undefined as TelemetrySample | undefined,
    seen: undefined as PolicySnapshot | undefined,
    duty: undefined as number | undefined,
    /** One plan `seconds` later, with the sample `of` that time. */
    tick(seconds: number, of?: Partial<TelemetrySample>) {
      engine.state.nowNs += seconds * 1e9;
      if (of !== undefined) scene.sample = { ...emptySample(engine.state.nowNs), ...of };
      planner.tick();
      return engine.plans.at(-1)!;
    },
  };
  const source: SampleSource = { latest: () => scene.sample, close: () => scene.closed++ };
  const power = new BoardPower({ source, limits, jobs: 2, log });
  const planner = new Planner({
    engine,
    policy: (snapshot) => {
      scene.seen = snapshot;
      const entries = [{ job: 0, weight: 1, maxUnits: 0 }];
      return scene.duty === undefined ? { entries } : { entries, duty: scene.duty };
    },
    leaseNs: 500_000_000,
    tasks: [],
    jobs: [plannedJob(0, { name: "map" }), plannedJob(1, { name: "thumbs" })],
    log,
    conditions: { current: () => known },
    limits,
    power,
  });
  return Object.assign(scene, { planner });
}

function clockKeys({ calls }: FakeEngine): number[] {
  return calls.filter((call) => call.startsWith("setClocks ")).map((call) => Number(call.split(" ")[1]));
}

Deno.test("a cool board caps nothing, and the policy sees what the sensors say", () => {
  const scene = setUp();
  const plan = scene.tick(1, {
    temperaturesCelsius: { tj: 40 },
    tripPointsCelsius: { tj: 99 },
    powerWatts: 7,
  });
  assertEquals([plan.entries.length, plan.dutyPermille], [1, undefined]);
  assertEquals([scene.seen?.conditions.temperatureC, scene.seen?.conditions.powerW], [40, 7]);
  assertEquals(scene.said, []);
});

Deno.test("near the trip point every plan's duty shrinks, under any policy, and the log says why once", () => {
  const scene = setUp();
  let last = scene.tick(1, { temperaturesCelsius: { tj: 93 }, tripPointsCelsius: { tj: 99 } });
  for (let count = 0; count < 40; count++) {
    last = scene.tick(1, { temperaturesCelsius: { tj: 93 }, tripPointsCelsius: { tj: 99 } });
  }
  assertAlmostEquals(last.dutyPermille! / 1000, 0.5, 0.01);
  scene.duty = 0.2;
  assertEquals(
    scene.tick(1, { temperaturesCelsius: { tj: 93 }, tripPointsCelsius: { tj: 99 } }).dutyPermille,
    200,
  );
  assertEquals(scene.said, ["background is held back for the board: trip-point"]);
  for (let count = 0; count < 60; count++) {
    scene.tick(1, { temperaturesCelsius: { tj: 50 }, tripPointsCelsius: { tj: 99 } });
  }
  assertEquals(scene.said.slice(1), ["the board bears all of background again"]);
});

Deno.test("plans are made more often than samples are taken, and the log still says why, once", () => {
  const scene = setUp();
  const hot = { temperaturesCelsius: { tj: 93 }, tripPointsCelsius: { tj: 99 } };
  for (let count = 0; count < 20; count++) {
    scene.tick(0.5, hot);
    for (let again = 0; again < 3; again++) scene.tick(0.1);
  }
  assertEquals(scene.said, ["background is held back for the board: trip-point"]);
});

Deno.test("an over-current event empties the very next plan, and is said", () => {
  const scene = setUp();
  assertEquals(scene.tick(1, { overCurrentEvents: 15 }).entries.length, 1);
  assertEquals(scene.tick(0.5, { overCurrentEvents: 16 }).entries, []);
  assertEquals(scene.said, ["background stops: the board had an over-current event"]);
  assertEquals(scene.tick(9, { overCurrentEvents: 16 }).entries, []);
  assertEquals(scene.tick(2, { overCurrentEvents: 16 }).entries.length, 1);
});

Deno.test("a limit on what no sensor says keeps background off, and says which", () => {
  const scene = setUp({ powerW: 12 });
  assertEquals(scene.tick(1, { temperaturesCelsius: { tj: 40 } }).entries, []);
  assertStringIncludes(scene.said[0]!, "power is not known");
  assertEquals(scene.tick(1, { powerWatts: 6 }).entries.length, 1);
});

Deno.test("what the mission's own source of conditions says is not overruled by the sensors", () => {
  const scene = setUp({}, { phase: "cruising", temperatureC: 71, clockKey: 9 });
  scene.tick(1, { temperaturesCelsius: { tj: 40 }, powerWatts: 7, powerMode: "15W" });
  const { phase, temperatureC, powerW } = scene.seen!.conditions;
  assertEquals([phase, temperatureC, powerW], ["cruising", 71, 7]);
  assertEquals(clockKeys(scene.engine), [9]);
});

Deno.test("another power mode is another set of clocks, and the first is the one that everything was measured in", () => {
  const scene = setUp();
  for (const powerMode of ["15W", "15W", "MAXN", "7W", "15W", "MAXN"]) scene.tick(1, { powerMode });
  const [maxn, low, first, again] = clockKeys(scene.engine);
  assertEquals(clockKeys(scene.engine).length, 4);
  assert(first === 0 && maxn === again && maxn !== low && maxn !== 0 && low !== 0);
});

Deno.test("policies see the joules that a unit was measured to take", () => {
  const scene = setUp();
  let [mapNs, thumbsNs] = [0, 0];
  for (let step = 0; step < 200; step++) {
    const [map, thumbs] = [[0.6, 0.1], [0.1, 0.6], [0, 0], [0.3, 0.3]][step % 4] as [number, number];
    [mapNs, thumbsNs] = [mapNs + map * 1e9, thumbsNs + thumbs * 1e9];
    const gpu = (loop: number) => ({ whole: 0, slice: 0, block: 0, loop });
    scene.engine.state.jobs = [
      jobStats({ gpuNs: gpu(mapNs), unitNs: 2e6 }),
      jobStats({ gpuNs: gpu(thumbsNs), unitNs: 2e6 }),
    ];
    scene.tick(1, { powerWatts: 5 + 12 * map + 4 * thumbs });
  }
  const joules = scene.seen!.jobs.map(({ joulesPerUnit }) => joulesPerUnit);
  assertAlmostEquals(joules[0]!, 12 * 2e-3, 1e-3);
  assertAlmostEquals(joules[1]!, 4 * 2e-3, 1e-3);
});

Deno.test("the planner closes its board", () => {
  const scene = setUp();
  scene.planner.close();
  assertEquals(scene.closed, 1);
});

Deno.test("a board is sampled at its own pace, off the planner's way, and what is too old is not known", async () => {
  let release = () => {};
  const asked: number[] = [];
  let closed = 0;
  const polled = new PolledTelemetry({
    sample(nowNs) {
      asked.push(nowNs);
      if (asked.length < 3) return Promise.resolve({ ...emptySample(nowNs), powerWatts: asked.length });
      return new Promise((done) => release = () => done({ ...emptySample(nowNs), powerWatts: 99 }));
    },
    close: () => closed++,
  });
  await polled.begin(0);
  assertEquals(polled.latest({ nowNs: 1 })?.powerWatts, 1);
  assertEquals(asked.length, 1);
  assertEquals(polled.latest({ nowNs: SAMPLE_NS })?.powerWatts, 1, "the new one is not there yet");
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(polled.latest({ nowNs: SAMPLE_NS + 1 })?.powerWatts, 2);
  // From now on the sensors hang.
  assertEquals(polled.latest({ nowNs: 2 * SAMPLE_NS })?.powerWatts, 2);
  assertEquals(polled.latest({ nowNs: SAMPLE_NS + MAX_AGE_NS })?.powerWatts, 2);
  assertEquals(polled.latest({ nowNs: SAMPLE_NS + MAX_AGE_NS + 1 }), undefined);
  polled.close();
  release();
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(polled.latest({ nowNs: 2 * SAMPLE_NS }), { ...emptySample(SAMPLE_NS), powerWatts: 2 });
  assertEquals(closed, 1);
});

Deno.test("the modelled board warms with what the GPU did, and stands in for sensors only where limits need some", () => {
  const engine = new FakeEngine();
  engine.state.jobs = [jobStats({})];
  const board = new SimulatedBoard({ jobWatts: () => 12 });
  const cold = board.latest(engine.snapshot());
  for (let second = 1; second <= 600; second++) {
    engine.state.nowNs += 1e9;
    engine.state.backgroundBusyNs += 0.9e9;
    engine.state.jobs = [jobStats({ gpuNs: { whole: 0, slice: 0, block: 0.9e9 * second, loop: 0 } })];
    board.latest(engine.snapshot());
  }
  const warm = board.latest(engine.snapshot());
  assert(cold.temperaturesCelsius.tj === 25 && warm.temperaturesCelsius.tj! > 60, JSON.stringify(warm));
  assertAlmostEquals(warm.gpuLoad!, 0.9, 1e-6);
  assertEquals(warm.powerMode, "simulated");
  assertEquals(modelledBoard({ conditions: undefined, stopBackgroundAbove: {} }, SILENT), undefined);
  assertEquals(
    modelledBoard({ conditions: { file: "x", maxAgeNs: 1 }, stopBackgroundAbove: { powerW: 9 } }, SILENT),
    undefined,
  );
  assert(modelledBoard({ conditions: undefined, stopBackgroundAbove: { powerW: 9 } }, SILENT) !== undefined);
});

const BOARD = new URL("../fixtures/jetson/orin-nano-jp6/", import.meta.url).pathname;
const MISSION = { conditions: undefined, stopBackgroundAbove: { temperatureC: 80 } };

/** A copy of the fixture: clocks are written. */
async function boardFolder(): Promise<string> {
  const root = await Deno.makeTempDir();
  const folder = "/sys/class/devfreq/17000000.gpu";
  await Deno.mkdir(`${root}${folder}/device/of_node`, { recursive: true });
  for (const file of ["min_freq", "max_freq", "cur_freq", "device/of_node/name"]) {
    await Deno.copyFile(`${BOARD}${folder}/${file}`, `${root}${folder}/${file}`);
  }
  return root;
}

Deno.test("a run on a GPU begins with a sample, holds the clocks, and puts them back at its end", async () => {
  const root = await boardFolder();
  const minFreq = `${root}/sys/class/devfreq/17000000.gpu/min_freq`;
  try {
    const board = await openBoard({
      mission: MISSION,
      backend: "cuda",
      log: SILENT,
      nowNs: 5,
      root,
      holdsClocks: true,
    });
    assertEquals(await Deno.readTextFile(minFreq), "624750000");
    assertEquals(board.source?.latest(new FakeEngine().snapshot())?.clocksHz.gpu, 306e6);
    await board.close();
    assertEquals(await Deno.readTextFile(minFreq), "306000000");
    const left = await openBoard({
      mission: MISSION,
      backend: "cuda",
      log: SILENT,
      nowNs: 5,
      root,
      holdsClocks: false,
    });
    assertEquals(await Deno.readTextFile(minFreq), "306000000");
    await left.close();
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a run on the simulator reads no sensor and touches no clock, whatever machine it is on", async () => {
  const root = await boardFolder();
  try {
    const board = await openBoard({
      mission: MISSION,
      backend: "sim",
      log: SILENT,
      nowNs: 5,
      root,
      holdsClocks: true,
    });
    assert(board.source instanceof SimulatedBoard);
    assertEquals(await Deno.readTextFile(`${root}/sys/class/devfreq/17000000.gpu/min_freq`), "306000000\n");
    await board.close();
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
