/**
 * A small convolutional detector on one camera frame: 640 x 360 RGB in, up to 100 boxes out.
 *
 * tools/build_bundle.ts makes bundle.json, the PTX and the sample from this, kernels.cu, reference.ts and weights.bin, which
 * tools/train_demo_detector.py has made from drawn frames. It finds what is drawn there, and knows nothing of real obstacles.
 */
import {
  type BundleSource,
  type Dim3,
  estimates,
  frame,
  type SourceArg,
  type SourceBuffer,
  type SourceKernelStep,
} from "../../../tools/bundle_source.ts";
import {
  CELLS,
  FIELDS,
  FRAME_HEIGHT,
  FRAME_WIDTH,
  GRID_HEIGHT,
  GRID_WIDTH,
  type Layer,
  LAYERS,
  MAX_BOXES,
  PLACES,
} from "./network.ts";

const THREADS = 256;
const WEIGHTS_FILE = "weights.bin";
/** What a tap costs besides its product and sum: two loads, addresses, bounds. */
const OPERATIONS_PER_TAP = 6;

/** As trained. */
function weights(): Uint8Array {
  const last = PLACES[PLACES.length - 1]!;
  const bytes = Deno.readFileSync(new URL(WEIGHTS_FILE, import.meta.url));
  const expected = (last.biasStart + last.layer.outChannels) * 4;
  if (bytes.length === expected) return bytes;
  throw new Error(
    `Cannot build the detector: ${WEIGHTS_FILE} has ${bytes.length} bytes, and network.ts takes ${expected}`,
  );
}

const weightBuffers: SourceBuffer[] = PLACES.flatMap(({ layer, start, biasStart }) => {
  const { name, kernelSize, inChannels, outChannels } = layer;
  const taps = kernelSize === 3 ? [3, 3] : [];
  const common = { role: "weight", dtype: "f32" } as const;
  return [
    {
      name: `${name}_w`,
      ...common,
      shape: [...taps, inChannels, outChannels],
      file: WEIGHTS_FILE,
      offset: start * 4,
    },
    { name: `${name}_b`, ...common, shape: [outChannels], file: WEIGHTS_FILE, offset: biasStart * 4 },
  ];
});

const activations: SourceBuffer[] = LAYERS.map(({ name, width, height, outChannels }) => ({
  name: `${name}_out`,
  role: "scratch",
  dtype: "f32",
  shape: [height, width, outChannels],
}));

/** One thread per element. */
function step(
  kernel: string,
  elements: number,
  args: SourceArg[],
  flopsPerThread: number,
  bytesPerThread: number,
): SourceKernelStep {
  const grid: Dim3 = [Math.ceil(elements / THREADS), 1, 1];
  const block: Dim3 = [THREADS, 1, 1];
  return { kernel, grid, block, args, ...estimates({ grid, block, flopsPerThread, bytesPerThread }) };
}

const i32 = (value: number) => ({ i32: value });

function layerStep(layer: Layer, index: number): SourceKernelStep {
  const { name, kernelSize, stride, inChannels, outChannels, width, height } = layer;
  const before = LAYERS[index - 1];
  const buffers = [before === undefined ? "frame" : `${before.name}_out`, `${name}_w`, `${name}_b`];
  const pointers: SourceArg[] = [...buffers, `${name}_out`].map((buffer) => ({ buffer }));
  const elements = width * height * outChannels;
  const flops = kernelSize ** 2 * inChannels * OPERATIONS_PER_TAP;
  // What is read belongs to all output channels of a pixel.
  const bytes = 4 + stride ** 2 * inChannels * (before === undefined ? 1 : 4) / outChannels;
  if (name === "head") {
    return step("head", elements, [...pointers, i32(CELLS), i32(inChannels), i32(outChannels)], flops, bytes);
  }
  if (before === undefined) {
    const sizes = [FRAME_WIDTH, FRAME_HEIGHT, width, height, outChannels].map(i32);
    return step("stem", elements, [...pointers, ...sizes], flops, bytes);
  }
  const sizes = [before.width, before.height, inChannels, width, height, outChannels, stride].map(i32);
  return step("conv3x3", elements, [...pointers, ...sizes], flops, bytes);
}

export const source: BundleSource = {
  manifest: {
    format: "calypte-bundle/1",
    name: "obstacle-detector",
    description:
      "Small convolutional obstacle detector: one 640 x 360 RGB frame to up to 100 boxes (x, y, w, h, score, class) " +
      "in pixels, best first, zeros behind. Class 0 is a tree, 1 a pole or a bird. Trained on drawn frames, and good for those alone",
    license: "MIT",
    buffers: [
      { name: "frame", role: "input", dtype: "u8", shape: [FRAME_HEIGHT, FRAME_WIDTH, 3] },
      ...weightBuffers,
      ...activations,
      { name: "candidates", role: "scratch", dtype: "f32", shape: [CELLS, FIELDS] },
      { name: "boxes", role: "output", dtype: "f32", shape: [MAX_BOXES, FIELDS] },
    ],
    steps: [
      ...LAYERS.map(layerStep),
      step(
        "decode",
        CELLS,
        [{ buffer: "head_out" }, { buffer: "candidates" }, i32(GRID_WIDTH), i32(GRID_HEIGHT)],
        100,
        FIELDS * 8,
      ),
      { memset: { buffer: "boxes", value: 0 } },
      step(
        "top_boxes",
        CELLS,
        [{ buffer: "candidates" }, { buffer: "boxes" }, i32(CELLS)],
        CELLS * 5,
        FIELDS * 4,
      ),
    ],
    verify: { rtol: 0, atol: 0 },
  },
  files: () => new Map([[WEIGHTS_FILE, weights()]]),
  sampleInput: () => frame(0),
};
