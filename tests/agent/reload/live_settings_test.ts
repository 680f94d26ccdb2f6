import { assert, assertEquals } from "../../assert.ts";
import type { Conditions } from "../../../agent/conditions.ts";
import { SILENT } from "../../../agent/log.ts";
import { Planner } from "../../../agent/planner.ts";
import { LiveSettings, type LiveValues } from "../../../agent/reload/live_settings.ts";
import { Orders, type OrdersState } from "../../../agent/orders.ts";
import type { OpenSandbox } from "../../../agent/policy_sandbox.ts";
import { UserPolicy } from "../../../agent/user_policy.ts";
import type { Policy, PolicySnapshot } from "../../../policies/policy.ts";
import { FakeEngine, jobStats, plannedJob } from "../fake_engine.ts";

const JOB = { enabled: true, weight: 1, deadlineNs: 0, when: [] };

function policyOf(builtIn: Policy, options = {}): LiveValues["policy"] {
  return { name: "p", builtIn, file: undefined, options };
}

const byWeight: Policy = ({ jobs }) => ({
  entries: jobs.map(({ id, weight }) => ({ job: id, weight, maxUnits: 0 })),
});

function setUp(conditions: Conditions = { phase: "unknown" }) {
  const engine = new FakeEngine();
  engine.state.jobs = [jobStats({}), jobStats({})];
  const jobs = [plannedJob(0, { name: "map" }), plannedJob(1, { name: "thumbs" })];
  const live = new LiveSettings({
    policy: policyOf(byWeight),
    limits: {},
    safeMode: undefined,
    jobs: new Map([["map", JOB], ["thumbs", JOB]]),
  });
  const opened: string[] = [];
  const closed: string[] = [];
  const planner = new Planner({
    engine,
    policy: byWeight,
    leaseNs: 5e8,
    tasks: [],
    jobs,
    log: SILENT,
    live,
    conditions: { current: () => conditions },
    barred: (job) => live.barredBy(job) !== undefined,
    openUser(policy) {
      opened.push(policy.file);
      const open: OpenSandbox = (_policy, _limitMs, events) => {
        if (policy.file === "broken.js") events.failed(0, "it does not load");
        return { ask() {}, close: () => void closed.push(policy.file) };
      };
      return new UserPolicy({ policy, leaseNs: 5e8, defaultName: "p", log: SILENT, open });
    },
  });
  const entries = () => {
    planner.tick();
    return engine.plans.at(-1)?.entries.map(({ job, weight }) => [job, weight]);
  };
  return { engine, live, planner, entries, opened, closed };
}

Deno.test("a weight that is applied is in the next plan, and no sooner", () => {
  const { engine, live, entries } = setUp();
  assertEquals(entries(), [[0, 1], [1, 1]]);
  live.apply({ jobs: new Map([["map", { ...JOB, weight: 7 }], ["thumbs", JOB]]) });
  assertEquals(engine.plans.length, 1);
  assertEquals(entries(), [[0, 7], [1, 1]]);
});

Deno.test("a paused job gets nothing whatever the policy says, and goes on when it is resumed", () => {
  const { live, entries } = setUp();
  assert(live.order("map", "pause"));
  assertEquals([entries(), live.barredBy("map")], [[[1, 1]], "paused"]);
  assert(live.order("map", "resume"));
  assertEquals([entries(), live.barredBy("map")], [[[0, 1], [1, 1]], undefined]);
});

Deno.test("a cancelled job is not brought back by anything", () => {
  const { live, entries } = setUp();
  assert(live.order("map", "cancel"));
  assertEquals([live.order("map", "resume"), live.order("map", "pause")], [false, false]);
  live.apply({ jobs: new Map([["map", JOB], ["thumbs", JOB]]) });
  assertEquals([entries(), live.barredBy("map")], [[[1, 1]], "cancelled"]);
  live.apply({ jobs: new Map([["map", { ...JOB, enabled: false }], ["thumbs", JOB]]) });
  assertEquals(live.barredBy("map"), "cancelled");
});

