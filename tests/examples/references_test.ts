/**
 * Do the example bundles' CPU references compute what their descriptions say?
 *
 * Pictures whose answers can be worked out by hand, and recorded frames, whose answers must at least vary. That the kernels compute the
 * same is checked on a GPU by `calypte bundle verify`, not here.
 */
import { createReference as createKeyframeSelect } from "../../examples/bundles/keyframe-select/reference.ts";
import { createReference as createVegetationMap } from "../../examples/bundles/vegetation-map/reference.ts";
import { path } from "../../agent/std/mod.ts";
import { frame, randomOf } from "../../tools/bundle_source.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertThrows,
} from "../assert.ts";

const WIDTH = 640;
const HEIGHT = 360;
const PIXELS = WIDTH * HEIGHT;
const BUNDLES = path.fromFileUrl(new URL("../../examples/bundles", import.meta.url));

type Rgb = readonly [number, number, number];
const GREEN: Rgb = [0, 200, 0];
const GREY: Rgb = [90, 90, 90];

function draw(colourAt: (x: number, y: number) => Rgb): Uint8Array {
  const rgb = new Uint8Array(PIXELS * 3);
  for (let y = 0, at = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++, at += 3) rgb.set(colourAt(x, y), at);
  }
  return rgb;
}

interface Tile {
  mean: number;
  fraction: number;
  variance: number;
  largest: number;
}

async function mapOf(
  rgb: Uint8Array,
): Promise<{ tileAt(column: number, row: number): Tile; bins: number[] }> {
  const output = (await createVegetationMap(path.join(BUNDLES, "vegetation-map"))).run(rgb);
  const view = new DataView(output.buffer);
  const number = (i: number) => view.getFloat32(4 * i, true);
  return {
    tileAt(column, row) {
      const at = (row * 16 + column) * 4;
      return {
        mean: number(at),
        fraction: number(at + 1),
        variance: number(at + 2),
        largest: number(at + 3),
      };
    },
    bins: Array.from({ length: 64 }, (_, i) => view.getUint32(9 * 16 * 16 + 4 * i, true)),
  };
}

Deno.test("an all-green frame is all vegetation", async () => {
  const { tileAt, bins } = await mapOf(draw(() => GREEN));
  for (let row = 0; row < 9; row++) {
    for (let column = 0; column < 16; column++) {
      assertEquals(tileAt(column, row), { mean: 2, fraction: 1, variance: 0, largest: 2 });
    }
  }
  assertEquals(bins[63], PIXELS);
});

Deno.test("grey and black frames have index 0", async () => {
  for (const colour of [GREY, [0, 0, 0] as const]) {
    const { tileAt, bins } = await mapOf(draw(() => colour));
    assertEquals(tileAt(8, 4), { mean: 0, fraction: 0, variance: 0, largest: 0 });
    // 0 is a quarter above the lowest bin's edge.
    assertEquals(bins[16], PIXELS);
  }
});

Deno.test("the left half of a frame is told from the right half", async () => {
  const { tileAt } = await mapOf(draw((x) => x < WIDTH / 2 ? GREEN : GREY));
  assertEquals(tileAt(0, 3), { mean: 2, fraction: 1, variance: 0, largest: 2 });
  assertEquals(tileAt(15, 3), { mean: 0, fraction: 0, variance: 0, largest: 0 });
  // Smoothing carries as much across the border in one direction as in the other.
  const inside = tileAt(7, 3), outside = tileAt(8, 3);
  assertAlmostEquals(inside.mean + outside.mean, 2, 1e-5);
  assertGreater(outside.fraction, 0);
  assertGreater(inside.variance, 0);
});

Deno.test("a single green pixel is spread as three binomials of 9 spread it, and none of it is lost", async () => {
  const { tileAt } = await mapOf(draw((x, y) => x === 5 * 40 + 20 && y === 2 * 40 + 20 ? GREEN : GREY));
  const tile = tileAt(5, 2);
  // Three convolutions of the row of 9 are the row of 25, whose middle is 24! / (12! 12!).
  const middle = 2_704_156 / 2 ** 24;
  assertAlmostEquals(tile.largest, 2 * middle * middle, 1e-7);
  assertAlmostEquals(tile.mean, 2 / 1600, 1e-8);
  assertEquals(tile.fraction, 0);
  assertEquals(tileAt(4, 2).largest, 0);
});

Deno.test("recorded frames have fields with and without vegetation", async () => {
  for (const index of [0, 13, 31]) {
    const { tileAt, bins } = await mapOf(await frame(index));
    const tiles = Array.from({ length: 144 }, (_, i) => tileAt(i % 16, Math.floor(i / 16)));
    const fractions = tiles.map((tile) => tile.fraction);
    assertLess(Math.min(...fractions), 0.1);
    assertGreater(Math.max(...fractions), 0.9);
    for (const { mean, fraction, variance, largest } of tiles) {
      assert(mean > -0.2 && mean <= largest && largest < 1, `mean ${mean}, largest ${largest}`);
      assert(variance >= 0 && variance < 0.25, `variance ${variance}`);
      assert(fraction >= 0 && fraction <= 1, `fraction ${fraction}`);
    }
    assertEquals(bins.reduce((sum, count) => sum + count), PIXELS);
    assertGreater(bins.filter((count) => count > 100).length, 20);
  }
});

