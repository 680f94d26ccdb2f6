/**
 * What did an operator order of the background, beside what the mission says?
 *
 * Orders hold until the run ends in order, or until they are taken back: a reload, a crash of the agent and an upgrade in
 * flight leave them as they are. Each change is handed to the keeper, if there is one. Orders of jobs that the mission does
 * not have are kept, too: it may have them again. A policy stands in the place of the one that the mission named then, and
 * ends with that.
 */
import type { PolicyOptions } from "./policy_snapshot.ts";

export type JobOrder = "pause" | "resume" | "cancel";

/** A job that gets nothing. */
export interface Ordered {
  /** `cancelled` cannot be taken back. */
  bar: "paused" | "cancelled";
  /** For people: when, such as a date; empty: nobody says the time. */
  since: string;
}

/** A built-in policy. */
export interface OrderedPolicy {
  name: string;
  options: PolicyOptions;
  /** As `Ordered` has it. */
  since: string;
  /** What it stands in the place of, in the mission's words. */
  instead: string;
}

/** As JSON keeps it. */
export interface OrdersState {
  jobs: ({ job: string } & Ordered)[];
  /** Since when safe mode is forced; `null`: it is not. */
  safeModeSince: string | null;
  /** `null`: the mission's. */
  policy: OrderedPolicy | null;
}

export interface OrdersKeeper {
  /** What was kept of a run that did not end in order. */
  readonly orders: OrdersState | undefined;
  /** Returns at once. */
  keepOrders(state: OrdersState): void;
  stamp(): string;
}

export class Orders {
  readonly #keeper: OrdersKeeper | undefined;
  readonly #jobs: Map<string, Ordered>;
  #safeModeSince: string | null;
  #policy: OrderedPolicy | null;

  constructor(keeper?: OrdersKeeper) {
    this.#keeper = keeper;
    this.#jobs = new Map(keeper?.orders?.jobs.map(({ job, bar, since }) => [job, { bar, since }]));
    this.#safeModeSince = keeper?.orders?.safeModeSince ?? null;
    this.#policy = keeper?.orders?.policy ?? null;
  }

  /** `undefined`: nothing was ordered of this job, or it was taken back. */
  of(job: string): Ordered | undefined {
    return this.#jobs.get(job);
  }

  get safeModeForced(): boolean {
    return this.#safeModeSince !== null;
  }

  /** Returns false for a job that is cancelled: nothing was done. */
  order(job: string, order: JobOrder): boolean {
    const now = this.#jobs.get(job)?.bar;
    if (now === "cancelled") return false;
    if (order === "resume") this.#jobs.delete(job);
    else if (order === "cancel" || now === undefined) {
      this.#jobs.set(job, { bar: order === "pause" ? "paused" : "cancelled", since: this.#stamp() });
    }
    this.#keep();
    return true;
  }

  forceSafeMode(on: boolean): void {
    if (on === this.safeModeForced) return;
    this.#safeModeSince = on ? this.#stamp() : null;
    this.#keep();
  }

  get policy(): OrderedPolicy | null {
    return this.#policy;
  }

  orderPolicy(policy: Omit<OrderedPolicy, "since">): void {
    this.#policy = { ...policy, since: this.#stamp() };
    this.#keep();
  }

  /** The mission's holds again. */
  endPolicy(): void {
    if (this.#policy === null) return;
    this.#policy = null;
    this.#keep();
  }

  state(): OrdersState {
    return {
      jobs: [...this.#jobs].map(([job, ordered]) => ({ job, ...ordered })),
      safeModeSince: this.#safeModeSince,
      policy: this.#policy,
    };
  }

  #stamp(): string {
    return this.#keeper?.stamp() ?? "";
  }

  #keep(): void {
    this.#keeper?.keepOrders(this.state());
  }
}

export const NO_ORDERS: OrdersState = { jobs: [], safeModeSince: null, policy: null };

/** Throws `TypeError` if `value` is not what `state` gave. */
export function parseOrders(value: unknown): OrdersState {
  // The first versions knew no policy.
  const { jobs, safeModeSince, policy = null } = (value ?? {}) as Record<string, unknown>;
  const good = Array.isArray(jobs) && (safeModeSince === null || typeof safeModeSince === "string") &&
    jobs.every((each) =>
      typeof each?.job === "string" && typeof each.since === "string" &&
      (each.bar === "paused" || each.bar === "cancelled")
    );
  if (!good || (policy !== null && !isPolicy(policy))) throw new TypeError("these are no orders");
  return { jobs, safeModeSince, policy };
}

function isPolicy(value: unknown): value is OrderedPolicy {
  const { name, options, since, instead } = (value ?? {}) as Record<string, unknown>;
  return [name, since, instead].every((each) => typeof each === "string") &&
    typeof options === "object" && options !== null &&
    Object.values(options).every((each) => typeof each === "number");
}
