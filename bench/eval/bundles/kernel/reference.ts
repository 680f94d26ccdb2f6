/** The first chain of each block. */
import { reference, THREADS } from "../common.ts";
import { BLOCKS, ROUNDS } from "./source.ts";

export const createReference = reference((input) => {
  const seed = new DataView(input.buffer, input.byteOffset).getUint32(0, true);
  const out = new Uint32Array(BLOCKS);
  for (let block = 0; block < BLOCKS; block++) {
    let x = (seed + block * THREADS) >>> 0;
    for (let round = 0; round < ROUNDS; round++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      x = (x ^ (x >>> 15)) >>> 0;
    }
    out[block] = x;
  }
  return new Uint8Array(out.buffer);
});
