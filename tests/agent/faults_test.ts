/** Are faults read as they were written, and is a text that means nothing refused? */
import { parseFaults } from "../../agent/faults.ts";
import { InputError } from "../../agent/errors.ts";
import { assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";

Deno.test("each fault is read with its measure, several between commas", () => {
  assertEquals(
    parseFaults("late-timers=0.02x3ms,slow-kernels=0.01x10,throttle=10s..20s@0.5,stalled-planner=1s..2500ms"),
    {
      engine: {
        lateTimerPpm: 20_000,
        lateTimerNs: 3e6,
        slowPpm: 10_000,
        slowPermille: 10_000,
        throttleBeginNs: 10e9,
        throttleEndNs: 20e9,
        throttlePermille: 500,
      },
      stalledPlanner: { beginNs: 1e9, endNs: 2.5e9 },
    },
  );
  assertEquals(parseFaults("late-entries=1x1us,lost-completions=0.5").engine, {
    lateEntryPpm: 1e6,
    lateEntryNs: 1000,
    lostPpm: 500_000,
  });
});

Deno.test("a fault without a measure has that of the help", () => {
  assertEquals(parseFaults("late-timers"), parseFaults("late-timers=0.01x2ms"));
});

Deno.test("what means nothing is refused, with the nearest name or an example", () => {
  const cases: Record<string, string> = {
    "late-timer": "did you mean late-timers?",
    "": "not nothing",
    "late-timers=2x1ms": "0..1",
    "late-timers=0.1": 'with "x" between',
    "slow-kernels=0.1x0.5": "1..1000",
    "throttle=20s..10s@0.5": "must end after it begins",
    "throttle=1s..2s@0": "such as throttle=10s..20s@0.5",
    "late-timers,late-timers": "named twice",
    "constructor": "must name",
  };
  for (const [spec, expected] of Object.entries(cases)) {
    assertStringIncludes(assertThrows(() => parseFaults(spec), InputError).message, expected);
  }
});
