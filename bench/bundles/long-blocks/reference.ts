/** What long-blocks computes, on the CPU. It has no input, so that one run answers for all. */

const ROUNDS = 70_000;
const GRID = 2112;
const BLOCK_THREADS = 256;
/** Blocks that are this far apart start from the same seeds. */
const SEED_BLOCKS = 8;

export function createReference(_dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  let output: Uint8Array | undefined;
  return Promise.resolve({ run: () => output ??= compute() });
}

function compute(): Uint8Array {
  const folded = new Uint32Array(SEED_BLOCKS);
  for (let seed = 0; seed < SEED_BLOCKS * BLOCK_THREADS; seed++) {
    const block = Math.floor(seed / BLOCK_THREADS);
    folded[block] = folded[block]! ^ spin(seed);
  }
  const output = new Uint8Array(GRID * 4);
  const view = new DataView(output.buffer);
  for (let block = 0; block < GRID; block++) {
    view.setUint32(block * 4, folded[block % SEED_BLOCKS]! + block, true);
  }
  return output;
}

function spin(seed: number): number {
  let x = seed;
  for (let round = 0; round < ROUNDS; round++) {
    x = Math.imul(x, 1664525) + 1013904223 | 0;
    x ^= x >>> 15;
  }
  return x;
}
