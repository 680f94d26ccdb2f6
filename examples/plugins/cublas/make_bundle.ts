/**
 * How does the perceptron of mlp.cc become a bundle?
 *
 * Writes seeded weights, a sample input, and its output as computed here on the CPU, so that `calypte bundle verify` compares
 * cuBLASLt with something that is not cuBLASLt.
 *
 * ```sh
 * deno run --allow-read --allow-write examples/plugins/cublas/make_bundle.ts mlp.so OUT [BATCH LAYER LAYER ...]
 * ```
 *
 * Without sizes: 64 1024 4096 4096 1000.
 */
const [library, out, ...sizes] = Deno.args;
if (library === undefined || out === undefined || (sizes.length > 0 && sizes.length < 3)) {
  throw new Error("usage: make_bundle.ts LIBRARY OUT [BATCH LAYER LAYER ...]");
}
const [batch = 64, ...layers] = sizes.length === 0 ? [64, 1024, 4096, 4096, 1000] : sizes.map(Number);
/** TF32 keeps 10 bits of each factor. */
const TOLERANCE = { rtol: 0.01, atol: 0.01 };
const WORKSPACE_BYTES = 32 * 2 ** 20;

let seed = 1;
/** In -scale..scale. */
function random(count: number, scale: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed / 2 ** 31 - 1) * scale;
  });
}

/** Row by row: in w^T + b, cut off at 0 if `relu`. */
function layer(
  input: Float32Array,
  w: Float32Array,
  b: Float32Array,
  relu: boolean,
): Float32Array<ArrayBuffer> {
  const [outputs, inputs] = [b.length, w.length / b.length];
  const result = new Float32Array(batch * outputs);
  for (let row = 0; row < batch; row++) {
    for (let o = 0; o < outputs; o++) {
      let sum = b[o]!;
      for (let i = 0; i < inputs; i++) sum += input[row * inputs + i]! * w[o * inputs + i]!;
      result[row * outputs + o] = relu ? Math.max(0, sum) : sum;
    }
  }
  return result;
}

async function write(name: string, data: Uint8Array<ArrayBuffer>): Promise<{ file: string; sha256: string }> {
  await Deno.writeFile(`${out}/${name}`, data);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return { file: name, sha256: Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

const bytesOf = (values: Float32Array<ArrayBuffer>) => new Uint8Array(values.buffer);

await Deno.mkdir(out, { recursive: true });
const tensor = (name: string, role: string, ...shape: number[]) => ({ name, role, dtype: "f32", shape });
const widest = Math.max(...layers.slice(1));
const buffers: Record<string, unknown>[] = [
  tensor("in", "input", batch, layers[0]!),
  tensor("out", "output", batch, layers.at(-1)!),
  tensor("h0", "scratch", batch, widest),
  tensor("h1", "scratch", batch, widest),
  { name: "workspace", role: "scratch", bytes: WORKSPACE_BYTES },
];
const input = random(batch * layers[0]!, 1);
let now = input;
for (let i = 0; i + 1 < layers.length; i++) {
  const [inputs, outputs] = [layers[i]!, layers[i + 1]!];
  const w = random(inputs * outputs, Math.sqrt(3 / inputs));
  const b = random(outputs, 0.1);
  now = layer(now, w, b, i + 2 < layers.length);
  buffers.push({ ...tensor(`w${i}`, "weight", outputs, inputs), ...await write(`w${i}.bin`, bytesOf(w)) });
  buffers.push({ ...tensor(`b${i}`, "weight", outputs), ...await write(`b${i}.bin`, bytesOf(b)) });
}
const sampleIn = await write("sample.in", bytesOf(input));
const sampleOut = await write("sample.out", bytesOf(now));
const manifest = {
  format: "calypte-bundle/1",
  name: "mlp",
  description: `a perceptron of ${layers.join(", ")} on cuBLASLt, with seeded weights`,
  plugin: {
    ...await write("mlp.so", await Deno.readFile(library)),
    capture: "require",
    config: { batch, layers },
  },
  buffers,
  verify: {
    ...{ input: sampleIn.file, inputSha256: sampleIn.sha256 },
    ...{ output: sampleOut.file, outputSha256: sampleOut.sha256 },
    ...TOLERANCE,
  },
};
await Deno.writeTextFile(`${out}/bundle.json`, JSON.stringify(manifest, undefined, 2) + "\n");
