/** Is a mission that cannot keep its deadlines refused before it leaves a trace, by what the engine measured? */
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { type Logger, SILENT } from "../../agent/log.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { simulate } from "../../agent/simulation.ts";
import { supervise } from "../../agent/supervisor.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "../assert.ts";
import { calypte, ignore } from "./bad_input_scene.ts";
import { FakeEngine } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

/** The detector has 5 ms every 10 ms. */
const SLOW = { runs: 20, bestNs: 1e6, p50Ns: 1e6, worstNs: 4e6 };
const FAST = { ...SLOW, worstNs: 2e6 };
const STEP = {
  workers: 4,
  periodSlots: 0,
  runBlocks: 1,
  blockNs: 0,
  loopNs: 0,
  blockDrainNs: 0,
  loopDrainNs: 0,
};

async function start(engine: FakeEngine, change: (mission: string) => string = (text) => text) {
  const fixture = await writeMission();
  Deno.writeTextFileSync(fixture.file, change(Deno.readTextFileSync(fixture.file)));
  const files = await readMissionFiles(await loadMission(fixture.file));
  const warnings: string[] = [];
  const admitted: string[] = [];
  const log: Logger = { ...SILENT, warn: (text) => warnings.push(text) };
  const run = () =>
    supervise({
      engine,
      checkpoint: checkpointCompiler,
      files,
      log,
      version: "0",
      seed: 1,
      timers: { every: () => () => {}, pause: (ms) => ms < 1000 ? Promise.resolve() : new Promise(() => {}) },
      stop: Promise.resolve("enough"),
      onAdmitted: (lines) => admitted.push(...lines),
    });
  return { fixture, files, run, warnings, admitted };
}

const overcommitted = (text: string) => `overcommit: true\n${text}`;

Deno.test("a deadline that is missed by what was measured is refused with the arithmetic, and nothing is left", async () => {
  const engine = new FakeEngine();
  engine.timings.push(SLOW);
  const { fixture, run } = await start(engine);
  await using _ = fixture;
  const { message } = await assertRejects(run, InputError);
  const [head, detector, total, ...rest] = message.split("\n");
  assertEquals(rest, []);
  assertMatch(head!, /mission.yaml: critical: must all meet their deadlines, and detector cannot; /);
  assertMatch(head!, /deadlines that would be met: 5.08 ms for detector; or set `overcommit: true`/);
  assertMatch(
    detector!,
    /critical.detector: worst case 5.08 ms of 5 ms, 80 us too late = execution 5 ms \(1.25 x 4 ms, the worst of 20 runs\)/,
  );
  assertStringIncludes(total!, "critical work takes up to 50.8 % of all time");
  assertEquals(engine.calls.filter((call) => call === "ready" || call === "setPlan"), []);
  assertEquals(engine.closed, true);
  assertEquals([...Deno.readDirSync(fixture.dir)].some(({ name }) => name === "out"), false);
});

Deno.test("the same mission with overcommit starts, and warns with the same arithmetic", async () => {
  const engine = new FakeEngine();
  engine.timings.push(SLOW);
  const { fixture, run, warnings, admitted } = await start(engine, overcommitted);
  await using _ = fixture;
  await run();
  assert(engine.calls.includes("ready"));
  assertEquals(admitted, []);
  assertMatch(
    warnings[0]!,
    /^overcommit: critical tasks must all meet their deadlines, and detector cannot; /,
  );
  assertMatch(warnings[1]!, /^detector: worst case 5.08 ms of 5 ms, 80 us too late = /);
  assertEquals(warnings.length, 3);
});

Deno.test("a mission that is admitted says so of each task, with what background was seen to take", async () => {
  const engine = new FakeEngine();
  engine.timings.push(FAST);
  const { fixture, run, warnings, admitted } = await start(engine);
  await using _ = fixture;
  // The second job leaves at its loop, where the other level does not matter.
  engine.stepInfos.set("0 0", { ...STEP, level: "block", blockDrainNs: 40_000, loopDrainNs: 90_000 });
  engine.stepInfos.set("1 0", { ...STEP, level: "loop", blockDrainNs: 900_000, loopDrainNs: 16_000 });
  for (const job of [0, 1]) {
    for (const step of [1, 2]) {
      engine.stepInfos.set(`${job} ${step}`, { ...STEP, level: "block", blockDrainNs: 1 });
    }
  }
  await run();
  assertEquals(warnings, []);
  assertEquals(admitted, [
    "detector: worst case 2.6 ms of 5 ms = execution 2.5 ms (1.25 x 2 ms, the worst of 20 runs) + host 50 us + " +
    "background leaves 50 us (1.25 x 40 us, the longest seen, of map)",
  ]);
});

Deno.test("a kernel that cannot be interrupted counts for as long as the task allows it to", async () => {
  for (const [level, refused] of [["block", false], ["whole", true]] as const) {
    const engine = new FakeEngine();
    engine.timings.push(FAST);
    const { fixture, run } = await start(
      engine,
      (text) => text.replace("deadline: 5ms", "deadline: 5ms\n    maxBlocking: 3ms"),
    );
    await using _ = fixture;
    for (const job of [0, 1]) {
      for (const step of [0, 1, 2]) engine.stepInfos.set(`${job} ${step}`, { ...STEP, level: "block" });
    }
    engine.stepInfos.set("0 1", { ...STEP, level });
    if (!refused) await run();
    else assertStringIncludes((await assertRejects(run, InputError)).message, "blocked 3 ms (a kernel that");
  }
});

Deno.test("a simulation is refused likewise, and writes nothing", async () => {
  const engine = new FakeEngine();
  engine.timings.push(SLOW);
  const { fixture, files } = await start(engine);
  await using _ = fixture;
  const common = {
    engine,
    checkpoint: checkpointCompiler,
    files,
    log: SILENT,
    seed: 1,
    durationNs: 1e9,
    output: true,
  };
  await assertRejects(() => simulate(common), InputError, "detector cannot");
  assertEquals(engine.closed, true);
  assertEquals([...Deno.readDirSync(fixture.dir)].some(({ name }) => name === "out"), false);
});

Deno.test({
  name: "on the simulator: exit 2 with the arithmetic, or misses that were accepted",
  ignore,
  fn: async () => {
    await using fixture = await writeMission({ estimateUs: 6000 });
    const args = [fixture.file, "--for", "1s", "--json"];
    const refused = await calypte(["simulate", ...args]);
    assertEquals([refused.code, refused.out], [2, ""]);
    assertMatch(refused.err, /critical.detector: worst case 7.58 ms of 5 ms, 2.58 ms too late/);
    Deno.writeTextFileSync(fixture.file, overcommitted(Deno.readTextFileSync(fixture.file)));
    const accepted = await calypte(["simulate", ...args]);
    assertEquals(accepted.code, 0, accepted.err);
    assertStringIncludes(accepted.err, "overcommit");
    assert(JSON.parse(accepted.out).critical.detector.misses > 50, accepted.out);
  },
});
