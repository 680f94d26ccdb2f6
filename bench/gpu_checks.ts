/**
 * Does preemption on this GPU keep its promises? One function for each, with what it saw as plain data.
 *
 * A check throws only if it could not be made; whether the promise was kept is in `ok`.
 */
import { loadBundle } from "../agent/bundle.ts";
import { type Frames, loadFrames } from "../agent/frames.ts";
import { loadReference } from "../agent/reference.ts";
import { path } from "../agent/std/mod.ts";
import type { FeatureName } from "../ffi/mod.ts";
import { fnv1a, pause, Session } from "./session.ts";
import { randomOf } from "./statistics.ts";

const ROOT = path.dirname(import.meta.dirname!);
const bundle = (name: string) => path.join(ROOT, name);
const FRAME_BYTES = 640 * 360 * 3;
const SURPLUS_LAUNCHES = 1000;

export interface CheckResult {
  name: string;
  ok: boolean;
  /** What was asked is a figure of one kind of device; another may miss it and still do everything right. */
  figure?: boolean;
  seen: Record<string, unknown>;
}

const framesOfSurvey = () => loadFrames(bundle("examples/frames"), FRAME_BYTES);

const BUNDLES = [
  ...["obstacle-detector", "vegetation-map", "keyframe-select", "defect-tiles"].map((name) =>
    `examples/bundles/${name}`
  ),
  ...["long-blocks", "mixed-steps"].map((name) => `bench/bundles/${name}`),
];

/** `calypte bundle verify` of all bundles: kernels against the sample, rewritten kernels against the untouched ones. */
export async function checkBundles(backend: "cuda" | "sim"): Promise<CheckResult> {
  const seen: Record<string, string[]> = {};
  let ok = true;
  for (const name of BUNDLES) {
    const { stdout, code } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--cached-only", path.join(ROOT, "agent/main.ts"), "bundle", "verify", bundle(name)],
        ...["--backend", backend],
      ],
      stderr: "inherit",
    }).output();
    seen[name] = new TextDecoder().decode(stdout).trim().split("\n");
    ok &&= code === 0;
  }
  return { name: "every bundle computes what its sample says, also with rewritten kernels", ok, seen };
}

/** The summary of `calypte run --json`, and every line of its detections against the CPU reference. */
export async function checkSurvey(seconds: number, backend: "cuda" | "sim"): Promise<CheckResult> {
  const out = path.join(ROOT, "examples/missions/out/detections.jsonl");
  await Deno.remove(out).catch(() => {});
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--cached-only", path.join(ROOT, "agent/main.ts"), "run"],
      ...[bundle("examples/missions/survey.yaml"), "--backend", backend, "--for", `${seconds}s`, "--json"],
    ],
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (code !== 0) throw new Error(`run ended with ${code}: ${new TextDecoder().decode(stderr).slice(-2000)}`);
  const summary = JSON.parse(text.trim().split("\n").at(-1)!);
  const detector = await loadBundle(bundle("examples/bundles/obstacle-detector"));
  const frames = await framesOfSurvey();
  const reference = (await loadReference(detector))!;
  const expected = new Map<number, string>();
  let lines = 0, wrong = 0;
  for (const line of Deno.readTextFileSync(out).trim().split("\n")) {
    const { frameSeq, values, complete } = JSON.parse(line);
    const index = frameSeq % frames.count;
    let boxes = expected.get(index);
    if (boxes === undefined) {
      const frame = frames.data.subarray(index * frames.frameBytes, (index + 1) * frames.frameBytes);
      const output = (await reference.run(frame)).slice();
      boxes = JSON.stringify(rows(new Float32Array(output.buffer), 6));
      expected.set(index, boxes);
    }
    lines++;
    if (!complete || JSON.stringify(values.boxes) !== boxes) wrong++;
  }
  const task = summary.critical["obstacle-detector"];
  return {
    name: `survey for ${seconds} s: no miss, every detection equals the CPU reference, bit for bit`,
    ok: task.misses === 0 && task.requests >= seconds * 30 && lines >= task.requests && wrong === 0,
    seen: { summary, detections: lines, wrong, distinctFrames: expected.size },
  };
}

function rows(values: Float32Array, width: number): number[][] {
  return Array.from(
    { length: values.length / width },
    (_, i) => [...values.subarray(i * width, (i + 1) * width)],
  );
}

