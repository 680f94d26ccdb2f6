/** What does the server know of the agent? Functions only: it keeps nothing, and tests stand in for any of them. */
import type { DeviceInfo, EngineSnapshot, Feature, Result, TracePart } from "../../ffi/mod.ts";
import type { PluginInfo } from "../../ffi/plugin.ts";
import type { SafeModeRule } from "../../ffi/safe_mode.ts";
import type { Mission } from "../config.ts";
import type { ForeignView } from "../foreign/status.ts";
import type { StepReport } from "../load.ts";
import type { LiveSettings } from "../reload/live_settings.ts";
import type { EventHistory } from "./history.ts";

/** One task or job as the status shows it. */
export interface WorkInfo {
  name: string;
  /** SHA-256 of its bundle, in hexadecimal. */
  bundle: string;
  steps: readonly StepReport[];
  /** Of the library that does its work, if one does. */
  plugin?: PluginInfo;
}

export interface Loaded {
  device: DeviceInfo;
  features: readonly Feature[];
  tasks: readonly WorkInfo[];
  jobs: readonly WorkInfo[];
}

export type SubmitOutcome =
  | { kind: "accepted"; number: number }
  | { kind: "busy" }
  | { kind: "unknown-task" }
  | { kind: "wrong-size"; expectedBytes: number };

/** What sensors say; missing means unknown. */
export interface Readings {
  powerWatts?: number | undefined;
  temperatureCelsius?: number | undefined;
}

export interface AgentView {
  version: string;
  mission: Mission;
  /** Fixed once loaded; `undefined` while the agent loads. */
  loaded(): Loaded | undefined;
  /** Throws `EngineError` if the engine does not answer. `undefined` while the agent loads. The same object: nothing is newer. */
  view(): ForeignView | undefined;
  /** Something was changed: the next view is a new one. */
  changed(): void;
  /** The last one that was taken; costs nothing. */
  lastSnapshot(): EngineSnapshot | undefined;
  live: LiveSettings;
  /** Why a job gets nothing, beside what `live` says; such as that it is in quarantine. */
  barred(job: string): string | undefined;
  safeModeRule(): SafeModeRule | undefined;
  forceSafeMode(on: boolean): void;
  /** Submits one request of an `api` task. */
  submit(task: string, input: Uint8Array): SubmitOutcome;
  /** Resolves with the result of that request, `undefined` if it does not come within the time. */
  resultOf(task: string, number: number, withinMs: number): Promise<Result | undefined>;
  events: EventHistory;
  trace(from: number): TracePart;
  readings(): Readings;
}
