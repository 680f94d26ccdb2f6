/**
 * Whose plan counts while a user's policy is at work: its own, nobody's, or the default's?
 *
 * The policy answers in a sandbox and is never waited for: what it said to the snapshot before is what counts now.
 * Where it throws, stalls, answers nonsense or does not load, the last plan runs out its lease, then the default takes
 * over. It is tried again in a fresh sandbox, each time after twice the pause, and is back in force once it has
 * answered well several times in a row. It reads no clock: time is the planner's.
 */
import { planFault, type PolicyPlan, type PolicySnapshot } from "../policies/policy.ts";
import type { Logger } from "./log.ts";
import { type OpenSandbox, openSandbox, type PolicyFile, type Sandbox } from "./policy_sandbox.ts";
import { formatDurationNs } from "./quantity.ts";

/** What the planner does this time: sets that plan, nothing, or what the default policy says. */
export type Turn = { kind: "plan"; plan: PolicyPlan } | { kind: "quiet" } | { kind: "default" };

export interface UserPolicyOptions {
  policy: PolicyFile;
  leaseNs: number;
  /** What takes over, for the log. */
  defaultName: string;
  log: Logger;
  /** Default: a Worker without permissions. */
  open?: OpenSandbox;
}

/** Good answers in a row that bring a policy back. */
export const TRIAL_ANSWERS = 5;
export const FIRST_PAUSE_NS = 1_000_000_000;
export const LONGEST_PAUSE_NS = 60_000_000_000;
const LOAD_LIMIT_NS = 10_000_000_000;
/** The agent's own thread may be late by a garbage collection: the answer may lie there, unread. */
const MIN_STALL_NS = 500_000_000;
const MAX_ANSWER_MS = 100;
const MIN_ANSWER_MS = 10;

/** How long one answer may take: a quarter of the lease, so that the next plan is in time. */
export function answerLimitMs(leaseNs: number): number {
  return Math.min(MAX_ANSWER_MS, Math.max(MIN_ANSWER_MS, Math.floor(leaseNs / 4e6)));
}

interface Fault {
  why: string;
  /** The sandbox may be busy for ever; then there is no other one. */
  stalled: boolean;
}

export class UserPolicy {
  /** How often it failed. */
  faults = 0;
  readonly #options: UserPolicyOptions;
  readonly #stallNs: number;
  #sandbox: Sandbox | undefined;
  #loaded = false;
  #startedNs: number | undefined;
  #asked: { id: number; atNs: number; turns: number; snapshot: PolicySnapshot } | undefined;
  #answer: { plan: unknown; snapshot: PolicySnapshot } | undefined;
  #fault: Fault | undefined;
  #lastId = 0;
  #inForce = true;
  #inForceSinceNs = 0;
  /** Of the last plan before it failed. */
  #leaseEndNs = 0;
  #goodAnswers = 0;
  #pauseNs = FIRST_PAUSE_NS;
  #retryNs = Infinity;
  #waiting: (() => void)[] = [];

  constructor(options: UserPolicyOptions) {
    this.#options = options;
    this.#stallNs = Math.max(MIN_STALL_NS, options.leaseNs);
    this.#open();
  }

