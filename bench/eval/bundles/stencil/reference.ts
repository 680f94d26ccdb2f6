/** The same steps on the CPU, rounded to single precision after each. */
import { reference } from "../common.ts";
import { K, N, STEPS } from "./source.ts";

export const createReference = reference(() => {
  let [h, u, v] = Array.from({ length: 3 }, () => new Float32Array(N * N)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  for (let i = 0; i < N * N; i++) {
    const [x, y] = [i % N - N / 2, Math.floor(i / N) - N / 2];
    h[i] = 1 + 0.5 / (1 + (x * x + y * y) / 1024);
  }
  for (let turn = 0; turn < STEPS; turn++) [h, u, v] = stepped(h, u, v);
  const out = new Float32Array(N * N / 64);
  for (let i = 0; i < out.length; i++) out[i] = h[Math.floor(i / (N / 8)) * 8 * N + i % (N / 8) * 8]!;
  return new Uint8Array(out.buffer);
});

function stepped(
  h: Float32Array,
  u: Float32Array,
  v: Float32Array,
): [Float32Array, Float32Array, Float32Array] {
  const [h2, u2, v2] = [new Float32Array(N * N), new Float32Array(N * N), new Float32Array(N * N)];
  const along = (m: number, i: number) => m * m / h[i]! + 0.5 * h[i]! * h[i]!;
  const across = (i: number) => u[i]! * v[i]! / h[i]!;
  for (let y = 0; y < N; y++) {
    for (let x = 0; x < N; x++) {
      const i = y * N + x;
      const w = y * N + (x + N - 1) % N, e = y * N + (x + 1) % N;
      const n = (y + N - 1) % N * N + x, s = (y + 1) % N * N + x;
      const mean = (of: Float32Array) => 0.25 * (of[e]! + of[w]! + of[n]! + of[s]!);
      h2[i] = mean(h) - K * (u[e]! - u[w]! + v[s]! - v[n]!);
      u2[i] = mean(u) - K * (along(u[e]!, e) - along(u[w]!, w) + across(s) - across(n));
      v2[i] = mean(v) - K * (along(v[s]!, s) - along(v[n]!, n) + across(e) - across(w));
    }
  }
  return [h2, u2, v2];
}
