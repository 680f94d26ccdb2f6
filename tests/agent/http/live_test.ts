/** Do readers of the streams see everything once, and does one that does not read cost nothing? */
import { assert, assertEquals } from "../../assert.ts";
import { EventHistory } from "../../../agent/http/history.ts";
import { type EventStream, eventStream } from "../../../agent/http/sse.ts";
import type { TraceRequest, TraceSlice } from "../../../ffi/mod.ts";
import { setUpHttp } from "./scene.ts";

interface Sent {
  id?: string;
  event: string;
  // deno-lint-ignore no-explicit-any
  data: any;
}

/** The first `count` messages of a stream. */
async function take(response: Response, count: number): Promise<Sent[]> {
  const found: Sent[] = [];
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (found.length < count) {
    const { value, done } = await reader.read();
    assert(!done, "the stream ended");
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0 && found.length < count; end = text.indexOf("\n\n")) {
      const fields = new Map(
        text.slice(0, end).split("\n").map((
          line,
        ) => [line.split(": ", 1)[0], line.slice(line.indexOf(": ") + 2)]),
      );
      text = text.slice(end + 2);
      const data = fields.get("data");
      if (data === undefined) continue;
      const id = fields.get("id");
      found.push({
        ...(id === undefined ? {} : { id }),
        event: fields.get("event")!,
        data: JSON.parse(data),
      });
    }
  }
  await reader.cancel();
  return found;
}

const SLICE: TraceSlice = {
  ...{ kind: "slice", job: 1, unit: 4, step: 0, beginNs: 0, endNs: 0, busyNs: 500 },
  level: "block",
  preempted: false,
};
const REQUEST: TraceRequest = {
  ...{ kind: "request", task: 0, number: 7, arrivalNs: 1e6, sensorNs: 1e6, deadlineNs: 11e6 },
  outcome: "late",
  ...{ launchNs: 2e6, doneNs: 12e6, queuedNs: 0, deferredNs: 0, drainNs: 1e5, drainJob: 1 },
  ...{ usualNs: 9e6, clockKey: 0 },
};
const EVENT = { timeNs: 5, kind: "miss", source: "detector" };

Deno.test("a reader of events gets what was, then what comes, and goes on where it was", async () => {
  const { ask, agent } = setUpHttp();
  for (const text of ["first", "second"]) agent.events.add({ ...EVENT, text });
  const response = await ask("/v1/events");
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  agent.events.add({ ...EVENT, text: "third" });
  const all = await take(response, 3);
  assertEquals(all.map(({ data }) => data.text), ["first", "second", "third"]);
  assertEquals(all.map(({ id, event }) => [id, event])[1], ["run-2", "miss"]);
  const again = await ask("/v1/events", { headers: { "last-event-id": "run-2" } });
  assertEquals((await take(again, 1))[0]!.data.text, "third");
  const other = await ask("/v1/events", { headers: { "last-event-id": "another-2" } });
  assertEquals((await take(other, 1))[0]!.data.text, "first");
});

Deno.test("who wants a list gets one at once", async () => {
  const { json, agent } = setUpHttp();
  agent.events.add({ ...EVENT, text: "first" });
  const [, { items }] = await json("/v1/events", { headers: { accept: "application/json" } });
  assertEquals(items, [{ id: "run-1", ...EVENT, text: "first" }]);
});

Deno.test("of events the last thousand are kept", () => {
  const history = new EventHistory("r");
  for (let i = 0; i < 1_500; i++) history.add({ ...EVENT, text: `${i}` });
  const kept = history.since(undefined);
  assertEquals([kept.length, kept[0]?.text, kept.at(-1)?.id], [1_000, "500", "r-1500"]);
});

