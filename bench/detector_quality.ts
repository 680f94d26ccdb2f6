/**
 * Does the example's detector find what stands in frames that it was not trained on, also while background shares the GPU?
 *
 * ```sh
 * deno run -A bench/detector_quality.ts --out DIR                              # by the CPU reference
 * deno run -A --cached-only bench/detector_quality.ts --backend cuda --out DIR # as critical task at 100 Hz, alone and beside jobs
 * ```
 *
 * Frames are drawn from seeds that the trainer never sees (tools/train_demo_detector.py says which). Precision and recall at an
 * overlap of one half. On a GPU every output is compared with the reference's, bit for bit. Ends with 1 below 0.95.
 *
 * `--expected FILE`: outputs of the CPU reference, a minute's work, are written to FILE where it is not there, and read where it
 * is: made ahead and carried along, they cost a machine with a GPU nothing.
 */
import { loadBundle } from "../agent/bundle.ts";
import type { Frames } from "../agent/frames.ts";
import { loadReference } from "../agent/reference.ts";
import { loadFrames } from "../agent/frames.ts";
import { parseArgs, path } from "../agent/std/mod.ts";
import { EMPTY, judge, precisionOf, recallOf, type Row, type Tally } from "../tools/detection_quality.ts";
import type { Obstacle } from "../tools/frames_obstacles.ts";
import { FRAME_CHANNELS, FRAME_HEIGHT, FRAME_WIDTH } from "../tools/make_frames.ts";
import { renderFrame } from "../tools/render_frames.ts";
import { Session } from "./session.ts";

const ROOT = path.dirname(import.meta.dirname!);
const DETECTOR = path.join(ROOT, "examples/bundles/obstacle-detector");
const FIELDS = 6;
const LEAST = 0.95;
const FRAMES_PER_FLIGHT = 10;
const FRAME_BYTES = FRAME_WIDTH * FRAME_HEIGHT * FRAME_CHANNELS;

const args = parseArgs(Deno.args, { string: ["backend", "out", "commit", "first", "frames", "expected"] });
const count = Number(args["frames"] ?? 600);
const first = Number(args["first"] ?? 9000);

interface Outcome {
  what: string;
  tally: Tally;
  precision: number;
  recall: number;
  /** Outputs that were not the reference's; absent: they are the reference's. */
  different?: number;
  /** Of the critical task. */
  late?: number;
  unitsBeside?: number;
}

function rowsOf(output: Uint8Array): Row[] {
  const values = new Float32Array(output.slice().buffer);
  return Array.from(
    { length: values.length / FIELDS },
    (_, i) => [...values.subarray(i * FIELDS, (i + 1) * FIELDS)],
  );
}

const data = new Uint8Array(count * FRAME_BYTES);
const labels: Obstacle[][] = [];
for (let i = 0; i < count; i++) {
  const { rgb, label } = renderFrame(first + Math.floor(i / FRAMES_PER_FLIGHT), i % FRAMES_PER_FLIGHT);
  data.set(rgb, i * FRAME_BYTES);
  labels.push(label.obstacles);
}
const reference = (await loadReference(await loadBundle(DETECTOR)))!;
const expected = await expectedOutputs();
let tally: Tally = EMPTY;
for (const [i, output] of expected.entries()) tally = judge(tally, rowsOf(output), labels[i]!);
const outcomes: Outcome[] = [
  { what: "by the CPU reference", tally, precision: precisionOf(tally), recall: recallOf(tally) },
];

async function compute(frame: number): Promise<Uint8Array> {
  return (await reference.run(data.subarray(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES))).slice();
}

