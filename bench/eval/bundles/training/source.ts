/** Training steps of a small network, from the same beginning in every unit. Built by tools/build_bundle.ts. */
import { floats, source as bundle, step, THREADS } from "../common.ts";

export const [BATCH, INPUTS, HIDDEN, OUTPUTS, STEPS] = [256, 128, 256, 64, 4];
export const RATE = 0.5;
const at = (buffer: string) => ({ buffer });
const make = (name: string, count: number, seed: number, scale: number) =>
  step("numbers", count / THREADS, [at(name), { u32: seed }, { f32: scale }], 10, 4);
const product = (a: string, b: string, out: string, inner: number, columns: number, relu: number) =>
  step(
    "product",
    BATCH * columns / THREADS,
    [at(a), at(b), at(out), { i32: inner }, { i32: columns }, { i32: relu }],
    3 * inner,
    8,
  );
const descend = (name: string, inputs: string, delta: string, rows: number, columns: number) =>
  step(
    "descend",
    rows * columns / THREADS,
    [at(name), at(inputs), at(delta), { i32: BATCH }, { i32: rows }, { i32: columns }, { f32: RATE }],
    3 * BATCH,
    8,
  );

const once = [
  product("x", "w1", "h", INPUTS, HIDDEN, 1),
  product("h", "w2", "y", HIDDEN, OUTPUTS, 0),
  step(
    "error_of",
    BATCH * OUTPUTS / THREADS,
    [at("y"), at("t"), at("dy"), { f32: 2 / (BATCH * OUTPUTS) }],
    3,
    12,
  ),
  step(
    "backward",
    BATCH * HIDDEN / THREADS,
    [at("dy"), at("w2"), at("h"), at("dh"), { i32: OUTPUTS }, { i32: HIDDEN }],
    3 * OUTPUTS,
    8,
  ),
  descend("w2", "h", "dy", HIDDEN, OUTPUTS),
  descend("w1", "x", "dh", INPUTS, HIDDEN),
];

export const source = bundle(
  "training",
  "Background: four training steps of a network of 128, 256 and 64 units, batches of 256.",
  [
    ...[floats("x", "scratch", BATCH, INPUTS), floats("t", "scratch", BATCH, OUTPUTS)],
    ...[floats("w1", "scratch", INPUTS, HIDDEN), floats("h", "scratch", BATCH, HIDDEN)],
    ...[floats("dh", "scratch", BATCH, HIDDEN), floats("dy", "scratch", BATCH, OUTPUTS)],
    ...[floats("y", "scratch", BATCH, OUTPUTS), floats("w2", "output", HIDDEN, OUTPUTS)],
  ],
  [
    ...[make("x", BATCH * INPUTS, 1, 1), make("t", BATCH * OUTPUTS, 1_000_003, 1)],
    ...[make("w1", INPUTS * HIDDEN, 2_000_003, 0.15), make("w2", HIDDEN * OUTPUTS, 3_000_017, 0.1)],
    ...Array.from({ length: STEPS }, () => once).flat(),
  ],
  { rtol: 1e-3, atol: 1e-4 },
);
