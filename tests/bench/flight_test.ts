import { theLibrary } from "../../agent/commands/engines.ts";
import { loadMission } from "../../agent/config.ts";
import { SILENT } from "../../agent/log.ts";
import { type Flight, fly, type Tick } from "../../bench/flight/fly.ts";
import { judge } from "../../bench/flight/judge.ts";
import { plot } from "../../bench/flight/plot.ts";
import { momentAt } from "../../bench/flight/script.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";

const MISSION = new URL("../../examples/missions/flight.yaml", import.meta.url).pathname;

// Stays open for the process; opened here, as a test must not leave one behind.
theLibrary();

let flown: Promise<Flight> | undefined;

/** Ten seconds of real time, so once for all tests. */
function theFlight(): Promise<Flight> {
  return flown ??= fly({ mission: MISSION, seed: 1, profile: "orin-nano", log: SILENT });
}

Deno.test("the example mission names its vehicle", async () => {
  const { flight, policy } = await loadMission(MISSION);
  assertEquals([flight?.mavlink.port, flight?.onLinkLoss, policy.name], [14_550, "stop", "mission"]);
});

Deno.test("25 minutes: no deadline is missed, and background stops wherever it must", async () => {
  const flight = await theFlight();
  const { wrong, stoppedS, cruisingShare } = judge(flight);
  assertEquals(wrong, []);
  assertEquals(Object.keys(stoppedS), [
    "armed",
    "take-off",
    "too hot",
    "no link",
    "failsafe",
    "low battery",
    "landing",
    "landed",
  ]);
  assert(cruisingShare > 0.9);
  assertEquals(flight.summary.critical["obstacle-detector"]?.requests, 45_000);
  // Each bit of damage was noticed; what was lost is what the script kept back.
  assertEquals(flight.counts.rejected > 400, true);
  assertEquals(flight.counts.lost, 83);
});

Deno.test("the phases follow the script, in its order", async () => {
  const { ticks } = await theFlight();
  const phases = ticks.map(({ conditions }) => conditions.phase);
  assertEquals(phases.filter((phase, index) => phase !== phases[index - 1]), [
    "unknown",
    "disarmed",
    "taking-off",
    "cruising",
    "link-lost",
    "cruising",
    "emergency",
    "cruising",
    "landing",
    "disarmed",
  ]);
});

Deno.test("the judge sees background where there must be none, late responses, and background that never runs", async () => {
  const flight = await theFlight();
  const at = (second: number) => flight.ticks.findIndex(({ fromS }) => fromS >= second);
  const withTick = (second: number, change: Partial<Tick>) =>
    judge({ ...flight, ticks: flight.ticks.with(at(second), { ...flight.ticks[at(second)]!, ...change }) })
      .wrong;
  const scenes: [number, string][] = [[80, "take-off"], [910, "no link"], [1030, "failsafe"], [
    1300,
    "low battery",
  ]];
  for (const [second, reason] of scenes) {
    const [wrong = ""] = withTick(second, { background: 0.05 });
    assertStringIncludes(wrong, `${reason}, yet background had 5.0 %`);
  }
  const { temperatureC = 0 } = flight.limits;
  const hot = withTick(300, { conditions: { phase: "cruising", temperatureC: temperatureC + 1 } });
  assertStringIncludes(hot[0] ?? "", "too hot");
  assertStringIncludes(
    judge({ ...flight, responses: [...flight.responses, { atS: 5, ms: 15.1 }] }).wrong[0] ?? "",
    "1 responses took more than 15 ms",
  );
  const idle = flight.ticks.map((tick) => ({ ...tick, background: 0 }));
  assertStringIncludes(judge({ ...flight, ticks: idle }).wrong[0] ?? "", "0 % of the GPU only");
});

Deno.test("one seed gives one flight", async () => {
  const options = { mission: MISSION, seed: 3, profile: "orin-nano", log: SILENT, seconds: 130 };
  const [first, second] = [await fly(options), await fly(options)];
  assertEquals(first, second);
  assert(first.ticks.some(({ background }) => background > 0.5));
});

Deno.test("the plot says that nothing was measured, and has each panel", async () => {
  const svg = plot(await theFlight(), MISSION, 1);
  for (
    const words of [
      "nothing here was measured",
      "estimated times",
      "temperature",
      "battery",
      "duty",
      "response",
    ]
  ) {
    assertStringIncludes(svg, words);
  }
  assert(!/NaN|undefined|Infinity/.test(svg));
});

Deno.test("the script: the battery only falls, and air warms on the climb", () => {
  const percents = [0, 300, 900, 1200, 1400, 1499].map((second) => momentAt(second).batteryPercent);
  assertEquals(percents, percents.toSorted((a, b) => b - a));
  assertEquals([momentAt(100).ambientC, momentAt(520).ambientC, momentAt(600).ambientC], [22, 33, 44]);
});
