/**
 * Can all critical tasks meet their deadlines, and what is the arithmetic, in words?
 *
 * Makes a demand of what is known of each task, holds the worst response (response_times.ts) against deadline and queue, and
 * says where each number comes from. A request that its queue drops is a miss like a late one. It holds as long as the
 * numbers do: nothing here is measured, and other clocks or a slower memory make others of them.
 */
import { formatDurationNs } from "./quantity.ts";
import {
  type Demand,
  type ResponseTime,
  type ResponseTimes,
  responseTimes,
  utilizationOf,
} from "./response_times.ts";

/** A time that somebody measured, estimated or declared. */
export interface Known {
  ns: number;
  /** Such as "worst of 20 runs". */
  origin: string;
  /** Few runs do not show the worst: a measured time is multiplied by `SAFETY`. */
  safety: boolean;
}

export interface AdmissionTask {
  name: string;
  /** Of one request alone. */
  execution: Known;
  /** Shortest time between requests; `undefined`: nobody states it, and one per deadline is assumed. */
  periodNs: number | undefined;
  deadlineNs: number;
  /** The deadline may be longer than the period. */
  overlap: boolean;
  queueDepth: number;
  /** `yield: when-needed`: a request may be held back, as far as its deadline allows. */
  defers: boolean;
  /** How long a background kernel that cannot be interrupted may delay it. */
  maxBlockingNs: number;
}

export interface Admission {
  /** Every deadline is met by the arithmetic. */
  admitted: boolean;
  /** What does not hold, and what would help; both empty if admitted. */
  problem: string;
  remedy: string;
  /** One for each task, by index, without its name. */
  tasks: string[];
  /** How much of the time critical work may take. */
  total: string;
}

/** The scheduler allows a `whole` kernel the same quarter more than its estimate (core/scheduler.cc). */
const SAFETY = 1.25;
/**
 * From an arrival, or the end of the request before, to the launch. A kernel of 5 us took 14-20 us from launch to
 * completion on a busy host thread, and 68 us (p99) where that had slept for 1-3 ms (NVIDIA H200): the difference.
 */
const HOST_NS = 50_000;
/** Sums that a search for a remedy may make each time. */
const REMEDY_SUMS = 100_000;
const REMEDY_ROUNDS = 8;

/** `drain`: how long preemptible background keeps the GPU once its gate is closed; each request closes it anew. */
export function admission(tasks: readonly AdmissionTask[], drain: Known): Admission {
  const { demands, found, failing } = assess(tasks, drain);
  const total = totalText(tasks, demands);
  const texts = typeof found === "string"
    ? tasks.map((task, i) => `every ${formatDurationNs(demands[i]!.periodNs)}: ${costText(task, drain)}`)
    : tasks.map((task, i) => taskText({ tasks, demands, drain }, task, found[i]!));
  if (failing.length === 0) return { admitted: true, problem: "", remedy: "", tasks: texts, total };
  const names = failing.map(({ name }) => name).join(", ");
  let problem = `must all meet their deadlines, and ${names} cannot`;
  if (found === "overload") {
    const asked = percent(utilizationOf(demands));
    problem = `must leave the GPU time for all of their requests, and ${asked} of all time is asked for`;
  }
  if (found === "too-long") {
    problem = "must leave more time unused: whether all deadlines are met takes too long to find out";
  }
  return { admitted: false, problem, remedy: remedyText(tasks, drain), tasks: texts, total };
}

interface Assessment {
  demands: Demand[];
  found: ResponseTimes;
  /** All of them where there is no bound. */
  failing: readonly AdmissionTask[];
}

function assess(tasks: readonly AdmissionTask[], drain: Known, mostSums?: number): Assessment {
  const demands = tasks.map((task) => demandOf(task, drain));
  const found = responseTimes(demands, mostSums);
  const failing = typeof found === "string"
    ? tasks
    : tasks.filter((task, i) => !holds(task, demands[i]!, found[i]!));
  return { demands, found, failing };
}

function demandOf(task: AdmissionTask, drain: Known): Demand {
  return {
    costNs: timeOf(task.execution) + HOST_NS + timeOf(drain),
    periodNs: task.periodNs ?? task.deadlineNs,
    deadlineNs: task.deadlineNs,
    blockingNs: task.maxBlockingNs,
    // One, or as many as may come within a deadline.
    heldBack: task.defers ? Math.ceil(task.deadlineNs / (task.periodNs ?? task.deadlineNs)) : 0,
  };
}

function timeOf({ ns, safety }: Known): number {
  return Math.ceil(safety ? SAFETY * ns : ns);
}

function holds(task: AdmissionTask, demand: Demand, response: ResponseTime): boolean {
  return response.responseNs <= task.deadlineNs && !overflows(task, demand, response);
}

/** A request waits for so long that those behind it fill the queue: it is dropped, or the next one is. */
function overflows(task: AdmissionTask, demand: Demand, { responseNs }: ResponseTime): boolean {
  return responseNs - timeOf(task.execution) >= task.queueDepth * demand.periodNs;
}

// ---- Words

interface Scene {
  tasks: readonly AdmissionTask[];
  demands: readonly Demand[];
  drain: Known;
}

