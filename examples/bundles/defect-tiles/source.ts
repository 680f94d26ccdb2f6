/**
 * Cracks in concrete: a tile of 640 x 360 pixels of a 4K frame in, a mask of the same size out.
 *
 * tools/build_bundle.ts makes bundle.json, the PTX and the sample from this, kernels.cu, weights.bin and reference.ts. The
 * weights were trained by tools/train_defect_tiles.py on rendered tiles of tools/make_tiles.ts.
 */
import { decode } from "fast-png";
import {
  type BundleSource,
  type Dim3,
  estimates,
  type SourceArg,
  type SourceBuffer,
  type SourceKernelStep,
} from "../../../tools/bundle_source.ts";
import { type Layer, LAYERS, PLACES, TILE_HEIGHT, TILE_WIDTH, WEIGHTS } from "./network.ts";

const THREADS = 256;
const WEIGHTS_FILE = "weights.bin";
/** What a tap costs besides its product and sum: two loads, addresses, bounds. */
const OPERATIONS_PER_TAP = 6;
/** One with cracks. */
const SAMPLE = "tile_13.png";

function weights(): Uint8Array {
  const bytes = Deno.readFileSync(new URL(`./${WEIGHTS_FILE}`, import.meta.url));
  if (bytes.length !== WEIGHTS * 4) {
    throw new Error(`Cannot use ${WEIGHTS_FILE}: it has ${bytes.length} bytes, not ${WEIGHTS * 4}`);
  }
  return bytes;
}

async function sample(): Promise<Uint8Array> {
  const { width, height, channels, data } = decode(
    await Deno.readFile(new URL(`../../tiles/${SAMPLE}`, import.meta.url)),
  );
  if (width !== TILE_WIDTH || height !== TILE_HEIGHT || channels !== 3) {
    throw new Error(`Cannot use ${SAMPLE}: it is ${width} x ${height} x ${channels}`);
  }
  return Uint8Array.from(data);
}

const weightBuffers: SourceBuffer[] = PLACES.flatMap(({ layer, start, biasStart }) => {
  const { name, kernelSize, inChannels, outChannels } = layer;
  const taps = kernelSize === 3 ? [3, 3] : [];
  const common = { role: "weight", dtype: "f32" } as const;
  const shape = [...taps, inChannels, outChannels];
  return [
    { name: `${name}_w`, ...common, shape, file: WEIGHTS_FILE, offset: start * 4 },
    { name: `${name}_b`, ...common, shape: [outChannels], file: WEIGHTS_FILE, offset: biasStart * 4 },
  ];
});

const activations: SourceBuffer[] = LAYERS.slice(0, -1).map(({ name, width, height, outChannels }) => ({
  name: `${name}_out`,
  role: "scratch",
  dtype: "f32",
  shape: [height, width, outChannels],
}));

const i32 = (value: number) => ({ i32: value });

/** One thread per element. */
function layerStep(layer: Layer, index: number): SourceKernelStep {
  const { name, kernelSize, stride, dilation, inChannels, outChannels, width, height } = layer;
  const before = LAYERS[index - 1];
  const [from, to] = [`${before?.name}_out`, `${name}_out`];
  const pointers = (...names: string[]): SourceArg[] => names.map((buffer) => ({ buffer }));
  const own = [`${name}_w`, `${name}_b`];
  const step = (kernel: string, args: SourceArg[]): SourceKernelStep => {
    const grid: Dim3 = [Math.ceil(width * height * outChannels / THREADS), 1, 1];
    const block: Dim3 = [THREADS, 1, 1];
    const flopsPerThread = kernelSize ** 2 * inChannels * OPERATIONS_PER_TAP;
    // What is read belongs to all output channels of a pixel.
    const bytesPerThread = 4 + stride ** 2 * inChannels * (before === undefined ? 1 : 4) / outChannels;
    return { kernel, grid, block, args, ...estimates({ grid, block, flopsPerThread, bytesPerThread }) };
  };
  switch (name) {
    case "stem": {
      const sizes = [TILE_WIDTH, TILE_HEIGHT, width, height, outChannels];
      return step("stem", [...pointers("tile", ...own, to), ...sizes.map(i32)]);
    }
    case "narrow":
      return step("narrow", [
        ...pointers(from, ...own, to),
        ...[width * height, inChannels, outChannels].map(i32),
      ]);
    case "merge": {
      const fine = LAYERS[0]!.outChannels;
      const sizes = [width, height, fine, inChannels - fine, outChannels];
      return step("merge", [...pointers("stem_out", from, ...own, to), ...sizes.map(i32)]);
    }
    case "head":
      return step("head", [...pointers(from, ...own, "mask"), ...[width, height, inChannels].map(i32)]);
    default: {
      const sizes = [before!.width, before!.height, inChannels, width, height, outChannels, stride, dilation];
      return step("conv3x3", [...pointers(from, ...own, to), ...sizes.map(i32)]);
    }
  }
}

export const source: BundleSource = {
  manifest: {
    format: "calypte-bundle/1",
    name: "defect-tiles",
    description:
      "Cracks in concrete: a tile of 640 x 360 RGB pixels to a mask, 255 where there is a crack; trained on rendered tiles: " +
      "within 2 pixels, precision 0.921 and recall 0.954 on 200 held-out rendered tiles; it knows nothing of real concrete",
    license: "MIT",
    buffers: [
      { name: "tile", role: "input", dtype: "u8", shape: [TILE_HEIGHT, TILE_WIDTH, 3] },
      ...weightBuffers,
      ...activations,
      { name: "mask", role: "output", dtype: "u8", shape: [TILE_HEIGHT, TILE_WIDTH] },
    ],
    steps: LAYERS.map(layerStep),
    verify: { rtol: 0, atol: 0 },
  },
  files: () => new Map([[WEIGHTS_FILE, weights()]]),
  sampleInput: sample,
};
