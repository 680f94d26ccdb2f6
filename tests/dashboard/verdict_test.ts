/** Does the page's one sentence hold? Without a browser: what it says of states that the test makes up. */
import { assertEquals, assertMatch } from "../assert.ts";
import { Verdict } from "../../agent/dashboard/verdict.js";

const START_NS = 20e9;
const TASKS = [{ name: "detector", periodNs: 33_333_333 }, { name: "by-hand", periodNs: null }];

interface Counts {
  requests?: number;
  late?: number;
  missRun?: number;
}

/** What the agent says `afterS` seconds behind the start; the page's clock goes with the engine's unless `pageS` says otherwise. */
function heard(
  verdict: Verdict,
  afterS: number,
  counts: Counts,
  more: Record<string, unknown> & { pageS?: number } = {},
) {
  const { requests = 0, late = 0, missRun = 0 } = counts;
  const { pageS = afterS, ...state } = more;
  const detector = { requests, onTime: requests - late, late, dropped: 0, failed: 0, missRun };
  const byHand = { requests: 0, onTime: 0, late: 0, dropped: 0, failed: 0, missRun: 0 };
  const whole = {
    ...{ nowNs: START_NS + afterS * 1e9, state: "ready", holds: [], safeMode: { on: false, reasons: [] } },
    tasks: { detector, "by-hand": byHand },
    ...state,
  };
  return verdict.of(whole, pageS * 1e3);
}

const begin = () => new Verdict(TASKS, START_NS);

Deno.test("all is on time if there were requests and none missed", () => {
  const verdict = begin();
  assertEquals(heard(verdict, 0, {}).how, "waiting");
  const { how, text } = heard(verdict, 0.5, { requests: 15 });
  assertEquals([how, text], ["good", "All requests on time"]);
});

Deno.test("a miss is news for a minute, and is not forgotten then", () => {
  const verdict = begin();
  heard(verdict, 0, { requests: 10 });
  assertEquals(heard(verdict, 1, { requests: 40, late: 1 }).how, "bad");
  assertEquals(heard(verdict, 60, { requests: 1_800, late: 1 }).how, "bad");
  const later = heard(verdict, 62, { requests: 1_860, late: 1 });
  assertEquals([later.how, later.text], ["warn", "On time again"]);
  assertMatch(later.more, /^1 of 1,860 requests was not on time$/);
});

Deno.test("a page that is opened while requests are missed says so at once", () => {
  assertEquals(heard(begin(), 0, { requests: 10, late: 2, missRun: 1 }).how, "bad");
  assertEquals(heard(begin(), 0, { requests: 10, late: 2 }).text, "On time again");
});

Deno.test("a sensor that sends nothing any more is not on time", () => {
  const verdict = begin();
  heard(verdict, 0, { requests: 10 });
  assertEquals(heard(verdict, 1.9, { requests: 10 }).how, "good");
  const { how, text } = heard(verdict, 2.5, { requests: 10 });
  assertEquals([how, text], ["warn", "No requests from detector"]);
  assertEquals(heard(verdict, 3, { requests: 11 }).how, "good");
});

Deno.test("a slow sensor has five periods, and one without a rhythm all the time", () => {
  const slow = new Verdict([{ name: "detector", periodNs: 10e9 }], START_NS);
  heard(slow, 0, { requests: 1 });
  assertEquals(heard(slow, 49, { requests: 1 }).how, "good");
  assertEquals(heard(slow, 51, { requests: 1 }).how, "warn");
  const any = new Verdict([{ name: "detector", periodNs: null }], START_NS);
  heard(any, 0, { requests: 1 });
  assertEquals(heard(any, 3_600, { requests: 1 }).how, "good");
});

Deno.test("an engine whose clock stands is silent, whatever its counts say", () => {
  const verdict = begin();
  heard(verdict, 1, { requests: 10 });
  assertEquals(heard(verdict, 1, { requests: 10 }, { pageS: 2.9 }).how, "good");
  const { how, text } = heard(verdict, 1, { requests: 10 }, { pageS: 3.5 });
  assertEquals([how, text], ["bad", "The engine is silent"]);
  assertEquals(heard(verdict, 4, { requests: 40 }).how, "good");
});

Deno.test("an engine that does not work comes before everything else", () => {
  const verdict = begin();
  const { how, text } = heard(verdict, 1, { requests: 10, late: 1 }, { state: "lost" });
  assertEquals([how, text], ["bad", "The engine is lost"]);
});

Deno.test("safe mode is said with its reasons", () => {
  const safeMode = { on: true, reasons: ["battery low"] };
  const { how, more } = heard(begin(), 1, { requests: 10 }, { safeMode });
  assertEquals(how, "warn");
  assertMatch(more, /battery low/);
  // Also where a late request is the greater news: nobody shall wonder why the GPU idles.
  const late = heard(begin(), 2, { requests: 20, late: 1, missRun: 1 }, { safeMode });
  assertEquals(late.how, "bad");
  assertMatch(late.more, /safe mode: no background runs \(battery low\)/);
});
