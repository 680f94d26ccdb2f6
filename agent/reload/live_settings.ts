/**
 * What of a mission may change while it runs, and what holds now?
 *
 * One object per run. The planner reads it at each look; a reload of the mission and an operator's word write it. What
 * the mission says is replaced in one stroke, so that nobody ever sees half of a change; what an operator ordered of a
 * job is kept apart and outlives a reload. It checks nothing: whoever writes has checked.
 */
import type { SafeModeRule } from "../../ffi/safe_mode.ts";
import type { Phase, Policy } from "../../policies/policy.ts";
import type { BackgroundJob } from "../config.ts";
import { type JobOrder, type OrderedPolicy, Orders } from "../orders.ts";
import type { PolicyFile } from "../policy_sandbox.ts";
import type { PlannedJob, PolicyOptions } from "../policy_snapshot.ts";
import type { MissionFiles } from "../prepare.ts";
import type { StopLimits } from "../stop_limits.ts";

export interface LivePolicy {
  /** Of the built-in one; with a `file`, of what takes over where that fails. */
  name: string;
  builtIn: Policy;
  /** A user's policy, asked first. */
  file: PolicyFile | undefined;
  options: PolicyOptions;
}

export interface LiveJob {
  /** False: the mission keeps it, and it gets nothing. */
  enabled: boolean;
  /** 1..1000000. */
  weight: number;
  /** Of one unit, a wish; 0: none. */
  deadlineNs: number;
  /** Phases in which it may run; empty: in all, the unknown one too. */
  when: readonly Phase[];
}

/** Never changed in place: another object is another state. */
export interface LiveValues {
  readonly policy: LivePolicy;
  /** Where background stops whatever the policy says. */
  readonly limits: StopLimits;
  /** As the engine has it; `undefined`: only people enter safe mode. */
  readonly safeMode: SafeModeRule | undefined;
  /** By name; all background jobs of the mission. */
  readonly jobs: ReadonlyMap<string, LiveJob>;
}

/** Why a job gets nothing. */
export type JobBar = "cancelled" | "disabled" | "paused";

export function liveJobOf({ enabled, weight, deadlineNs, when }: BackgroundJob): LiveJob {
  return { enabled, weight, deadlineNs, when };
}

/** What the mission says. */
export function liveValuesOf(files: MissionFiles): LiveValues {
  const { mission } = files;
  return {
    policy: livePolicyOf(files),
    limits: mission.stopBackgroundAbove,
    safeMode: mission.safeMode,
    jobs: new Map(mission.background.map((job) => [job.name, liveJobOf(job)])),
  };
}

export function livePolicyOf({ mission, policy, userPolicy }: MissionFiles): LivePolicy {
  const { name, options } = mission.policy;
  return { name, builtIn: policy, file: userPolicy, options };
}

export class LiveSettings {
  #values: LiveValues;
  #missionPolicy: string;
  readonly orders: Orders;

  constructor(values: LiveValues, orders: Orders = new Orders()) {
    this.#values = values;
    this.#missionPolicy = textOf(values.policy);
    this.orders = orders;
  }

  /** What holds now. Equal by `===` as long as nothing was applied. */
  get values(): LiveValues {
    return this.#values;
  }

  /**
   * The mission's word: replaces what is given and leaves the rest; the planner takes it up at its next look. A policy ends
   * one that an operator has ordered.
   */
  apply(changes: Partial<LiveValues>): void {
    this.#values = { ...this.#values, ...changes };
    if (changes.policy === undefined) return;
    this.#missionPolicy = textOf(changes.policy);
    this.orders.endPolicy();
  }

  /** An operator's word: a built-in policy in the place of the mission's. */
  orderPolicy(policy: LivePolicy): void {
    const { name, options } = policy;
    this.#values = { ...this.#values, policy };
    this.orders.orderPolicy({ name, options, instead: this.#missionPolicy });
  }

  /**
   * Ahead of the first plan: takes up the policy that was ordered in a run that did not end in order. Of a mission that names
   * another policy now than then, the order is over. `find` may throw `InputError`. Returns the policy; `undefined`: none.
   */
  obeyPolicy(find: (named: Pick<OrderedPolicy, "name" | "options">) => Policy): OrderedPolicy | undefined {
    const { policy: ordered } = this.orders;
    if (ordered === null) return undefined;
    if (ordered.instead !== this.#missionPolicy) {
      this.orders.endPolicy();
      return undefined;
    }
    const { name, options } = ordered;
    this.#values = { ...this.#values, policy: { name, options, builtIn: find(ordered), file: undefined } };
    return ordered;
  }

  /** An operator's word about a job. Returns false for one that is cancelled, or not of this mission: nothing was done. */
  order(job: string, order: JobOrder): boolean {
    return this.#values.jobs.has(job) && this.orders.order(job, order);
  }

  /** Why this job gets nothing; `undefined`: nothing here stands in its way. */
  barredBy(job: string): JobBar | undefined {
    const bar = this.orders.of(job)?.bar;
    if (bar === "cancelled") return bar;
    return this.#values.jobs.get(job)?.enabled === false ? "disabled" : bar;
  }

  /** As the policy shall see them. */
  planned(jobs: readonly PlannedJob[]): PlannedJob[] {
    return jobs.map((job) => {
      const { weight, deadlineNs, when } = this.#values.jobs.get(job.name) ?? job;
      return { ...job, weight, deadlineNs, when };
    });
  }
}

/** What the mission names; not what a file holds, which may have been mended. */
function textOf({ name, file, options }: LivePolicy): string {
  return JSON.stringify([name, file?.file ?? null, options]);
}
