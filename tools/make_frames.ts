/**
 * Draws aerial survey frames with known obstacles:
 *
 *   deno run --allow-read --allow-write tools/make_frames.ts --seed 7 --count 32 --out examples/frames
 *
 * Writes frame_0000.png ... (RGB, 640 x 360) and frames.json, which lists each file with its SHA-256 and the
 * obstacles' boxes in pixels. The camera drifts like a drone on a survey line, so that consecutive
 * frames overlap. The same seed draws the same bytes on every machine.
 */
import { encode } from "fast-png";
import { parseArgs, path } from "../agent/std/mod.ts";
import { type Canvas, drawObstacles, type Obstacle } from "./frames_obstacles.ts";
import { createTerrain, noise, type Terrain } from "./frames_terrain.ts";

export const FRAME_WIDTH = 640;
export const FRAME_HEIGHT = 360;
export const FRAME_CHANNELS = 3;

/** Ground covered from frame to frame, in pixels; the sway below comes on top. */
const DRIFT_PX = 9;

export interface Frame {
  rgb: Uint8Array;
  obstacles: Obstacle[];
}

export interface FrameIndex {
  seed: number;
  width: number;
  height: number;
  channels: number;
  frames: { file: string; sha256: string; obstacles: Obstacle[] }[];
}

/** Where the camera's upper left corner is in the world, at frame `index`. */
export function cameraAt(seed: number, index: number): { x: number; y: number } {
  return {
    x: Math.round(40 * noise(seed + 40, index / 6, 0)),
    y: -index * DRIFT_PX + Math.round(14 * noise(seed + 41, index / 4, 0)),
  };
}

/** Draws frame `index` of the flight with this seed. */
export function drawFrame(terrain: Terrain, seed: number, index: number): Frame {
  const { x: left, y: top } = cameraAt(seed, index);
  const canvas: Canvas = {
    width: FRAME_WIDTH,
    height: FRAME_HEIGHT,
    rgb: new Uint8Array(FRAME_WIDTH * FRAME_HEIGHT * FRAME_CHANNELS),
  };
  let at = 0;
  for (let y = 0; y < FRAME_HEIGHT; y++) {
    for (let x = 0; x < FRAME_WIDTH; x++) {
      const colour = terrain.colourAt(left + x, top + y);
      canvas.rgb[at++] = colour[0];
      canvas.rgb[at++] = colour[1];
      canvas.rgb[at++] = colour[2];
    }
  }
  return { rgb: canvas.rgb, obstacles: drawObstacles(canvas, seed, left, top, index) };
}

/** One frame as the bytes of a PNG file. */
export function encodeFrame(rgb: Uint8Array): Uint8Array<ArrayBuffer> {
  const png = encode(
    { width: FRAME_WIDTH, height: FRAME_HEIGHT, data: rgb, channels: FRAME_CHANNELS, depth: 8 },
    { zlib: { level: 9 } },
  );
  return new Uint8Array(png);
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}

export async function writeFrames(seed: number, count: number, out: string): Promise<FrameIndex> {
  await Deno.mkdir(out, { recursive: true });
  const terrain = createTerrain(seed);
  const index: FrameIndex = {
    seed,
    width: FRAME_WIDTH,
    height: FRAME_HEIGHT,
    channels: FRAME_CHANNELS,
    frames: [],
  };
  for (let i = 0; i < count; i++) {
    const frame = drawFrame(terrain, seed, i);
    const png = encodeFrame(frame.rgb);
    const file = `frame_${String(i).padStart(4, "0")}.png`;
    await Deno.writeFile(path.join(out, file), png);
    index.frames.push({ file, sha256: await sha256(png), obstacles: frame.obstacles });
  }
  await Deno.writeTextFile(path.join(out, "frames.json"), `${JSON.stringify(index, null, 2)}\n`);
  return index;
}

function naturalNumber(value: unknown, flag: string): number {
  const n = Number(value);
  if (!Number.isSafeInteger(n) || n < 0) {
    throw new RangeError(`Cannot draw frames: --${flag} is ${value}, not a natural number`);
  }
  return n;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, {
    string: ["seed", "count", "out"],
    default: { seed: "7", count: "32", out: "examples/frames" },
  });
  const index = await writeFrames(
    naturalNumber(args.seed, "seed"),
    naturalNumber(args.count, "count"),
    String(args.out),
  );
  console.log(`${index.frames.length} frames in ${args.out}`);
}
