/**
 * What would kernels.cu have computed? The same bits, on the CPU.
 *
 * Every product and sum goes through `Math.fround`: a product or sum of two f32 in f64, rounded to f32, is what f32
 * arithmetic gives. Sums run in the order of the kernels: bias, then ky, kx, input channel.
 */
import {
  CELL_PX,
  CELLS,
  FIELDS,
  FRAME_HEIGHT,
  FRAME_WIDTH,
  GRID_HEIGHT,
  GRID_WIDTH,
  type Layer,
  MAX_BOXES,
  PLACES,
} from "./network.ts";

const f = Math.fround;
const FRAME_BYTES = FRAME_WIDTH * FRAME_HEIGHT * 3;
/** Output channels that are summed side by side, for speed; 16 and 8 are multiples of it. */
const TOGETHER = 8;

export async function createReference(dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  const weights = new Float32Array((await Deno.readFile(`${dir}/weights.bin`)).buffer);
  const scratch = PLACES.map(({ layer }) => new Float32Array(layer.width * layer.height * layer.outChannels));
  const pixels = new Float32Array(FRAME_BYTES);
  return {
    run(input) {
      if (input.length !== FRAME_BYTES) {
        throw new RangeError(`Cannot detect: the frame has ${input.length} bytes, not ${FRAME_BYTES}`);
      }
      normalise(input, pixels);
      let from = pixels;
      let width = FRAME_WIDTH;
      let height = FRAME_HEIGHT;
      for (const [i, { layer, start, count, biasStart }] of PLACES.entries()) {
        const matrix = weights.subarray(start, start + count);
        const bias = weights.subarray(biasStart, biasStart + layer.outChannels);
        const to = scratch[i] as Float32Array<ArrayBuffer>;
        if (layer.kernelSize === 3) conv3x3(from, width, height, matrix, bias, to, layer);
        else head(from, matrix, bias, to, layer);
        from = to;
        width = layer.width;
        height = layer.height;
      }
      const boxes = topBoxes(decode(from));
      return new Uint8Array(boxes.buffer, boxes.byteOffset, boxes.byteLength);
    },
  };
}

/** Pixels 0..255 to -0.5..0.5. */
export function normalise(frame: Uint8Array, pixels: Float32Array): void {
  const table = Float32Array.from({ length: 256 }, (_, value) => f(value * f(1 / 255)) - 0.5);
  for (let i = 0; i < frame.length; i++) pixels[i] = table[frame[i] as number] as number;
}

/** With relu. `width` and `height` are of the input, those of the layer of the output. */
export function conv3x3(
  input: Float32Array,
  width: number,
  height: number,
  weights: Float32Array,
  bias: Float32Array,
  output: Float32Array,
  layer: Layer,
): void {
  const { inChannels, outChannels, stride } = layer;
  for (let oy = 0; oy < layer.height; oy++) {
    // The taps that are inside, so that the loops below need not ask.
    const top = oy * stride - 1;
    const kyFrom = top < 0 ? 1 : 0;
    const kyTo = Math.min(3, height - top);
    for (let ox = 0; ox < layer.width; ox++) {
      const left = ox * stride - 1;
      const kxFrom = left < 0 ? 1 : 0;
      const kxTo = Math.min(3, width - left);
      const at = (oy * layer.width + ox) * outChannels;
      for (let oc = 0; oc < outChannels; oc += TOGETHER) {
        let s0 = bias[oc]!, s1 = bias[oc + 1]!, s2 = bias[oc + 2]!, s3 = bias[oc + 3]!;
        let s4 = bias[oc + 4]!, s5 = bias[oc + 5]!, s6 = bias[oc + 6]!, s7 = bias[oc + 7]!;
        for (let ky = kyFrom; ky < kyTo; ky++) {
          // A row of taps is one run of memory, in the input and in the weights.
          let i = ((top + ky) * width + left + kxFrom) * inChannels;
          const end = i + (kxTo - kxFrom) * inChannels;
          let w = (ky * 3 + kxFrom) * inChannels * outChannels + oc;
          for (; i < end; i++) {
            const value = input[i]!;
            s0 = f(s0 + f(value * weights[w]!));
            s1 = f(s1 + f(value * weights[w + 1]!));
            s2 = f(s2 + f(value * weights[w + 2]!));
            s3 = f(s3 + f(value * weights[w + 3]!));
            s4 = f(s4 + f(value * weights[w + 4]!));
            s5 = f(s5 + f(value * weights[w + 5]!));
            s6 = f(s6 + f(value * weights[w + 6]!));
            s7 = f(s7 + f(value * weights[w + 7]!));
            w += outChannels;
          }
        }
        const o = at + oc;
        output[o] = s0 > 0 ? s0 : 0;
        output[o + 1] = s1 > 0 ? s1 : 0;
        output[o + 2] = s2 > 0 ? s2 : 0;
        output[o + 3] = s3 > 0 ? s3 : 0;
        output[o + 4] = s4 > 0 ? s4 : 0;
        output[o + 5] = s5 > 0 ? s5 : 0;
        output[o + 6] = s6 > 0 ? s6 : 0;
        output[o + 7] = s7 > 0 ? s7 : 0;
      }
    }
  }
}

