/**
 * Which layers does defect-tiles have, and where are their weights in weights.bin?
 *
 * Shared by source.ts and reference.ts; kernels.cu has the same numbers as arguments. tools/train_defect_tiles.py has the same
 * network, and writes weights.bin in this order.
 *
 * All tensors are [height, width, channels], channels next to each other. A layer's weights are [ky, kx, in, out] f32 (1 x 1:
 * [in, out]), followed by its bias [out]. Layers lie in weights.bin in the order of LAYERS, without gaps.
 */
export const TILE_WIDTH = 640;
export const TILE_HEIGHT = 360;

export interface Layer {
  name: "stem" | "down" | "near" | "wide" | "wider" | "narrow" | "merge" | "head";
  /** 3: padded by `dilation`; 1: a product per pixel, without relu in the head. */
  kernelSize: 1 | 3;
  stride: 1 | 2;
  /** Pixels from tap to tap. */
  dilation: 1 | 2 | 4;
  inChannels: number;
  outChannels: number;
  /** Of the output. */
  width: number;
  height: number;
}

const half = { width: 320, height: 180 };
const quarter = { width: 160, height: 90 };

function conv(
  name: Layer["name"],
  inChannels: number,
  outChannels: number,
  size: { width: number; height: number },
  change: Partial<Layer> = {},
): Layer {
  return { name, kernelSize: 3, stride: 1, dilation: 1, inChannels, outChannels, ...size, ...change };
}

/**
 * The input of each is the output of the one before. But merge's has the stem's 8 channels first, and then narrow's 8, each
 * pixel of which stands for 2 x 2; and the head's 4 channels are the 2 x 2 pixels of the mask, row by row.
 */
export const LAYERS: readonly Layer[] = [
  conv("stem", 3, 8, half, { stride: 2 }),
  conv("down", 8, 16, quarter, { stride: 2 }),
  conv("near", 16, 16, quarter),
  conv("wide", 16, 16, quarter, { dilation: 2 }),
  conv("wider", 16, 16, quarter, { dilation: 4 }),
  conv("narrow", 16, 8, quarter, { kernelSize: 1 }),
  conv("merge", 16, 8, half),
  conv("head", 8, 4, half, { kernelSize: 1 }),
];

export interface WeightPlace {
  layer: Layer;
  /** Of the weights, in elements from the beginning of weights.bin. */
  start: number;
  count: number;
  /** Of the bias, likewise. */
  biasStart: number;
}

export const PLACES: readonly WeightPlace[] = (() => {
  let start = 0;
  return LAYERS.map((layer) => {
    const count = layer.kernelSize ** 2 * layer.inChannels * layer.outChannels;
    const place = { layer, start, count, biasStart: start + count };
    start = place.biasStart + layer.outChannels;
    return place;
  });
})();

export const WEIGHTS = PLACES.reduce((sum, { count, layer }) => sum + count + layer.outChannels, 0);
