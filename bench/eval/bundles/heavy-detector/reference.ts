/** The same layers in double precision; takes some ten seconds. */
import { reference } from "../common.ts";
import { CELLS, CHANNELS, HEIGHT, LAYERS, weights, WIDTH } from "./source.ts";

export const createReference = reference((frame) => {
  let now: Float32Array = new Float32Array(WIDTH * HEIGHT * CHANNELS);
  for (let i = 0; i < now.length; i++) {
    const [channel, pixel] = [i % CHANNELS, Math.floor(i / CHANNELS)];
    const [x, y] = [pixel % WIDTH, Math.floor(pixel / WIDTH)];
    now[i] = frame[Math.floor(y / 2) * (WIDTH / 2) + Math.floor(x / 2)]! / 256 - 0.03125 * channel;
  }
  const taps = weights();
  for (let layer = 0; layer < LAYERS; layer++) now = convolve(now, taps);
  const scores = new Float32Array(CELLS * CHANNELS);
  for (let cell = 0; cell < CELLS; cell++) {
    const [left, top] = [cell % 16 * 20, Math.floor(cell / 16) * 20];
    for (let channel = 0; channel < CHANNELS; channel++) {
      let sum = 0;
      for (let y = top; y < top + 20; y++) {
        for (let x = left; x < left + 20; x++) sum += now[(y * WIDTH + x) * CHANNELS + channel]!;
      }
      scores[cell * CHANNELS + channel] = sum / 400;
    }
  }
  return new Uint8Array(scores.buffer);
});

function convolve(from: Float32Array, taps: Float32Array): Float32Array {
  const to = new Float32Array(from.length);
  const sums = new Float64Array(CHANNELS);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      sums.fill(0);
      for (let tap = 0; tap < 9; tap++) {
        const [px, py] = [x + tap % 3 - 1, y + Math.floor(tap / 3) - 1];
        if (px < 0 || px >= WIDTH || py < 0 || py >= HEIGHT) continue;
        const at = (py * WIDTH + px) * CHANNELS;
        for (let c = 0; c < CHANNELS; c++) {
          const value = from[at + c]!, row = (tap * CHANNELS + c) * CHANNELS;
          if (value === 0) continue;
          for (let out = 0; out < CHANNELS; out++) sums[out]! += value * taps[row + out]!;
        }
      }
      const at = (y * WIDTH + x) * CHANNELS;
      for (let out = 0; out < CHANNELS; out++) to[at + out] = Math.max(0, sums[out]!);
    }
  }
  return to;
}
