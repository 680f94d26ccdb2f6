/**
 * How long does a board take from power to work when everything is new to it, and how long the second time?
 *
 * ```sh
 * deno run -A --cached-only bench/first_boot.ts --out DIR --commit HASH       # on a GPU, about a minute
 * deno run -A bench/first_boot.ts --backend sim                               # to see that it runs
 * ```
 *
 * For each example bundle: what rewriting takes, what the driver takes to compile the PTX (JIT), and what measuring on the device
 * takes; with the driver's cache and without. Then the example mission, from the start of the process until the engine is ready:
 * with no cache and no state at all, and with what the first run has left. Prints a table and writes first-boot.json.
 */
import { checkpointCompiler } from "../agent/checkpoint.ts";
import { loadBundle } from "../agent/bundle.ts";
import { loadFrames } from "../agent/frames.ts";
import { Loader } from "../agent/load.ts";
import { parseArgs, path, yaml } from "../agent/std/mod.ts";
import { type Backend, NativeEngine, openLibrary } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";

interface BundleTimes {
  bundle: string;
  kind: "critical" | "background";
  /** Texts given to the driver: as they are, and rewritten. */
  modules: number;
  ptxBytes: number;
  rewriteMs: number;
  jitMs: number;
  /** Buffers, graphs and measurements on the device. */
  readyMs: number;
}

const ROOT = path.dirname(import.meta.dirname!);
const FRAME_BYTES = 640 * 360 * 3;
const MISSION = "examples/missions/survey.yaml";
const BUNDLES: readonly (readonly [string, BundleTimes["kind"]])[] = [
  ["obstacle-detector", "critical"],
  ["vegetation-map", "background"],
  ["keyframe-select", "background"],
];

const args = parseArgs(Deno.args, { string: ["out", "backend", "commit", "load", "kind"] });
const backend: Backend = args["backend"] === "sim" ? "sim" : "cuda";

/** In a process of its own: a driver that has compiled a text once has it. */
async function loadOne(name: string, kind: BundleTimes["kind"]): Promise<BundleTimes> {
  const bundle = await loadBundle(path.join(ROOT, "examples/bundles", name));
  const frames = await loadFrames(path.join(ROOT, "examples/frames"), FRAME_BYTES);
  using engine = NativeEngine.open(openLibrary(libraryPath()), { backend });
  let modules = 0, ptxBytes = 0, jitMs = 0;
  const load = engine.loadModule.bind(engine);
  engine.loadModule = (ptx) => {
    const beganMs = performance.now();
    try {
      return load(ptx);
    } finally {
      modules++;
      ptxBytes += ptx.length;
      jitMs += performance.now() - beganMs;
    }
  };
  const beganMs = performance.now();
  const loader = new Loader({ engine, checkpoint: checkpointCompiler, preemptionBoundNs: 30_000 });
  const periodNs = kind === "critical" ? 33e6 : 0;
  const common = { name, source: { kind: "frames" as const, periodNs }, keepOutput: false };
  loader.add(
    kind === "background" ? { kind, ...common } : {
      ...{ kind, ...common, deadlineNs: 15e6, from: "arrival", queue: "latest", queueDepth: 1 },
      ...{ onMiss: "publish-late", maxBlockingNs: 0, yield: "always", anticipate: false },
    },
    bundle,
    frames,
  );
  const loadedMs = performance.now();
  engine.ready();
  const readyMs = performance.now() - loadedMs;
  return { bundle: name, kind, modules, ptxBytes, rewriteMs: loadedMs - beganMs - jitMs, jitMs, readyMs };
}

async function child(env: Record<string, string>, ...rest: string[]): Promise<{ out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--cached-only", ...rest, "--backend", backend],
    env,
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`it ended with ${code}: ${text.decode(stderr).slice(-1000)}`);
  return { out: text.decode(stdout), err: text.decode(stderr) };
}

/** From the start of the process to the engine's word that it is ready. */
async function missionMs(file: string, env: Record<string, string>): Promise<number> {
  const began = Date.now();
  const { err } = await child(env, path.join(ROOT, "agent/entry.ts"), "run", file, "--for", "1s");
  const ready = err.split("\n").find((line) => line.includes('"event":"ready"'));
  if (ready === undefined) throw new Error(`the engine never said that it is ready:\n${err.slice(-1000)}`);
  return Date.parse(JSON.parse(ready).time) - began;
}

/** The example without what would outlive the run or be in its way. */
async function writeMission(dir: string): Promise<string> {
  const text = await Deno.readTextFile(path.join(ROOT, MISSION));
  const folder = path.dirname(path.join(ROOT, MISSION));
  const mission = yaml.parse(text.replaceAll("../", `${path.dirname(folder)}/`)) as Record<string, unknown>;
  mission["http"] = false;
  const file = path.join(dir, "survey.yaml");
  await Deno.writeTextFile(file, JSON.stringify(mission));
  return file;
}

if (typeof args["load"] === "string") {
  console.log(
    JSON.stringify(await loadOne(args["load"], args["kind"] === "critical" ? "critical" : "background")),
  );
  Deno.exit(0);
}

async function write(
  bundles: readonly { cold: BundleTimes; warm: BundleTimes }[],
  mission?: { coldMs: number; warmMs: number },
): Promise<void> {
  if (typeof args["out"] !== "string") return;
  await Deno.mkdir(args["out"], { recursive: true });
  const report = { backend, commit: args["commit"] ?? "unknown", bundles, mission };
  await Deno.writeTextFile(`${args["out"]}/first-boot.json`, JSON.stringify(report) + "\n");
}

const dir = await Deno.makeTempDir();
const fresh = (name: string) => ({
  CUDA_CACHE_PATH: `${dir}/${name}/driver`,
  CALYPTE_CACHE: `${dir}/${name}/rewritten`,
  CALYPTE_STATE: `${dir}/${name}/state`,
});
try {
  const bundles: { cold: BundleTimes; warm: BundleTimes }[] = [];
  for (const [name, kind] of BUNDLES) {
    const once = async () =>
      JSON.parse(
        (await child(fresh(name), import.meta.filename!, "--load", name, "--kind", kind)).out,
      ) as BundleTimes;
    bundles.push({ cold: await once(), warm: await once() });
    await write(bundles);
  }
  const file = await writeMission(dir);
  const mission = {
    coldMs: await missionMs(file, fresh("mission")),
    warmMs: await missionMs(file, fresh("mission")),
  };

  const f = (ms: number) => `${ms.toFixed(0)} ms`.padStart(9);
  console.log("bundle              driver's cache   rewriting       JIT  measuring");
  for (const { cold, warm } of bundles) {
    for (const [cache, times] of [["empty", cold], ["warm", warm]] as const) {
      console.log(
        `${times.bundle.padEnd(20)}${cache.padEnd(14)}${f(times.rewriteMs)} ${f(times.jitMs)}  ${
          f(times.readyMs)
        }` +
          `   (${times.modules} modules, ${(times.ptxBytes / 1024).toFixed(0)} KiB of PTX)`,
      );
    }
  }
  console.log(`${MISSION}, start to ready: first ${f(mission.coldMs)}, second ${f(mission.warmMs)}`);
  if (backend === "sim") console.log("SIMULATED: nothing was compiled by a driver");
  await write(bundles, mission);
} finally {
  await Deno.remove(dir, { recursive: true });
}