/** Of all frames. Throws if the file holds outputs of another detector, or of other frames. */
async function expectedOutputs(): Promise<Uint8Array[]> {
  const file = args["expected"];
  const some = await compute(0);
  if (typeof file === "string" && await isThere(file)) {
    const all = await Deno.readFile(file);
    const outputs = Array.from(
      { length: count },
      (_, i) => all.slice(i * some.length, (i + 1) * some.length),
    );
    const last = await compute(count - 1);
    const isSame = (one: Uint8Array, other: Uint8Array) => one.every((byte, i) => byte === other[i]);
    if (all.length !== count * some.length || !isSame(some, outputs[0]!) || !isSame(last, outputs.at(-1)!)) {
      throw new Error(`${file} holds outputs of another detector or of other frames: remove it`);
    }
    return outputs;
  }
  const outputs: Uint8Array[] = [];
  for (let i = 0; i < count; i++) outputs.push(await compute(i));
  if (typeof file === "string") {
    const all = new Uint8Array(count * some.length);
    for (const [i, output] of outputs.entries()) all.set(output, i * some.length);
    await Deno.writeFile(file, all);
  }
  return outputs;
}

async function isThere(file: string): Promise<boolean> {
  try {
    return (await Deno.stat(file)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** As critical task at 100 Hz until each frame has come by, beside `jobs`. */
async function onGpu(what: string, jobs: readonly string[]): Promise<Outcome> {
  const common = { dir: "", width: FRAME_WIDTH, height: FRAME_HEIGHT, channels: FRAME_CHANNELS, names: [] };
  const frames: Frames = { ...common, frameBytes: FRAME_BYTES, count, data };
  const survey = await loadFrames(path.join(ROOT, "examples/frames"), FRAME_BYTES);
  using session = await Session.open({
    backend: "cuda",
    jobs: jobs.map((name) => ({ bundle: path.join(ROOT, "examples/bundles", name), frames: survey })),
    critical: { bundle: DETECTOR, frames, periodNs: 10e6, keepOutput: true },
  });
  session.start();
  const { tasks, jobs: done } = session.run(count * 10 + 500);
  let seen: Tally = EMPTY, different = 0;
  const isSeen = new Set<number>();
  for (const { complete, frameIndex, payload } of session.requests) {
    if (!complete || isSeen.has(frameIndex)) continue;
    isSeen.add(frameIndex);
    if (!payload.every((byte, at) => byte === expected[frameIndex]![at])) different++;
    seen = judge(seen, rowsOf(payload), labels[frameIndex]!);
  }
  const unitsBeside = done.reduce((sum, { units }) => sum + units, 0);
  const { late } = tasks[0]!;
  return {
    what,
    tally: seen,
    precision: precisionOf(seen),
    recall: recallOf(seen),
    different,
    late,
    unitsBeside,
  };
}

if (args["backend"] === "cuda") {
  outcomes.push(await onGpu("as critical task, alone", []));
  outcomes.push(await onGpu("as critical task, beside background", ["vegetation-map", "keyframe-select"]));
}
for (
  const { what, tally: { frames, found, rightClass }, precision, recall, different, late, unitsBeside }
    of outcomes
) {
  const gpu = different === undefined
    ? ""
    : `; ${different} outputs differ, ${late} late, ${unitsBeside} background units meanwhile`;
  console.log(
    `${what}: ${frames} frames, precision ${precision.toFixed(4)}, recall ${recall.toFixed(4)}, ` +
      `right class ${(rightClass / Math.max(1, found)).toFixed(4)}${gpu}`,
  );
}
if (typeof args["out"] === "string") {
  await Deno.mkdir(args["out"], { recursive: true });
  const report = {
    backend: args["backend"] ?? "reference",
    commit: args["commit"] ?? "unknown",
    first,
    outcomes,
  };
  await Deno.writeTextFile(`${args["out"]}/detector-quality.json`, JSON.stringify(report) + "\n");
}
const isGood = outcomes.every(({ precision, recall, different = 0, tally: { frames } }) =>
  frames === count && precision >= LEAST && recall >= LEAST && different === 0
);
Deno.exit(isGood ? 0 : 1);
