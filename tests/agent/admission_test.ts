import { type Admission, admission, type AdmissionTask, type Known } from "../../agent/admission.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";

const NO_DRAIN: Known = { ns: 0, origin: "", safety: false };

/** Executions that are taken as they are; 50 us of the host come on top. */
function task(name: string, executionMs: number, change: Partial<AdmissionTask> = {}): AdmissionTask {
  return {
    name,
    execution: { ns: executionMs * 1e6 - 50_000, origin: "declared", safety: false },
    periodNs: 30e6,
    deadlineNs: 15e6,
    overlap: false,
    queueDepth: 1,
    defers: false,
    maxBlockingNs: 0,
    ...change,
  };
}

Deno.test("a task by itself takes its execution, the host and the leaving of background", () => {
  const execution = { ns: 2_320_000, origin: "the worst of 3 runs", safety: true };
  const drain = { ns: 30_000, origin: "preemptionBound, not measured", safety: false };
  const { admitted, tasks, total } = admission([task("detector", 0, { execution })], drain);
  assertEquals(admitted, true);
  assertEquals(tasks, [
    "worst case 2.98 ms of 15 ms = execution 2.9 ms (1.25 x 2.32 ms, the worst of 3 runs) + host 50 us + " +
    "background leaves 30 us (preemptionBound, not measured)",
  ]);
  assertEquals(total, "critical work takes up to 9.93 % of all time: detector 9.93 %");
});

Deno.test("what stands before a request is named, and adds up", () => {
  const { tasks } = admission([
    task("detector", 4, { deadlineNs: 24e6 }),
    task("slam", 10, { deadlineNs: 28e6, periodNs: 60e6 }),
    task("tracker", 1, { periodNs: 10e6, deadlineNs: 10e6, maxBlockingNs: 2e6 }),
  ], NO_DRAIN);
  assertMatch(tasks[0]!, /^worst case 16 ms of 24 ms = .*blocked 10 ms \(slam, which runs already\)/);
  assertMatch(tasks[0]!, /\+ 2 x 1 ms \(of tracker, due earlier\)$/);
  assertMatch(
    tasks[1]!,
    /^worst case 17 ms of 28 ms = .*blocked 2 ms \(a kernel that cannot be interrupted\)/,
  );
  assertMatch(tasks[1]!, /\+ 1 x 4 ms \(of detector, due earlier\) \+ 1 x 1 ms \(of tracker, due earlier\)$/);
});

Deno.test("a request that another task has held back comes on top, as it was not there when the busy time began", () => {
  const works = [task("detector", 4), task("mapper", 5, { deadlineNs: 30e6, defers: true })];
  const { tasks, admitted } = admission(works, NO_DRAIN);
  assert(admitted);
  assertMatch(tasks[0]!, /^worst case 14 ms of 15 ms = .*blocked 5 ms \(mapper, which runs already\)/);
  assertMatch(tasks[0]!, /held back 5 ms \(of mapper, by yield: when-needed\)/);
  assertMatch(tasks[1]!, /^worst case 9 ms of 30 ms/);
  assertEquals(admission([{ ...works[0]!, deadlineNs: 13e6 }, works[1]!], NO_DRAIN).admitted, false);
  assertEquals(
    admission([{ ...works[0]!, deadlineNs: 13e6 }, { ...works[1]!, defers: false }], NO_DRAIN).admitted,
    true,
  );
});

Deno.test("background has to leave for every request, not for the first alone", () => {
  const works = [task("a", 7, { deadlineNs: 14e6 }), task("b", 7, { deadlineNs: 14e6 })];
  assertEquals(admission(works, NO_DRAIN).admitted, true);
  assertEquals(admission(works, { ns: 1, origin: "", safety: false }).admitted, false);
  assertMatch(
    admission(works, { ns: 500_000, origin: "seen", safety: true }).tasks[1]!,
    /^worst case 15.3 ms of 14 ms, 1.25 ms too late = .*leaves 625 us \(1.25 x 500 us, seen\) \+ /,
  );
});

