/**
 * What does keyframe-select compute? kernels.cu once more, for the CPU, bit for bit.
 *
 * Remembers the last keyframe and the counters from call to call, as the state buffers do. Sums are of integers below 2^53, so
 * they are exact in any order; what the kernels compute in f32 is rounded with Math.fround after each operation.
 */
const WIDTH = 640;
const HEIGHT = 360;
const SMALL_WIDTH = 320;
const SMALL_HEIGHT = 180;
const PATCH = 16;
const PATCHES_ACROSS = SMALL_WIDTH / PATCH;
const PATCHES_DOWN = Math.floor(SMALL_HEIGHT / PATCH);
const PATCHES = PATCHES_ACROSS * PATCHES_DOWN;
const REACH = 8;
const STEPS = 2 * REACH + 1;
const INNER_PIXELS = (SMALL_WIDTH - 2) * (SMALL_HEIGHT - 2);
/** The keyframe with its outermost pixels repeated as far as the search reaches. */
const PADDED_WIDTH = SMALL_WIDTH + 2 * REACH;
const PADDED_HEIGHT = SMALL_HEIGHT + 2 * REACH;

/** What `decide` compares with; source.ts hands the same numbers to the kernel. In grey levels. */
export const CHANGE_LIMIT = 10;
/** Grey levels that a small pixel of motion counts for. */
export const MOTION_WEIGHT = 1;
/** Variance of the Laplacian, in squared grey levels; a frame in focus has several hundred. */
export const SHARP_LIMIT = 40;
/** Frames from a keyframe to the next at the latest. */
export const LONGEST_GAP = 30;

const round = Math.fround;

/** Sums over all patches. */
interface Motion {
  difference: number;
  x: number;
  y: number;
}

/** Inputs are frames u8 [360, 640, 3]; the first call is the first frame ever. The folder is not needed. */
export function createReference(_dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  const luma = new Uint8Array(SMALL_WIDTH * SMALL_HEIGHT);
  const key = new Uint8Array(PADDED_WIDTH * PADDED_HEIGHT);
  let keyframes = 0;
  let framesSince = 0;

  function run(frame: Uint8Array): Uint8Array {
    if (frame.byteLength !== WIDTH * HEIGHT * 3) {
      const expected = WIDTH * HEIGHT * 3;
      throw new RangeError(`Cannot judge a frame of ${frame.byteLength} bytes: it must have ${expected}`);
    }
    smallLuma(frame, luma);
    const sharpness = sharpnessOf(luma);
    const motion = searchMotion(luma, key);

    const residual = round(motion.difference / (PATCHES * PATCH * PATCH));
    const meanX = round(motion.x / PATCHES);
    const meanY = round(motion.y / PATCHES);
    const distance = round(Math.abs(meanX) + Math.abs(meanY));
    const change = round(residual + round(MOTION_WEIGHT * distance));

    const gap = framesSince + 1;
    const isKey = keyframes === 0 || gap >= LONGEST_GAP ||
      (change > CHANGE_LIMIT && sharpness >= SHARP_LIMIT);
    keyframes += isKey ? 1 : 0;
    framesSince = isKey ? 0 : gap;
    if (isKey) storePadded(luma, key);

    const verdict = [sharpness, change, isKey ? 1 : 0, meanX, meanY, keyframes, framesSince, 0];
    const output = new DataView(new ArrayBuffer(verdict.length * 4));
    verdict.forEach((value, i) => output.setFloat32(4 * i, value, true));
    return new Uint8Array(output.buffer);
  }
  return Promise.resolve({ run });
}

function smallLuma(frame: Uint8Array, luma: Uint8Array): void {
  const rowBytes = WIDTH * 3;
  for (let y = 0, at = 0; y < SMALL_HEIGHT; y++) {
    let upper = 2 * y * rowBytes;
    for (let x = 0; x < SMALL_WIDTH; x++, at++, upper += 6) {
      const lower = upper + rowBytes;
      const r = frame[upper]! + frame[upper + 3]! + frame[lower]! + frame[lower + 3]!;
      const g = frame[upper + 1]! + frame[upper + 4]! + frame[lower + 1]! + frame[lower + 4]!;
      const b = frame[upper + 2]! + frame[upper + 5]! + frame[lower + 2]! + frame[lower + 5]!;
      luma[at] = (77 * r + 150 * g + 29 * b + 512) >> 10;
    }
  }
}

/** Variance of the Laplacian over the pixels that have four neighbours. */
function sharpnessOf(luma: Uint8Array): number {
  let edges = 0;
  let squares = 0;
  for (let y = 1; y < SMALL_HEIGHT - 1; y++) {
    const end = (y + 1) * SMALL_WIDTH - 1;
    for (let at = y * SMALL_WIDTH + 1; at < end; at++) {
      const edge = luma[at - 1]! + luma[at + 1]! + luma[at - SMALL_WIDTH]! + luma[at + SMALL_WIDTH]! -
        4 * luma[at]!;
      edges += edge;
      squares += edge * edge;
    }
  }
  return round(round(round(INNER_PIXELS * squares - edges * edges) / INNER_PIXELS) / INNER_PIXELS);
}

function searchMotion(luma: Uint8Array, key: Uint8Array): Motion {
  const motion: Motion = { difference: 0, x: 0, y: 0 };
  const patch = new Uint8Array(PATCH * PATCH);
  for (let top = 0; top + PATCH <= SMALL_HEIGHT; top += PATCH) {
    for (let left = 0; left < SMALL_WIDTH; left += PATCH) {
      for (let y = 0; y < PATCH; y++) {
        const start = (top + y) * SMALL_WIDTH + left;
        patch.set(luma.subarray(start, start + PATCH), y * PATCH);
      }
      const best = bestCandidate(patch, key, left, top);
      motion.difference += best >>> 14;
      motion.x += (best & 511) % STEPS - REACH;
      motion.y += Math.floor((best & 511) / STEPS) - REACH;
    }
  }
  return motion;
}

/** Packed as `search_motion` does, so that the smallest is the best: difference, distance, number. */
function bestCandidate(patch: Uint8Array, key: Uint8Array, left: number, top: number): number {
  let best = 0xffffffff;
  for (let candidate = 0; candidate < STEPS * STEPS; candidate++) {
    const my = Math.floor(candidate / STEPS) - REACH;
    const mx = candidate % STEPS - REACH;
    const difference = differenceAt(patch, key, (top + REACH - my) * PADDED_WIDTH + left + REACH - mx);
    const packed = difference * 2 ** 14 + (Math.abs(mx) + Math.abs(my)) * 2 ** 9 + candidate;
    if (packed < best) best = packed;
  }
  return best;
}

function differenceAt(patch: Uint8Array, key: Uint8Array, corner: number): number {
  let sum = 0;
  for (let y = 0, at = 0, row = corner; y < PATCH; y++, row += PADDED_WIDTH) {
    for (let x = 0; x < PATCH; x++, at++) sum += Math.abs(patch[at]! - key[row + x]!);
  }
  return sum;
}

function storePadded(luma: Uint8Array, key: Uint8Array): void {
  for (let y = 0; y < PADDED_HEIGHT; y++) {
    const from = Math.min(Math.max(y - REACH, 0), SMALL_HEIGHT - 1) * SMALL_WIDTH;
    const to = y * PADDED_WIDTH;
    key.fill(luma[from]!, to, to + REACH);
    key.set(luma.subarray(from, from + SMALL_WIDTH), to + REACH);
    key.fill(luma[from + SMALL_WIDTH - 1]!, to + REACH + SMALL_WIDTH, to + PADDED_WIDTH);
  }
}
