/** Does an explanation name the cause that the simulator gave a late request, and do its parts add up? */
import type { TraceRequest, TraceSlice } from "../../../ffi/mod.ts";
import { type Cause, explain, type Explanation, type Surroundings } from "../../../agent/explain/explain.ts";
import { headline } from "../../../agent/explain/words.ts";
import { assert, assertEquals, assertGreater } from "../../assert.ts";
import { fly, MS, type Scenario } from "./late_requests.ts";

const SEEDS = [1, 2, 3, 12, 42];
/** Now and then an execution takes six times as long: what somebody else's work on the GPU looks like from here. */
const SLOW = { slowPpm: 60_000, slowPermille: 6000 };

const KINDS: readonly [Cause, string, Omit<Scenario, "seed">][] = [
  ["queueing", "another task's long request had the GPU", { long: true }],
  ["drain", "a background block of 4 ms had to end", { blockNs: 4 * MS }],
  ["clocks", "the board lowered its clocks for a while", {
    faults: { throttlePermille: 300, throttleBeginNs: 400 * MS, throttleEndNs: 600 * MS },
    slowClocks: [400 * MS, 600 * MS],
  }],
  ["foreign", "executions were slow while somebody else used the GPU", {
    faults: SLOW,
    foreign: ["compositor"],
  }],
  ["host", "the host's timer woke it late", { faults: { lateTimerNs: 9 * MS, lateTimerPpm: 60_000 } }],
  ["slow", "executions were slow, and nobody knows why", { faults: SLOW }],
];

function explained({ records, ...rest }: Surroundings, task = 0): Explanation[] {
  const around = { records, ...rest };
  return requestsOf(records, task).map((request) => explain(request, around));
}

function requestsOf(records: Surroundings["records"], task: number): TraceRequest[] {
  return records.filter((record): record is TraceRequest =>
    record.kind === "request" && record.task === task
  );
}

for (const [cause, what, scenario] of KINDS) {
  Deno.test(`every request that is late as ${what} is explained by "${cause}", for each seed`, () => {
    for (const seed of SEEDS) {
      const late = explained(fly({ ...scenario, seed })).filter(({ outcome }) => outcome !== "on-time");
      assertGreater(late.length, 1, `seed ${seed}: too few requests were late`);
      assertEquals(new Set(late.map((each) => each.cause)), new Set([cause]), `seed ${seed}`);
    }
  });
}

Deno.test("the parts of every request add up to its response, late or not", () => {
  for (const [, , scenario] of KINDS) {
    const around = fly({ ...scenario, seed: 7 });
    for (const task of [0, 1]) {
      const requests = requestsOf(around.records, task);
      for (const request of requests) {
        const { totalNs, parts } = explain(request, around);
        assertEquals(totalNs, request.doneNs - request.arrivalNs);
        assertEquals(parts.reduce((sum, { ns }) => sum + ns, 0), totalNs);
        assert(parts.every(({ ns }) => ns > 0));
      }
    }
  }
});

Deno.test("queueing names the requests that had the GPU", () => {
  const around = fly({ long: true, seed: 1 });
  const late = explained(around).filter(({ outcome }) => outcome === "late");
  for (const { parts: [first] } of late) {
    assertEquals(first?.ahead?.map(({ task }) => task), ["mapper"]);
    assert(Math.abs((first?.ahead?.[0]?.ns ?? 0) - first!.ns) < 1000);
  }
});

Deno.test("a request that lets background end first is explained by deferral", () => {
  const around = fly({ yield: "when-needed", deadlineNs: 9 * MS, unitNs: 3 * MS, seed: 1 });
  const deferred = explained(around).filter(({ cause }) => cause === "deferral");
  assertGreater(deferred.length, 5);
});

// ---- What the simulator does not do by itself

const REQUEST: TraceRequest = {
  ...{ kind: "request", task: 0, number: 9, outcome: "late", arrivalNs: 100 * MS, sensorNs: 100 * MS },
  ...{ deadlineNs: 105 * MS, launchNs: 100 * MS, doneNs: 106 * MS, queuedNs: 0, deferredNs: 0 },
  ...{ drainNs: 0, drainJob: -1, usualNs: 2 * MS, clockKey: 0 },
};
const AROUND: Surroundings = {
  records: [],
  tasks: [{ name: "detector", from: "arrival" }, { name: "mapper", from: "arrival" }],
  jobs: [{ name: "survey" }],
  foreign: [],
};

