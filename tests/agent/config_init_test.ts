import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { loadMission } from "../../agent/config.ts";
import { main } from "../../agent/main.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { path } from "../../agent/std/mod.ts";
import { writeMission } from "./mission_fixture.ts";

async function calypte(...args: string[]) {
  let out = "";
  let err = "";
  const code = await main(args, { out: (text) => out += text, err: (text) => err += text });
  return { code, out, err };
}

Deno.test("config init writes a mission that is right as it stands, with its input in frames", async () => {
  await using fixture = await writeMission();
  const { dir } = fixture;
  await Deno.mkdir(path.join(dir, "sub"));
  const file = path.join(dir, "sub", "new.yaml");
  const bundles = ["detector", "map", "map"].map((name) => path.join(dir, name));
  const { code, out } = await calypte(
    "config",
    "init",
    file,
    ...bundles,
    "--frames",
    path.join(dir, "frames"),
  );
  assertEquals([code, out.startsWith(`${file} is written`)], [0, true], out);
  const { mission } = await readMissionFiles(await loadMission(file));
  assertEquals(mission.critical.map(({ name, source }) => [name, source.kind]), [["detector", "frames"]]);
  assertEquals(mission.background.map(({ name, source }) => [name, source.kind]), [
    ["map", "frames"],
    ["map-2", "frames"],
  ]);
  assertStringIncludes(await Deno.readTextFile(file), "# CHANGE");
});

Deno.test("without frames the task is fed by HTTP and each job from a folder that is there", async () => {
  await using fixture = await writeMission();
  const { dir } = fixture;
  const file = path.join(dir, "new.yaml");
  const [detector, map] = ["detector", "map"].map((name) => path.join(dir, name));
  assertEquals((await calypte("config", "init", file, detector!, map!)).code, 0);
  assertEquals((await calypte("config", "check", file)).code, 0);
  const { critical, background } = await loadMission(file);
  assertEquals([critical[0]?.source.kind, background[0]?.source.kind], ["api", "queue"]);
  assert((await Deno.stat(path.join(dir, "queue", "map"))).isDirectory);
});

Deno.test("config init --background-only makes no critical task", async () => {
  await using fixture = await writeMission();
  const file = path.join(fixture.dir, "new.yaml");
  const args = ["config", "init", file, path.join(fixture.dir, "map"), "--background-only"];
  assertEquals((await calypte(...args)).code, 0);
  const { critical, background } = await loadMission(file);
  assertEquals([critical.length, background.length], [0, 1]);
});

Deno.test("config init overwrites nothing and writes nothing for a bundle that is not right", async () => {
  await using fixture = await writeMission();
  const before = await Deno.readTextFile(fixture.file);
  const there = await calypte("config", "init", fixture.file, path.join(fixture.dir, "map"));
  assertEquals(there.code, 2);
  assertStringIncludes(there.err, "is there already and is not overwritten");
  assertEquals(await Deno.readTextFile(fixture.file), before);
  const file = path.join(fixture.dir, "new.yaml");
  assertEquals((await calypte("config", "init", file, path.join(fixture.dir, "nowhere"))).code, 2);
  assertEquals([...Deno.readDirSync(fixture.dir)].some(({ name }) => name === "new.yaml"), false);
});
