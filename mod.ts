/**
 * Calypte as a library: policies, plans, bundles, missions and the engine, for programs that embed the agent.
 *
 * Re-exports only; opening anything is a call, never an effect of this import.
 */
export * from "./policies/policy.ts";
export { findPolicy, POLICIES, POLICY_NAMES, type PolicyName } from "./policies/registry.ts";

export * from "./ffi/mod.ts";
export * as ptx from "./ptx/mod.ts";

export { InputError, type Problem } from "./agent/errors.ts";
export { type Bundle, loadBundle } from "./agent/bundle.ts";
export { loadMission, type Mission, parseMission } from "./agent/config.ts";
export { type CheckpointCompiler, checkpointCompiler } from "./agent/checkpoint.ts";
export { type LoadedWork, Loader, type StepReport, type WorkSettings } from "./agent/load.ts";
export { type MissionFiles, readMissionFiles } from "./agent/prepare.ts";
export { type Conditions, type ConditionsSource, FileConditions } from "./agent/conditions.ts";
export { Planner, type PlannerOptions } from "./agent/planner.ts";
export { type PolicyFile, readPolicyFile } from "./agent/policy_sandbox.ts";
export { UserPolicy, type UserPolicyOptions } from "./agent/user_policy.ts";
export { simulate, type SimulateOptions } from "./agent/simulation.ts";
export { type Outcome, supervise, type SuperviseOptions } from "./agent/supervisor.ts";
export type { Timers } from "./agent/timers.ts";
export { type RunSummary, summarize, summaryText } from "./agent/summary.ts";
