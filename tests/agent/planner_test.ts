import { assertEquals, assertRejects, assertThrows } from "../assert.ts";
import { Planner, tickNs } from "../../agent/planner.ts";
import { totalGpuNs, WINDOW_NS } from "../../agent/policy_snapshot.ts";
import type { LogFields, Logger } from "../../agent/log.ts";
import { EngineError } from "../../ffi/errors.ts";
import type { Policy, PolicySnapshot } from "../../policies/policy.ts";
import { FakeEngine, jobStats, plannedJob, taskStats } from "./fake_engine.ts";

function setUp(policy: Policy) {
  const engine = new FakeEngine();
  const errors: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    warn() {},
    error: (message: string, _fields?: LogFields) => errors.push(message),
  };
  const jobs = [
    plannedJob(0, { name: "map", weight: 3 }),
    plannedJob(1, { name: "thumbs", endless: false }),
  ];
  engine.state.tasks = [
    taskStats({ requests: 9, late: 1, dropped: 2, failed: 3, missRun: 2, nextArrivalNs: 77 }),
  ];
  engine.state.jobs = [jobStats({ units: 5 }), jobStats({ readyUnits: 0 })];
  const tasks = [{ name: "detector", deadlineNs: 5e6 }];
  const planner = new Planner({ engine, policy, leaseNs: 500_000_000, tasks, jobs, log });
  return { engine, errors, planner };
}

const oneEntry: Policy = () => ({ entries: [{ job: 0, weight: 7, maxUnits: 0 }] });

Deno.test("a tick sets the policy's plan with the mission's lease and a growing id", () => {
  const { engine, planner } = setUp(oneEntry);
  planner.tick();
  planner.tick();
  const entries = [{ job: 0, weight: 7, maxUnits: 0 }];
  assertEquals(engine.plans, [
    { id: 1, leaseNs: 500_000_000, entries },
    { id: 2, leaseNs: 500_000_000, entries },
  ]);
});

Deno.test("a planner that comes back goes on after the engine's last plan", () => {
  const { engine, planner } = setUp(oneEntry);
  engine.state.planId = 41;
  planner.tick();
  assertEquals(engine.plans[0]?.id, 42);
});

Deno.test("a policy sees misses, backlog and recent GPU time", () => {
  const seen: PolicySnapshot[] = [];
  const { engine, planner } = setUp((snapshot) => (seen.push(snapshot), { entries: [] }));
  engine.state.nowNs = 1e9;
  planner.tick();
  engine.state.nowNs = 2e9;
  engine.state.jobs[1] = jobStats({ readyUnits: 1, gpuNs: { whole: 1, slice: 2, block: 3, loop: 4 } });
  planner.tick();
  assertEquals(seen[0]?.tasks, [{
    name: "detector",
    requests: 9,
    misses: 6,
    missRun: 2,
    nextArrivalNs: 77,
    deadlineNs: 5e6,
    periodNs: 0,
    executionP50Ns: 0,
    executionP99Ns: 0,
    marginNs: 0,
  }]);
  assertEquals(seen[0]?.jobs.map((job) => job.backlogged), [true, false]);
  assertEquals(seen[1]?.jobs.map((job) => job.backlogged), [true, true]);
  assertEquals(seen[1]?.jobs.map((job) => [job.gpuNs, job.recentGpuNs]), [[0, 0], [10, 10]]);
});

Deno.test("GPU time before the window is not recent", () => {
  const recent: (number | undefined)[] = [];
  const { engine, planner } = setUp((
    snapshot,
  ) => (recent.push(snapshot.jobs[0]?.recentGpuNs), { entries: [] }));
  for (
    const [nowNs, block] of [[0, 0], [1e9, 100], [WINDOW_NS + 1e9, 150], [WINDOW_NS + 2e9, 160]] as const
  ) {
    engine.state.nowNs = nowNs;
    engine.state.jobs[0] = jobStats({ gpuNs: { whole: 0, slice: 0, block, loop: 0 } });
    planner.tick();
  }
  assertEquals(recent, [0, 100, 50, 10]);
});

for (
  const [what, policy] of [
    ["throws", () => {
      throw new Error("oops");
    }],
    ["names a job that does not exist", () => ({ entries: [{ job: 9, weight: 1, maxUnits: 0 }] })],
    ["gives weight 0", () => ({ entries: [{ job: 0, weight: 0, maxUnits: 0 }] })],
    ["answers nothing", () => undefined as never],
    ["answers a promise", () => Promise.resolve({ entries: [] }) as never],
  ] as [string, Policy][]
) {
  Deno.test(`a policy that ${what} sets no plan, is counted each time and logged once`, () => {
    const { engine, errors, planner } = setUp(policy);
    for (let i = 0; i < 3; i++) planner.tick();
    assertEquals(engine.plans, []);
    assertEquals(planner.policyFaults, 3);
    assertEquals(planner.plansSet, 0);
    assertEquals(errors.length, 1);
  });
}

Deno.test("a policy that recovers sets plans again, and its next fault is logged again", () => {
  let broken = true;
  const { engine, errors, planner } = setUp((snapshot) => {
    if (broken) throw new Error("oops");
    return oneEntry(snapshot);
  });
  planner.tick();
  broken = false;
  planner.tick();
  broken = true;
  planner.tick();
  assertEquals(engine.plans.length, 1);
  assertEquals(errors.length, 2);
});

Deno.test("an engine that fails is the caller's to judge", async () => {
  const { engine, planner } = setUp(oneEntry);
  engine.failures.setPlan = new EngineError(-11, "set plan", "gone");
  assertThrows(() => planner.tick(), EngineError, "gone");
  await assertRejects(() => Promise.resolve().then(() => planner.tick()), EngineError);
  assertEquals(planner.policyFaults, 0);
});

Deno.test("plans are renewed four times per lease, not faster than 20 ms unless the lease is shorter", () => {
  assertEquals(tickNs(500e6), 125e6);
  assertEquals(tickNs(60e6), 20e6);
  assertEquals(tickNs(10e6), 5e6);
});

Deno.test("GPU time is summed over all levels", () => {
  assertEquals(totalGpuNs(jobStats({ gpuNs: { whole: 1, slice: 10, block: 100, loop: 1000 } })), 1111);
});
