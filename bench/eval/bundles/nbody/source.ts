/** All pairs of 8192 bodies, twice. Built by tools/build_bundle.ts. */
import { floats, source as bundle, step, THREADS } from "../common.ts";

export const [BODIES, STEPS, TIME] = [8192, 2, 1e-5];
const at = (buffer: string) => ({ buffer });

export const source = bundle(
  "nbody",
  "Background: two steps of 8192 bodies that attract each other.",
  [
    ...[floats("even", "scratch", BODIES, 4), floats("odd", "scratch", BODIES, 4)],
    ...[floats("speed", "scratch", BODIES, 4), floats("out", "output", BODIES / 32, 4)],
  ],
  [
    step("begin", BODIES / THREADS, [at("even"), at("speed")], 40, 32),
    ...Array.from({ length: STEPS }, (_, i) => {
      const [from, to] = i % 2 === 0 ? ["even", "odd"] : ["odd", "even"];
      const args = [at(from!), at(to!), at("speed"), { i32: BODIES }, { f32: TIME }];
      return step("attract", BODIES / THREADS, args, 25 * BODIES, 64);
    }),
    step("sample", 1, [at("even"), at("out")], 1, 32),
  ],
  { rtol: 1e-3, atol: 1e-3 },
);
