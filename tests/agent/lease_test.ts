/**
 * Does background stop when the planner does, whatever stops the planner?
 *
 * The real library on the simulator, in real time, beside an agent thread that misbehaves for three leases. What is
 * judged are the engine's own times and counts, not when this thread got to see them.
 */
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { NO_CONDITIONS } from "../../agent/conditions.ts";
import { loadMission } from "../../agent/config.ts";
import { createCounters } from "../../agent/counters.ts";
import { SILENT } from "../../agent/log.ts";
import type { Planner } from "../../agent/planner.ts";
import { createPlanner } from "../../agent/planning.ts";
import { totalGpuNs } from "../../agent/policy_snapshot.ts";
import { prepareMission, readMissionFiles } from "../../agent/prepare.ts";
import {
  type Engine,
  type EngineSnapshot,
  libraryPath,
  NativeEngine,
  openLibrary,
  type Result,
} from "../../ffi/mod.ts";
import { weightedFair } from "../../policies/weighted_fair.ts";
import { assert, assertEquals } from "../assert.ts";
import { writeMission } from "./mission_fixture.ts";

const LEASE_NS = 60e6;
const TICK_NS = 15e6;
const PERIOD_NS = 10e6;

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}
const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";

interface Scene {
  engine: Engine;
  planner: Planner;
  /** Keeps what it sees. Returns the engine's time. */
  look(): number;
  /** What the planner's clock and policy are made to do. */
  fault: { throws: boolean; clockAheadNs: number };
  untilNs: number;
}

/** One turn of the event loop: a busy one, not a pause. */
const turn = () => new Promise<void>((done) => setTimeout(done, 0));