  /** Once per tick. `leaseEndNs`: of the plan in force. */
  turn(snapshot: PolicySnapshot, leaseEndNs: number): Turn {
    const { nowNs } = snapshot;
    if (this.#sandbox === undefined && nowNs >= this.#retryNs) this.#open();
    if (this.#sandbox !== undefined) this.#startedNs ??= nowNs;
    const plan = this.#collect(nowNs, leaseEndNs);
    this.#ask(snapshot);
    if (this.#inForce) {
      return plan === undefined ? { kind: "quiet" } : { kind: "plan", plan: only(plan, snapshot) };
    }
    return nowNs < this.#leaseEndNs ? { kind: "quiet" } : { kind: "default" };
  }

  /**
   * For virtual time, which waits: resolves once nothing is awaited of the sandbox. What has not come after `limitMs`
   * of real time counts as stalled.
   */
  async settled(limitMs = 5000): Promise<void> {
    const awaited = () =>
      this.#sandbox !== undefined && this.#fault === undefined &&
      (!this.#loaded || this.#asked !== undefined);
    if (!awaited()) return;
    const timer = setTimeout(() => this.#event(() => this.#fault ??= STALLED), limitMs);
    while (awaited()) await new Promise<void>((done) => this.#waiting.push(done));
    clearTimeout(timer);
  }

  close(): void {
    this.#shut();
    this.#retryNs = Infinity;
  }

  /** The plan that answers the snapshot before, if it is one; deals with what went wrong. */
  #collect(nowNs: number, leaseEndNs: number): PolicyPlan | undefined {
    const answer = this.#answer;
    this.#answer = undefined;
    const fault = this.#fault ?? this.#overdue(nowNs) ?? faultOf(answer);
    this.#fault = undefined;
    if (fault !== undefined) {
      this.#fail(fault, nowNs, leaseEndNs);
      return undefined;
    }
    if (answer === undefined) return undefined;
    if (!this.#inForce && ++this.#goodAnswers >= TRIAL_ANSWERS) {
      this.#inForce = true;
      this.#inForceSinceNs = nowNs;
      this.#options.log.info(`policy ${this.#options.policy.file} answers well again and is back in force`);
    }
    return answer.plan as PolicyPlan;
  }

  /** What does not come at all. It is judged by two turns at least: in between, messages are delivered. */
  #overdue(nowNs: number): Fault | undefined {
    if (this.#sandbox === undefined) return undefined;
    if (!this.#loaded && nowNs - (this.#startedNs ?? nowNs) >= LOAD_LIMIT_NS) {
      return { why: `it does not load within ${formatDurationNs(LOAD_LIMIT_NS)}`, stalled: true };
    }
    if (this.#asked === undefined) return undefined;
    this.#asked.turns++;
    return this.#asked.turns >= 2 && nowNs - this.#asked.atNs >= this.#stallNs ? STALLED : undefined;
  }

  #fail({ why, stalled }: Fault, nowNs: number, leaseEndNs: number): void {
    const { policy, defaultName, log } = this.#options;
    this.#shut();
    this.faults++;
    if (this.#inForce) {
      this.#leaseEndNs = leaseEndNs;
      if (nowNs - this.#inForceSinceNs >= LONGEST_PAUSE_NS) this.#pauseNs = FIRST_PAUSE_NS;
    }
    this.#retryNs = stalled ? Infinity : nowNs + this.#pauseNs;
    const next = stalled
      ? "it is not tried again in this run, as what stalls cannot always be ended"
      : `it is tried again in ${formatDurationNs(this.#pauseNs)}`;
    const now = this.#inForce ? `its last plan runs out its lease, then ${defaultName} takes over; ` : "";
    log.error(`policy ${policy.file} failed: ${why}; ${now}${next}`, { event: "policy-fault" });
    this.#inForce = false;
    this.#pauseNs = Math.min(LONGEST_PAUSE_NS, this.#pauseNs * 2);
  }

  #ask(snapshot: PolicySnapshot): void {
    if (this.#sandbox === undefined || !this.#loaded || this.#asked !== undefined) return;
    this.#asked = { id: ++this.#lastId, atNs: snapshot.nowNs, turns: 0, snapshot };
    this.#sandbox.ask(this.#lastId, snapshot);
  }

  #open(): void {
    const { policy, leaseNs, open = openSandbox } = this.#options;
    this.#goodAnswers = 0;
    this.#startedNs = undefined;
    this.#sandbox = open(policy, answerLimitMs(leaseNs), {
      loaded: () => this.#event(() => this.#loaded = true),
      answered: (id, plan) =>
        this.#event(() => {
          if (this.#asked?.id !== id) return;
          this.#answer = { plan, snapshot: this.#asked.snapshot };
          this.#asked = undefined;
        }),
      failed: (_id, why) => this.#event(() => this.#fault ??= { why, stalled: false }),
    });
  }

  #shut(): void {
    this.#sandbox?.close();
    this.#sandbox = undefined;
    this.#loaded = false;
    this.#asked = undefined;
    this.#event(() => {});
  }

  #event(change: () => void): void {
    change();
    for (const done of this.#waiting.splice(0)) done();
  }
}

const STALLED: Fault = { why: "it does not answer", stalled: true };

function faultOf(answer: { plan: unknown; snapshot: PolicySnapshot } | undefined): Fault | undefined {
  if (answer === undefined) return undefined;
  const why = planFault(answer.plan, answer.snapshot);
  return why === undefined ? undefined : { why: `it answered nonsense: ${why}`, stalled: false };
}

/** What may have run when it was asked may not be allowed any more. */
function only(plan: PolicyPlan, snapshot: PolicySnapshot): PolicyPlan {
  const allowed = new Set(snapshot.jobs.map(({ id }) => id));
  return { ...plan, entries: plan.entries.filter(({ job }) => allowed.has(job)) };
}
