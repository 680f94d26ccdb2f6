/**
 * Where did the time of a request go?
 *
 * Divides the time from where its deadline counts (arrival, or the sensor's time) to its end into parts that add up to
 * it exactly, each with its cause. Pure: the request's record, the trace around it, and what is known of the machine. What is
 * not recorded is not guessed: it stays a part of its own, "slow".
 */
import type { TraceRecord, TraceRequest } from "../../ffi/mod.ts";

/**
 * `sensor`: it was old when it arrived. `queueing`: other requests had the GPU. `deferral`: background was let end first
 * (`yield: when-needed`). `host`: nothing kept it from being launched. `drain`: background had not left yet. `work`: what
 * its execution takes anyhow. Of an execution that took longer: `clocks`, `foreign` (somebody else uses the GPU), `fault`
 * (it failed), `slow` (none of these is known).
 */
export type Cause =
  | "sensor"
  | "queueing"
  | "deferral"
  | "host"
  | "drain"
  | "work"
  | "clocks"
  | "foreign"
  | "fault"
  | "slow";

/** Another request, as its part of this one's wait. */
export interface Ahead {
  task: string;
  number: number;
  ns: number;
}

/** What is needed to put a part into words. */
export interface Part {
  cause: Cause;
  ns: number;
  /** `queueing`: who had the GPU, longest first. */
  ahead?: readonly Ahead[];
  /** `drain`: the job that had to leave. */
  job?: string;
  /** `clocks`: of this request, and of those that it is compared with. */
  clockKeys?: readonly [number, number];
  /** `foreign`: who. */
  users?: readonly string[];
}

export interface Explanation {
  /** `TASK/NUMBER`. */
  id: string;
  outcome: TraceRequest["outcome"];
  /** On the engine's clock. */
  doneNs: number;
  /** From where the deadline counts to the end; what `parts` add up to. */
  totalNs: number;
  /** What it had. */
  allowedNs: number;
  /** What one of its executions takes, as the others around it took or the engine knew. */
  ordinaryNs: number;
  /** What cost it the most beyond its own work; `work` where that alone exceeds the deadline. */
  cause: Cause;
  /** Without empty ones: the cause first, then the longest. */
  parts: Part[];
}

export interface TaskFacts {
  name: string;
  from: "arrival" | "sensor";
  /** It has SMs of its own: background runs beside it and never leaves for it. */
  beside?: boolean;
}

export interface Surroundings {
  /** All that is kept of the trace, the request itself may be among it. */
  records: readonly TraceRecord[];
  /** By id. */
  tasks: readonly TaskFacts[];
  jobs: readonly { name: string }[];
  /** Names of others that use the GPU. */
  foreign: readonly string[];
}

/** Requests around it that tell what is ordinary; fewer tell nothing. */
const LEAST_PEERS = 5;
/** An entry that begins this soon behind another one was in the stream already. */
const FOLLOW_NS = 20_000;

export function explain(request: TraceRequest, around: Surroundings): Explanation {
  const { task, number, outcome, doneNs, deadlineNs, launchNs } = request;
  const name = around.tasks[task]?.name ?? `${task}`;
  const fromNs = startOf(request, around);
  const totalNs = Math.max(0, doneNs - fromNs);
  const ordinary = ordinaryOf(request, around.records);
  const parts = [
    ...waitOf(request, around, fromNs),
    ...(launchNs > 0 ? executionOf(request, around, ordinary) : []),
  ].filter(({ ns }) => ns > 0);
  const allowedNs = Math.max(0, deadlineNs - fromNs);
  const cause = causeOf(parts, allowedNs);
  parts.sort((a, b) => Number(b.cause === cause) - Number(a.cause === cause) || b.ns - a.ns);
  return {
    ...{ id: `${name}/${number}`, outcome, doneNs, totalNs, allowedNs },
    ...{ ordinaryNs: ordinary.ns, cause, parts },
  };
}

function causeOf(parts: readonly Part[], allowedNs: number): Cause {
  const work = parts.find(({ cause }) => cause === "work")?.ns ?? 0;
  const others = parts.filter(({ cause }) => cause !== "work").sort((a, b) => b.ns - a.ns);
  return work > allowedNs ? "work" : others[0]?.cause ?? "work";
}

/** Where its deadline counts from. */
function startOf({ task, arrivalNs, sensorNs }: TraceRequest, { tasks }: Surroundings): number {
  return tasks[task]?.from === "sensor" && sensorNs > 0 ? Math.min(sensorNs, arrivalNs) : arrivalNs;
}

/** Up to the launch, or to its end if it never ran. */
function waitOf(request: TraceRequest, around: Surroundings, fromNs: number): Part[] {
  const { arrivalNs, launchNs, doneNs, queuedNs, deferredNs } = request;
  const untilNs = launchNs > 0 ? launchNs : doneNs;
  const waitNs = Math.max(0, untilNs - arrivalNs);
  const ahead = aheadOf(request, around, untilNs);
  // Of one that never ran the engine keeps no sum.
  const seenNs = launchNs > 0 ? queuedNs : ahead.reduce((sum, { ns }) => sum + ns, 0);
  const queued = Math.min(waitNs, seenNs);
  const deferred = Math.min(waitNs - queued, deferredNs);
  return [
    { cause: "sensor", ns: Math.min(arrivalNs, doneNs) - fromNs },
    { cause: "queueing", ns: queued, ahead },
    { cause: "deferral", ns: deferred },
    { cause: "host", ns: waitNs - queued - deferred },
  ];
}

