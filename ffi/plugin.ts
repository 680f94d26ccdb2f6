/**
 * What is asked of the engine for a plugin, and what does it answer? Types, and their bytes as `calypte.h` has them.
 *
 * The library that a plugin is: `calypte_plugin.h`.
 */
import { CONSTANTS as C } from "./abi.ts";
import type { WorkKind } from "./engine.ts";
import { sizeOf, StructView } from "./structs.ts";
import { numberOf, type Numbers, WORK_KINDS } from "./words.ts";

/** `auto`: as a graph if that is possible, else called for each unit; `require`: else refused; `never`: always called. */
export type CaptureMode = "auto" | "require" | "never";
export const CAPTURE_MODES: Numbers<CaptureMode> = {
  auto: C.CAPTURE_AUTO,
  require: C.CAPTURE_REQUIRE,
  never: C.CAPTURE_NEVER,
};

export type PluginRole = "input" | "output" | "weight" | "scratch" | "state";
/** As in calypte_plugin.h. */
const ROLES: Numbers<PluginRole> = { input: 1, output: 2, weight: 3, scratch: 4, state: 5 };

/** A plugin for the work that is added next. */
export interface PluginSpec {
  kind: WorkKind;
  /** Absolute path of the library. */
  path: string;
  /** JSON. */
  config: string;
  capture: CaptureMode;
  /** Background: as many steps at most; 1..1000. */
  mostSteps: number;
  buffers: readonly { name: string; buffer: number; role: PluginRole }[];
}

/** How it was loaded. */
export interface PluginInfo {
  name: string;
  stepCount: number;
  /** False: it is called for each unit or request; `reason` says why. */
  captured: boolean;
  reason: string;
  /** Of the graph; 0: not captured. */
  nodeCount: number;
  kernels: number;
  copies: number;
  memsets: number;
  /** How often it was captured. */
  captures: number;
  /** Of its steps, as measured at load: what can delay others, as no step is interrupted. */
  longestNs: number;
  totalNs: number;
}

/** One step, as its work takes it: at level `whole`. */
export interface PluginStep {
  kernel: number;
  nodeCount: number;
  /** Of its longest kernel. */
  grid: [number, number, number];
  block: [number, number, number];
  sharedBytes: number;
  estimateNs: number;
  name: string;
}

/** The part of `Engine` that is about plugins; before `ready`, but for the questions. */
export interface PluginCalls {
  /** Opens, tries and captures a plugin for the work that is added next. Returns a plugin id. */
  plugin(spec: PluginSpec): number;
  pluginInfo(plugin: number): PluginInfo;
  /** One of `PluginInfo.stepCount`. */
  pluginStep(plugin: number, step: number): PluginStep;
}

const encoder = new TextEncoder();

/** A `calypte_plugin_spec` with what lies behind it. Throws `EngineError`. */
export function encodePlugin(spec: PluginSpec, operation: string): Uint8Array {
  const [path, config] = [encoder.encode(spec.path), encoder.encode(spec.config)];
  const iosAt = sizeOf("plugin_spec");
  const pathAt = iosAt + spec.buffers.length * sizeOf("plugin_io");
  const bytes = new Uint8Array(pathAt + path.length + config.length);
  new StructView("plugin_spec", bytes).setNumbers({
    abiVersion: C.ABI_VERSION,
    sizeBytes: bytes.length,
    kind: numberOf(WORK_KINDS, spec.kind, "kind", operation),
    capture: numberOf(CAPTURE_MODES, spec.capture, "capture", operation),
    mostSteps: spec.mostSteps,
    bufferCount: spec.buffers.length,
    pathBytes: path.length,
    configBytes: config.length,
  });
  for (const [i, { name, buffer, role }] of spec.buffers.entries()) {
    new StructView("plugin_io", bytes, iosAt + i * sizeOf("plugin_io"))
      .setText("name", name)
      .setNumbers({ buffer, role: numberOf(ROLES, role, "role", operation) });
  }
  bytes.set(path, pathAt);
  bytes.set(config, pathAt + path.length);
  return bytes;
}

export function decodePluginInfo(view: StructView<"plugin_info">): PluginInfo {
  return {
    ...view.numbers("stepCount", "nodeCount", "kernels", "copies", "memsets"),
    ...view.numbers("captures", "longestNs", "totalNs"),
    captured: view.number("captured") !== 0,
    name: view.text("name"),
    reason: view.text("reason"),
  };
}

export function decodePluginStep(view: StructView<"plugin_step">): PluginStep {
  const three = (field: "grid" | "block"): [number, number, number] => [
    view.number(field, 0),
    view.number(field, 1),
    view.number(field, 2),
  ];
  return {
    ...view.numbers("kernel", "nodeCount", "sharedBytes", "estimateNs"),
    grid: three("grid"),
    block: three("block"),
    name: view.text("name"),
  };
}
