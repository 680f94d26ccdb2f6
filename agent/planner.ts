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
import type { BoardCap, BoardPower } from "./board_power.ts";
import { type Conditions, type ConditionsSource, NO_CONDITIONS } from "./conditions.ts";
import type { Logger } from "./log.ts";
import type { LiveSettings, LiveValues } from "./reload/live_settings.ts";
import { type PlannedJob, type PlannedTask, type PolicyOptions, PolicySnapshots } from "./policy_snapshot.ts";
import type { PolicyFile } from "./policy_sandbox.ts";
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
  /** What replaces policy, options, limits and the jobs' settings while the mission runs. Default: nothing does. */
  live?: LiveSettings | undefined;
  /** Needed with `live`: starts a user's policy. */
  openUser?: (file: PolicyFile) => UserPolicy;
  /** Whether a job, by name, gets nothing for now. Default: none is. */
  barred?: ((job: string) => boolean) | undefined;
  /** What the board bears; closed with the planner. Default: all. */
  power?: BoardPower | undefined;
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
const UNCAPPED = (conditions: Conditions): BoardCap => ({ conditions, duty: 1, stop: false });

export class Planner {
  plansSet = 0;
  /** As the engine has it; `undefined`: none was set. */
  lastPlan: Plan | undefined;
  readonly #options: PlannerOptions;
  readonly #snapshots: PolicySnapshots;
  readonly #conditions: ConditionsSource;
  #policy: Policy;
  #user: UserPolicy | undefined;
  #limits: StopLimits;
  #stop: BackgroundStop;
  #live: LiveValues | undefined;
  #faults = 0;
  #lastFault = "";
  #clockKey = 0;

  constructor(options: PlannerOptions) {
    this.#options = options;
    const { power } = options;
    this.#snapshots = new PolicySnapshots({
      options: {},
      ...options,
      joules: power && ((job, unitNs) => power.joulesPerUnit(job, unitNs)),
    });
    this.#conditions = options.conditions ?? NO_CONDITIONS;
    this.#policy = options.policy;
    this.#user = options.user;
    this.#limits = options.limits ?? {};
    this.#stop = new BackgroundStop(this.#limits, options.log);
    this.#live = options.live?.values;
  }

  /** What the board says; `undefined`: nobody asks it. */
  get board(): BoardPower | undefined {
    return this.#options.power;
  }

  /** How often a policy failed. */
  get policyFaults(): number {
    return this.#faults + (this.#user?.faults ?? 0);
  }

  /** One look and, unless the policy fails or has not answered yet, one plan. Throws `EngineError`. */
  tick(): EngineSnapshot {
    const { engine, leaseNs, power } = this.#options;
    this.#adopt();
    const snapshot = engine.snapshot();
    const known = this.#conditions.current(snapshot.nowNs);
    const { conditions, duty, stop } = power?.tick(snapshot, known) ?? UNCAPPED(known);
    this.#passClocks(conditions);
    const given = this.#snapshots.next(snapshot, shownToPolicies(conditions, this.#limits));
    // Each has its say, and its log, whatever the other says.
    const stopped = this.#stop.stopped(conditions) || stop;
    const plan = stopped ? NOTHING : this.#decide(given, snapshot.leaseEndNs);
    if (plan !== undefined) {
      const entries = plan.entries.filter(({ job }) => !this.#isBarred(job));
      const next = {
        id: snapshot.planId + 1,
        leaseNs,
        ...forEngine({ ...plan, entries, duty: Math.min(plan.duty ?? 1, duty) }),
      };
      engine.setPlan(next);
      this.lastPlan = next;
      this.plansSet++;
    }
    return snapshot;
  }

  /** For virtual time, which waits for a user's policy. */
  async settled(): Promise<void> {
    await this.#user?.settled();
  }

  close(): void {
    this.#user?.close();
    this.#options.power?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** All that was applied since the last look, or nothing. */
  #adopt(): void {
    const { live, jobs, log, openUser } = this.#options;
    const before = this.#live;
    if (live === undefined || before === undefined || live.values === before) return;
    const { policy, limits } = this.#live = live.values;
    if (policy !== before.policy) {
      this.#faults += this.#user?.faults ?? 0;
      this.#user?.close();
      this.#policy = policy.builtIn;
      this.#user = policy.file === undefined ? undefined : openUser?.(policy.file);
      this.#lastFault = "";
    }
    if (limits !== before.limits) {
      this.#limits = limits;
      this.#options.power?.adopt(limits);
      this.#stop = new BackgroundStop(limits, log);
    }
    this.#snapshots.adopt({ jobs: live.planned(jobs), options: policy.options });
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
    const turn = this.#user?.turn(given, leaseEndNs) ?? { kind: "default" };
    if (turn.kind === "plan") return turn.plan;
    return turn.kind === "default" ? this.#askBuiltIn(given) : undefined;
  }

  #askBuiltIn(given: PolicySnapshot): PolicyPlan | undefined {
    let fault: string | undefined;
    try {
      const plan = this.#policy(given);
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

function shownToPolicies(
  { clockKey: _, keepOff: __, ...known }: Conditions,
  limits: StopLimits,
): PolicyConditions {
  return { ...known, limits };
}

/** To the engine 0 permille means no limit, so a duty of 0 is a plan without entries. */
function forEngine({ entries, duty = 1 }: PolicyPlan): Pick<Plan, "entries" | "dutyPermille"> {
  if (duty === 0) return { entries: [] };
  const dutyPermille = Math.max(1, Math.round(duty * 1000));
  return dutyPermille === 1000 ? { entries } : { entries, dutyPermille };
}
