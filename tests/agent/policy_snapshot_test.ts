/** What a policy gets to see, and what the planner makes of its answers beyond the plain plan. */
import type { Conditions } from "../../agent/conditions.ts";
import { SILENT } from "../../agent/log.ts";
import { Planner, type PlannerOptions } from "../../agent/planner.ts";
import type { PlannedJob } from "../../agent/policy_snapshot.ts";
import type { PolicyPlan, PolicySnapshot } from "../../policies/policy.ts";
import { POLICIES, POLICY_NAMES } from "../../policies/registry.ts";
import { assertAlmostEquals, assertEquals } from "../assert.ts";
import { FakeEngine, jobStats, plannedJob, taskStats } from "./fake_engine.ts";

function setUp(jobs: Partial<PlannedJob>[], change: Partial<PlannerOptions> = {}) {
  const engine = new FakeEngine();
  const seen: PolicySnapshot[] = [];
  let conditions: Conditions = { phase: "unknown" };
  engine.state.tasks = [taskStats()];
  engine.state.jobs = jobs.map(() => jobStats());
  const planner = new Planner({
    engine,
    policy: (snapshot) => {
      seen.push(snapshot);
      return { entries: snapshot.jobs.map(({ id }) => ({ job: id, weight: 1, maxUnits: 0 })) };
    },
    leaseNs: 5e8,
    tasks: [{ name: "detector", deadlineNs: 5e6 }],
    jobs: jobs.map((job, id) => plannedJob(id, job)),
    log: SILENT,
    conditions: { current: () => conditions },
    ...change,
  });
  return {
    engine,
    seen,
    tick(nowNs: number, now: Conditions = conditions) {
      conditions = now;
      engine.state.nowNs = nowNs;
      planner.tick();
      return seen.at(-1)!;
    },
    /** Jobs of the last plan. */
    get running() {
      return engine.plans.at(-1)!.entries.map(({ job }) => job);
    },
  };
}

Deno.test("a soft deadline counts from the unit before, or from when there was something to do", () => {
  const { engine, tick } = setUp([
    { deadlineNs: 2e9, endless: true },
    { deadlineNs: 1e9, endless: false },
    {},
  ]);
  const due = (nowNs: number) => tick(nowNs).jobs.map(({ dueNs }) => dueNs);
  assertEquals(due(1e9), [3e9, 0, 0]);
  assertEquals(due(2e9), [3e9, 0, 0]);
  engine.state.jobs[0]!.units = 1;
  engine.state.jobs[1]!.readyUnits = 1;
  assertEquals(due(2.5e9), [4.5e9, 3.5e9, 0]);
  assertEquals(due(4e9), [4.5e9, 3.5e9, 0]);
  engine.state.jobs[1]!.readyUnits = 0;
  assertEquals(due(5e9), [4.5e9, 0, 0]);
});

Deno.test("progress, idle share and the energy of a unit come from what the engine measured", () => {
  const { engine, tick } = setUp([{ steps: 4 }]);
  const cruising: Conditions = { phase: "cruising", powerW: 20 };
  assertEquals([tick(0, cruising).idleShare, tick(0, cruising).jobs[0]?.joulesPerUnit], [1, 0]);
  engine.state.jobs[0] = jobStats({ step: 3, unitNs: 5e6, drainP99Ns: 9000, readyUnits: 2 });
  engine.state.criticalBusyNs = 0.25e9;
  engine.state.windowEndNs = 77;
  const { idleShare, windowEndNs, jobs: [job] } = tick(1e9);
  assertEquals([idleShare, windowEndNs], [0.75, 77]);
  assertEquals([job?.unitProgress, job?.drainP99Ns, job?.readyUnits], [0.75, 9000, 2]);
  assertAlmostEquals(job!.joulesPerUnit, 0.1, 1e-9);
});

for (const name of [...POLICY_NAMES, "the test's own"] as const) {
  Deno.test(`${name}: a job runs only in its phases, and not while the phase is unknown`, () => {
    const policy = name === "the test's own" ? {} : { policy: POLICIES[name] };
    const scene = setUp([{ when: ["cruising"] }, { when: ["landing", "disarmed"] }], policy);
    const running = (["unknown", "cruising", "landing", "emergency"] as const).map((phase, index) => {
      scene.tick(index * 1e9, { phase });
      return scene.running;
    });
    assertEquals(running, [[], [0], [1], []]);
  });
}

Deno.test("a job without phases runs in all of them, the unknown one too", () => {
  const scene = setUp([{}]);
  scene.tick(1, { phase: "unknown" });
  assertEquals(scene.running, [0]);
});

Deno.test("beyond a limit the plan is empty whatever the policy says, and the lease goes on", () => {
  const scene = setUp([{}], { limits: { temperatureC: 85 } });
  const hot: Conditions = { phase: "cruising", temperatureC: 86 };
  scene.tick(1, { ...hot, temperatureC: 70 });
  assertEquals(scene.running, [0]);
  scene.tick(2, hot);
  assertEquals(scene.running, []);
  assertEquals(scene.engine.plans.at(-1)?.leaseNs, 5e8);
  scene.tick(3, { ...hot, temperatureC: 84 });
  assertEquals(scene.running, []);
  scene.tick(4, { ...hot, temperatureC: 80 });
  assertEquals(scene.running, [0]);
  assertEquals(scene.seen[0]?.conditions, {
    phase: "cruising",
    temperatureC: 70,
    limits: { temperatureC: 85 },
  });
});

Deno.test("other clocks reach the engine once for each change", () => {
  const { engine, tick } = setUp([{}]);
  for (const [at, clockKey] of [[1, 0], [2, 5], [3, 5], [4, 0]] as const) {
    tick(at, { phase: "cruising", clockKey });
  }
  tick(5, { phase: "unknown" });
  assertEquals(engine.calls.filter((call) => call.startsWith("setClocks")), ["setClocks 5", "setClocks 0"]);
});

Deno.test("a duty reaches the engine in permille; a duty of 0 is an empty plan, as 0 permille means no limit", () => {
  const entries = [{ job: 0, weight: 1, maxUnits: 0 }];
  let duty: number | undefined;
  const { engine, tick } = setUp([{}], {
    policy: (): PolicyPlan => duty === undefined ? { entries } : { entries, duty },
  });
  const plans = [undefined, 1, 0.9999, 0.5, 0.00001, 0].map((each, index) => {
    duty = each;
    tick(index);
    const { entries, dutyPermille } = engine.plans.at(-1)!;
    return [entries.length, dutyPermille];
  });
  assertEquals(plans, [[1, undefined], [1, undefined], [1, undefined], [1, 500], [1, 1], [0, undefined]]);
});
