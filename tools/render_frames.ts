/**
 * Draws many labelled frames at once, for training and for measuring what was trained:
 *
 *   deno run --allow-read --allow-write tools/render_frames.ts --first 1000 --flights 100 --frames 10 --out DIR
 *
 * Flight i has the seed `first` + i, its own ground, light and sensor noise; its frames lie far apart. Writes DIR/frames.rgb, all
 * frames one after the other (360 x 640 x 3 bytes each), and DIR/labels.json. The same arguments give the same bytes on every
 * machine. A detector is measured on seeds that it was not trained on.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { drawFrame, FRAME_CHANNELS, FRAME_HEIGHT, FRAME_WIDTH } from "./make_frames.ts";
import type { Obstacle } from "./frames_obstacles.ts";
import { createTerrain, hash, unit } from "./frames_terrain.ts";

/** Farther apart than a frame is high, at 9 pixels from frame to frame. */
const STRIDE = 41;

export interface LabelledFrame {
  seed: number;
  index: number;
  obstacles: Obstacle[];
}

/** As the camera sees it: exposure, white balance and noise of the flight. In place. */
export function expose(rgb: Uint8Array, seed: number, index: number): void {
  const exposure = 0.75 + 0.5 * unit(seed, 50, 0);
  const gains = [0, 1, 2].map((channel) => exposure * (0.92 + 0.16 * unit(seed, 51, channel)));
  const grain = Math.floor(7 * unit(seed, 52, 0));
  for (let i = 0; i < rgb.length; i++) {
    const noise = grain === 0 ? 0 : hash(seed + index, i, 53) % (2 * grain + 1) - grain;
    rgb[i] = Math.max(0, Math.min(255, Math.round(rgb[i]! * gains[i % 3]!) + noise));
  }
}

/** Frame `number` of a flight. */
export function renderFrame(seed: number, number: number): { rgb: Uint8Array; label: LabelledFrame } {
  const index = number * STRIDE + hash(seed, 54, number) % 8;
  const { rgb, obstacles } = drawFrame(createTerrain(seed), seed, index);
  expose(rgb, seed, index);
  return { rgb, label: { seed, index, obstacles } };
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["first", "flights", "frames", "out"] });
  const natural = (flag: "first" | "flights" | "frames") => {
    const value = Number(args[flag]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new RangeError(`Cannot draw frames: --${flag} must be a whole number above 0, not ${args[flag]}`);
  };
  const [first, flights, frames] = [natural("first"), natural("flights"), natural("frames")];
  if (typeof args.out !== "string") throw new RangeError("Cannot draw frames: --out must name a folder");
  await Deno.mkdir(args.out, { recursive: true });
  using file = await Deno.open(path.join(args.out, "frames.rgb"), {
    write: true,
    create: true,
    truncate: true,
  });
  const labels: LabelledFrame[] = [];
  for (let seed = first; seed < first + flights; seed++) {
    for (let number = 0; number < frames; number++) {
      const { rgb, label } = renderFrame(seed, number);
      for (let at = 0; at < rgb.length;) at += await file.write(rgb.subarray(at));
      labels.push(label);
    }
  }
  const about = { width: FRAME_WIDTH, height: FRAME_HEIGHT, channels: FRAME_CHANNELS, frames: labels };
  await Deno.writeTextFile(path.join(args.out, "labels.json"), JSON.stringify(about) + "\n");
  console.log(`${labels.length} frames in ${args.out}`);
}
