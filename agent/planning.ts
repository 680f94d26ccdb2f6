/** Which planner does a mission want? The wiring that a real run and a simulated one share. */
import type { Engine } from "../ffi/engine.ts";
import { DEFAULT_POLICY } from "../policies/registry.ts";
import type { ConditionsSource } from "./conditions.ts";
import type { Logger } from "./log.ts";
import { Planner } from "./planner.ts";
import type { PreparedMission } from "./prepare.ts";
import { UserPolicy } from "./user_policy.ts";

export interface PlanningOptions {
  engine: Engine;
  prepared: PreparedMission;
  conditions: ConditionsSource;
  log: Logger;
  /** Whether a job, by name, gets nothing for now. */
  barred?: ((job: string) => boolean) | undefined;
}

/** Close it: a user's policy has a thread of its own. */
export function createPlanner({ engine, prepared, conditions, log, barred }: PlanningOptions): Planner {
  const { mission, policy, userPolicy } = prepared.files;
  const { leaseNs, options } = mission.policy;
  const user = userPolicy === undefined
    ? undefined
    : new UserPolicy({ policy: userPolicy, leaseNs, defaultName: DEFAULT_POLICY, log });
  return new Planner({
    engine,
    policy,
    leaseNs,
    tasks: mission.critical,
    jobs: prepared.plannedJobs,
    log,
    user,
    options,
    conditions,
    limits: mission.stopBackgroundAbove,
    barred,
  });
}
