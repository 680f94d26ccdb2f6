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
  const log = { debug: to("debug"), info: to("info"), warn: to("warn"), error: to("error") };
  return {
    logged,
    counters,
    events: new EventLog({ log, counters, leaseNs: 500e6, tasks: ["detector"], jobs: ["map"] }),
  };
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
    ["warn", "request 12 missed its deadline, by 34 us", {
      event: "miss",
      task: "detector",
      request: 12,
      lateUs: 34,
    }],
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

Deno.test("a plan is one readable line, a hold one for the curious, safe mode a warning and its end none", () => {
  const { logged, events } = setUp();
  const hold = { kind: "hold", source: undefined } as const;
  events.add([
    event({ ...hold, a: 1, b: 0 }),
    event({ kind: "plan", source: undefined, a: 1 }),
    event({ ...hold, a: 0, b: 36 }),
    event({ kind: "safe-mode", source: undefined, a: 3, b: 4 }),
    event({ kind: "safe-mode", source: undefined, a: 0, b: 0 }),
    event({ kind: "lease-expired", source: undefined, a: 7 }),
  ]);
  assertEquals(logged.map(([level, message]) => [level, message]), [
    ["debug", "background is not held any more"],
    ["info", "background runs: plan 1, lease 500 ms"],
    ["warn", "safe mode: requests missed, forced"],
    ["info", "safe mode is left: background may run again"],
    ["warn", "background holds: the lease of plan 7 ended without a new plan"],
  ]);
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
  createLogger({ ...options, format: "text" }).debug("unheard");
  createLogger({ ...options, format: "text" }).info("plan 1", { event: "plan", plan: 1 });
  createLogger({ ...options, format: "json" }).info("plan 1", { event: "plan", plan: 1 });
  assertEquals(lines, [
    '{"time":"T","level":"warn","message":"hot","celsius":85}\n',
    "T warn: hot celsius=85\n",
    "T fine\n",
    "T plan 1\n",
    '{"time":"T","level":"info","message":"plan 1","event":"plan","plan":1}\n',
  ]);
});