/** The same units with and without a critical task at 100 Hz: digests of all outputs, by unit. */
export async function checkBitIdentity(
  seconds: number,
  leastPreemptions: number,
  backend: "cuda" | "sim",
): Promise<CheckResult> {
  const frames = await framesOfSurvey();
  const jobs = [
    { bundle: bundle("examples/bundles/vegetation-map"), frames },
    { bundle: bundle("examples/bundles/keyframe-select"), frames },
    { bundle: bundle("bench/bundles/long-blocks"), frames: undefined },
  ];
  const critical = { bundle: bundle("examples/bundles/obstacle-detector"), frames, periodNs: 10e6 };
  const run = async (withCritical: boolean) => {
    using session = await Session.open({ backend, jobs, ...(withCritical ? { critical } : {}) });
    session.start();
    const snapshot = session.run(seconds * 1000);
    return { snapshot, digests: jobs.map((_, job) => session.digests(job)) };
  };
  const undisturbed = await run(false);
  const disturbed = await run(true);
  const perJob = jobs.map((job, i) => {
    const [a, b] = [undisturbed.digests[i]!, disturbed.digests[i]!];
    const compared = Math.min(a.length, b.length);
    let different = 0;
    // A digest of 0 means that there was no output, as on the simulator.
    for (let unit = 0; unit < compared; unit++) if (a[unit] !== b[unit] || a[unit] === 0n) different++;
    const { preemptions, leaves, units } = disturbed.snapshot.jobs[i]!;
    return { bundle: path.basename(job.bundle), compared, different, units, preemptions, leaves };
  });
  const total = (key: "different" | "preemptions" | "leaves") =>
    perJob.reduce((sum, job) => sum + job[key], 0);
  const { late, dropped, failed, requests } = disturbed.snapshot.tasks[0]!;
  return {
    name:
      `background output bit-identical to an undisturbed run, after at least ${leastPreemptions} preemptions`,
    ok: total("different") === 0 && total("preemptions") >= leastPreemptions &&
      total("leaves") >= leastPreemptions &&
      perJob.every(({ compared }) => compared > 0),
    seen: {
      perJob,
      preemptions: total("preemptions"),
      leaves: total("leaves"),
      requests,
      late,
      dropped,
      failed,
    },
  };
}

/** [block, memset, whole, block, copy], closed by a task and by holds of random length at random times. */
export async function checkMixedSteps(
  rounds: number,
  seed: number,
  backend: "cuda" | "sim",
  disableFeatures: readonly FeatureName[] = [],
): Promise<CheckResult> {
  const mixed = await loadBundle(bundle("bench/bundles/mixed-steps"));
  const input = mixed.sampleInput!;
  const frames: Frames = {
    ...{ dir: "", width: 0, height: 0, channels: 0, names: ["sample"] },
    ...{ frameBytes: input.length, count: 1, data: input },
  };
  const survey = await framesOfSurvey();
  using session = await Session.open({
    backend,
    disableFeatures,
    jobs: [{ bundle: mixed.dir, frames }],
    critical: {
      bundle: bundle("examples/bundles/obstacle-detector"),
      frames: survey,
      periodNs: 4e6,
    },
  });
  const surplusBytes = session.engine.checkSurplus(0, input, SURPLUS_LAUNCHES);
  session.start();
  const random = randomOf(seed);
  const stoppedAt: Record<number, number> = {};
  session.run(50);
  for (let round = 0; round < rounds; round++) {
    session.engine.hold("caller", true);
    pause(1);
    const { step } = session.engine.snapshot().jobs[0]!;
    stoppedAt[step] = (stoppedAt[step] ?? 0) + 1;
    session.engine.hold("caller", false);
    session.run(1 + random() * 4);
  }
  const snapshot = session.run(100);
  const expected = fnv1a(mixed.sampleOutput!);
  const digests = session.digests(0);
  const wrong = digests.filter((digest) => digest !== expected).length;
  const { units, preemptions, leaves, wholeLaunches } = snapshot.jobs[0]!;
  const off = disableFeatures.length === 0 ? "" : ` without ${disableFeatures.join(", ")}`;
  return {
    name:
      `block, memset, whole, block, copy: closed everywhere, bit-identical; surplus launches change nothing${off}`,
    ok: wrong === 0 && digests.length > 0 && surplusBytes === 0 && preemptions > 0,
    seen: {
      ...{ units, checked: digests.length, wrong, preemptions, leaves, wholeLaunches },
      ...{ holds: rounds, heldAtStep: stoppedAt, surplusLaunches: SURPLUS_LAUNCHES, surplusBytes },
    },
  };
}

/** In a process of its own, as the driver reads the number of connections once. */
export async function checkOneConnection(backend: "cuda" | "sim"): Promise<CheckResult> {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--cached-only", path.join(ROOT, "bench/one_connection.ts"), backend],
    env: { CUDA_DEVICE_MAX_CONNECTIONS: "1" },
  }).output();
  if (code !== 0) {
    throw new Error(`one_connection ended with ${code}: ${new TextDecoder().decode(stderr).slice(-2000)}`);
  }
  const seen = JSON.parse(new TextDecoder().decode(stdout));
  return {
    name: "with one connection the self-test finds the deadlock, and the host resumes background",
    ok: seen.parkedResume.on === false && seen.parkedResume.reason.includes("self-test") && seen.units > 0,
    seen,
  };
}
