/**
 * What does NVIDIA's compute-sanitizer watch? Started by sanitize.ts, under the tool, for one bundle at a time.
 *
 * ```sh
 * deno run -A bench/sanitize_program.ts --bundle DIR | --kernel NAME [--backend sim] [--seconds 5] [--seed 1]
 * ```
 *
 * The bundle is loaded as critical work, which is not rewritten and gives the reference, and as a background job, which
 * is. The job runs while the gate is closed at random moments, and each of its outputs is compared with the reference. Ends
 * with one JSON object, a `ProgramReport`, and with 1 if an output was wrong. Ahead of it, another says which of the kernels have
 * shared memory of their own, so that it is known also of a program that was stopped.
 */
import { type Bundle, loadBundle } from "../agent/bundle.ts";
import { checkpointCompiler } from "../agent/checkpoint.ts";
import { Loader } from "../agent/load.ts";
import { parseArgs, path } from "../agent/std/mod.ts";
import { type Backend, NativeEngine, openLibrary } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import { fnv1a, pause } from "./session.ts";
import { randomOf } from "./statistics.ts";
import { writeSuiteBundle } from "./suite/bundle.ts";
import { suiteKernels } from "./suite/kernels.ts";

export interface ProgramReport {
  name: string;
  /** Levels of the kernels, as they ran. */
  levels: string[];
  units: number;
  /** Units whose output was compared; 0 where there is none, as on the simulator, or where it depends on earlier units. */
  compared: number;
  wrong: number;
  closings: number;
  preemptions: number;
  leaves: number;
}

const LEASE_NS = 600e9;
const CLOSED_MS = 2;
const OPEN_MS = 12;
/** At least so many units end, however slow the tool makes them, if the time allows. */
const LEAST_UNITS = 3;
const PATIENCE = 4;
/** The simulator takes PTX for sm_87, and less shared memory. */
const SIMULATED = { arch: "compute_80", sharedBytes: 64 * 1024 };

async function bundleOf(args: Record<string, unknown>, backend: Backend, seed: number): Promise<Bundle> {
  if (typeof args["bundle"] === "string") return await loadBundle(args["bundle"]);
  const [kernel] = suiteKernels([`${args["kernel"]}`]);
  const dir = Deno.makeTempDirSync({ prefix: "calypte-sanitize-" });
  try {
    const at = path.join(dir, kernel!.name);
    const sim = backend === "sim";
    const shared = sim ? Math.min(kernel!.sharedBytes, SIMULATED.sharedBytes) : kernel!.sharedBytes;
    const options = { seed, fold: true, ...(sim ? { arch: SIMULATED.arch } : {}) };
    await writeSuiteBundle({ ...kernel!, sharedBytes: shared }, at, options);
    return await loadBundle(at);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** Names of the kernels that read or write shared memory as they were compiled, before anything is rewritten. */
export function kernelsThatShare({ manifest, modules }: Pick<Bundle, "manifest" | "modules">): string[] {
  const launched = manifest.steps.flatMap((step) =>
    "kernel" in step && (step.sharedBytes ?? 0) > 0 ? [step.kernel] : []
  );
  const written = modules.flatMap(({ text }) =>
    [...text.matchAll(/\.entry\s+([\w$]+)([^]*?\n\})/g)].flatMap(([, name, body]) =>
      /\.shared\b/.test(body!) ? [name!] : []
    )
  );
  return [...new Set([...launched, ...written])].sort();
}

function run(bundle: Bundle, backend: Backend, seconds: number, seed: number): ProgramReport {
  // The tool holds each launch up until it is done: what is parked behind a closed gate would hold up all.
  using engine = NativeEngine.open(openLibrary(libraryPath()), {
    backend,
    seed,
    disableFeatures: ["parked-resume"],
  });
  const loader = new Loader({
    engine,
    checkpoint: checkpointCompiler,
    preemptionBoundNs: Infinity,
    prefer: "loop",
  });
  const { name, buffers } = bundle.manifest;
  const input = bundle.sampleInput;
  const shape = { dir: bundle.dir, width: 0, height: 0, channels: 0 };
  const frames = input &&
    { ...shape, data: input, frameBytes: input.byteLength, count: 1, names: ["sample"] };
  const source = frames === undefined ? { kind: "none" as const } : { kind: "frames" as const, periodNs: 0 };
  const reference = loader.add(
    {
      ...{ kind: "critical", name: `untouched-${name}`, source: { kind: "api" }, keepOutput: false },
      ...{ deadlineNs: 60e9, from: "arrival", queue: "latest", queueDepth: 1, onMiss: "publish-late" },
      ...{ maxBlockingNs: 60e9, yield: "always", anticipate: false },
    },
    bundle,
    undefined,
  );
  const job = loader.add({ kind: "background", name, source, keepOutput: false }, bundle, frames);
  const expected = fnv1a(engine.runOnce("critical", reference.id, input ?? new Uint8Array()).output);
  const stateful = buffers.some(({ role }) => role === "state");
  engine.ready();
  engine.setPlan({ id: 1, leaseNs: LEASE_NS, entries: [{ job: job.id, weight: 1, maxUnits: 0 }] });

  const report = { units: 0, compared: 0, wrong: 0, closings: 0 };
  const random = randomOf(seed);
  const beginMs = performance.now();
  const elapsed = () => (performance.now() - beginMs) / 1000;
  while (elapsed() < seconds || (report.units < LEAST_UNITS && elapsed() < PATIENCE * seconds)) {
    pause(Math.ceil(OPEN_MS * random()));
    engine.hold("caller", true);
    pause(Math.ceil(CLOSED_MS * random()));
    engine.hold("caller", false);
    report.closings++;
    for (const result of engine.takeResults()) {
      engine.releaseResults(result.position);
      report.units++;
      if (stateful || result.digest === 0n) continue;
      report.compared++;
      if (result.digest !== expected) report.wrong++;
    }
    if (engine.snapshot().state !== "ready") {
      throw new Error(`the engine stopped: ${engine.takeEvents().map((e) => e.text).join("; ")}`);
    }
  }
  const { preemptions, leaves } = engine.snapshot().jobs[job.id]!;
  const levels = bundle.manifest.steps.map((_, i) => engine.jobStep(job.id, i).level);
  return { name, levels: [...new Set(levels)].sort(), ...report, preemptions, leaves };
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["bundle", "kernel", "backend", "seconds", "seed"] });
  const backend: Backend = args["backend"] === "sim" ? "sim" : "cuda";
  const seed = Number(args["seed"] ?? 1);
  const bundle = await bundleOf(args, backend, seed);
  console.log(JSON.stringify({ sharing: kernelsThatShare(bundle) }));
  const report = run(bundle, backend, Number(args["seconds"] ?? 5), seed);
  console.log(JSON.stringify(report));
  Deno.exit(report.wrong > 0 ? 1 : 0);
}
