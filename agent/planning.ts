/** Which planner does a mission want? The wiring that a real run and a simulated one share. */
import type { Engine } from "../ffi/engine.ts";
import { DEFAULT_POLICY } from "../policies/registry.ts";
import { BoardPower, type SampleSource } from "./board_power.ts";
import type { ConditionsSource } from "./conditions.ts";
import type { Logger } from "./log.ts";
import { Planner } from "./planner.ts";
import type { PolicyFile } from "./policy_sandbox.ts";
import { LiveSettings, liveValuesOf } from "./reload/live_settings.ts";
import type { PreparedMission } from "./prepare.ts";
import { UserPolicy } from "./user_policy.ts";

export interface PlanningOptions {
  engine: Engine;
  prepared: PreparedMission;
  conditions: ConditionsSource;
  log: Logger;
  /** What may change while the mission runs. Default: what the mission says, for good. */
  live?: LiveSettings | undefined;
  /** Whether a job, by name, gets nothing for now. */
  barred?: ((job: string) => boolean) | undefined;
  /** Where the board's heat and power are known from; closed with the planner. Default: nowhere. */
  board?: SampleSource | undefined;
}

/** Close it: a user's policy has a thread of its own. */
export function createPlanner(planning: PlanningOptions): Planner {
  const { engine, prepared, conditions, log, barred = () => false, board } = planning;
  const { live = new LiveSettings(liveValuesOf(prepared.files)) } = planning;
  const { mission, policy, userPolicy } = prepared.files;
  const { leaseNs, options } = mission.policy;
  const limits = mission.stopBackgroundAbove;
  const openUser = (file: PolicyFile) =>
    new UserPolicy({ policy: file, leaseNs, defaultName: DEFAULT_POLICY, log });
  const power = board && new BoardPower({ source: board, limits, jobs: prepared.plannedJobs.length, log });
  return new Planner({
    engine,
    policy,
    leaseNs,
    tasks: mission.critical,
    jobs: prepared.plannedJobs,
    log,
    user: userPolicy && openUser(userPolicy),
    openUser,
    live,
    options,
    conditions,
    limits,
    barred: (job) => barred(job) || live.barredBy(job) !== undefined,
    power,
  });
}
