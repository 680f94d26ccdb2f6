/** The same bodies in double precision. */
import { mixed, reference } from "../common.ts";
import { BODIES, STEPS, TIME } from "./source.ts";

export const createReference = reference(() => {
  const coordinate = (i: number) => (mixed(i) >>> 8) / 8388608 - 1;
  let place = Float32Array.from({ length: 3 * BODIES }, (_, i) => coordinate(i));
  const speed = new Float64Array(3 * BODIES);
  for (let turn = 0; turn < STEPS; turn++) {
    const next = new Float32Array(3 * BODIES);
    for (let i = 0; i < BODIES; i++) {
      const [x, y, z] = [place[3 * i]!, place[3 * i + 1]!, place[3 * i + 2]!];
      let ax = 0, ay = 0, az = 0;
      for (let k = 0; k < BODIES; k++) {
        const dx = place[3 * k]! - x, dy = place[3 * k + 1]! - y, dz = place[3 * k + 2]! - z;
        const square = dx * dx + dy * dy + dz * dz + 0.01;
        const force = 1 / (square * Math.sqrt(square));
        ax += dx * force;
        ay += dy * force;
        az += dz * force;
      }
      for (const [axis, a] of [ax, ay, az].entries()) {
        speed[3 * i + axis]! += TIME * a;
        next[3 * i + axis] = place[3 * i + axis]! + TIME * speed[3 * i + axis]!;
      }
    }
    place = next;
  }
  const out = new Float32Array(BODIES / 32 * 4);
  for (let i = 0; i < BODIES / 32; i++) out.set([...place.subarray(96 * i, 96 * i + 3), 1], 4 * i);
  return new Uint8Array(out.buffer);
});
