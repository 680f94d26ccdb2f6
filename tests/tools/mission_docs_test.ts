import { assert, assertEquals } from "../assert.ts";
import { isLive, KEY_DOCS, keysOf } from "../../agent/config_docs.ts";
import { missionJsonSchema } from "../../agent/config_schema.ts";
import { z } from "zod";
import { startingMission } from "../../agent/config_init.ts";
import { yaml } from "../../agent/std/mod.ts";
import { manualWith, schemaText } from "../../tools/gen_mission_docs.ts";

const ROOT = new URL("../../", import.meta.url);
const AGAIN = "run tools/gen_mission_docs.ts";

Deno.test("docs/mission.schema.json is what missions are checked with", async () => {
  assertEquals(await Deno.readTextFile(new URL("docs/mission.schema.json", ROOT)), schemaText(), AGAIN);
});

Deno.test("the tables of docs/MISSION.md are what missions are checked with", async () => {
  const text = await Deno.readTextFile(new URL("docs/MISSION.md", ROOT));
  assertEquals(manualWith(text), text, AGAIN);
});

Deno.test("every key of a mission is documented, and nothing that is no key", () => {
  const keys = new Set(keysOf(missionJsonSchema()).map(({ key }) => key));
  assertEquals([...keys].filter((key) => KEY_DOCS[key] === undefined), []);
  assertEquals(Object.keys(KEY_DOCS).filter((key) => !keys.has(key)), []);
});

Deno.test("what is documented as live are keys of the schema", () => {
  const live = Object.keys(KEY_DOCS).filter(isLive);
  for (
    const key of ["background.NAME.weight", "policy.options", "stopBackgroundAbove.power", "safeMode.misses"]
  ) {
    assert(live.includes(key), key);
  }
  for (const key of ["policy", "policy.lease", "critical.NAME.deadline", "device"]) {
    assert(!live.includes(key), key);
  }
});

Deno.test("every example names the schema in a place where it lies", async () => {
  const folder = new URL("examples/missions/", ROOT);
  let examples = 0;
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".yaml")) continue;
    const [first = ""] = (await Deno.readTextFile(new URL(name, folder))).split("\n");
    const named = /^# yaml-language-server: \$schema=(\S+)$/.exec(first)?.[1];
    assert(named !== undefined, `${name}: ${first}`);
    assertEquals(new URL(named, folder).href, new URL("docs/mission.schema.json", ROOT).href);
    examples++;
  }
  assert(examples >= 3);
});

Deno.test("the published schema takes what is a mission and refuses what breaks its shapes", async () => {
  const schema = z.fromJSONSchema(
    JSON.parse(await Deno.readTextFile(new URL("docs/mission.schema.json", ROOT))),
  );
  const takes = (text: string) => schema.safeParse(yaml.parse(text, { schema: "core" })).success;
  for (
    const file of [
      "examples/missions/survey.yaml",
      "examples/missions/camera.yaml",
      "examples/missions/isolated.yaml",
      "examples/missions/inspection.yaml",
      "tests/fixtures/missions/full.yaml",
    ]
  ) assert(takes(await Deno.readTextFile(new URL(file, ROOT))), file);
  const work = { name: "a", bundle: "b", takesInput: true };
  assert(takes(startingMission({ file: "m.yaml", critical: work, background: [work], frames: undefined })));
  for (
    const text of [
      "critical: { a: { bundel: b } }",
      "policy: { lease: 500 }",
      "preemptionBound: fast",
      "background: { a: { bundle: b, weight: 0 } }",
      "device: { foreign: Xorg }",
    ]
  ) assert(!takes(text), text);
});
