/**
 * How does a bundle's plugin become steps of a work?
 *
 * The engine opens, tries and captures it; what it refuses is a fault of the bundle. Each step is at level `whole`: it is
 * started only where it is expected to end in time.
 */
import { CONSTANTS } from "../ffi/abi.ts";
import type { ArgSpec, Engine, StepSpec, WorkKind } from "../ffi/engine.ts";
import { EngineError } from "../ffi/errors.ts";
import type { PluginInfo } from "../ffi/plugin.ts";
import type { Bundle } from "./bundle.ts";
import { InputError } from "./errors.ts";
import type { StepReport } from "./load.ts";
import { needsMemory } from "./memory.ts";
import { pluginLibraries } from "./plugin_manifest.ts";
import { formatDurationNs } from "./quantity.ts";

/** A job in a process of its own has so many segments; uploads and downloads take some. */
const MOST_STEPS = CONSTANTS.MAX_SEGMENTS - 4;

export interface LoadedPlugin {
  info: PluginInfo;
  steps: readonly { spec: StepSpec; report: StepReport }[];
}

/** `buffers`: the ids, by name; weights are filled. Throws `InputError`. `undefined`: the bundle has no plugin. */
export function loadPlugin(
  engine: Engine,
  kind: WorkKind,
  bundle: Bundle,
  buffers: ReadonlyMap<string, number>,
): LoadedPlugin | undefined {
  const { plugin, buffers: entries } = bundle.manifest;
  if (plugin === undefined) return undefined;
  const where = { file: bundle.file, field: "plugin" };
  const { pluginFile: path } = bundle;
  if (path === undefined) {
    const has = pluginLibraries(plugin).map(({ arch }) => arch).join(", ");
    throw new InputError({
      ...where,
      field: "plugin.files",
      rule: `must hold one for this machine (${Deno.build.arch}), not only ${has}`,
      remedy: "build the plugin for it",
    });
  }
  const id = needsMemory(
    where,
    "the plugin's buffers while it is tried",
    () =>
      refused(where, () =>
        engine.plugin({
          ...{ kind, path, config: plugin.config, capture: plugin.capture },
          mostSteps: kind === "critical" ? 1 : MOST_STEPS,
          buffers: entries.map(({ name, role }) => ({ name, role, buffer: buffers.get(name) ?? 0 })),
        })),
  );
  const info = engine.pluginInfo(id);
  const steps = Array.from({ length: info.stepCount }, (_, index) => {
    const { kernel, name, nodeCount, estimateNs } = engine.pluginStep(id, index);
    // The engine launches what it captured; from the arguments it knows which buffers are the work's.
    const args = index > 0
      ? []
      : [...buffers.values()].map((buffer): ArgSpec => ({ kind: "buffer", buffer, offset: 0 }));
    const spec: StepSpec = {
      ...{
        kernel,
        level: "whole",
        grid: [1, 1, 1],
        block: [1, 1, 1],
        sharedBytes: 0,
        workers: 0,
        args,
        estimateNs,
      },
      blockEstimateNs: 0,
    };
    const together = nodeCount > 1 && kind === "background"
      ? [`${nodeCount} of its nodes, launched together`]
      : [];
    const notes = ["a plugin's kernels are not rewritten", ...together];
    const report: StepReport = {
      ...{
        kernel: name,
        level: "whole" as const,
        launches: 1,
        notes,
        blocksPerSm: 0,
        blocksPerSmUntouched: 0,
      },
    };
    return { spec, report };
  });
  return { info, steps };
}

/** What the engine says against a plugin is a fault of the bundle. */
function refused<T>(where: { file: string; field: string }, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== CONSTANTS.E_INVALID) throw error;
    throw new InputError({ ...where, rule: `must be one that can be used: ${error.reason}` }, {
      cause: error,
    });
  }
}

/** How it runs and what its bound is, in one line. */
export function pluginLine(
  { name, captured, reason, stepCount, nodeCount, longestNs }: PluginInfo,
  kind: WorkKind,
): string {
  const how = !captured
    ? `called for each ${kind === "critical" ? "request" : "unit"}, as it is not captured: ${reason}`
    : kind === "critical"
    ? `one graph of ${nodeCount} nodes`
    : `${nodeCount} nodes in ${stepCount} steps, started one by one`;
  const bound = kind === "critical"
    ? ""
    : `; its bound is the longest of them, ${formatDurationNs(longestNs)}`;
  return `plugin ${name}: ${how}${bound}`;
}
