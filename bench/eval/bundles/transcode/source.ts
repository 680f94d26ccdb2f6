/** Video encoding: motion search, transform, quantisation, in integers. Built by tools/build_bundle.ts. */
import { foldStep, source as bundle, step, THREADS, words } from "../common.ts";

export const [WIDTH, HEIGHT, REACH, FOLD] = [1280, 768, 8, 4096];
const PIXELS = WIDTH * HEIGHT;
const SEARCHES = PIXELS / 256, TRANSFORMS = PIXELS / 64;
const frame = (name: string) => ({
  name,
  role: "scratch" as const,
  dtype: "u8" as const,
  shape: [HEIGHT, WIDTH],
});
const [now, before, motion, levels] = ["now", "before", "motion", "levels"].map((buffer) => ({ buffer }));

export const source = bundle(
  "transcode",
  "Background: motion search, 8x8 transform and quantisation of one frame of 1280 x 768.",
  [
    ...[frame("now"), frame("before"), words("motion", "scratch", SEARCHES)],
    ...[words("levels", "scratch", PIXELS), words("out", "output", PIXELS / FOLD)],
  ],
  [
    step("synthesise", PIXELS / THREADS, [before!, { u32: 0 }], 30, 1),
    step("synthesise", PIXELS / THREADS, [now!, { u32: 1 }], 30, 1),
    step("search", SEARCHES, [now!, before!, motion!], 256 * 10 * 289 / 256, 4),
    step("transform", TRANSFORMS, [now!, before!, motion!, levels!], 60, 10, 64),
    foldStep("levels", PIXELS / FOLD, FOLD),
  ],
);