Deno.test("a deadline that cannot be met is refused, with one that would be", () => {
  const works = [task("detector", 6), task("slam", 12, { periodNs: 50e6, deadlineNs: 50e6 })];
  const answer = admission(works, NO_DRAIN);
  assertEquals(answer.problem, "must all meet their deadlines, and detector cannot");
  assertEquals(answer.remedy, "deadlines that would be met: 18 ms for detector");
  assertMatch(answer.tasks[0]!, /^worst case 18 ms of 15 ms, 3 ms too late = /);
  assertEquals(admission([{ ...works[0]!, deadlineNs: 18e6 }, works[1]!], NO_DRAIN).admitted, true);
});

Deno.test("where no deadline within the period helps, a lower rate is offered that does", () => {
  const works = [task("a", 12, { deadlineNs: 30e6 }), task("b", 12), task("c", 12, { deadlineNs: 30e6 })];
  const answer = admission(works, NO_DRAIN);
  assertStringIncludes(answer.problem, "120 % of all time is asked for");
  assertEquals(answer.tasks.map((text) => text.slice(0, 12)), Array(3).fill("every 30 ms:"));
  assertStringIncludes(answer.total, "up to 120 % of all time: a 40 % + b 40 % + c 40 %");
  // b has 15 ms, and 12 ms of another may run already: no rate is low enough.
  assertStringIncludes(answer.remedy, "shorten the work");
  const wide = works.map((one) => ({ ...one, deadlineNs: 40e6, overlap: true, queueDepth: 2 }));
  const remedy = admission(wide, NO_DRAIN).remedy;
  const rate = Number(/^at (\d+) % of all stated rates/.exec(remedy)?.[1]);
  const slower = wide.map((one) => ({ ...one, periodNs: Math.floor(30e6 * 100 / rate) }));
  assertEquals(admission(slower, NO_DRAIN).admitted, true, remedy);
  assertEquals(rate, 80);
});

Deno.test("a source without a rate counts as one request per deadline, and that is said", () => {
  const works = [task("asked", 6, { periodNs: undefined })];
  const answer = admission(works, NO_DRAIN);
  assertStringIncludes(answer.total, "asked 40 %");
  assertMatch(answer.tasks[0]!, /; assumed: no two requests within 15 ms, as its source states no rate$/);
  const stated = admission([task("asked", 6, { periodNs: 60e6 })], NO_DRAIN);
  assertStringIncludes(stated.total, "asked 10 %");
  assert(!stated.tasks[0]!.includes("assumed"));
});

Deno.test("deadlines that are met do not help where the queue overflows before", () => {
  const works = [
    task("fast", 2, { periodNs: 10e6, deadlineNs: 40e6, overlap: true }),
    task("slow", 15, { periodNs: 60e6, deadlineNs: 60e6 }),
  ];
  const answer = (queueDepth: number): Admission =>
    admission([{ ...works[0]!, queueDepth }, works[1]!], NO_DRAIN);
  assertEquals(answer(2).admitted, true);
  assertEquals(answer(1).admitted, false);
  assertMatch(
    answer(1).tasks[0]!,
    /of 40 ms = .*; by then its queue of 1 is full, with a request every 10 ms$/,
  );
});

Deno.test("a mission that leaves no time unused is refused for want of an answer", () => {
  const works = [
    task("a", 0.5, { periodNs: 1e6, deadlineNs: 1e6 }),
    task("b", 5, { periodNs: 10e6 + 100, deadlineNs: 10e6 + 100, maxBlockingNs: 1 }),
  ];
  const answer = admission(works, NO_DRAIN);
  assertEquals(answer.admitted, false);
  assertStringIncludes(answer.problem, "takes too long to find out");
});

Deno.test("without critical tasks there is nothing to refuse", () => {
  assertEquals(admission([], NO_DRAIN).admitted, true);
});
