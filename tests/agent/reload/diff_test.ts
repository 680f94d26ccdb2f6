import { assert, assertEquals } from "../../assert.ts";
import { parseMission } from "../../../agent/config.ts";
import {
  changeText,
  fixedText,
  JOB_FIELDS,
  MISSION_FIELDS,
  missionDiff,
  POLICY_FIELDS,
  TASK_FIELDS,
  withLive,
} from "../../../agent/reload/diff.ts";

const BASE = `
critical:
  detector: { bundle: d, source: { api: true }, deadline: 10ms }
background:
  map: { bundle: m, weight: 3 }
  thumbs: { bundle: t }
conditions: { file: c.json }
policy: { name: deadline, options: { floor: 0.1 } }
`;

function read(text: string) {
  return parseMission(text, "m.yaml");
}

function diff(change: (text: string) => string) {
  const after = change(BASE);
  assert(after !== BASE);
  const { live, restart } = missionDiff(read(BASE), read(after));
  return { live: live.map(changeText), restart: restart.map(changeText) };
}

Deno.test("a mission does not differ from itself, nor from the same in another order or another writing", () => {
  assertEquals(missionDiff(read(BASE), read(BASE)), { live: [], restart: [] });
  const other = `
policy: { options: { floor: 0.1 }, lease: 0.5s, name: deadline }
conditions: { maxAge: 2000ms, file: c.json }
background: { thumbs: { bundle: t, weight: 1 }, map: { weight: 3, bundle: ./m } }
critical: { detector: { deadline: { within: 10000us }, source: { api: true }, bundle: d } }
`;
  assertEquals(missionDiff(read(BASE), read(other)), { live: [], restart: [] });
});

for (
  const [what, change, field] of [
    ["a weight", ["weight: 3", "weight: 5"], "background.map.weight: 3 -> 5"],
    [
      "a job that is switched off",
      ["bundle: t", "bundle: t, enabled: false"],
      "background.thumbs.enabled: true -> false",
    ],
    [
      "phases of a job",
      ["bundle: t", "bundle: t, when: [cruising]"],
      'background.thumbs.when: [] -> ["cruising"]',
    ],
    [
      "a job's soft deadline",
      ["bundle: t", "bundle: t, deadline: 1s"],
      "background.thumbs.deadline: 0 -> 1000000000",
    ],
    ["a policy's option", ["floor: 0.1", "floor: 0.2"], 'policy.options: {"floor":0.1} -> {"floor":0.2}'],
    ["another policy", ["name: deadline", "name: energy"], 'policy.name: "deadline" -> "energy"'],
    [
      "a limit",
      ["conditions:", "stopBackgroundAbove: { power: 25W }\nconditions:"],
      'stopBackgroundAbove: {} -> {"powerW":25}',
    ],
    ["safe mode", ["conditions:", "safeMode: off\nconditions:"], "safeMode: {"],
  ] as const
) {
  Deno.test(`${what} can change while the mission runs`, () => {
    const { live, restart } = diff((text) => text.replace(change[0], change[1]));
    assertEquals([live.length, restart], [1, []]);
    assert(live[0]?.startsWith(field), live[0]);
  });
}

for (
  const [what, change, field] of [
    ["another deadline", ["10ms", "11ms"], "critical.detector.deadline: 10000000 -> 11000000"],
    ["another bundle", ["bundle: m,", "bundle: n,"], 'background.map.bundle: "m" -> "n"'],
    ["a lease", ["name: deadline", "name: deadline, lease: 1s"], "policy.lease: 500000000 -> 1000000000"],
    ["an address", ["conditions:", "http: false\nconditions:"], "http: "],
    ["a job more", ["background:", "background:\n  more: { bundle: x }"], "background.more (new)"],
    ["a job less", ["  thumbs: { bundle: t }\n", ""], "background.thumbs (gone)"],
    [
      "a task more",
      ["critical:", "critical:\n  more: { bundle: x, source: { api: true }, deadline: 1s }"],
      "critical.more (new)",
    ],
  ] as const
) {
  Deno.test(`${what} needs a restart`, () => {
    const { live, restart } = diff((text) => text.replace(change[0], change[1]));
    assertEquals([live, restart.length], [[], 1]);
    assert(restart[0]?.startsWith(field), restart[0]);
  });
}

Deno.test("of a change of both kinds only the live half goes into what runs", () => {
  const before = read(BASE);
  const after = read(
    BASE.replace("weight: 3", "weight: 5").replace("10ms", "11ms").replace("floor: 0.1", "floor: 1"),
  );
  const merged = withLive(before, after);
  assertEquals(merged.background[0]?.weight, 5);
  assertEquals(merged.policy.options, { floor: 1 });
  assertEquals(merged.critical, before.critical);
  assertEquals(missionDiff(merged, after), { live: [], restart: missionDiff(before, after).restart });
});

Deno.test("every key of a mission is either live or needs a restart, and those that are live are these", () => {
  const all = [MISSION_FIELDS, POLICY_FIELDS, TASK_FIELDS, JOB_FIELDS].flatMap((fields) =>
    Object.values(fields)
  );
  assertEquals(all.filter(({ live }) => live).map(({ key }) => key).sort(), [
    ...[
      "deadline",
      "enabled",
      "policy.file",
      "policy.name",
      "policy.options",
      "safeMode",
      "stopBackgroundAbove",
    ],
    ...["weight", "when"],
  ]);
});

Deno.test("missions that can follow each other in one run have the same fixed text, others have not", () => {
  const fixed = (change: (text: string) => string) => fixedText(read(change(BASE)));
  const first = fixedText(read(BASE));
  assertEquals(
    fixed((text) =>
      text.replace("weight: 3", "weight: 5").replace("deadline, options: { floor: 0.1 }", "energy")
    ),
    first,
  );
  assertEquals(fixed((text) => text.replace("10ms", "10000us")), first);
  for (
    const [from, to] of [["10ms", "11ms"], ["bundle: m,", "bundle: n,"], [
      "  thumbs: { bundle: t }\n",
      "",
    ]] as const
  ) {
    assert(fixed((text) => text.replace(from, to)) !== first, from);
  }
  const swapped = BASE.replace("  map: { bundle: m, weight: 3 }\n", "").replace(
    "  thumbs: { bundle: t }\n",
    "  thumbs: { bundle: t }\n  map: { bundle: m, weight: 3 }\n",
  );
  assert(fixedText(read(swapped)) !== first, "ids follow the order");
});
