/** The same additions, one by one. */
import { mixed, reference } from "../common.ts";
import { ADDITIONS, COUNTERS } from "./source.ts";

export const createReference = reference(() => {
  const counters = new Uint32Array(COUNTERS);
  for (let i = 0; i < ADDITIONS; i++) {
    const value = mixed(i), at = value & (COUNTERS - 1);
    counters[at] = counters[at]! + (value >>> 16);
  }
  return new Uint8Array(counters.buffer);
});
