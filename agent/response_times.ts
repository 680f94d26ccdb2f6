/**
 * How late can a request be, if the GPU takes one request after the other, earliest deadline first?
 *
 * Non-preemptive earliest deadline first over sporadic tasks, and before the first request of a busy time something
 * else may hold the GPU. The bound is that of George, Rivierre and Spuri, "Preemptive and Non-Preemptive Real-Time
 * Uni-Processor Scheduling" (INRIA RR-2966, 1996); that it need only be looked for within one busy time, and that a
 * later request can hold up an earlier deadline once at most, is Jeffay, Stanat and Martel, "On Non-Preemptive
 * Scheduling of Periodic and Sporadic Tasks" (RTSS 1991). Where `blockingNs` is the same for all, some arrivals that the
 * tasks allow reach it; otherwise it may be too high by their difference, never too low. It knows
 * no mission and no engine.
 */

/** Whole nanoseconds. */
export interface Demand {
  /** GPU time of one request, with all that comes with each. */
  costNs: number;
  /** Shortest time between two requests. */
  periodNs: number;
  /** From the arrival; may be longer than the period. */
  deadlineNs: number;
  /** Something that is no task may hold the GPU for this long when a request of this task arrives and finds no other. */
  blockingNs: number;
  /** Requests of it that may lie held back when a busy time begins. Default 0. */
  heldBack?: number;
}

export interface ResponseTime {
  /** From arrival to end: no request takes longer. */
  responseNs: number;
  /** What held the GPU at the beginning of that busy time: a task by its index, something else, or nothing. */
  blocker: number | "other" | undefined;
  blockedNs: number;
  /** What requests of other tasks take that had been held back. */
  heldBackNs: number;
  /** By index: requests that go first, earlier ones of the task itself included. */
  ahead: readonly number[];
  /** The request comes this long after the beginning of the busy time. */
  arrivalNs: number;
}

/** By index; or why there is no bound: more than all time is asked for, or the search became too long. */
export type ResponseTimes = readonly ResponseTime[] | "overload" | "too-long";

/** Sums over all tasks that may be made: tenths of a second. Reached only where hardly any time is left unused. */
const MOST_SUMS = 1_000_000;
/** Rounding of a sum of shares. */
const SHARE_ERROR = 1e-9;

/** Share of all time that the tasks ask for. */
export function utilizationOf(tasks: readonly Demand[]): number {
  return tasks.reduce((sum, { costNs, periodNs }) => sum + costNs / periodNs, 0);
}

export function responseTimes(tasks: readonly Demand[], mostSums = MOST_SUMS): ResponseTimes {
  if (utilizationOf(tasks) > 1 + SHARE_ERROR) return "overload";
  const search = { tasks, sumsLeft: mostSums };
  const busyNs = longestBusyNs(search);
  const found: ResponseTime[] = [];
  for (const own of tasks.keys()) {
    const worst = busyNs === undefined ? undefined : worstWithin(search, own, busyNs);
    if (worst === undefined) return "too-long";
    found.push(worst);
  }
  return found;
}

interface Search {
  readonly tasks: readonly Demand[];
  sumsLeft: number;
}

/** All tasks at once, as often as they may, behind the longest blocking. */
function longestBusyNs(search: Search): number | undefined {
  const { tasks } = search;
  const blockingNs = Math.max(0, ...tasks.map((task) => task.blockingNs));
  const beginNs = tasks.reduce((sum, { costNs, heldBack = 0 }) => sum + heldBack * costNs, blockingNs);
  let busyNs = tasks.reduce((sum, { costNs }) => sum + costNs, beginNs);
  while (search.sumsLeft-- > 0) {
    const nextNs = tasks.reduce(
      (sum, { costNs, periodNs }) => sum + Math.ceil(busyNs / periodNs) * costNs,
      beginNs,
    );
    if (nextNs === busyNs) return busyNs;
    busyNs = nextNs;
  }
  return undefined;
}

/** Only an arrival whose deadline is also one of requests that come from the beginning on can be the worst. */
function worstWithin(search: Search, own: number, busyNs: number): ResponseTime | undefined {
  const deadlineNs = search.tasks[own]?.deadlineNs ?? 0;
  let worst: ResponseTime | undefined;
  for (const other of search.tasks) {
    const offsetNs = other.deadlineNs - deadlineNs;
    const first = Math.max(0, Math.ceil(-offsetNs / other.periodNs));
    for (let k = first; k * other.periodNs + offsetNs < busyNs; k++) {
      const response = responseAt(search, own, k * other.periodNs + offsetNs);
      if (response === undefined) return undefined;
      if (worst === undefined || response.responseNs > worst.responseNs) worst = response;
    }
  }
  return worst;
}

/** Of the request that arrives at `arrivalNs`, while all others with deadlines not after its own come as early as they may. */
function responseAt(search: Search, own: number, arrivalNs: number): ResponseTime | undefined {
  const { tasks } = search;
  const task = tasks[own];
  if (task === undefined) throw new RangeError(`there is no task ${own}`);
  const dueNs = arrivalNs + task.deadlineNs;
  let blocker: ResponseTime["blocker"];
  let blockedNs = 0;
  for (const [index, { costNs, deadlineNs, blockingNs }] of tasks.entries()) {
    // It has begun before, by a nanosecond at least.
    const ns = deadlineNs > dueNs ? costNs - 1 : blockingNs;
    if (ns > blockedNs) [blocker, blockedNs] = [deadlineNs > dueNs ? index : "other", ns];
  }
  const heldBackNs = tasks.reduce(
    (sum, { costNs, heldBack = 0 }, index) => index === own ? sum : sum + heldBack * costNs,
    0,
  );
  const beginNs = blockedNs + heldBackNs;
  // Until the start is settled: by then, how many requests of each have come that are due first?
  let startNs = beginNs;
  while (search.sumsLeft-- > 0) {
    const ahead = tasks.map(({ deadlineNs, periodNs }, index) => {
      if (index === own) return Math.floor(arrivalNs / periodNs);
      return deadlineNs > dueNs ? 0 : 1 + Math.floor(Math.min(startNs, dueNs - deadlineNs) / periodNs);
    });
    const nextNs = tasks.reduce((sum, { costNs }, index) => sum + (ahead[index] ?? 0) * costNs, beginNs);
    if (nextNs === startNs) {
      const responseNs = Math.max(0, startNs - arrivalNs) + task.costNs;
      return { responseNs, blocker, blockedNs, heldBackNs, ahead, arrivalNs };
    }
    startNs = nextNs;
  }
  return undefined;
}
