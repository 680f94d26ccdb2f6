/** The same integers on the CPU. */
import { folded, mixed, reference } from "../common.ts";
import { FOLD, HEIGHT, REACH, WIDTH } from "./source.ts";

const COSINES = Array.from({ length: 64 }, (_, i) => {
  const [u, x] = [Math.floor(i / 8), i % 8];
  return u === 0 ? 23 : Math.round(32 * Math.cos((2 * x + 1) * u * Math.PI / 16));
});
const PLACES = 2 * REACH + 1;
const clamp = (value: number, most: number) => Math.min(Math.max(value, 0), most);

export const createReference = reference(() => {
  const [before, now] = [synthesise(0), synthesise(1)];
  const motion = new Int32Array(WIDTH * HEIGHT / 256);
  for (let block = 0; block < motion.length; block++) motion[block] = search(now, before, block);
  const levels = new Int32Array(WIDTH * HEIGHT);
  for (let block = 0; block < levels.length / 64; block++) transform(now, before, motion, block, levels);
  return folded(new Uint32Array(levels.buffer), FOLD);
});

function synthesise(shift: number): Uint8Array {
  return Uint8Array.from({ length: WIDTH * HEIGHT }, (_, i) => {
    const [x, y] = [i % WIDTH + 3 * shift, Math.floor(i / WIDTH) + 2 * shift];
    const value = mixed((x >> 2) + (y >> 2) * 4096) % 200 + x % 4 * 4 + y % 4 * 4;
    return value + shift * (mixed(i) % 5);
  });
}

function search(now: Uint8Array, before: Uint8Array, block: number): number {
  const [left, top] = [block % (WIDTH / 16) * 16, Math.floor(block / (WIDTH / 16)) * 16];
  let best = 2 ** 31 - 1;
  for (let place = 0; place < PLACES * PLACES; place++) {
    const [dx, dy] = [place % PLACES - REACH, Math.floor(place / PLACES) - REACH];
    let sum = 0;
    for (let y = 0; y < 16; y++) {
      const row = clamp(top + y + dy, HEIGHT - 1) * WIDTH;
      for (let x = 0; x < 16; x++) {
        const px = clamp(left + x + dx, WIDTH - 1);
        sum += Math.abs(now[(top + y) * WIDTH + left + x]! - before[row + px]!);
      }
    }
    best = Math.min(best, sum * 512 + place);
  }
  return best % 512;
}

function transform(
  now: Uint8Array,
  before: Uint8Array,
  motion: Int32Array,
  block: number,
  out: Int32Array,
): void {
  const [bx, by] = [block % (WIDTH / 8), Math.floor(block / (WIDTH / 8))];
  const place = motion[(by >> 1) * (WIDTH / 16) + (bx >> 1)]!;
  const [dx, dy] = [place % PLACES - REACH, Math.floor(place / PLACES) - REACH];
  const rest = Array.from({ length: 64 }, (_, i) => {
    const [x, y] = [bx * 8 + i % 8, by * 8 + (i >> 3)];
    return now[y * WIDTH + x]! - before[clamp(y + dy, HEIGHT - 1) * WIDTH + clamp(x + dx, WIDTH - 1)]!;
  });
  const product = (of: (i: number) => number, row: number) => {
    let sum = 0;
    for (let i = 0; i < 8; i++) sum += of(i) * COSINES[row * 8 + i]!;
    return sum;
  };
  const rows = rest.map((_, i) => product((k) => rest[(i >> 3) * 8 + k]!, i % 8));
  for (let i = 0; i < 64; i++) {
    const [u, v] = [i % 8, i >> 3];
    out[block * 64 + i] = Math.trunc(product((k) => rows[k * 8 + u]!, v) / (4096 * (4 + u + v)));
  }
}
