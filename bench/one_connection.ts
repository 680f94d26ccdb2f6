/**
 * What does an engine make of a single hardware queue? Run by gpu_checks.ts with CUDA_DEVICE_MAX_CONNECTIONS=1; prints
 * the self-test's verdict and how far background came, as JSON.
 */
import { loadFrames } from "../agent/frames.ts";
import { path } from "../agent/std/mod.ts";
import { Session } from "./session.ts";

const root = path.dirname(import.meta.dirname!);
const frames = await loadFrames(path.join(root, "examples/frames"), 640 * 360 * 3);
using session = await Session.open({
  backend: Deno.args[0] === "sim" ? "sim" : "cuda",
  disableFeatures: Deno.args[0] === "sim" ? ["parked-resume"] : [],
  jobs: [{ bundle: path.join(root, "examples/bundles/vegetation-map"), frames }],
  critical: { bundle: path.join(root, "examples/bundles/obstacle-detector"), frames, periodNs: 33e6 },
});
const parkedResume = session.engine.features().find(({ name }) => name === "parked-resume");
session.start();
const { jobs, tasks } = session.run(1500);
const { requests, onTime, late, dropped } = tasks[0]!;
console.log(
  JSON.stringify({
    parkedResume,
    units: jobs[0]!.units,
    preemptions: jobs[0]!.preemptions,
    requests,
    onTime,
    late,
    dropped,
  }),
);
