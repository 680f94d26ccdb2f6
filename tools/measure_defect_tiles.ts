/**
 * How well does examples/bundles/defect-tiles find cracks?
 *
 *   .tools/deno run --allow-read tools/measure_defect_tiles.ts --count 500
 *
 * Draws tiles that no training saw, lets the bundle's own reference look at them, and compares masks pixel by pixel:
 * precision and recall as they are, and with a tolerance of 2 pixels, as the edge of a crack a few pixels wide is a matter
 * of taste; and by tile, whether there is a crack at all. `--bundle DIR` takes another folder with reference.ts and weights.bin.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { createReference } from "../examples/bundles/defect-tiles/reference.ts";
import { drawTile, TILE_HEIGHT, TILE_WIDTH } from "./make_tiles.ts";

/** Of the tiles that are measured on, from here on; training and its looks at other tiles end far below. */
export const MEASURED_SEED = 900_000;
export const TOLERANCE_PX = 2;
/** A tile counts as one with a crack from so many pixels on: a corner of one may show a few. */
const LEAST_CRACK_PX = 40;
const BUNDLE = path.fromFileUrl(new URL("../examples/bundles/defect-tiles", import.meta.url));

/** Pixels, but `tiles…`. */
export interface Quality {
  tiles: number;
  /** Marked, and those of them that lie on a crack; within the tolerance of one. */
  marked: number;
  right: number;
  near: number;
  /** Of cracks, and those of them that are marked; within the tolerance of a mark. */
  there: number;
  found: number;
  nearFound: number;
  /** Tiles with a crack of some size, and those of them where one is marked. */
  tilesCracked: number;
  tilesFound: number;
  /** Tiles without any crack, and those of them where one is marked. */
  tilesClean: number;
  tilesFalse: number;
}

export function noQuality(): Quality {
  return {
    ...{ tiles: 0, marked: 0, right: 0, near: 0, there: 0, found: 0, nearFound: 0 },
    ...{ tilesCracked: 0, tilesFound: 0, tilesClean: 0, tilesFalse: 0 },
  };
}

/** Adds one tile: what was marked, and what is there; both [height, width], 0: nothing. */
export function addTile(quality: Quality, seen: Uint8Array, mask: Uint8Array, width: number): void {
  const [aroundMask, aroundSeen] = [grown(mask, width), grown(seen, width)];
  let [marked, there] = [0, 0];
  for (let at = 0; at < mask.length; at++) {
    if (seen[at] !== 0) {
      marked++;
      if (mask[at] !== 0) quality.right++;
      if (aroundMask[at] !== 0) quality.near++;
    }
    if (mask[at] !== 0) {
      there++;
      if (seen[at] !== 0) quality.found++;
      if (aroundSeen[at] !== 0) quality.nearFound++;
    }
  }
  quality.tiles++;
  quality.marked += marked;
  quality.there += there;
  const isMarked = marked >= LEAST_CRACK_PX;
  if (there >= LEAST_CRACK_PX) {
    quality.tilesCracked++;
    if (isMarked) quality.tilesFound++;
  } else if (there === 0) {
    quality.tilesClean++;
    if (isMarked) quality.tilesFalse++;
  }
}

export function precision({ near, marked }: Quality): number {
  return near / marked;
}

export function recall({ nearFound, there }: Quality): number {
  return nearFound / there;
}

/** Pixels within the tolerance of one that is not 0, along rows and columns. */
function grown(mask: Uint8Array, width: number): Uint8Array {
  const reach = (from: Uint8Array, step: number, isWithin: (at: number, off: number) => boolean) => {
    const to = new Uint8Array(from.length);
    for (let at = 0; at < from.length; at++) {
      if (from[at] === 0) continue;
      for (let off = -TOLERANCE_PX; off <= TOLERANCE_PX; off++) {
        if (isWithin(at, off)) to[at + off * step] = 1;
      }
    }
    return to;
  };
  const rows = reach(mask, 1, (at, off) => at % width + off >= 0 && at % width + off < width);
  return reach(rows, width, (at, off) => at + off * width >= 0 && at + off * width < mask.length);
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, {
    string: ["count", "bundle"],
    default: { count: "500", bundle: BUNDLE },
  });
  const count = Number(args.count);
  if (!Number.isSafeInteger(count) || count < 1) throw new RangeError(`--count is ${args.count}`);
  const reference = await createReference(String(args.bundle));
  const quality = noQuality();
  for (let i = 0; i < count; i++) {
    const { rgb, mask } = drawTile(MEASURED_SEED + i);
    addTile(quality, reference.run(rgb), mask, TILE_WIDTH);
  }
  const { marked, right, there, found, tilesCracked, tilesFound, tilesClean, tilesFalse } = quality;
  const share = (part: number, of: number) => (part / of).toFixed(4);
  console.log(`${count} tiles of ${TILE_WIDTH} x ${TILE_HEIGHT}, seeds from ${MEASURED_SEED} on`);
  console.log(
    `within ${TOLERANCE_PX} pixels: precision ${precision(quality).toFixed(4)}, ` +
      `recall ${recall(quality).toFixed(4)}`,
  );
  console.log(`pixel by pixel: precision ${share(right, marked)}, recall ${share(found, there)}`);
  console.log(
    `${tilesFound} of ${tilesCracked} tiles with a crack are found; ` +
      `${tilesFalse} of ${tilesClean} without one are taken for cracked`,
  );
}
