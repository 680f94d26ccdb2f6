/**
 * Draws what defect-tiles looks at: concrete with cracks.
 *
 *   deno run --allow-read --allow-write tools/make_tiles.ts --seed 11 --out examples/tiles
 *   deno run --allow-read --allow-write tools/make_tiles.ts --samples 2000 --seed 100000 --out build/tiles
 *
 * The first draws one frame of 3840 x 2160 pixels and cuts it into 36 tiles of 640 x 360, row by row: tile_00.png ... The
 * second draws single tiles, each with its own seed from `seed` on, for tools/train_defect_tiles.py: tiles.rgb and
 * masks.u8, one after the other, and tiles.json. The same seed draws the same bytes on every machine.
 */
import { encode } from "fast-png";
import { parseArgs, path } from "../agent/std/mod.ts";
import { drawSurface, type Surface } from "./frames_cracks.ts";

export const TILE_WIDTH = 640;
export const TILE_HEIGHT = 360;
/** Of a 4K frame. */
export const TILES_ACROSS = 6;
export const TILES_DOWN = 6;

/** One tile by itself. */
export function drawTile(seed: number): Surface {
  return drawSurface(seed, TILE_WIDTH, TILE_HEIGHT);
}

/** Of a frame of `TILES_ACROSS` x `TILES_DOWN` tiles, row by row. */
export function drawTiles(seed: number): Surface[] {
  const frame = drawSurface(seed, TILES_ACROSS * TILE_WIDTH, TILES_DOWN * TILE_HEIGHT);
  return Array.from({ length: TILES_ACROSS * TILES_DOWN }, (_, index) => {
    const left = (index % TILES_ACROSS) * TILE_WIDTH;
    const top = Math.floor(index / TILES_ACROSS) * TILE_HEIGHT;
    return cut(frame, left, top);
  });
}

function cut({ width, rgb, mask }: Surface, left: number, top: number): Surface {
  const tile: Surface = {
    width: TILE_WIDTH,
    height: TILE_HEIGHT,
    rgb: new Uint8Array(TILE_WIDTH * TILE_HEIGHT * 3),
    mask: new Uint8Array(TILE_WIDTH * TILE_HEIGHT),
  };
  for (let y = 0; y < TILE_HEIGHT; y++) {
    const from = (top + y) * width + left;
    tile.rgb.set(rgb.subarray(from * 3, (from + TILE_WIDTH) * 3), y * TILE_WIDTH * 3);
    tile.mask.set(mask.subarray(from, from + TILE_WIDTH), y * TILE_WIDTH);
  }
  return tile;
}

async function writeFrame(seed: number, out: string): Promise<string> {
  await Deno.mkdir(out, { recursive: true });
  for (const [index, { width, height, rgb }] of drawTiles(seed).entries()) {
    const png = encode({ width, height, data: rgb, channels: 3, depth: 8 }, { zlib: { level: 9 } });
    await Deno.writeFile(path.join(out, `tile_${String(index).padStart(2, "0")}.png`), new Uint8Array(png));
  }
  return `${TILES_ACROSS * TILES_DOWN} tiles of one frame in ${out}`;
}

async function writeSamples(seed: number, count: number, out: string): Promise<string> {
  await Deno.mkdir(out, { recursive: true });
  using tiles = await Deno.create(path.join(out, "tiles.rgb"));
  using masks = await Deno.create(path.join(out, "masks.u8"));
  for (let index = 0; index < count; index++) {
    const { rgb, mask } = drawTile(seed + index);
    await writeAll(tiles, rgb);
    await writeAll(masks, mask);
  }
  const about = { width: TILE_WIDTH, height: TILE_HEIGHT, count, firstSeed: seed };
  await Deno.writeTextFile(path.join(out, "tiles.json"), `${JSON.stringify(about)}\n`);
  return `${count} samples in ${out}`;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

function naturalNumber(value: unknown, flag: string): number {
  const n = Number(value);
  if (Number.isSafeInteger(n) && n >= 0) return n;
  throw new RangeError(`Cannot draw tiles: --${flag} is ${value}, not a natural number`);
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["seed", "samples", "out"], default: { seed: "11" } });
  const out = String(args.out ?? "examples/tiles");
  const seed = naturalNumber(args.seed, "seed");
  const samples = args.samples === undefined ? undefined : naturalNumber(args.samples, "samples");
  console.log(samples === undefined ? await writeFrame(seed, out) : await writeSamples(seed, samples, out));
}
