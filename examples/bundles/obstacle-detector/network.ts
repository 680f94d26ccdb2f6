/**
 * Which layers does the obstacle detector have, and where are their weights in weights.bin?
 *
 * Shared by source.ts and reference.ts; kernels.cu has the same numbers as arguments.
 *
 * All tensors are [height, width, channels], channels next to each other. A layer's weights are [ky, kx, in, out] f32 (the
 * head: [in, out]), followed by its bias [out]. Layers lie in weights.bin in the order of LAYERS, without gaps.
 */
export const FRAME_WIDTH = 640;
export const FRAME_HEIGHT = 360;
/** One cell per 8 x 8 pixels. */
export const GRID_WIDTH = 80;
export const GRID_HEIGHT = 45;
export const CELLS = GRID_WIDTH * GRID_HEIGHT;
export const CELL_PX = 8;
/** Of a cell from the head: objectness, x, y, w, h, class. Of a box: x, y, w, h, score, class. */
export const FIELDS = 6;
export const MAX_BOXES = 100;

export interface Layer {
  name: "stem" | "conv2" | "conv3" | "conv4" | "head";
  /** 3: with one pixel of padding; 1: a product per pixel. */
  kernelSize: 1 | 3;
  stride: 1 | 2;
  inChannels: number;
  outChannels: number;
  /** Of the output. */
  width: number;
  height: number;
}

export const LAYERS: readonly Layer[] = [
  { name: "stem", kernelSize: 3, stride: 2, inChannels: 3, outChannels: 8, width: 320, height: 180 },
  { name: "conv2", kernelSize: 3, stride: 2, inChannels: 8, outChannels: 16, width: 160, height: 90 },
  { name: "conv3", kernelSize: 3, stride: 2, inChannels: 16, outChannels: 16, width: 80, height: 45 },
  { name: "conv4", kernelSize: 3, stride: 1, inChannels: 16, outChannels: 16, width: 80, height: 45 },
  { name: "head", kernelSize: 1, stride: 1, inChannels: 16, outChannels: FIELDS, width: 80, height: 45 },
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
