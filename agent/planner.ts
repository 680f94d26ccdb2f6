/**
 * What may background do until the next look?
 *
 * Snapshot -> policy -> plan with a lease, once per tick. A built-in policy that throws or answers nonsense is logged
 * and counted, and no plan is set: the one in force runs out its lease and background stops, which is the safe side. A user's
 * policy answers elsewhere (user_policy.ts). Whatever the policy says, jobs that the mission's phase excludes get
 * nothing, and nobody does beyond the mission's limits. Errors of the engine are not the planner's to judge; they go
 * to the caller. It reads no clock: time is the snapshot's.
 */
import type { Engine, EngineSnapshot, Plan } from "../ffi/engine.ts";
import {
  planFault,
  type Policy,
  type PolicyConditions,
  type PolicyPlan,
  type PolicySnapshot,
} from "../policies/policy.ts";
import { type Conditions, type ConditionsSource, NO_CONDITIONS } from "./conditions.ts";
import type { Logger } from "./log.ts";
import { type PlannedJob, type PlannedTask, type PolicyOptions, PolicySnapshots } from "./policy_snapshot.ts";
import { BackgroundStop, type StopLimits } from "./stop_limits.ts";
import type { UserPolicy } from "./user_policy.ts";

export interface PlannerOptions {
  engine: Engine;
  /** Built in: asked in place, or takes over from `user` where that fails. */
  policy: Policy;
  leaseNs: number;
  /** By id. */
  tasks: readonly PlannedTask[];
  jobs: readonly PlannedJob[];
  log: Logger;
  /** Asked before `policy`; closed with the planner. */
  user?: UserPolicy | undefined;
  /** What the policy reads as `options`. Default: none. */
  options?: PolicyOptions;
  /** Default: nothing is known. */
  conditions?: ConditionsSource;
  /** Default: none. */
  limits?: StopLimits;
  /** Whether a job, by name, gets nothing for now. Default: none is. */
  barred?: ((job: string) => boolean) | undefined;
}

/** A faster planner would not be more accurate: timers fire up to 85 ms late (shared FACTS on timers). */
export const MIN_TICK_NS = 20_000_000;
/** Four chances to renew before a lease ends. */
const TICKS_PER_LEASE = 4;

/** A short lease is renewed faster than MIN_TICK_NS, but is then at the mercy of timers. */
export function tickNs(leaseNs: number): number {
  return Math.min(Math.max(MIN_TICK_NS, Math.floor(leaseNs / TICKS_PER_LEASE)), Math.ceil(leaseNs / 2));
}

const NOTHING: PolicyPlan = { entries: [] };

export class Planner {
  plansSet = 0;
  /** As the engine has it; `undefined`: none was set. */
  lastPlan: Plan | undefined;
  readonly #options: PlannerOptions;
  readonly #snapshots: PolicySnapshots;
  readonly #conditions: ConditionsSource;
  readonly #stop: BackgroundStop;
  #faults = 0;
  #lastFault = "";
  #clockKey = 0;

  constructor(options: PlannerOptions) {
    this.#options = options;
    this.#snapshots = new PolicySnapshots({ options: {}, ...options });
    this.#conditions = options.conditions ?? NO_CONDITIONS;
    this.#stop = new BackgroundStop(options.limits ?? {}, options.log);
  }

  /** How often a policy failed. */
  get policyFaults(): number {
    return this.#faults + (this.#options.user?.faults ?? 0);
  }

  /** One look and, unless the policy fails or has not answered yet, one plan. Throws `EngineError`. */
  tick(): EngineSnapshot {
    const { engine, leaseNs, limits = {} } = this.#options;
    const snapshot = engine.snapshot();
    const conditions = this.#conditions.current(snapshot.nowNs);
    this.#passClocks(conditions);
    const given = this.#snapshots.next(snapshot, shownToPolicies(conditions, limits));
    const plan = this.#stop.stopped(conditions) ? NOTHING : this.#decide(given, snapshot.leaseEndNs);
    if (plan !== undefined) {
      const entries = plan.entries.filter(({ job }) => !this.#isBarred(job));
      const next = { id: snapshot.planId + 1, leaseNs, ...forEngine({ ...plan, entries }) };
      engine.setPlan(next);
      this.lastPlan = next;
      this.plansSet++;
    }
    return snapshot;
  }

  /** For virtual time, which waits for a user's policy. */
  async settled(): Promise<void> {
    await this.#options.user?.settled();
  }

  close(): void {
    this.#options.user?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** A policy may have answered before a job was barred. */
  #isBarred(id: number): boolean {
    const { barred, jobs } = this.#options;
    const job = jobs[id];
    return barred !== undefined && job !== undefined && barred(job.name);
  }

  #passClocks({ clockKey }: Conditions): void {
    if (clockKey === undefined || clockKey === this.#clockKey) return;
    this.#options.engine.setClocks(clockKey);
    this.#clockKey = clockKey;
  }

  #decide(given: PolicySnapshot, leaseEndNs: number): PolicyPlan | undefined {
    const turn = this.#options.user?.turn(given, leaseEndNs) ?? { kind: "default" };
    if (turn.kind === "plan") return turn.plan;
    return turn.kind === "default" ? this.#askBuiltIn(given) : undefined;
  }

  #askBuiltIn(given: PolicySnapshot): PolicyPlan | undefined {
    let fault: string | undefined;
    try {
      const plan = this.#options.policy(given);
      fault = planFault(plan, given);
      if (fault === undefined) {
        this.#lastFault = "";
        return plan;
      }
    } catch (error) {
      fault = `it threw: ${error instanceof Error ? error.message : String(error)}`;
    }
    this.#faults++;
    // Once per kind of fault: a broken policy would otherwise fill the log at every tick.
    if (fault !== this.#lastFault) {
      this.#options.log.error(`policy failed, no plan set, background stops when the lease ends: ${fault}`);
      this.#lastFault = fault;
    }
    return undefined;
  }
}

function shownToPolicies({ clockKey: _, ...known }: Conditions, limits: StopLimits): PolicyConditions {
  return { ...known, limits };
}

/** To the engine 0 permille means no limit, so a duty of 0 is a plan without entries. */
function forEngine({ entries, duty = 1 }: PolicyPlan): Pick<Plan, "entries" | "dutyPermille"> {
  if (duty === 0) return { entries: [] };
  const dutyPermille = Math.max(1, Math.round(duty * 1000));
  return dutyPermille === 1000 ? { entries } : { entries, dutyPermille };
}