function partsOf(request: Partial<TraceRequest>, around: Partial<Surroundings> = {}): Record<string, number> {
  const { parts } = explain({ ...REQUEST, ...request }, { ...AROUND, ...around });
  return Object.fromEntries(parts.map(({ cause, ns }) => [cause, ns / MS]));
}

Deno.test("without others around it, what the engine knew before is what an execution takes", () => {
  assertEquals(partsOf({}), { slow: 4, work: 2 });
});

Deno.test("a deadline that counts from the sensor begins there", () => {
  const tasks = [{ name: "detector", from: "sensor" as const }];
  const late = { sensorNs: 97 * MS, deadlineNs: 102 * MS, doneNs: 102.5 * MS };
  assertEquals(partsOf(late, { tasks }), { sensor: 3, work: 2, slow: 0.5 });
  assertEquals(partsOf(late), { work: 2, slow: 0.5 });
});

Deno.test("a deadline below the execution itself is explained by the work", () => {
  const late = { ...REQUEST, usualNs: 5.5 * MS };
  assertEquals(partsOf(late), { work: 5.5, slow: 0.5 });
  assertEquals(explain(late, AROUND).cause, "work");
  // One that leaves room for it was late by the rest.
  assertEquals(explain({ ...late, usualNs: 4.5 * MS }, AROUND).cause, "slow");
});

Deno.test("a request that was dropped waited for those that had the GPU, and for the host the rest", () => {
  const ahead: TraceRequest = { ...REQUEST, task: 1, launchNs: 99 * MS, doneNs: 103 * MS };
  const dropped = { outcome: "dropped", launchNs: 0, doneNs: 104 * MS } as const;
  assertEquals(partsOf(dropped, { records: [ahead] }), { queueing: 3, host: 1 });
});

Deno.test("what a request that failed took longer is its fault, not somebody else's", () => {
  const parts = partsOf({ outcome: "failed" }, { foreign: ["compositor"] });
  assertEquals(parts, { fault: 4, work: 2 });
});

Deno.test("an entry that the stream had begun as the request came is part of the drain", () => {
  const slice: TraceSlice = {
    ...{ kind: "slice", job: 0, unit: 1, step: 0, beginNs: 100.001 * MS, endNs: 103 * MS, busyNs: 0 },
    ...{ level: "block", preempted: true },
  };
  const drained = { drainNs: 0, drainJob: 0 };
  assertEquals(partsOf(drained, { records: [slice] }), { drain: 3, work: 2, slow: 1 });
  // One that began later ran beside it, or behind it.
  const later = { ...slice, beginNs: 101 * MS };
  assertEquals(partsOf(drained, { records: [later] }), { slow: 4, work: 2 });
  const tasks = [{ name: "detector", from: "arrival" as const, beside: true }];
  assertEquals(partsOf({ ...drained, drainNs: MS }, { records: [slice], tasks }), { slow: 4, work: 2 });
});

Deno.test("the first executions at other clocks are theirs, and so is what their times have become", () => {
  const before = Array.from({ length: 6 }, (_, i): TraceRequest => ({
    ...REQUEST,
    number: i,
    launchNs: i * 10 * MS,
    doneNs: i * 10 * MS + 2 * MS,
    outcome: "on-time",
  }));
  assertEquals(partsOf({ clockKey: 5 }, { records: before }), { clocks: 4, work: 2 });
  const learned = before.map((each): TraceRequest => ({
    ...each,
    number: 10 + each.number,
    clockKey: 5,
    doneNs: each.doneNs + 3 * MS,
  }));
  const records = [...before, ...learned];
  assertEquals(partsOf({ clockKey: 5 }, { records }), { clocks: 3, work: 2, slow: 1 });
});

Deno.test("the headline says by how much it was late, and why", () => {
  const text = headline(explain(REQUEST, { ...AROUND, foreign: ["compositor"] }));
  assertEquals(
    text,
    "detector/9 was late by 1 ms: 4 ms longer than others around it, while compositor used the GPU too",
  );
  const dropped = explain({ ...REQUEST, outcome: "dropped", launchNs: 0 }, AROUND);
  assertEquals(headline(dropped).startsWith("detector/9 was dropped: 6 ms the GPU was free"), true);
});
