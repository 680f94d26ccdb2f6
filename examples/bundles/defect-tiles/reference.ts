/**
 * What would kernels.cu have computed? The same bits, on the CPU.
 *
 * Every product and sum goes through `Math.fround`: a product or sum of two f32 in f64, rounded to f32, is what f32
 * arithmetic gives. Sums run in the order of the kernels: bias, then ky, kx, input channel.
 */
import { type Layer, LAYERS, PLACES, TILE_HEIGHT, TILE_WIDTH } from "./network.ts";

const f = Math.fround;
const TILE_BYTES = TILE_WIDTH * TILE_HEIGHT * 3;
/** Output channels that are summed side by side, for speed; those of all layers but the head are multiples of it. */
const TOGETHER = 8;

/** A tensor [height, width, channels], within a border of zeros, so that no tap has to ask whether it is inside. */
interface Padded {
  data: Float32Array<ArrayBuffer>;
  channels: number;
  border: number;
  /** Elements from a row to the next. */
  stride: number;
}

/** `dir`: the bundle's folder, with weights.bin. Inputs are tiles u8 [360, 640, 3]; outputs masks u8 [360, 640]. */
export async function createReference(dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  const weights = new Float32Array((await Deno.readFile(`${dir}/weights.bin`)).buffer);
  const tile = padded(TILE_WIDTH, TILE_HEIGHT, 3, 1);
  const layers = new Map(PLACES.map(({ layer, start, count, biasStart }) => {
    const matrix = weights.subarray(start, start + count);
    const bias = weights.subarray(biasStart, biasStart + layer.outChannels);
    // As wide as the widest reach of the layers behind it.
    return [layer.name, {
      layer,
      matrix,
      bias,
      out: padded(layer.width, layer.height, layer.outChannels, 4),
    }];
  }));
  const both = padded(320, 180, 16, 1);
  const at = (name: Layer["name"]) => layers.get(name)!;
  return {
    run(input) {
      if (input.length !== TILE_BYTES) {
        throw new RangeError(`Cannot look for cracks: the tile has ${input.length} bytes, not ${TILE_BYTES}`);
      }
      normalise(input, tile);
      let from = tile;
      for (const { name } of LAYERS) {
        const { layer, matrix, bias, out } = at(name);
        if (name === "head") break;
        if (name === "merge") {
          concatenate(at("stem").out, from, both, layer);
          from = both;
        }
        convolve(from, matrix, bias, out, layer);
        from = out;
      }
      const { layer, matrix, bias } = at("head");
      return maskOf(from, matrix, bias, layer);
    },
  };
}

function padded(width: number, height: number, channels: number, border: number): Padded {
  const stride = (width + 2 * border) * channels;
  return { data: new Float32Array(stride * (height + 2 * border)), channels, border, stride };
}

/** Where a pixel begins. */
function place({ border, stride, channels }: Padded, x: number, y: number): number {
  return (y + border) * stride + (x + border) * channels;
}

/** Pixels 0..255 to -0.5..0.5. */
function normalise(tile: Uint8Array, to: Padded): void {
  const table = Float32Array.from({ length: 256 }, (_, value) => f(value * f(1 / 255)) - 0.5);
  for (let y = 0; y < TILE_HEIGHT; y++) {
    const [from, start] = [y * TILE_WIDTH * 3, place(to, 0, y)];
    for (let i = 0; i < TILE_WIDTH * 3; i++) to.data[start + i] = table[tile[from + i]!]!;
  }
}

/** The stem's channels, and then those of narrow, each of whose pixels stands for 2 x 2. */
function concatenate(fine: Padded, coarse: Padded, to: Padded, { width, height }: Layer): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = place(to, x, y);
      const [first, second] = [place(fine, x, y), place(coarse, x >> 1, y >> 1)];
      for (let c = 0; c < fine.channels; c++) to.data[at + c] = fine.data[first + c]!;
      for (let c = 0; c < coarse.channels; c++) to.data[at + fine.channels + c] = coarse.data[second + c]!;
    }
  }
}

/**
 * With relu. A tap on the border adds 0 times its weight, which the kernel leaves out: the same sum, as no sum here is -0 (a
 * sum that begins with a bias of +0 or another number cannot become it).
 */
function convolve(
  input: Padded,
  weights: Float32Array,
  bias: Float32Array,
  output: Padded,
  { kernelSize, stride, dilation, inChannels, outChannels, width, height }: Layer,
): void {
  const from = input.data;
  const reach = (kernelSize - 1) / 2 * dilation;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const corner = place(input, x * stride - reach, y * stride - reach);
      const at = place(output, x, y);
      for (let oc = 0; oc < outChannels; oc += TOGETHER) {
        let s0 = bias[oc]!, s1 = bias[oc + 1]!, s2 = bias[oc + 2]!, s3 = bias[oc + 3]!;
        let s4 = bias[oc + 4]!, s5 = bias[oc + 5]!, s6 = bias[oc + 6]!, s7 = bias[oc + 7]!;
        let w = oc;
        for (let ky = 0; ky < kernelSize; ky++) {
          for (let kx = 0; kx < kernelSize; kx++) {
            const pixel = corner + ky * dilation * input.stride + kx * dilation * inChannels;
            for (let i = pixel; i < pixel + inChannels; i++) {
              const value = from[i]!;
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
        }
        const o = at + oc;
        const to = output.data;
        to[o] = s0 > 0 ? s0 : 0;
        to[o + 1] = s1 > 0 ? s1 : 0;
        to[o + 2] = s2 > 0 ? s2 : 0;
        to[o + 3] = s3 > 0 ? s3 : 0;
        to[o + 4] = s4 > 0 ? s4 : 0;
        to[o + 5] = s5 > 0 ? s5 : 0;
        to[o + 6] = s6 > 0 ? s6 : 0;
        to[o + 7] = s7 > 0 ? s7 : 0;
      }
    }
  }
}

function maskOf(input: Padded, weights: Float32Array, bias: Float32Array, { inChannels }: Layer): Uint8Array {
  const mask = new Uint8Array(TILE_WIDTH * TILE_HEIGHT);
  for (let y = 0, i = 0; y < TILE_HEIGHT; y++) {
    for (let x = 0; x < TILE_WIDTH; x++, i++) {
      const oc = y % 2 * 2 + x % 2;
      const pixel = place(input, x >> 1, y >> 1);
      let sum = bias[oc]!;
      for (let c = 0; c < inChannels; c++) sum = f(sum + f(input.data[pixel + c]! * weights[c * 4 + oc]!));
      mask[i] = sum > 0 ? 255 : 0;
    }
  }
  return mask;
}
