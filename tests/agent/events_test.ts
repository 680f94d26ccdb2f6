import { assertEquals } from "../assert.ts";
import { createCounters } from "../../agent/counters.ts";
import { EventLog } from "../../agent/events.ts";
import { createLogger, type LogFields } from "../../agent/log.ts";
import type { EngineEvent } from "../../ffi/engine.ts";

function setUp() {
  const logged: [string, string, LogFields | undefined][] = [];
  const to = (level: string) => (message: string, fields?: LogFields) =>
    void logged.push([level, message, fields]);
  const counters = createCounters();
  const log = { info: to("info"), warn: to("warn"), error: to("error") };
  return { logged, counters, events: new EventLog({ log, counters, tasks: ["detector"], jobs: ["map"] }) };
}

function event(change: Partial<EngineEvent>): EngineEvent {
  return { sequence: 1, timeNs: 0, kind: "miss", source: 0, a: 12, b: 34_000, text: "", ...change };
}

Deno.test("an event is logged with the names and units of its numbers", () => {
  const { logged, events } = setUp();
  events.add([
    event({}),
    event({ kind: "whole-refused", a: 2, b: 5000, text: "no window" }),
    event({ kind: "fault", source: undefined, text: "illegal address" }),
  ]);
  assertEquals(logged, [
    ["warn", "miss", { event: "miss", task: "detector", request: 12, lateUs: 34 }],
    ["warn", "no window", { event: "whole-refused", job: "map", step: 2, estimateUs: 5 }],
    ["error", "illegal address", { event: "fault" }],
  ]);
});

Deno.test("a flood of one kind is counted in full and logged once a second, with what was left out", () => {
  const { logged, counters, events } = setUp();
  for (let i = 0; i < 2500; i++) events.add([event({ timeNs: i * 1e6 })]);
  assertEquals(counters.events.miss, 2500);
  assertEquals(logged.map(([, , fields]) => fields?.leftOut), [undefined, 999, 999]);
});

Deno.test("sources do not silence each other", () => {
  const { logged, events } = setUp();
  events.add([event({ source: 0 }), event({ source: 1 }), event({ source: 1 })]);
  assertEquals(logged.map(([, , fields]) => fields?.task), ["detector", 1]);
});

Deno.test("a log line is JSON for machines and words for people, and below its level silent", () => {
  const lines: string[] = [];
  const options = { write: (line: string) => void lines.push(line), color: false, now: () => "T" };
  createLogger({ ...options, format: "json" }).warn("hot", { celsius: 85 });
  createLogger({ ...options, format: "text" }).warn("hot", { celsius: 85 });
  createLogger({ ...options, format: "text" }).info("fine");
  createLogger({ ...options, format: "text", level: "error" }).warn("unheard");
  assertEquals(lines, [
    '{"time":"T","level":"warn","message":"hot","celsius":85}\n',
    "T warn: hot celsius=85\n",
    "T fine\n",
  ]);
});
