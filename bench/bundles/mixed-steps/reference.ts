/** What mixed-steps computes, on the CPU: every step exactly once, in order. */

const GRID = 1536;
const THREADS = 64;
const ROUNDS = 4000;
const INPUTS = 4096;
const TALLIES = 64;
const CROSSING = 48;
const SALTS = 128;

export function createReference(_dir: string): Promise<{ run(input: Uint8Array): Uint8Array }> {
  const salts = [0, 1, 2].map((kind) => Uint32Array.from({ length: SALTS }, (_, i) => saltOf(kind, i)));
  return Promise.resolve({ run: (input) => run(input, salts) });
}

/** `index` is (block % 16) * 8 + thread % 8. */
function saltOf(kind: number, index: number): number {
  let x = kind * SALTS + index;
  for (let round = 0; round < ROUNDS; round++) {
    x = Math.imul(x, 1664525) + 1013904223 | 0;
    x ^= x >>> 15;
  }
  return x;
}

function run(input: Uint8Array, salts: readonly Uint32Array[]): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  // Typed arrays keep each value modulo 2^32.
  const values = new Uint32Array(GRID * THREADS);
  const tally = new Uint32Array(TALLIES);
  const salt = (kind: number, block: number, thread: number) => salts[kind]![(block % 16) * 8 + thread % 8]!;

  eachThread((block, thread, i) => {
    values[i] = Math.imul(view.getUint32((i % INPUTS) * 4, true), 2654435761) + salt(0, block, thread);
  });
  const crossed = values.slice();
  eachThread((block, thread, i) => {
    const x = Math.imul(values[i]!, 1103515245) + salt(1, block, thread) >>> 0;
    crossed[i] = x;
    tally[block % TALLIES] = tally[block % TALLIES]! + x;
  });
  eachThread((_, thread, i) => {
    const partner = i - thread + CROSSING - 1 - thread;
    values[i] = thread < CROSSING ? crossed[i]! + 5 * crossed[partner]! : crossed[i]!;
  });
  const output = new Uint8Array(values.byteLength);
  const out = new DataView(output.buffer);
  eachThread((block, thread, i) => {
    const x = Math.imul(values[i]!, 69069) + salt(2, block, thread);
    // One visit to each block.
    out.setUint32(i * 4, ((x ^ tally[block % TALLIES]!) >>> 0) + 97, true);
  });
  return output;
}

function eachThread(visit: (block: number, thread: number, index: number) => void): void {
  for (let block = 0; block < GRID; block++) {
    for (let thread = 0; thread < THREADS; thread++) visit(block, thread, block * THREADS + thread);
  }
}
