import { assertEquals } from "../assert.ts";
import { Totals } from "../../agent/containment/totals.ts";
import { emptyHistogram } from "../../ffi/mod.ts";
import { jobStats, resultOf, snapshotOf, taskStats } from "./fake_engine.ts";

function responses(count: number) {
  const histogram = emptyHistogram();
  histogram.count = count;
  histogram.minNs = histogram.maxNs = 1000;
  histogram.sumNs = 1000 * count;
  histogram.buckets[31] = count;
  return histogram;
}

const LAST = snapshotOf({
  state: "lost",
  nowNs: 5e9,
  readyNs: 1e9,
  leaseExpired: 2,
  tasks: [taskStats({
    requests: 100,
    onTime: 97,
    late: 1,
    dropped: 1,
    missRun: 0,
    longestMissRun: 2,
    response: responses(98),
  })],
  jobs: [jobStats({ units: 40, gpuNs: { loop: 1, block: 2, slice: 3, whole: 4 } })],
});
const NEXT = snapshotOf({
  nowNs: 7e9,
  readyNs: 6e9,
  planId: 3,
  tasks: [taskStats({ requests: 10, onTime: 10, response: responses(10) })],
  jobs: [jobStats({ units: 5, gpuNs: { loop: 10, block: 20, slice: 30, whole: 40 } })],
});

Deno.test("without a restart a snapshot is as the engine gave it", () => {
  assertEquals(new Totals().onto(NEXT), NEXT);
  assertEquals(new Totals().renumber(resultOf({ number: 3 })).number, 3);
});

Deno.test("requests in hand and those that came in between are counted as failed, and counts go on", () => {
  const totals = new Totals();
  totals.lose(LAST, 6e9, [{ periodNs: 100e6 }]);
  const { tasks: [task], jobs: [job], ...rest } = totals.onto(NEXT);
  // 100 before, of which 1 never ended; 10 in the second without an engine; 10 after.
  assertEquals([task?.requests, task?.onTime, task?.late, task?.dropped, task?.failed], [120, 107, 1, 1, 11]);
  assertEquals([task?.missRun, task?.longestMissRun], [0, 11]);
  assertEquals([task?.response.count, task?.response.buckets[31]], [108, 108]);
  assertEquals([job?.units, job?.gpuNs], [45, { loop: 11, block: 22, slice: 33, whole: 44 }]);
  assertEquals([rest.leaseExpired, rest.readyNs, rest.nowNs, rest.planId], [2, 1e9, 7e9, 3]);
  assertEquals(totals.restarts, 1);
});

Deno.test("of a task whose rhythm nobody knows only the request in hand is counted", () => {
  const totals = new Totals();
  totals.lose(LAST, 6e9, [{ periodNs: 0 }]);
  assertEquals(totals.onto(NEXT).tasks[0]?.failed, 1);
});

Deno.test("a run of misses goes on over the restart as long as the new engine meets no deadline", () => {
  const totals = new Totals();
  totals.lose(LAST, 6e9, [{ periodNs: 100e6 }]);
  const missing = taskStats({ requests: 3, late: 3, missRun: 3, longestMissRun: 3 });
  assertEquals(totals.onto({ ...NEXT, tasks: [missing] }).tasks[0]?.missRun, 14);
  const started = taskStats({ requests: 1, inFlight: 1 });
  assertEquals(totals.onto({ ...NEXT, tasks: [started] }).tasks[0]?.missRun, 11);
});

Deno.test("request numbers and unit ids go on, also behind results that are younger than the last snapshot", () => {
  const totals = new Totals();
  assertEquals(totals.renumber(resultOf({ kind: "background", number: 41 })).number, 41);
  totals.lose(LAST, 6e9, [{ periodNs: 100e6 }]);
  assertEquals(totals.renumber(resultOf({ kind: "background", number: 0 })).number, 42);
  assertEquals(totals.renumber(resultOf({ kind: "critical", number: 0 })).number, 110);
});

Deno.test("three engines are summed up, and what whoever attaches next reads says the same", () => {
  const totals = new Totals();
  totals.lose(LAST, 6e9, [{ periodNs: 0 }]);
  totals.lose({ ...NEXT, state: "lost" }, 8e9, [{ periodNs: 0 }]);
  const again = Totals.fromJson(JSON.parse(JSON.stringify(totals.toJson())));
  for (const each of [totals, again]) {
    const { tasks: [task] } = each.onto(NEXT);
    assertEquals([task?.requests, task?.onTime, task?.response.count], [120, 117, 118]);
    assertEquals(each.renumber(resultOf({ kind: "background", number: 0 })).number, 45);
    assertEquals(each.restarts, 2);
  }
});