Deno.test("the dashboard's stream begins with who is there, how it stands and what ran", async () => {
  const { ask, engine } = setUpHttp();
  engine.trace.push(
    { ...SLICE, beginNs: 1_000, endNs: 2_000 },
    { ...SLICE, beginNs: 2_500, endNs: 3_000 },
    { ...SLICE, beginNs: 900_000, endNs: 950_000, preempted: true },
    REQUEST,
  );
  const [hello, state, trace] = await take(await ask("/v1/stream"), 3);
  assertEquals([hello!.event, hello!.data.timing, hello!.data.tasks], ["hello", "simulated", [
    { name: "detector", deadlineNs: 10e6, periodNs: 33_333_333 },
    { name: "by-hand", deadlineNs: 10e6, periodNs: null },
  ]]);
  assertEquals([state!.event, state!.data.jobs.map.weight, state!.data.tasks.detector.requests], [
    "state",
    3,
    3,
  ]);
  // Slices of one job that follow each other closely are drawn as one.
  assertEquals(trace!.data.slices, [
    { job: "survey", level: "block", beginNs: 1_000, endNs: 3_000, preempted: false },
    { job: "survey", level: "block", beginNs: 900_000, endNs: 950_000, preempted: true },
  ]);
  assertEquals(trace!.data.requests[0].task, "detector");
});

Deno.test("however many slices there were, none is left out of the picture: close ones are drawn as one", async () => {
  const { ask, engine } = setUpHttp();
  // Two jobs in turn, each made to leave each time.
  for (let i = 0; i < 5_000; i++) {
    const beginNs = 1e6 + i * 30_000;
    engine.trace.push({ ...SLICE, job: i % 2, beginNs, endNs: beginNs + 25_000, preempted: true });
  }
  const [, , trace] = await take(await ask("/v1/stream"), 3);
  const { slices } = trace!.data as { slices: { job: string; beginNs: number; endNs: number }[] };
  assert(slices.length <= 400 && slices.length >= 2, `${slices.length}`);
  assertEquals([slices[0]!.beginNs, slices.at(-1)!.endNs], [1e6, 1e6 + 4_999 * 30_000 + 25_000]);
  for (const job of ["map", "survey"]) {
    const shownNs = slices.filter((slice) => slice.job === job).reduce(
      (sum, each) => sum + each.endNs - each.beginNs,
      0,
    );
    assert(shownNs >= 2_500 * 25_000, job);
  }
});

Deno.test("there are so many streams at once, and a reader that leaves makes room", async () => {
  const { ask } = setUpHttp();
  const open: Response[] = [];
  for (let i = 0; i < 16; i++) open.push(await ask("/v1/events"));
  assertEquals((await ask("/v1/events")).status, 503);
  await open.pop()!.body!.cancel();
  const next = await ask("/v1/events");
  assertEquals(next.status, 200);
  for (const { body } of [...open, next]) await body!.cancel();
});

Deno.test("a reader that does not keep up is let go before a megabyte waits for it", () => {
  let stream: EventStream | undefined;
  let ended = 0;
  const response = eventStream((each) => (stream = each, () => ended++));
  let sent = 0;
  while (!stream!.closed && sent < 100) {
    stream!.send("x", "y".repeat(100_000));
    sent++;
  }
  assertEquals([stream!.closed, ended, sent], [true, 1, 12]);
  return response.body!.cancel().catch(() => {});
});

Deno.test("the trace has a lane for each task and job, and what happened since", async () => {
  const { json, engine } = setUpHttp();
  engine.trace.push({ ...SLICE, beginNs: 1e9, endNs: 2e9 }, { ...SLICE, beginNs: 19.4e9, endNs: 19.5e9 });
  engine.trace.push({ ...REQUEST, arrivalNs: 19e9, launchNs: 19.1e9, doneNs: 19.9e9, deadlineNs: 19.5e9 });
  const [code, trace] = await json("/v1/trace?for=1s");
  assertEquals([code, trace.otherData.timing], [200, "simulated"]);
  const of = (ph: string) => trace.traceEvents.filter((event: { ph: string }) => event.ph === ph);
  assertEquals(of("M").filter(({ name }: Sent & { name: string }) => name === "thread_name").length, 4);
  assertEquals(
    of("X").map(({ name, ts, dur }: { name: string; ts: number; dur: number }) => [name, ts, dur]),
    [
      ["survey", 19.4e6, 0.1e6],
      ["waits", 19e6, 0.1e6],
      ["detector 7", 19.1e6, 0.8e6],
      ["drain", 19.1e6, 100],
    ],
  );
  assertEquals(of("i").map(({ name, ts }: { name: string; ts: number }) => [name, ts]), [
    ["deadline: late", 19.5e6],
  ]);
  assertEquals((await json("/v1/trace?for=soon"))[0], 400);
});