Deno.test("a job that the mission switches off stays so for an operator, whose pause outlives the reload", () => {
  const { live, entries } = setUp();
  live.apply({ jobs: new Map([["map", { ...JOB, enabled: false }], ["thumbs", JOB]]) });
  assert(live.order("map", "resume"));
  assertEquals([entries(), live.barredBy("map")], [[[1, 1]], "disabled"]);
  assert(live.order("map", "pause"));
  live.apply({ jobs: new Map([["map", JOB], ["thumbs", JOB]]) });
  assertEquals([entries(), live.barredBy("map")], [[[1, 1]], "paused"]);
  assertEquals(live.order("nobody", "pause"), false);
});

Deno.test("another policy takes over at the next look with its options; counted faults stay counted", () => {
  const { live, planner, entries } = setUp();
  const seen: PolicySnapshot["options"][] = [];
  live.apply({
    policy: policyOf(() => {
      throw new Error("no");
    }),
  });
  planner.tick();
  assertEquals(planner.policyFaults, 1);
  live.apply({ policy: policyOf(({ options }) => (seen.push(options), { entries: [] }), { floor: 0.5 }) });
  assertEquals([entries(), seen, planner.policyFaults], [[], [{ floor: 0.5 }], 1]);
});

Deno.test("a policy that was ordered holds in the next run as long as the mission names the same one", () => {
  const other: Policy = () => ({ entries: [] });
  const values = setUp().live.values;
  const run = (mission: LiveValues["policy"], kept?: OrdersState) => {
    const stored: OrdersState[] = [];
    const orders = new Orders({
      orders: kept,
      keepOrders: (state) => void stored.push(state),
      stamp: () => "noon",
    });
    return { live: new LiveSettings({ ...values, policy: mission }, orders), stored };
  };
  const first = run(policyOf(byWeight));
  first.live.orderPolicy({ ...policyOf(other, { reserve: 0.5 }), name: "energy" });
  assertEquals(first.live.values.policy.builtIn, other);
  const kept = first.stored.at(-1)!;

  const same = run(policyOf(byWeight), kept);
  assertEquals(same.live.obeyPolicy(({ name }) => (assertEquals(name, "energy"), other))?.since, "noon");
  const { policy } = same.live.values;
  assertEquals([policy.name, policy.builtIn, policy.options], ["energy", other, { reserve: 0.5 }]);

  const edited = run(policyOf(byWeight, { floor: 1 }), kept);
  assertEquals(edited.live.obeyPolicy(() => other), undefined);
  assertEquals([edited.live.values.policy.builtIn, edited.stored.at(-1)?.policy], [byWeight, null]);

  same.live.apply({ limits: {} });
  assertEquals(same.live.values.policy.name, "energy");
  same.live.apply({ policy: policyOf(byWeight, { floor: 2 }) });
  assertEquals([same.live.values.policy.name, same.live.orders.policy], ["p", null]);
});

Deno.test("a user's policy is started when it is applied, left alone by other changes, and closed when it is replaced", () => {
  const { live, planner, opened, closed } = setUp();
  live.apply({ policy: { ...policyOf(byWeight), file: { file: "a.js", source: "" } } });
  planner.tick();
  live.apply({ limits: { powerW: 5 } });
  planner.tick();
  assertEquals([opened, closed], [["a.js"], []]);
  live.apply({ policy: { ...policyOf(byWeight), file: { file: "b.js", source: "" } } });
  planner.tick();
  planner.close();
  assertEquals([opened, closed], [["a.js", "b.js"], ["a.js", "b.js"]]);
});

Deno.test("what a user's policy did wrong stays counted when it is replaced", () => {
  const { live, planner } = setUp();
  live.apply({ policy: { ...policyOf(byWeight), file: { file: "broken.js", source: "" } } });
  planner.tick();
  planner.tick();
  const faults = planner.policyFaults;
  assert(faults > 0);
  live.apply({ policy: policyOf(byWeight) });
  planner.tick();
  assertEquals(planner.policyFaults, faults);
});

Deno.test("a limit that is applied stops background at the next look, and one that is taken away lets it go on", () => {
  const { live, entries } = setUp({ phase: "unknown", powerW: 20 });
  assertEquals(entries()?.length, 2);
  live.apply({ limits: { powerW: 10 } });
  assertEquals(entries(), []);
  live.apply({ limits: {} });
  assertEquals(entries()?.length, 2);
});