function head(
  input: Float32Array,
  weights: Float32Array,
  bias: Float32Array,
  output: Float32Array,
  { inChannels, outChannels, width, height }: Layer,
): void {
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let oc = 0; oc < outChannels; oc++) {
      let sum = bias[oc]!;
      for (let ic = 0; ic < inChannels; ic++) {
        sum = f(sum + f(input[pixel * inChannels + ic]! * weights[ic * outChannels + oc]!));
      }
      output[pixel * outChannels + oc] = sum;
    }
  }
}

/** Correctly rounded like the kernel's: f64 division of two f32, rounded to f32, is f32 division. */
function soft(x: number): number {
  return f(x / f(1 + Math.abs(x)));
}

/** Whether no cell beside this one is surer, or as sure and ahead of it. */
function isPeak(cells: Float32Array, index: number): boolean {
  const column = index % GRID_WIDTH, row = Math.floor(index / GRID_WIDTH);
  const mine = cells[index * FIELDS]!;
  for (let y = Math.max(0, row - 1); y <= Math.min(GRID_HEIGHT - 1, row + 1); y++) {
    for (let x = Math.max(0, column - 1); x <= Math.min(GRID_WIDTH - 1, column + 1); x++) {
      const other = y * GRID_WIDTH + x;
      const theirs = cells[other * FIELDS]!;
      if (other !== index && (theirs > mine || (theirs === mine && other < index))) return false;
    }
  }
  return true;
}

function decode(cells: Float32Array): Float32Array {
  const candidates = new Float32Array(CELLS * FIELDS);
  for (let index = 0; index < CELLS; index++) {
    const at = index * FIELDS;
    const column = f(index % GRID_WIDTH + 0.5);
    const row = f(Math.floor(index / GRID_WIDTH) + 0.5);
    const width = f(CELL_PX + f(64 * f(1 + soft(cells[at + 3]!))));
    const height = f(CELL_PX + f(64 * f(1 + soft(cells[at + 4]!))));
    candidates[at] = f(f(f(column + f(0.5 * soft(cells[at + 1]!))) * CELL_PX) - f(0.5 * width));
    candidates[at + 1] = f(f(f(row + f(0.5 * soft(cells[at + 2]!))) * CELL_PX) - f(0.5 * height));
    candidates[at + 2] = width;
    candidates[at + 3] = height;
    candidates[at + 4] = cells[at]! > 0 && isPeak(cells, index) ? f(0.5 + f(0.5 * soft(cells[at]!))) : 0;
    candidates[at + 5] = cells[at + 5]! > 0 ? 1 : 0;
  }
  return candidates;
}

/** By score, the best first; of equal ones, the lower cell first. */
function topBoxes(candidates: Float32Array): Float32Array<ArrayBuffer> {
  const scoreOf = (index: number) => candidates[index * FIELDS + 4]!;
  const ranked: number[] = [];
  for (let index = 0; index < CELLS; index++) if (scoreOf(index) > 0) ranked.push(index);
  ranked.sort((a, b) => scoreOf(b) - scoreOf(a) || a - b);
  const boxes = new Float32Array(MAX_BOXES * FIELDS);
  for (const [rank, index] of ranked.slice(0, MAX_BOXES).entries()) {
    boxes.set(candidates.subarray(index * FIELDS, (index + 1) * FIELDS), rank * FIELDS);
  }
  return boxes;
}