interface Verdict {
  sharpness: number;
  change: number;
  isKey: boolean;
  motionX: number;
  motionY: number;
  keyframes: number;
  framesSince: number;
}

async function judge(): Promise<(rgb: Uint8Array) => Verdict> {
  const reference = await createKeyframeSelect(path.join(BUNDLES, "keyframe-select"));
  return (rgb) => {
    const output = reference.run(rgb);
    assertEquals(output.byteLength, 32);
    const view = new DataView(output.buffer);
    const number = (i: number) => view.getFloat32(4 * i, true);
    assertEquals(number(7), 0);
    return {
      sharpness: number(0),
      change: number(1),
      isKey: number(2) === 1,
      motionX: number(3),
      motionY: number(4),
      keyframes: number(5),
      framesSince: number(6),
    };
  };
}

/** A window of a larger picture of noise on 4 x 4 pixels. */
function noiseFrom(left: number, top: number): Uint8Array {
  const columns = (WIDTH + 80) / 4;
  const random = randomOf(11);
  const grey = Array.from({ length: columns * (HEIGHT + 80) / 4 }, () => Math.floor(256 * random()));
  return draw((x, y) => {
    const value = grey[((top + y) >> 2) * columns + ((left + x) >> 2)] ?? 0;
    return [value, value, value];
  });
}

Deno.test("the first frame is a keyframe, and the same frame again is not", async () => {
  const verdictOf = await judge();
  const rgb = await frame(3);
  const first = verdictOf(rgb);
  assert(first.isKey);
  assertEquals([first.keyframes, first.framesSince, first.motionX, first.motionY], [1, 0, 0, 0]);
  const second = verdictOf(rgb);
  assertEquals(second, {
    ...{ sharpness: first.sharpness, change: 0, isKey: false },
    ...{ motionX: 0, motionY: 0, keyframes: 1, framesSince: 1 },
  });
});

Deno.test("a shifted copy has the motion by which it was shifted, in small pixels", async () => {
  for (const [motionX, motionY] of [[3, -5], [-8, 8], [1, 0]] as const) {
    const verdictOf = await judge();
    verdictOf(noiseFrom(40, 40));
    // What was at p is now at p + m: the window has moved the other way.
    const moved = verdictOf(noiseFrom(40 - 2 * motionX, 40 - 2 * motionY));
    assertAlmostEquals(moved.motionX, motionX, 0.5);
    assertAlmostEquals(moved.motionY, motionY, 0.5);
    assertGreater(moved.change, Math.abs(moved.motionX) + Math.abs(moved.motionY));
  }
});

Deno.test("a shift beyond the search's reach is a change of the scene, and makes a keyframe", async () => {
  const verdictOf = await judge();
  verdictOf(noiseFrom(0, 0));
  const far = verdictOf(noiseFrom(60, 60));
  assert(far.isKey);
  assertEquals([far.keyframes, far.framesSince], [2, 0]);
  // The new keyframe is what the next frame is held against.
  assertEquals(verdictOf(noiseFrom(60, 60)).change, 0);
});

Deno.test("stripes have the sharpness that is worked out by hand, and a flat frame has none", async () => {
  const verdictOf = await judge();
  // Columns of 0 and 255 at half the size: the Laplacian is 510 and -510 in turn.
  const stripes = draw((x) => x & 2 ? [255, 255, 255] : [0, 0, 0]);
  assertAlmostEquals(verdictOf(stripes).sharpness, 510 * 510, 0.1);
  assertEquals(verdictOf(draw(() => GREY)).sharpness, 0);
});

Deno.test("a blurred frame is no keyframe however much has changed, until the longest gap", async () => {
  const verdictOf = await judge();
  verdictOf(noiseFrom(0, 0));
  const flat = draw(() => GREY);
  const verdicts = Array.from({ length: 30 }, () => verdictOf(flat));
  assertGreater(verdicts[0]!.change, 50);
  assertEquals(verdicts.map((verdict) => verdict.isKey), [...Array(29).fill(false), true]);
  // Every candidate is equally good in a flat picture; the shortest motion wins.
  const again = verdictOf(flat);
  assertEquals([again.change, again.motionX, again.motionY, again.framesSince], [0, 0, 0, 1]);
});

Deno.test("of recorded frames, some are keyframes and some are not", async () => {
  const verdictOf = await judge();
  const verdicts = [];
  for (let index = 0; index < 12; index++) verdicts.push(verdictOf(await frame(index)));
  const keys = verdicts.filter((verdict) => verdict.isKey).length;
  assert(keys >= 3 && keys <= 9, `${keys} of 12`);
  assertEquals(verdicts.at(-1)?.keyframes, keys);
  for (const { sharpness } of verdicts) assert(sharpness > 300 && sharpness < 3000, `sharpness ${sharpness}`);
  // The camera flies up the picture, 9 pixels a frame, so that what it sees moves down.
  assertGreater(verdicts.filter((verdict) => verdict.motionY > 1).length, 8);
});

Deno.test("a frame of another size is refused", async () => {
  const map = await createVegetationMap(path.join(BUNDLES, "vegetation-map"));
  assertThrows(() => map.run(new Uint8Array(3)), RangeError, "691200");
  const select = await createKeyframeSelect(path.join(BUNDLES, "keyframe-select"));
  assertThrows(() => select.run(new Uint8Array(3)), RangeError, "691200");
});
