import { type Flight, fly, judge } from "../../bench/thermal.ts";
import { thermalSvg } from "../../bench/thermal_plot.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";

Deno.test("a short flight through heat is flown, judged and drawn, the same each time", async () => {
  const flights: Flight[] = [];
  for (const kind of ["controlled", "energy", "uncontrolled"] as const) {
    flights.push(await fly(kind, 90e9, 1));
  }
  // In 90 s no board gets hot: the judge must say so, as nothing was tried then.
  const found = judge(flights);
  assert(found.some((line) => line.startsWith("uncontrolled: the board never slowed down")), found.join());
  assert(!found.some((line) => line.includes("missed") || line.includes("beyond")), found.join());
  const svg = thermalSvg(flights);
  for (const word of ["controlled", "energy", "uncontrolled", "cruising", "model"]) {
    assertStringIncludes(svg, word);
  }
  assert(!svg.includes("NaN"));
  assertEquals((await fly("controlled", 90e9, 1)).moments, flights[0]!.moments);
  // Background is off where the phase or the battery says so.
  const off = flights[0]!.moments.filter(({ phase, batteryPercent }) =>
    phase === "landing" || batteryPercent < 20
  );
  assert(off.length > 5 && off.slice(1).every(({ duty }) => duty === 0));
});

Deno.test("the judge finds a missed deadline, a limit that was passed, throttling, a low battery and energy that was not saved", async () => {
  const good = await fly("controlled", 30e9, 1);
  const bad = structuredClone(good);
  bad.summary.critical["obstacle-detector"]!.misses = 2;
  bad.throttledS = 3;
  bad.moments[5]!.junctionC = 85;
  bad.moments[6]!.batteryPercent = 10;
  bad.moments[6]!.duty = 0.5;
  const found = judge([bad, { ...good, kind: "energy" }, { ...good, kind: "uncontrolled", throttledS: 9 }]);
  assertEquals(found, [
    "controlled: 2 deadlines missed",
    "controlled: the board slowed itself down for 3 s",
    "controlled: background ran at 10 % battery",
    "controlled: 85 C is beyond the limit",
    "energy: a unit took hardly fewer joules than under weighted-fair",
  ]);
});
