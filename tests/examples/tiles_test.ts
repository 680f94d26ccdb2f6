/** Are the tiles in examples/tiles what their generator draws, and does defect-tiles find the cracks in tiles it never saw? */
import { decode } from "fast-png";
import { createReference } from "../../examples/bundles/defect-tiles/reference.ts";
import { loadFrames } from "../../agent/frames.ts";
import { loadMission, loadMissionBundles } from "../../agent/config.ts";
import { path } from "../../agent/std/mod.ts";
import { drawTile, drawTiles, TILE_HEIGHT, TILE_WIDTH, TILES_ACROSS } from "../../tools/make_tiles.ts";
import { addTile, MEASURED_SEED, noQuality, precision, recall } from "../../tools/measure_defect_tiles.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { ROOT } from "./bundle_folders.ts";

const DIR = path.join(ROOT, "examples/tiles");
const BUNDLE = path.join(ROOT, "examples/bundles/defect-tiles");
const SEED = 11;
/** So that the repository stays small. */
const MAX_TILE_BYTES = 120_000;
/** Of the tiles below; tools/measure_defect_tiles.ts has the figures of many more. */
const HELD_OUT = 10;

Deno.test("the tiles are those of one drawn frame, row by row, and load in the size that the bundle takes", async () => {
  const { count, data, frameBytes } = await loadFrames(DIR, TILE_WIDTH * TILE_HEIGHT * 3);
  const drawn = drawTiles(SEED);
  assertEquals(count, drawn.length);
  for (const [index, { rgb }] of drawn.entries()) {
    const tile = data.subarray(index * frameBytes, (index + 1) * frameBytes);
    assert(tile.every((byte, at) => byte === rgb[at]), `tile ${index} is not what seed ${SEED} draws`);
  }
  for (const { name } of Deno.readDirSync(DIR)) {
    assertLess((await Deno.stat(path.join(DIR, name))).size, MAX_TILE_BYTES, name);
  }
});

Deno.test("a drawn tile has cracks where its mask says: darker than what is around them", () => {
  const { rgb, mask } = drawTile(MEASURED_SEED);
  let [inside, outside, cracked] = [0, 0, 0];
  for (const [at, value] of mask.entries()) {
    if (value === 0) outside += rgb[at * 3]!;
    else inside += rgb[at * 3]!, cracked++;
  }
  assertGreaterOrEqual(cracked, 100);
  assertLess(inside / cracked, 0.85 * outside / (mask.length - cracked));
});

Deno.test("defect-tiles finds the cracks of tiles that its training never saw, and little else", async () => {
  const reference = await createReference(BUNDLE);
  const quality = noQuality();
  for (let i = 0; i < HELD_OUT; i++) {
    const { rgb, mask } = drawTile(MEASURED_SEED + i);
    addTile(quality, reference.run(rgb), mask, TILE_WIDTH);
  }
  assertGreaterOrEqual(precision(quality), 0.95);
  assertGreaterOrEqual(recall(quality), 0.92);
});

Deno.test("quality counts what is marked, what is there, and what is near", () => {
  const [seen, mask] = [new Uint8Array(100), new Uint8Array(100)];
  seen.fill(1, 20, 24); // row 2, columns 0 to 3
  mask.fill(1, 2, 4); // row 0, columns 2 and 3
  mask[99] = 1;
  const quality = noQuality();
  addTile(quality, seen, mask, 10);
  const { marked, right, near, there, found, nearFound } = quality;
  assertEquals([marked, right, near, there, found, nearFound], [4, 0, 4, 3, 0, 2]);
});

Deno.test("the inspection mission puts as many tiles in a row as were cut out of one", async () => {
  const mission = await loadMission(path.join(ROOT, "examples/missions/inspection.yaml"));
  await loadMissionBundles(mission);
  const [{ output } = {}] = mission.background;
  assertEquals(output?.kind === "dir" ? output.masks : undefined, { across: TILES_ACROSS });
});

Deno.test("the sample is one of the tiles", async () => {
  const sample = await Deno.readFile(path.join(BUNDLE, "sample.in"));
  const tiles = [...Deno.readDirSync(DIR)].map(({ name }) =>
    decode(Deno.readFileSync(path.join(DIR, name))).data
  );
  assert(tiles.some((tile) => sample.every((byte, at) => byte === tile[at])));
});
