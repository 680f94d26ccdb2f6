/** Every pass adds 1 to 4 to the words of four. */
import { folded, mixed, reference } from "../common.ts";
import { FOLD, PASSES, WORDS } from "./source.ts";

export const createReference = reference(() => {
  const words = new Uint32Array(WORDS);
  for (let i = 0; i < WORDS; i++) words[i] = mixed(i) + PASSES * (i % 4 + 1);
  return folded(words, FOLD);
});
