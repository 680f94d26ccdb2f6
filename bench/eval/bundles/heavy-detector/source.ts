/** A detector that takes milliseconds. Its weights come from a seed: it shows a cost, not a skill. Built by tools/build_bundle.ts. */
import { randomOf, type SourceBuffer } from "../../../../tools/bundle_source.ts";
import { floats, mixed, source as bundle, step, THREADS } from "../common.ts";

export const [WIDTH, HEIGHT, CHANNELS, LAYERS, CELLS] = [320, 180, 32, 8, 16 * 9];
const WEIGHTS_FILE = "weights.bin";
const BLOCKS = WIDTH * HEIGHT * CHANNELS / THREADS;
const MACS = 9 * CHANNELS;

export function weights(): Float32Array {
  const random = randomOf(20263);
  // Uniform with variance 2 / inputs (He), which keeps the size of activations from layer to layer.
  const bound = Math.sqrt(6 / MACS);
  return Float32Array.from({ length: MACS * CHANNELS }, () => (random() * 2 - 1) * bound);
}

const buffers: SourceBuffer[] = [
  { name: "frame", role: "input", dtype: "u8", shape: [HEIGHT / 2, WIDTH / 2] },
  { ...floats("weights", "weight", 9, CHANNELS, CHANNELS), file: WEIGHTS_FILE, offset: 0 },
  floats("even", "scratch", HEIGHT, WIDTH, CHANNELS),
  floats("odd", "scratch", HEIGHT, WIDTH, CHANNELS),
  floats("scores", "output", CELLS, CHANNELS),
];

const made = bundle(
  "heavy-detector",
  "Critical: eight convolutions of 32 channels over 320 x 180, some milliseconds.",
  buffers,
  [
    step("expand", BLOCKS, [{ buffer: "frame" }, { buffer: "even" }], 10, 5),
    ...Array.from({ length: LAYERS }, (_, layer) => {
      const [from, to] = layer % 2 === 0 ? ["even", "odd"] : ["odd", "even"];
      return step(
        "convolve",
        BLOCKS,
        [{ buffer: from! }, { buffer: "weights" }, { buffer: to! }],
        MACS * 3,
        8,
      );
    }),
    step("score", CELLS, [{ buffer: "even" }, { buffer: "scores" }], 1600, 1600, CHANNELS),
  ],
  { rtol: 1e-3, atol: 1e-3 },
  () => Uint8Array.from({ length: WIDTH * HEIGHT / 4 }, (_, i) => mixed(i) & 255),
);

export const source = { ...made, files: () => new Map([[WEIGHTS_FILE, new Uint8Array(weights().buffer)]]) };
