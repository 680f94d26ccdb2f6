/** Masks as pictures and outlines: what lies in the folder, and which bundles have one. */
import { decode } from "fast-png";
import { assertEquals, assertMatch, assertRejects } from "../assert.ts";
import { loadMission, loadMissionBundles } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { openSink, type ResultRecord } from "../../agent/sinks.ts";
import { path } from "../../agent/std/mod.ts";
import { resultOf } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

const BUNDLES = path.fromFileUrl(new URL("../../examples/bundles", import.meta.url));
const FIELDS = [
  { name: "score", offset: 0, sizeBytes: 4, dtype: "f32", shape: [1] },
  { name: "mask", offset: 256, sizeBytes: 6, dtype: "u8", shape: [2, 3] },
] as const;
const MASK = [0, 255, 255, 0, 0, 0];

function record(frameIndex: number, number = frameIndex): ResultRecord {
  const payload = new Uint8Array(262);
  payload.set(MASK, 256);
  return {
    work: "cracks",
    bundle: "ab".repeat(32),
    fields: FIELDS,
    result: resultOf({ number, frameIndex }),
    payload,
  };
}

async function written(
  masks: { across?: number },
  ...records: ResultRecord[]
): Promise<Map<string, Uint8Array>> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-masks-" });
  try {
    const sink = await openSink({ kind: "dir", dir, masks }, "x", {
      onLost: (why) => {
        throw new Error(why);
      },
    });
    for (const one of records) sink.put(one);
    await sink.close();
    const files = new Map<string, Uint8Array>();
    for await (const { name } of Deno.readDir(dir)) {
      files.set(name, await Deno.readFile(path.join(dir, name)));
    }
    return files;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function namesIn(dir: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(dir)) names.push(name);
  return names.sort();
}

const jsonOf = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes));

Deno.test("a mask is a PNG of the same values, outlines, and a sidecar that names both", async () => {
  const files = await written({}, record(1));
  assertEquals([...files.keys()].sort(), ["00000001.geojson", "00000001.json", "00000001.png"]);
  const { width, height, channels, data } = decode(files.get("00000001.png")!);
  assertEquals([width, height, channels, [...data]], [3, 2, 1, MASK]);
  const sidecar = jsonOf(files.get("00000001.json"));
  assertEquals([sidecar.file, sidecar.outlines, sidecar.complete], [
    "00000001.png",
    "00000001.geojson",
    true,
  ]);
});

Deno.test("outlines are GeoJSON in pixels of the frame, and say that they are", async () => {
  const collection = jsonOf((await written({}, record(1))).get("00000001.geojson"));
  assertMatch(collection.coordinates, /^pixels of the frame/);
  assertEquals(collection.features, [{
    type: "Feature",
    geometry: { type: "Polygon", coordinates: [[[1, 0], [3, 0], [3, 1], [1, 1], [1, 0]]] },
    properties: { areaPx: 2, box: [1, 0, 2, 1] },
  }]);
});

Deno.test("tiles lie where they were cut out, row by row", async () => {
  const files = await written({ across: 3 }, record(4, 40));
  const { coordinates, features: [feature] } = jsonOf(files.get("00000040.geojson"));
  assertMatch(coordinates, /^pixels of the picture of all tiles/);
  assertEquals(feature.properties.box, [1 * 3 + 1, 1 * 2, 2, 1]);
  assertEquals(feature.geometry.coordinates[0][0], [4, 2]);
});

Deno.test("an earlier run's masks are set aside, and a result that is there is not written again", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-masks-" });
  const losses: string[] = [];
  const options = { onLost: (why: string) => void losses.push(why) };
  const put = async (resume: boolean) => {
    const sink = await openSink({ kind: "dir", dir, masks: {} }, "x", { ...options, resume });
    sink.put(record(0));
    await sink.close();
  };
  try {
    await put(false);
    const first = await Deno.stat(path.join(dir, "00000000.png"));
    await put(true);
    assertEquals((await Deno.stat(path.join(dir, "00000000.png"))).ino, first.ino);
    await put(false);
    const three = ["00000000.geojson", "00000000.json", "00000000.png"];
    assertEquals(await namesIn(dir), [...three, "earlier-1"]);
    assertEquals(await namesIn(path.join(dir, "earlier-1")), three);
    assertEquals(losses, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a mission that asks for masks in vain is refused, by field", async () => {
  for (
    const [mapOutput, other, message] of [
      [
        "{ dir: out, as: masks }",
        "vegetation-map",
        /map\.output\.as: must be binaries for vegetation-map, /,
      ],
      ["{ dir: out, across: 6 }", undefined, /map\.output\.across: must be left out without `as: masks`/],
      ["{ dir: out, as: mask }", undefined, /map\.output\.as: /],
      [
        "{ dir: out, as: masks, across: 6 }",
        "{ queue: in }",
        /across: must be left out without a source of frames/,
      ],
    ] as const
  ) {
    await using mission = await writeMission({ mapOutput });
    const text = await Deno.readTextFile(mission.file);
    const [from, to] = other === "vegetation-map"
      ? ["map: { bundle: map,", `map: { bundle: ${BUNDLES}/vegetation-map,`]
      : ["weight: 3, source: { frames: frames }", `source: ${other}`];
    await Deno.writeTextFile(mission.file, other === undefined ? text : text.replace(from, to));
    const load = async () => await loadMissionBundles(await loadMission(mission.file));
    assertMatch((await assertRejects(load, InputError)).message, message);
  }
});
