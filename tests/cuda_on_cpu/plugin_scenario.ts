/**
 * A plugin that puts real work into its stream (tests/fixtures/plugins/driver_plugin.c), on whatever CUDA driver
 * LD_LIBRARY_PATH names. Prints what it saw as JSON. In a process of its own, since a driver is loaded once.
 *
 *   deno run -A tests/cuda_on_cpu/plugin_scenario.ts '{"library": "driver_plugin.so", "does": "kK", "kind": "critical"}'
 */
import { loadBundle } from "../../agent/bundle.ts";
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { Loader, type WorkSettings } from "../../agent/load.ts";
import { NativeEngine, openLibrary } from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { pause } from "../../bench/faults/scene.ts";

export interface PluginWanted {
  library: string;
  does: string;
  kind: "critical" | "background";
  capture: "auto" | "require" | "never";
  reserveSms: number;
}

export interface PluginSeen {
  /** Empty: it was not refused. */
  refused: string;
  captured: boolean;
  reason: string;
  steps: string[];
  /** The first and the last word of each unit's output: of a run by itself, then of two that the engine ran. */
  outputs: [number, number][];
}

const WORDS = 64;
const PATIENCE_MS = 20_000;

async function run(wanted: PluginWanted): Promise<PluginSeen> {
  const seen: PluginSeen = { refused: "", captured: false, reason: "", steps: [], outputs: [] };
  const dir = await Deno.makeTempDir({ prefix: "calypte-plugin-" });
  using engine = NativeEngine.open(openLibrary(libraryPath()), {
    backend: "cuda",
    reserveSms: wanted.reserveSms,
  });
  try {
    await writeBundle(dir, wanted);
    const loader = new Loader({ engine, checkpoint: checkpointCompiler, preemptionBoundNs: 50_000 });
    const work = loader.add(settingsOf(wanted.kind), await loadBundle(dir), undefined);
    seen.captured = work.plugin!.captured;
    seen.reason = work.plugin!.reason;
    seen.steps = work.steps.map(({ kernel }) => kernel);
    seen.outputs.push(ends(engine.runOnce(wanted.kind, work.id, input()).output));
    engine.ready();
    await drive(engine, wanted.kind, work.id, seen);
  } catch (error) {
    seen.refused = error instanceof Error ? error.message : String(error);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  return seen;
}

function settingsOf(kind: "critical" | "background"): WorkSettings {
  const source = { kind: "api" } as const;
  if (kind === "background") return { kind, name: "plug", source, keepOutput: true };
  return {
    ...{ kind, name: "plug", source, keepOutput: true, deadlineNs: 5e9, from: "arrival", queue: "fifo" },
    ...{ queueDepth: 4, onMiss: "publish-late", maxBlockingNs: 5e9, yield: "always", anticipate: false },
  };
}

async function writeBundle(dir: string, { library, does, capture }: PluginWanted): Promise<void> {
  const bytes = await Deno.readFile(library);
  await Deno.writeFile(`${dir}/plugin.so`, bytes);
  const manifest = {
    format: "calypte-bundle/1",
    name: "plug",
    plugin: { file: "plugin.so", sha256: hexOf(await sha256Of(bytes)), config: { does }, capture },
    buffers: [
      { name: "in", role: "input", bytes: 4 * WORDS },
      { name: "out", role: "output", bytes: 4 * WORDS },
      { name: "state", role: "state", bytes: 4 * WORDS },
    ],
  };
  await Deno.writeTextFile(`${dir}/bundle.json`, JSON.stringify(manifest));
}

/** Words 100, 101, ... */
function input(): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: WORDS }, (_, i) => 100 + i).buffer);
}

function ends(output: Uint8Array): [number, number] {
  const words = new Uint32Array(output.slice().buffer);
  return [words[0]!, words[WORDS - 1]!];
}

async function drive(engine: NativeEngine, kind: "critical" | "background", work: number, seen: PluginSeen) {
  const endMs = performance.now() + PATIENCE_MS;
  for (let i = 0; i < 2; i++) engine.submit(kind, work, input(), 0);
  let planId = 0;
  while (seen.outputs.length < 3 && performance.now() < endMs) {
    const entries = kind === "background" ? [{ job: work, weight: 1, maxUnits: 0 }] : [];
    engine.setPlan({ id: ++planId, leaseNs: 2e9, entries });
    for (const { payload } of engine.takeResults()) seen.outputs.push(ends(payload));
    const { state } = engine.snapshot();
    if (state !== "ready") throw new Error(engine.takeEvents().map(({ text }) => text).join("; "));
    await pause(5);
  }
}

if (import.meta.main) console.log(JSON.stringify(await run(JSON.parse(Deno.args[0]!))));