function taskText({ tasks, demands, drain }: Scene, task: AdmissionTask, response: ResponseTime): string {
  const own = tasks.indexOf(task);
  const demand = demands[own]!;
  const { responseNs, blocker, blockedNs, heldBackNs, ahead, arrivalNs } = response;
  const terms = [costText(task, drain)];
  if (blocker === "other") {
    terms.push(`blocked ${formatDurationNs(blockedNs)} (a kernel that cannot be interrupted)`);
  }
  if (typeof blocker === "number") {
    terms.push(`blocked ${formatDurationNs(blockedNs)} (${tasks[blocker]!.name}, which runs already)`);
  }
  if (heldBackNs > 0) {
    const who = tasks.filter((other) => other !== task && other.defers).map(({ name }) => name).join(", ");
    terms.push(`held back ${formatDurationNs(heldBackNs)} (of ${who}, by yield: when-needed)`);
  }
  for (const [index, count] of ahead.entries()) {
    if (count === 0) continue;
    const who = index === own ? "of its own before it" : `of ${tasks[index]!.name}, due earlier`;
    terms.push(`${count} x ${formatDurationNs(demands[index]!.costNs)} (${who})`);
  }
  // The requests before it may be done when it comes.
  const idleNs = responseNs === demand.costNs ? 0 : arrivalNs;
  const after = idleNs > 0 ? ` - ${formatDurationNs(idleNs)} (it comes that much later)` : "";
  const parts = responseNs === demand.costNs ? terms.slice(0, 1) : terms;
  const late = responseNs > task.deadlineNs
    ? `, ${formatDurationNs(responseNs - task.deadlineNs)} too late`
    : "";
  const full = overflows(task, demand, response)
    ? `; by then its queue of ${task.queueDepth} is full, with a request every ${
      formatDurationNs(demand.periodNs)
    }`
    : "";
  const assumed = task.periodNs === undefined
    ? `; assumed: no two requests within ${formatDurationNs(demand.periodNs)}, as its source states no rate`
    : "";
  const head = `worst case ${formatDurationNs(responseNs)} of ${formatDurationNs(task.deadlineNs)}${late}`;
  return `${head} = ${parts.join(" + ")}${after}${full}${assumed}`;
}

function costText(task: AdmissionTask, drain: Known): string {
  const terms = [`execution ${knownText(task.execution)}`, `host ${formatDurationNs(HOST_NS)}`];
  if (drain.ns > 0) terms.push(`background leaves ${knownText(drain)}`);
  return terms.join(" + ");
}

function knownText(known: Known): string {
  const { ns, origin, safety } = known;
  const factor = safety ? `${SAFETY} x ${formatDurationNs(ns)}, ` : "";
  return `${formatDurationNs(timeOf(known))} (${factor}${origin})`;
}

function totalText(tasks: readonly AdmissionTask[], demands: readonly Demand[]): string {
  const shares = tasks.map(({ name }, i) => `${name} ${percent(utilizationOf([demands[i]!]))}`);
  return `critical work takes up to ${percent(utilizationOf(demands))} of all time: ${shares.join(" + ")}`;
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(3))} %`;
}

// ---- Remedies, each of them tried

function remedyText(tasks: readonly AdmissionTask[], drain: Known): string {
  const longer = longerDeadlines(tasks, drain);
  if (longer !== undefined) {
    const texts = longer.flatMap(({ name, deadlineNs }, i) =>
      deadlineNs === tasks[i]!.deadlineNs ? [] : [`${formatDurationNs(deadlineNs)} for ${name}`]
    );
    return `deadlines that would be met: ${texts.join(", ")}`;
  }
  for (let rate = 95; rate > 0; rate -= 5) {
    const slower = tasks.map((task) => ({
      ...task,
      periodNs: task.periodNs === undefined ? undefined : Math.floor(task.periodNs * 100 / rate),
    }));
    if (assess(slower, drain, REMEDY_SUMS).failing.length === 0) {
      return `at ${rate} % of all stated rates they would be met`;
    }
  }
  return "shorten the work or lengthen the deadlines; no lower rate alone would do";
}

/** Each deadline that is missed becomes the response, until all are met; a longer one may delay others. */
function longerDeadlines(tasks: readonly AdmissionTask[], drain: Known): AdmissionTask[] | undefined {
  let trial = [...tasks];
  for (let round = 0; round < REMEDY_ROUNDS; round++) {
    const { found, failing } = assess(trial, drain, REMEDY_SUMS);
    if (typeof found === "string") return undefined;
    if (failing.length === 0) return trial;
    trial = trial.map((task, i) => ({
      ...task,
      deadlineNs: Math.max(task.deadlineNs, roundUp(found[i]!.responseNs)),
    }));
    const tooLong = ({ overlap, periodNs, deadlineNs }: AdmissionTask) =>
      !overlap && periodNs !== undefined && deadlineNs > periodNs;
    if (trial.some(tooLong)) return undefined;
  }
  return undefined;
}

/** To three digits, as people are shown it. */
function roundUp(ns: number): number {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(ns)) - 2);
  return Math.ceil(ns / unit) * unit;
}
