/** Whose plan counts: the user's, nobody's, the default's? The sandbox here does as the test says. */
import type { Logger } from "../../agent/log.ts";
import type { PolicyFile, SandboxEvents } from "../../agent/policy_sandbox.ts";
import { FIRST_PAUSE_NS, LONGEST_PAUSE_NS, TRIAL_ANSWERS, UserPolicy } from "../../agent/user_policy.ts";
import type { PolicySnapshot } from "../../policies/policy.ts";
import { assertEquals, assertStringIncludes } from "../assert.ts";
import { jobOf, snapshotOf } from "../policies/snapshots.ts";

const LEASE_NS = 500e6;
const TICK_NS = 125e6;
const GOOD = { entries: [{ job: 0, weight: 9, maxUnits: 0 }] };
const POLICY: PolicyFile = { file: "mine.js", source: "data:," };

function setUp() {
  const said: string[] = [];
  const sandboxes: { events: SandboxEvents; asked: [number, unknown][]; closed: boolean }[] = [];
  const keep = (message: string) => void said.push(message);
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep };
  const user = new UserPolicy({
    policy: POLICY,
    leaseNs: LEASE_NS,
    defaultName: "weighted-fair",
    log,
    open: (_policy, _limitMs, events) => {
      const box = { events, asked: [] as [number, unknown][], closed: false };
      sandboxes.push(box);
      return {
        ask: (id, snapshot) => void box.asked.push([id, snapshot]),
        close: () => void (box.closed = true),
      };
    },
  });
  let nowNs = 0;
  let leaseEndNs = 0;
  const scene = {
    user,
    said,
    sandboxes,
    get box() {
      return sandboxes.at(-1)!;
    },
    /** One tick later. A plan renews the lease, as the planner would. */
    turn(jobs = [0, 1], afterNs = TICK_NS) {
      nowNs += afterNs;
      const given: PolicySnapshot = snapshotOf(jobs.map((id) => jobOf(id)), { nowNs });
      const turn = user.turn(given, leaseEndNs);
      if (turn.kind !== "quiet") leaseEndNs = nowNs + LEASE_NS;
      return turn;
    },
    answer(plan: unknown = GOOD) {
      const [id] = scene.box.asked.at(-1)!;
      scene.box.events.answered(id, plan, 1);
    },
    /** A policy that is in force: loaded, asked, answered. */
    begin() {
      scene.box.events.loaded();
      scene.turn();
      scene.answer();
      return scene.turn();
    },
    /** Kinds of the turns that follow, `count` of them, without an answer. */
    kinds(count: number) {
      return Array.from({ length: count }, () => scene.turn().kind);
    },
  };
  return scene;
}

Deno.test("the answer to the snapshot before is the plan now, and nobody waits for it", () => {
  const scene = setUp();
  assertEquals(scene.turn(), { kind: "quiet" }, "not loaded yet");
  scene.box.events.loaded();
  assertEquals(scene.turn(), { kind: "quiet" }, "asked, not answered yet");
  assertEquals(scene.box.asked.length, 1);
  assertEquals(scene.turn(), { kind: "quiet" });
  assertEquals(scene.box.asked.length, 1, "one question at a time");
  scene.answer();
  assertEquals(scene.turn(), { kind: "plan", plan: GOOD });
  assertEquals(scene.box.asked.length, 2);
  assertEquals(scene.user.faults, 0);
});

Deno.test("a job that may not run any more is not in the plan that was made before", () => {
  const scene = setUp();
  scene.begin();
  scene.answer({
    entries: [{ job: 0, weight: 9, maxUnits: 0 }, { job: 1, weight: 1, maxUnits: 0 }],
    duty: 0.5,
  });
  assertEquals(scene.turn([1]), {
    kind: "plan",
    plan: { entries: [{ job: 1, weight: 1, maxUnits: 0 }], duty: 0.5 },
  });
});

