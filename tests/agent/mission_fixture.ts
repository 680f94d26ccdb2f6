/**
 * A whole mission in a temporary folder: a bundle with one small kernel, a sample, a reference, frames, a mission file.
 * The kernel adds 1 to each of 512 bytes; the reference does the same, or counts units if it is stateful.
 */
import { path } from "../../agent/std/mod.ts";

export const FRAME_BYTES = 512;
export const FRAMES = 3;

const PTX = `.version 7.0
.target sm_80
.address_size 64

.visible .entry add_one(.param .u64 from, .param .u64 to)
{
  .reg .b64 %rd<6>;
  .reg .b32 %r<5>;
  .reg .b16 %h<3>;
  ld.param.u64 %rd1, [from];
  ld.param.u64 %rd2, [to];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %r4, %r1, %r3, %r2;
  cvt.u64.u32 %rd3, %r4;
  add.s64 %rd4, %rd1, %rd3;
  add.s64 %rd5, %rd2, %rd3;
  ld.global.u8 %h1, [%rd4];
  add.u16 %h2, %h1, 1;
  st.global.u8 [%rd5], %h2;
  ret;
}
`;

const REFERENCE = `export function createReference(_dir) {
  return { run: (input) => input.map((byte) => byte + 1) };
}
`;

const STATEFUL_REFERENCE = `export function createReference(_dir) {
  let units = 0;
  return { run: (input) => { units++; return input.map(() => units); } };
}
`;

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.slice()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export interface BundleOptions {
  reference?: boolean;
  stateful?: boolean;
  /** Bytes of the sample output that are wrong. */
  wrongSample?: boolean;
  estimateUs?: number;
}

/** Writes a bundle into `dir`. */
export async function writeBundle(dir: string, name: string, options: BundleOptions = {}): Promise<void> {
  const { reference = true, stateful = false, wrongSample = false, estimateUs = 200 } = options;
  await Deno.mkdir(dir, { recursive: true });
  const files: Record<string, Uint8Array> = {
    "kernels.ptx": new TextEncoder().encode(PTX),
    "sample.in": new Uint8Array(FRAME_BYTES).fill(4),
    "sample.out": new Uint8Array(FRAME_BYTES).fill(wrongSample ? 6 : 5),
  };
  for (const [file, bytes] of Object.entries(files)) await Deno.writeFile(path.join(dir, file), bytes);
  if (reference) {
    await Deno.writeTextFile(path.join(dir, "reference.ts"), stateful ? STATEFUL_REFERENCE : REFERENCE);
  }
  const manifest = {
    format: "calypte-bundle/1",
    name,
    modules: [{ file: "kernels.ptx", arch: "compute_80", sha256: await sha256(files["kernels.ptx"]!) }],
    buffers: [
      { name: "frame", role: "input", dtype: "u8", shape: [FRAME_BYTES] },
      { name: "answer", role: "output", dtype: "u8", shape: [2, FRAME_BYTES / 2] },
      ...(stateful ? [{ name: "count", role: "state", bytes: 4 }] : []),
    ],
    steps: [
      {
        kernel: "add_one",
        grid: [4, 1, 1],
        block: [128, 1, 1],
        args: [{ buffer: "frame" }, { buffer: "answer" }],
        estimateUs,
        blockUs: 10,
      },
    ],
    verify: {
      input: "sample.in",
      inputSha256: await sha256(files["sample.in"]!),
      output: "sample.out",
      outputSha256: await sha256(files["sample.out"]!),
    },
    ...(reference ? { reference: "reference.ts" } : {}),
  };
  await Deno.writeTextFile(path.join(dir, "bundle.json"), JSON.stringify(manifest, null, 2));
}

export interface MissionFixture {
  dir: string;
  file: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A detector at 100 Hz, a map job with weight 3 and a thumbnail job with weight 1, no HTTP unless `listen`. */
export async function writeMission(
  options: BundleOptions & { listen?: string; mapOutput?: string } = {},
): Promise<MissionFixture> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-mission-" });
  await writeBundle(path.join(dir, "detector"), "detector", { ...options, stateful: false });
  await writeBundle(path.join(dir, "map"), "map", { ...options, estimateUs: 900 });
  const frames = path.join(dir, "frames");
  await Deno.mkdir(frames);
  for (let i = 0; i < FRAMES; i++) {
    await Deno.writeFile(path.join(frames, `${i}.raw`), new Uint8Array(FRAME_BYTES).fill(i * 10));
  }
  const file = path.join(dir, "mission.yaml");
  await Deno.writeTextFile(
    file,
    `http: ${options.listen === undefined ? "false" : `{ listen: "${options.listen}" }`}
critical:
  detector:
    bundle: detector
    source: { frames: frames, rate: 100Hz }
    deadline: 5ms
    output: { jsonl: out/detections.jsonl }
background:
  map: { bundle: map, weight: 3, source: { frames: frames }, output: ${
      options.mapOutput ?? "{ dir: out/map }"
    } }
  thumbs: { bundle: map, weight: 1, source: { frames: frames } }
policy: { lease: 400ms }
`,
  );
  return { dir, file, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}