/** The engine as the planner sees it, with a clock that can be made to jump. */
function withClock(engine: Engine, fault: Scene["fault"]): Engine {
  return new Proxy(engine, {
    get(target, key) {
      if (key === "snapshot") {
        return () => {
          const snapshot = target.snapshot();
          return { ...snapshot, nowNs: Math.max(0, snapshot.nowNs + fault.clockAheadNs) };
        };
      }
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const backgroundNs = ({ jobs }: EngineSnapshot) => jobs.reduce((sum, job) => sum + totalGpuNs(job), 0);

function leaseTest(name: string, misbehave: (scene: Scene) => Promise<void> | void): void {
  Deno.test({
    name: `background stops at the end of its lease and critical work goes on: ${name}`,
    ignore,
    async fn() {
      await using mission = await writeMission();
      const text = await Deno.readTextFile(mission.file);
      await Deno.writeTextFile(
        mission.file,
        text.replace("deadline: 5ms", "deadline: 5ms\n    queue: fifo:16").replace("400ms", "60ms"),
      );
      using library = openLibrary(libraryPath());
      using engine = NativeEngine.open(library, { backend: "sim", clock: "real" });
      const fault = { throws: false, clockAheadNs: 0 };
      const read = await readMissionFiles(await loadMission(mission.file));
      const files = {
        ...read,
        policy: (snapshot: Parameters<typeof weightedFair>[0]) => {
          if (fault.throws) throw new Error("broken");
          return weightedFair(snapshot);
        },
      };
      const prepared = await prepareMission({
        files,
        engine,
        checkpoint: checkpointCompiler,
        counters: createCounters(),
        log: SILENT,
        output: false,
      });
      using planner = createPlanner({
        engine: withClock(engine, fault),
        prepared,
        conditions: NO_CONDITIONS,
        log: SILENT,
      });
      engine.ready();

      // Background is at work, under a plan that was just renewed.
      planner.tick();
      while (backgroundNs(engine.snapshot()) === 0) {
        planner.tick();
        await turn();
      }
      const before = renewed(planner, engine);

      const seen: EngineSnapshot[] = [];
      const untilNs = before.leaseEndNs + 3 * LEASE_NS;
      await misbehave({
        engine,
        planner,
        fault,
        untilNs,
        look: () => seen[seen.push(engine.snapshot()) - 1]!.nowNs,
      });

      const after = engine.snapshot();
      assertEquals(
        [after.planId, after.leaseExpired],
        [before.planId, 1],
        "one lease ended, no plan was set",
      );
      assert(after.holds.includes("lease"), after.holds.join());
      const ended = engine.takeEvents().findLast(({ kind }) => kind === "lease-expired");
      assert(
        ended !== undefined && ended.timeNs >= before.leaseEndNs,
        `${ended?.timeNs} ${before.leaseEndNs}`,
      );
      const unitNs = Math.max(...after.jobs.map((job) => job.unitNs));
      const quiet = [...seen, after].filter(({ nowNs }) => nowNs >= ended.timeNs + LEASE_NS + unitNs);
      assert(quiet.length >= 2, "it was looked at while it had to be quiet");
      assertEquals(new Set(quiet.map(backgroundNs)).size, 1, "background GPU time grew without a lease");

      checkResults(takeAll(engine), { endedNs: ended.timeNs, unitNs, untilNs: after.nowNs - 3 * PERIOD_NS });

      // The next plan brings background back.
      fault.throws = false;
      fault.clockAheadNs = 0;
      while (backgroundNs(engine.snapshot()) === backgroundNs(after)) {
        planner.tick();
        await turn();
      }
      assert(!engine.snapshot().holds.includes("lease"));
      await prepared.discard();
    },
  });
}

/** The state behind a plan whose lease has not ended yet, however slow this machine is. */
function renewed(planner: Planner, engine: Engine): EngineSnapshot {
  for (;;) {
    planner.tick();
    const snapshot = engine.snapshot();
    if (snapshot.leaseEndNs > 0) return snapshot;
  }
}

function takeAll(engine: Engine): Result[] {
  const all: Result[] = [];
  for (let some = engine.takeResults(); some.length > 0; some = engine.takeResults()) all.push(...some);
  return all;
}

function checkResults(
  results: readonly Result[],
  { endedNs, unitNs, untilNs }: { endedNs: number; unitNs: number; untilNs: number },
): void {
  const late = results.filter(({ kind, startNs }) => kind === "background" && startNs > endedNs);
  assertEquals(late.length, 0, "units began after the lease");
  const last = Math.max(...results.filter(({ kind }) => kind === "background").map(({ doneNs }) => doneNs));
  assert(last <= endedNs + unitNs + LEASE_NS, `a unit ended ${(last - endedNs) / 1e6} ms behind the lease`);
  const critical = results.filter(({ kind, arrivalNs }) =>
    kind === "critical" && arrivalNs > endedNs && arrivalNs < untilNs
  );
  assert(critical.length >= Math.floor((untilNs - endedNs) / PERIOD_NS) - 1, `${critical.length} requests`);
  for (const [index, { number, complete }] of critical.entries()) {
    assertEquals([number, complete], [critical[0]!.number + index, true]);
  }
}

leaseTest("the agent's thread is in a busy loop", ({ look, untilNs }) => {
  while (look() < untilNs);
});

leaseTest("the agent makes garbage, and collects it", ({ look, untilNs }) => {
  let kept: unknown[] = [];
  while (look() < untilNs) {
    for (let i = 0; i < 100; i++) kept.push(new Array(1000).fill({ i }));
    if (kept.length > 5000) kept = [];
  }
});

leaseTest("the policy throws at every look", async ({ planner, fault, look, untilNs }) => {
  fault.throws = true;
  for (let nextNs = 0, nowNs = look(); nowNs < untilNs; nowNs = look()) {
    if (nowNs >= nextNs) {
      planner.tick();
      nextNs = nowNs + TICK_NS;
    }
    await turn();
  }
  assert(planner.policyFaults >= 3);
});

leaseTest("its clock falls back by an hour, and it waits for its next look", async (scene) => {
  const { planner, fault, look, untilNs } = scene;
  let nextNs = look() + TICK_NS;
  fault.clockAheadNs = -3600e9;
  for (let nowNs = look(); nowNs < untilNs; nowNs = look()) {
    if (nowNs + fault.clockAheadNs >= nextNs) nextNs = planner.tick().nowNs + TICK_NS;
    await turn();
  }
});

Deno.test({
  name: "a planner whose clock runs an hour ahead gives no plan that lasts longer than its lease",
  ignore,
  async fn() {
    await using mission = await writeMission();
    using library = openLibrary(libraryPath());
    using engine = NativeEngine.open(library, { backend: "sim", clock: "virtual" });
    const files = await readMissionFiles(await loadMission(mission.file));
    const prepared = await prepareMission({
      files,
      engine,
      checkpoint: checkpointCompiler,
      counters: createCounters(),
      log: SILENT,
      output: false,
    });
    const fault = { throws: false, clockAheadNs: 3600e9 };
    const ahead = withClock(engine, fault);
    using planner = createPlanner({ engine: ahead, prepared, conditions: NO_CONDITIONS, log: SILENT });
    engine.ready();
    planner.tick();
    assertEquals(engine.snapshot().leaseEndNs, engine.snapshot().nowNs + files.mission.policy.leaseNs);
    await prepared.discard();
  },
});
