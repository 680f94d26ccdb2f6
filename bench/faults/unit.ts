/** What the bundles of bench/bundles/faults compute on the CPU, for units whose trigger is 0. */
import { CHAIN_STRIDE, FACTOR, OUTPUT_WORDS, STRIDE } from "./fault_kernels.ts";

/** With `rounds` > 0: the words go through that many rounds of the chain's generator. */
export function unitReference(rounds = 0): { run(input: Uint8Array): Uint8Array } {
  const stride = rounds === 0 ? STRIDE : CHAIN_STRIDE;
  return {
    run(input) {
      const words = new Uint32Array(input.slice().buffer);
      if (words[0] !== 0) throw new Error("the CPU does not misbehave: word 0 of the input must be 0");
      const output = new Uint32Array(OUTPUT_WORDS);
      for (let k = 0; k < OUTPUT_WORDS; k++) {
        const i = k * stride;
        let value = Math.imul(words[i % words.length]!, FACTOR) + i | 0;
        for (let round = 0; round < rounds; round++) {
          value = Math.imul(value, 1664525) + 1013904223 | 0;
          value = value >>> 15 ^ value;
        }
        output[k] = value;
      }
      return new Uint8Array(output.buffer);
    },
  };
}
