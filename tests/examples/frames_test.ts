/** Are the camera frames in examples/frames what their index and their generator say? */
import { loadFrames } from "../../agent/frames.ts";
import { path } from "../../agent/std/mod.ts";
import {
  drawFrame,
  encodeFrame,
  FRAME_CHANNELS,
  FRAME_HEIGHT,
  FRAME_WIDTH,
  type FrameIndex,
  sha256,
} from "../../tools/make_frames.ts";
import { createTerrain } from "../../tools/frames_terrain.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { ROOT } from "./bundle_folders.ts";

const DIR = path.join(ROOT, "examples/frames");
/** So that the repository stays small. */
const MAX_FRAME_BYTES = 400_000;

const index: FrameIndex = JSON.parse(await Deno.readTextFile(path.join(DIR, "frames.json")));

Deno.test("the index lists every frame, each with its hash", async () => {
  const files = [...Deno.readDirSync(DIR)].map(({ name }) => name).filter((name) => name.endsWith(".png"));
  assertEquals(index.frames.map(({ file }) => file), files.sort());
  assertGreaterOrEqual(index.frames.length, 32);
  for (const { file, sha256: hash } of index.frames) {
    const bytes = await Deno.readFile(path.join(DIR, file));
    assertEquals(await sha256(bytes), hash, file);
    assertLess(bytes.length, MAX_FRAME_BYTES, file);
  }
});

Deno.test("the frames load as the agent loads them, in the size that the bundles take", async () => {
  assertEquals([index.width, index.height, index.channels], [640, 360, 3]);
  assertEquals([FRAME_WIDTH, FRAME_HEIGHT, FRAME_CHANNELS], [640, 360, 3]);
  const { width, height, channels, count } = await loadFrames(DIR, 640 * 360 * 3);
  assertEquals([width, height, channels, count], [640, 360, 3, index.frames.length]);
});

Deno.test("the obstacles' boxes lie in their frames, and some frames have one", () => {
  const boxes = index.frames.flatMap(({ obstacles }) => obstacles);
  assertGreaterOrEqual(boxes.length, 1);
  for (const { x, y, w, h } of boxes) {
    assert(x >= 0 && y >= 0 && w > 0 && h > 0, `a box at ${x}, ${y} of ${w} x ${h}`);
    assert(x + w <= index.width && y + h <= index.height, `a box at ${x}, ${y} leaves the frame`);
  }
});

Deno.test("the generator draws the first and the last frame again, byte for byte", async () => {
  const terrain = createTerrain(index.seed);
  for (const number of [0, index.frames.length - 1]) {
    const { rgb, obstacles } = drawFrame(terrain, index.seed, number);
    const entry = index.frames[number]!;
    assertEquals(await sha256(encodeFrame(rgb)), entry.sha256, entry.file);
    assertEquals(obstacles, entry.obstacles);
  }
});
