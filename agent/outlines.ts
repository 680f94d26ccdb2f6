/**
 * Which patches does a mask have, and where do they end?
 *
 * Patches are pixels other than 0 that touch, by their corners too. Each is given with its outlines, which run along the
 * edges of pixels. Pure; it knows no files.
 */

export type Point = [x: number, y: number];

export interface Patch {
  areaPx: number;
  /** Left, top, width, height. */
  box: [number, number, number, number];
  /**
   * Polygons that touch at corners at most; of each the outer ring, and then holes. Rings end where they begin. The outer
   * ones run clockwise to the eye (y goes down), the others the other way, as GeoJSON wants it.
   */
  polygons: Point[][][];
}

/** Right, down, left, up, so that the next one is a turn to the right. */
const STEPS: readonly Point[] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
/** From where a step begins to the pixel on its right. */
const INSIDE: readonly Point[] = [[0, 0], [-1, 0], [-1, -1], [0, -1]];

/** Patches in the order of their first pixels, row by row. `mask`: [height, width]. */
export function patchesOf(mask: Uint8Array, width: number, height: number): Patch[] {
  const patchAt = labels(mask, width, height, true);
  const partAt = labels(mask, width, height, false);
  const patches: Patch[] = [];
  const boxes: { left: number; top: number; right: number; bottom: number }[] = [];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const label = patchAt[at]!;
      if (label === 0) continue;
      const patch = patches[label - 1] ??= { areaPx: 0, box: [0, 0, 0, 0], polygons: [] };
      const box = boxes[label - 1] ??= { left: x, top: y, right: x, bottom: y };
      patch.areaPx++;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.bottom = y;
    }
  }
  for (const [i, { left, top, right, bottom }] of boxes.entries()) {
    patches[i]!.box = [left, top, right - left + 1, bottom - top + 1];
  }
  // A part, whose pixels touch by their sides, has one outer ring, which comes first: it has the part's first pixel.
  const polygonOf = new Map<number, Point[][]>();
  for (const { ring, pixel } of ringsOf(mask, width, height)) {
    const part = partAt[pixel]!;
    const polygon = polygonOf.get(part);
    if (polygon !== undefined) {
      polygon.push(ring);
      continue;
    }
    const first = [ring];
    polygonOf.set(part, first);
    patches[patchAt[pixel]! - 1]!.polygons.push(first);
  }
  return patches;
}

/** 0 outside; else from 1, in the order of first pixels. */
function labels(mask: Uint8Array, width: number, height: number, corners: boolean): Int32Array {
  const found = new Int32Array(width * height);
  const waiting: number[] = [];
  let count = 0;
  for (let start = 0; start < found.length; start++) {
    if (mask[start] === 0 || found[start] !== 0) continue;
    found[start] = ++count;
    waiting.push(start);
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      const x = at % width;
      for (let dy = -width; dy <= width; dy += width) {
        for (let dx = -1; dx <= 1; dx++) {
          if (!corners && dx !== 0 && dy !== 0) continue;
          const next = at + dy + dx;
          // Beyond the first and the last row there is nothing: `undefined`.
          if (!mask[next] || found[next] !== 0 || x + dx < 0 || x + dx >= width) continue;
          found[next] = count;
          waiting.push(next);
        }
      }
    }
  }
  return found;
}

/** To the right where two parts meet at a corner, so that each keeps a ring of its own. `here`: steps that begin there. */
function onwards(here: number, to: number): number {
  const right = (to + 1) % 4, left = (to + 3) % 4;
  if ((here & (1 << right)) !== 0) return right;
  return (here & (1 << to)) === 0 && (here & (1 << left)) !== 0 ? left : to;
}

/** All rings, with a pixel that lies on the inside of each. Pixels are on the right of every step. */
function ringsOf(mask: Uint8Array, width: number, height: number): { ring: Point[]; pixel: number }[] {
  const across = width + 1;
  // Of each corner of pixels, the steps that begin there: a bit each.
  const steps = new Uint8Array(across * (height + 1));
  const isSet = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] !== 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (mask[y * width + x] === 0) continue;
      const corner = y * across + x;
      if (!isSet(x, y - 1)) steps[corner]! |= 1;
      if (!isSet(x + 1, y)) steps[corner + 1]! |= 2;
      if (!isSet(x, y + 1)) steps[corner + across + 1]! |= 4;
      if (!isSet(x - 1, y)) steps[corner + across]! |= 8;
    }
  }
  const rings: { ring: Point[]; pixel: number }[] = [];
  for (let start = 0; start < steps.length; start++) {
    if (steps[start] === 0) continue;
    for (let first = 0; first < 4; first++) {
      if ((steps[start]! & (1 << first)) === 0) continue;
      let [x, y, to] = [start % across, Math.floor(start / across), first];
      const pixel = (y + INSIDE[first]![1]) * width + x + INSIDE[first]![0];
      const ring: Point[] = [];
      let before = -1;
      while ((steps[y * across + x]! & (1 << to)) !== 0) {
        steps[y * across + x]! &= ~(1 << to);
        if (to !== before) ring.push([x, y]);
        before = to;
        x += STEPS[to]![0];
        y += STEPS[to]![1];
        to = onwards(steps[y * across + x]!, to);
      }
      // The scan begins each ring at a corner: of an outer ring its first pixel's, of a hole that of the pixel above it.
      ring.push([...ring[0]!]);
      rings.push({ ring, pixel });
    }
  }
  return rings;
}