/** Requests that had the GPU while this one waited, the longest first. */
function aheadOf(request: TraceRequest, { records, tasks }: Surroundings, untilNs: number): Ahead[] {
  const found: Ahead[] = [];
  for (const other of records) {
    if (other.kind !== "request" || other.launchNs === 0 || isSame(other, request)) continue;
    const ns = Math.min(other.doneNs, untilNs) - Math.max(other.launchNs, request.arrivalNs);
    if (ns > 0) found.push({ task: tasks[other.task]?.name ?? `${other.task}`, number: other.number, ns });
  }
  return found.sort((a, b) => b.ns - a.ns);
}

/** From the launch to the end. */
function executionOf(request: TraceRequest, around: Surroundings, ordinary: Ordinary): Part[] {
  const { outcome, doneNs, launchNs, clockKey } = request;
  const spentNs = Math.max(0, doneNs - launchNs);
  const { ns: drain, job } = drainOf(request, around);
  const ownNs = spentNs - drain;
  const work = Math.min(ownNs, ordinary.ns, ordinary.other?.ns ?? Infinity);
  const clocks = ordinary.other === undefined ? 0 : Math.min(ownNs, ordinary.ns) - work;
  const restNs = ownNs - work - clocks;
  const rest: Part = outcome === "failed"
    ? { cause: "fault", ns: restNs }
    : around.foreign.length > 0
    ? { cause: "foreign", ns: restNs, users: around.foreign }
    : { cause: "slow", ns: restNs };
  return [
    { cause: "drain", ns: drain, ...(job < 0 ? {} : { job: around.jobs[job]?.name ?? `${job}` }) },
    { cause: "work", ns: work },
    {
      cause: "clocks",
      ns: clocks,
      ...(ordinary.other === undefined ? {} : { clockKeys: [clockKey, ordinary.other.key] as const }),
    },
    rest,
  ];
}

/**
 * Until when background was there. The engine saw the entry leave that the launch found; one that the stream had begun by
 * then left later, and that is in the slices.
 */
function drainOf(request: TraceRequest, { records, tasks }: Surroundings): { ns: number; job: number } {
  const { launchNs, doneNs, drainNs, drainJob } = request;
  if (drainJob < 0 || tasks[request.task]?.beside === true) return { ns: 0, job: -1 };
  let [untilNs, job, longestNs] = [launchNs + drainNs, drainJob, drainNs];
  // In the order of their ends.
  for (const slice of records) {
    if (slice.kind !== "slice" || slice.endNs <= untilNs || slice.endNs > doneNs) continue;
    if (slice.beginNs > untilNs + FOLLOW_NS) continue;
    if (slice.endNs - untilNs > longestNs) [longestNs, job] = [slice.endNs - untilNs, slice.job];
    untilNs = slice.endNs;
  }
  return { ns: Math.min(doneNs, untilNs) - launchNs, job };
}

interface Ordinary {
  /** What an execution takes at its clocks. */
  ns: number;
  /** Other clocks at which it takes less, if there were some. */
  other?: { key: number; ns: number };
}

/**
 * What three of four executions of the task around it take at most, at its clocks and at others; where there are too few, what
 * the engine knew. Shortly after a change of clocks all that exceeds the time at the clocks before is taken for theirs.
 */
function ordinaryOf(request: TraceRequest, records: readonly TraceRecord[]): Ordinary {
  const byKey = new Map<number, { own: number[]; usualNs: number }>();
  for (const other of records) {
    if (other.kind !== "request" || other.task !== request.task || isSame(other, request)) continue;
    if (other.launchNs === 0 || other.outcome === "failed") continue;
    const entry = byKey.get(other.clockKey) ?? { own: [], usualNs: 0 };
    entry.own.push(Math.max(0, other.doneNs - other.launchNs - other.drainNs));
    entry.usualNs = other.usualNs;
    byKey.set(other.clockKey, entry);
  }
  const ofKey = (key: number): number | undefined => {
    const entry = byKey.get(key);
    return entry === undefined
      ? undefined
      : entry.own.length >= LEAST_PEERS
      ? upper(entry.own)
      : entry.usualNs;
  };
  const here = byKey.get(request.clockKey)?.own.length ?? 0;
  const others = [...byKey.keys()].filter((key) => key !== request.clockKey)
    .map((key) => ({ key, ns: ofKey(key)! }))
    .sort((a, b) => a.ns - b.ns);
  const [fastest] = others;
  const knownNs = here >= LEAST_PEERS ? ofKey(request.clockKey)! : request.usualNs;
  const ownNs = request.doneNs - request.launchNs - request.drainNs;
  const ns = fastest !== undefined && here < LEAST_PEERS ? Math.max(knownNs, ownNs) : knownNs;
  return fastest !== undefined && fastest.ns < ns ? { ns, other: fastest } : { ns };
}

function upper(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.floor(0.75 * (values.length - 1))] ?? 0;
}

function isSame(a: TraceRequest, b: TraceRequest): boolean {
  return a.task === b.task && a.number === b.number && a.arrivalNs === b.arrivalNs;
}
