/** Shallow water: forty short kernels in a row. Built by tools/build_bundle.ts. */
import { floats, source as bundle, step, THREADS } from "../common.ts";

export const [N, STEPS, K] = [512, 40, 0.1];
const CELLS = N * N, SAMPLES = CELLS / 64;
const state = (suffix: string) => ["h", "u", "v"].map((name) => ({ buffer: `${name}${suffix}` }));

export const source = bundle(
  "stencil",
  "Background: forty steps of shallow water on 512 x 512 cells, all kernels short.",
  [
    ...[...state("0"), ...state("1")].map(({ buffer }) => floats(buffer, "scratch", N, N)),
    floats("out", "output", SAMPLES),
  ],
  [
    step("begin", CELLS / THREADS, state("0"), 10, 12),
    ...Array.from({ length: STEPS }, (_, i) => {
      const [from, to] = [state(String(i % 2)), state(String((i + 1) % 2))];
      return step("step", CELLS / THREADS, [...from, ...to, { f32: K }], 60, 24);
    }),
    step("sample", SAMPLES / THREADS, [{ buffer: "h0" }, { buffer: "out" }], 5, 8),
  ],
  { rtol: 1e-4, atol: 1e-5 },
);
