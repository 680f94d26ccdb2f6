import type { Conditions } from "../../agent/conditions.ts";
import type { Logger } from "../../agent/log.ts";
import { BackgroundStop, type StopLimits } from "../../agent/stop_limits.ts";
import { assertEquals } from "../assert.ts";

function setUp(limits: StopLimits) {
  const said: string[] = [];
  const keep = (message: string) => void said.push(message);
  const stop = new BackgroundStop(limits, { debug: keep, info: keep, warn: keep, error: keep } as Logger);
  return {
    said,
    stopped: (known: Omit<Conditions, "phase">) => stop.stopped({ phase: "cruising", ...known }),
  };
}

/** [limits, key, values in turn, what comes of each] */
const RAMPS: [StopLimits, keyof Omit<Conditions, "phase">, number[], boolean[]][] = [
  [{ temperatureC: 85 }, "temperatureC", [85, 85.1, 84, 82.1, 82, 85, 86], [
    false,
    true,
    true,
    true,
    false,
    false,
    true,
  ]],
  [{ powerW: 20 }, "powerW", [20, 21, 19, 18, 20], [false, true, true, false, false]],
  [{ batteryPercent: 20 }, "batteryPercent", [20, 19.9, 20, 21, 22, 20], [
    false,
    true,
    true,
    true,
    false,
    false,
  ]],
];
for (const [limits, key, values, stopped] of RAMPS) {
  Deno.test(`background stops beyond the limit on ${key}, and comes back only well within it`, () => {
    const scene = setUp(limits);
    assertEquals(values.map((value) => scene.stopped({ [key]: value })), stopped);
  });
}

Deno.test("what has a limit and is not known stops background; what has none never does", () => {
  assertEquals(setUp({ temperatureC: 85 }).stopped({ powerW: 5 }), true);
  assertEquals(setUp({}).stopped({ temperatureC: 200, batteryPercent: 0, powerW: 900 }), false);
});

Deno.test("each change is said once, with its reasons", () => {
  const { said, stopped } = setUp({ temperatureC: 85, batteryPercent: 20 });
  for (const temperatureC of [90, 91, 89]) stopped({ temperatureC, batteryPercent: 50 });
  stopped({ temperatureC: 89, batteryPercent: 5 });
  stopped({ temperatureC: 60, batteryPercent: 50 });
  stopped({ temperatureC: 61, batteryPercent: 50 });
  assertEquals(said, [
    "background stops: temperature was 90 C; stopBackgroundAbove says so",
    "background stops: temperature was 89 C, battery was 5 %; stopBackgroundAbove says so",
    "background may run again: all within stopBackgroundAbove",
  ]);
});
