/** What a mission says about policies, phases and limits. */
import { type Mission, parseMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";

const parse = (top: string, job = "") =>
  parseMission(`background: { b: { bundle: y, ${job} } }\n${top}`, "/m/m.yaml");
const policy = (text: string): Mission["policy"] => parse(`policy: ${text}`).policy;
const CONDITIONS = "conditions: { file: now.json }";

Deno.test("a policy is a name, a path, or a map with one of them", () => {
  const least = { name: "weighted-fair", file: undefined, leaseNs: 500e6, options: {} };
  assertEquals(policy("energy"), { ...least, name: "energy" });
  assertEquals(policy("./mine.js"), { ...least, file: "/m/mine.js" });
  assertEquals(policy("{}"), least);
  assertEquals(policy("{ file: ../mine.ts, lease: 1s, options: { gain: 2, quiet: true, name: x } }"), {
    ...least,
    file: "/mine.ts",
    leaseNs: 1e9,
    options: { gain: 2, quiet: true, name: "x" },
  });
});

Deno.test("conditions and what depends on them are read in the units of the fields", () => {
  const mission = parse(
    `${CONDITIONS}\nstopBackgroundAbove: { power: 2500mW }`,
    "when: [landing], deadline: 90ms",
  );
  assertEquals(mission.conditions, { file: "/m/now.json", maxAgeNs: 2e9 });
  assertEquals(mission.stopBackgroundAbove, { powerW: 2.5 });
  assertEquals([mission.background[0]?.when, mission.background[0]?.deadlineNs], [["landing"], 90e6]);
});

/** [top, job, field, part of the rule] */
const BROKEN: [string, string, string, string][] = [
  ["policy: Fair", "", "policy", "must be the name of a policy such as weighted-fair, or a path"],
  ["policy: 5", "", "policy", "must be a name, a path, or {name or file, lease, options}"],
  ["policy: { name: energy, file: a.js }", "", "policy", "must have a name or a file, not both"],
  ["policy: { file: a.py }", "", "policy.file", "must be a path that ends in .js, .mjs or .ts"],
  ["policy: { options: { a: [] } }", "", "policy.options.a", "must be a number, a text or true or false"],
  ["conditions: {}", "", "conditions.file", "must be given"],
  ["conditions: { file: a, maxAge: 0s }", "", "conditions.maxAge", "more than zero"],
  [`${CONDITIONS}\nstopBackgroundAbove: { temperature: 85 }`, "", "stopBackgroundAbove.temperature", "unit"],
  [
    `${CONDITIONS}\nstopBackgroundAbove: { batteryBelow: 120% }`,
    "",
    "stopBackgroundAbove.batteryBelow",
    "at most 100 %",
  ],
  [CONDITIONS, "when: []", "background.b.when", "at least 1"],
  [CONDITIONS, "when: [flying]", "background.b.when[0]", "must be one of disarmed, taking-off"],
  [CONDITIONS, "when: [unknown]", "background.b.when[0]", "must be one of disarmed, taking-off"],
  ["", "deadline: 0s", "background.b.deadline", "more than zero"],
  ["", "when: [cruising]", "background.b.when", "needs `conditions`"],
  ["policy: mission", "", "policy", "needs `conditions`"],
  ["stopBackgroundAbove: { batteryBelow: 5% }", "", "stopBackgroundAbove.batteryBelow", "needs `conditions`"],
];

Deno.test("every rule about policies and conditions names its field when it is broken", () => {
  for (const [top, job, field, rule] of BROKEN) {
    const error = assertThrows(() => parse(top, job), InputError);
    assertStringIncludes(error.problems.map((problem) => problem.field).join(" "), field, `${top} ${job}`);
    assertStringIncludes(error.message, rule);
  }
});
