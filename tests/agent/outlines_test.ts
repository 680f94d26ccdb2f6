/** Patches of a mask and their outlines: by hand, and against the mask itself. */
import { assert, assertEquals } from "../assert.ts";
import { patchesOf, type Point } from "../../agent/outlines.ts";
import { randomOf } from "../../tools/bundle_source.ts";

function maskOf(...rows: string[]): [mask: Uint8Array, width: number, height: number] {
  const mask = Uint8Array.from(rows.join(""), (pixel) => pixel === "#" ? 255 : 0);
  return [mask, rows[0]!.length, rows.length];
}

/** Twice the area, positive for a ring that runs clockwise to the eye. */
function areaOf(ring: readonly Point[]): number {
  return ring.slice(1).reduce((sum, [x, y], i) => sum + ring[i]![0] * y - x * ring[i]![1], 0) / 2;
}

Deno.test("a rectangle has four corners, clockwise to the eye, and ends where it begins", () => {
  assertEquals(patchesOf(...maskOf("....", ".##.", ".##.")), [{
    areaPx: 4,
    box: [1, 1, 2, 2],
    polygons: [[[[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]]],
  }]);
});

Deno.test("a hole is a second ring of its polygon, the other way round", () => {
  const [patch, ...others] = patchesOf(...maskOf("###", "#.#", "###"));
  assertEquals([others, patch?.areaPx, patch?.polygons.length], [[], 8, 1]);
  assertEquals(patch?.polygons[0]?.map(areaOf), [9, -1]);
});

Deno.test("pixels that touch at a corner are one patch of two polygons, each with a ring of its own", () => {
  for (const rows of [["#.", ".#"], [".#", "#."]]) {
    const [patch, ...others] = patchesOf(...maskOf(...rows));
    assertEquals([others, patch?.areaPx, patch?.polygons.length], [[], 2, 2]);
    for (const [ring] of patch!.polygons) assertEquals([ring?.length, areaOf(ring!)], [5, 1]);
  }
});

Deno.test("patches apart are apart, also across the ends of rows", () => {
  const patches = patchesOf(...maskOf("#..#", "....", "...#", "#..."));
  assertEquals(patches.map(({ box }) => box), [[0, 0, 1, 1], [3, 0, 1, 1], [3, 2, 1, 1], [0, 3, 1, 1]]);
});

Deno.test("an empty mask has no patches, a full one has one", () => {
  assertEquals(patchesOf(new Uint8Array(12), 4, 3), []);
  const [patch] = patchesOf(new Uint8Array(12).fill(1), 4, 3);
  assertEquals(patch?.polygons, [[[[0, 0], [4, 0], [4, 3], [0, 3], [0, 0]]]]);
});

Deno.test("filling the outlines of random masks gives the masks back, and their areas add up", () => {
  const random = randomOf(5);
  for (let round = 0; round < 60; round++) {
    const [width, height] = [1 + Math.floor(random() * 18), 1 + Math.floor(random() * 18)];
    const density = random();
    const mask = Uint8Array.from({ length: width * height }, () => random() < density ? 1 : 0);
    const patches = patchesOf(mask, width, height);
    const filled = new Uint8Array(width * height);
    for (const { areaPx, polygons } of patches) {
      let area = 0;
      for (const rings of polygons) {
        area += rings.reduce((sum, ring) => sum + areaOf(ring), 0);
        const [outer, ...holes] = rings;
        assert(areaOf(outer!) > 0 && holes.every((hole) => areaOf(hole) < 0), "orientation");
        for (let at = 0; at < filled.length; at++) {
          const inside = rings.filter((ring) =>
            contains(ring, at % width + 0.5, Math.floor(at / width) + 0.5)
          );
          if (inside.length % 2 === 1) filled[at]!++;
        }
      }
      assertEquals(area, areaPx);
    }
    assertEquals(filled, mask);
  }
});

function contains(ring: readonly Point[], x: number, y: number): boolean {
  let crossings = 0;
  for (const [i, [toX, toY]] of ring.slice(1).entries()) {
    const [fromX, fromY] = ring[i]!;
    if (fromX === toX && toX > x && Math.min(fromY, toY) < y && y < Math.max(fromY, toY)) crossings++;
  }
  return crossings % 2 === 1;
}