/** [what, how it comes about, what is said] */
const FAULTS: [string, (scene: ReturnType<typeof setUp>) => void, string][] = [
  ["throws", ({ box }) => box.events.failed(2, "it threw: oops"), "it threw: oops"],
  ["answers nonsense", (scene) => scene.answer({ entries: 3 }), "it answered nonsense: a plan is an object"],
  [
    "names a job that was not in its snapshot",
    (scene) => scene.answer({ entries: [{ job: 7, weight: 1, maxUnits: 0 }] }),
    "7 is no job",
  ],
  ["speaks by itself", ({ box }) => box.events.failed(0, "it sent a message of its own"), "of its own"],
];
for (const [what, happen, said] of FAULTS) {
  Deno.test(`a policy that ${what}: its last plan runs out its lease, then the default takes over`, () => {
    const scene = setUp();
    assertEquals(scene.begin().kind, "plan");
    happen(scene);
    // The lease has four ticks; the fault is seen one tick after the last plan.
    assertEquals(scene.kinds(5), ["quiet", "quiet", "quiet", "default", "default"]);
    assertEquals([scene.user.faults, scene.box.closed, scene.sandboxes.length], [1, true, 1]);
    assertEquals(scene.said.length, 1);
    assertStringIncludes(scene.said[0]!, said);
    assertStringIncludes(scene.said[0]!, "then weighted-fair takes over; it is tried again in 1 s");
  });
}

Deno.test("a policy that does not load leaves the field to the default at once", () => {
  const scene = setUp();
  scene.box.events.failed(0, "it does not load: unexpected end");
  assertEquals(scene.kinds(2), ["default", "default"]);
  assertStringIncludes(scene.said[0]!, "it does not load: unexpected end");
});

Deno.test("a policy that stalls gives way when its lease ends, and has no second sandbox to stall in", () => {
  const scene = setUp();
  scene.begin();
  assertEquals(scene.kinds(6), ["quiet", "quiet", "quiet", "default", "default", "default"]);
  assertStringIncludes(scene.said[0]!, "it does not answer");
  assertEquals(scene.turn([0], 10 * LONGEST_PAUSE_NS).kind, "default");
  assertEquals([scene.sandboxes.length, scene.box.closed, scene.user.faults], [1, true, 1]);
});

Deno.test("an agent that was late itself does not blame the policy", () => {
  const scene = setUp();
  scene.begin();
  assertEquals(scene.turn([0], 3 * LEASE_NS).kind, "quiet");
  scene.answer();
  assertEquals(scene.turn().kind, "plan");
  assertEquals(scene.user.faults, 0);
});

Deno.test("a policy that never finishes loading stalls too", () => {
  const scene = setUp();
  scene.turn();
  assertEquals(scene.turn([0], 20e9).kind, "default");
  assertStringIncludes(scene.said[0]!, "it does not load within 10 s");
});

Deno.test("after a pause it is on trial in a fresh sandbox, and back in force after enough good answers", () => {
  const scene = setUp();
  scene.begin();
  scene.box.events.failed(0, "it threw: oops");
  scene.turn();
  assertEquals(scene.turn([0], FIRST_PAUSE_NS - 1).kind, "default");
  assertEquals(scene.sandboxes.length, 1);
  assertEquals(scene.turn([0], 1).kind, "default");
  assertEquals(scene.sandboxes.length, 2);
  scene.box.events.loaded();
  scene.turn();
  for (let i = 1; i < TRIAL_ANSWERS; i++) {
    scene.answer();
    assertEquals(scene.turn().kind, "default", `good answer ${i}`);
  }
  scene.answer();
  assertEquals(scene.turn(), { kind: "plan", plan: GOOD });
  assertStringIncludes(scene.said.at(-1)!, "is back in force");
});

Deno.test("each failure doubles the pause, up to a minute; a trial has to succeed in a row", () => {
  const scene = setUp();
  scene.begin();
  const pauses: string[] = [];
  for (let i = 0; i < 8; i++) {
    scene.box.events.failed(0, `it threw: ${i}`);
    scene.turn();
    pauses.push(/again in (\d+ s)/.exec(scene.said.at(-1)!)![1]!);
    scene.turn([0], LONGEST_PAUSE_NS);
    scene.box.events.loaded();
    scene.turn();
    scene.answer();
    scene.turn();
  }
  assertEquals(pauses, ["1 s", "2 s", "4 s", "8 s", "16 s", "32 s", "60 s", "60 s"]);
  assertEquals(scene.said.length, 8);
  assertEquals(scene.user.faults, 8);
});

Deno.test("virtual time waits for the answer, and for no longer than it has to", async () => {
  const scene = setUp();
  let settled = 0;
  const waiting = scene.user.settled().then(() => settled++);
  scene.turn();
  await Promise.resolve();
  assertEquals(settled, 0);
  scene.box.events.loaded();
  await waiting;
  scene.turn();
  const again = scene.user.settled();
  scene.answer();
  await again;
  scene.turn();
  await scene.user.settled(0);
  assertEquals(scene.turn().kind, "quiet");
  assertStringIncludes(scene.said[0]!, "it does not answer");
});
