/**
 * What does vegetation-map compute? kernels.cu once more, for the CPU, bit for bit.
 *
 * A number is rounded to f32 wherever the kernels round: by Math.fround, or by storing it in a Float32Array. Sums are taken
 * in the order of the kernels' threads.
 */
const WIDTH = 640;
const HEIGHT = 360;
const PIXELS = WIDTH * HEIGHT;
const RADIUS = 4;
const TAPS = 2 * RADIUS + 1;
const PASSES = 3;
const THREADS = 256;
const TILE = 40;
const TILES_ACROSS = WIDTH / TILE;
const TILES_DOWN = HEIGHT / TILE;
const TILE_PIXELS = TILE * TILE;
const BINS = 64;
/** Vegetation is above it: between the index of stubble (0.12) and that of a gap between green rows (0.26). */
export const THRESHOLD = 0.2;

const TILES_BYTES = TILES_DOWN * TILES_ACROSS * 4 * 4;
/** Buffers of an output begin at multiples of 256 bytes. */
const HISTOGRAM_OFFSET = Math.ceil(TILES_BYTES / 256) * 256;
const OUTPUT_BYTES = HISTOGRAM_OFFSET + BINS * 4;

const round = Math.fround;

/** `dir`: the bundle's folder, with weights.bin. Inputs are frames u8 [360, 640, 3]. */
export async function createReference(dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  const weights = await Deno.readFile(`${dir}/weights.bin`);
  const view = new DataView(weights.buffer, weights.byteOffset, TAPS * 4);
  const taps = Float32Array.from({ length: TAPS }, (_, i) => view.getFloat32(4 * i, true));
  const index = new Float32Array(PIXELS);
  const across = new Float32Array(PIXELS);
  return {
    run(frame: Uint8Array): Uint8Array {
      if (frame.byteLength !== PIXELS * 3) {
        throw new RangeError(`Cannot map a frame of ${frame.byteLength} bytes: it must have ${PIXELS * 3}`);
      }
      vegetationIndex(frame, index);
      for (let pass = 0; pass < PASSES; pass++) {
        smoothRows(taps, index, across);
        smoothColumns(taps, across, index);
      }
      return outputOf(tileStatistics(index), countIndex(index));
    },
  };
}

function vegetationIndex(frame: Uint8Array, index: Float32Array): void {
  for (let at = 0, from = 0; at < PIXELS; at++, from += 3) {
    const r = frame[from]!, g = frame[from + 1]!, b = frame[from + 2]!;
    const sum = r + g + b;
    index[at] = (2 * g - r - b) / (sum > 0 ? sum : 1);
  }
}

function smoothRows(taps: Float32Array, from: Float32Array, to: Float32Array): void {
  // A row with its outermost pixels repeated, so that the inner loop needs no clamping.
  const padded = new Float32Array(WIDTH + 2 * RADIUS);
  for (let row = 0; row < PIXELS; row += WIDTH) {
    padded.fill(from[row]!, 0, RADIUS);
    padded.set(from.subarray(row, row + WIDTH), RADIUS);
    padded.fill(from[row + WIDTH - 1]!, RADIUS + WIDTH);
    for (let x = 0; x < WIDTH; x++) {
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum = round(sum + round(taps[k]! * padded[x + k]!));
      to[row + x] = sum;
    }
  }
}

function smoothColumns(taps: Float32Array, from: Float32Array, to: Float32Array): void {
  const starts = new Int32Array(TAPS);
  for (let y = 0; y < HEIGHT; y++) {
    for (let k = 0; k < TAPS; k++) {
      starts[k] = Math.min(Math.max(y + k - RADIUS, 0), HEIGHT - 1) * WIDTH;
    }
    for (let x = 0; x < WIDTH; x++) {
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum = round(sum + round(taps[k]! * from[starts[k]! + x]!));
      to[y * WIDTH + x] = sum;
    }
  }
}

function countIndex(index: Float32Array): Uint32Array {
  const bins = new Uint32Array(BINS);
  for (const value of index) {
    const bin = Math.trunc(round(round(value + 0.25) * BINS));
    bins[Math.min(Math.max(bin, 0), BINS - 1)]!++;
  }
  return bins;
}

/** The kernel's pairwise sum of one value per thread; `lanes` is used up. */
function sumOfBlock(lanes: Float32Array): number {
  for (let half = THREADS / 2; half >= 1; half /= 2) {
    for (let t = 0; t < half; t++) lanes[t] = lanes[t]! + lanes[t + half]!;
  }
  return lanes[0]!;
}

function tileStatistics(index: Float32Array): Float32Array {
  const tiles = new Float32Array(TILES_DOWN * TILES_ACROSS * 4);
  const pixels = new Float32Array(TILE_PIXELS);
  const lanes = new Float32Array(THREADS);
  // As the kernel gets it.
  const threshold = round(THRESHOLD);
  for (let tile = 0; tile < TILES_DOWN * TILES_ACROSS; tile++) {
    const left = (tile % TILES_ACROSS) * TILE, top = Math.floor(tile / TILES_ACROSS) * TILE;
    for (let y = 0; y < TILE; y++) {
      const start = (top + y) * WIDTH + left;
      pixels.set(index.subarray(start, start + TILE), y * TILE);
    }
    let largest = -1;
    let above = 0;
    lanes.fill(0);
    for (let i = 0; i < TILE_PIXELS; i++) {
      const value = pixels[i]!;
      lanes[i % THREADS]! += value;
      // Whole numbers up to 1600: exact in any order.
      if (value > threshold) above++;
      if (value > largest) largest = value;
    }
    const mean = round(sumOfBlock(lanes) / TILE_PIXELS);
    lanes.fill(0);
    for (let i = 0; i < TILE_PIXELS; i++) {
      const off = round(pixels[i]! - mean);
      lanes[i % THREADS]! += round(off * off);
    }
    tiles.set([mean, above / TILE_PIXELS, sumOfBlock(lanes) / TILE_PIXELS, largest], tile * 4);
  }
  return tiles;
}

function outputOf(tiles: Float32Array, histogram: Uint32Array): Uint8Array {
  const output = new Uint8Array(OUTPUT_BYTES);
  const view = new DataView(output.buffer);
  tiles.forEach((value, i) => view.setFloat32(4 * i, value, true));
  histogram.forEach((count, i) => view.setUint32(HISTOGRAM_OFFSET + 4 * i, count, true));
  return output;
}
