/**
 * Does the simulator foretell what a device did? A recorded flight flown again on the simulator, and the two compared.
 *
 * The same mission, the arrivals of the record, its executions of critical work and the GPU time of its units. A
 * recorded execution holds what the request waited for background to leave, which the simulator adds by itself: so the
 * recorded ones are moved until their median is that of the task alone, as it was measured ahead of the flight. What
 * remains of them is their spread. Nothing else is taken from the record; what is compared is foretold.
 */
import type { Engine, EngineEvent, EngineSnapshot, Result, SimProfile } from "../ffi/engine.ts";
import { InputError } from "./errors.ts";
import type { PreparedMission } from "./prepare.ts";
import type { FlightRecord, FlightTap, RecordedRequest, RecordedTask } from "./record.ts";
import { totalGpuNs } from "./policy_snapshot.ts";
import { table } from "./summary.ts";
import { formatDurationNs } from "./quantity.ts";

/** What of a profile lies between a launch and its completion, beside the execution. */
export type LaunchTimes = Pick<SimProfile, "launchNs" | "launchJitterNs" | "copyBaseNs" | "copyBytesPerUs">;

/** Those of the library without a profile; see backend/sim/profile.h. */
export const BUILT_IN_LAUNCH: LaunchTimes = {
  launchNs: 4000,
  launchJitterNs: 1500,
  copyBaseNs: 2000,
  copyBytesPerUs: 10_000,
};

/** The quantile of sorted numbers; 0 of none. */
export function quantileOf(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

/** GPU time of each request by its number; 0 for one that never ran. */
export function executions(
  task: RecordedTask,
  requests: readonly RecordedRequest[],
  times: LaunchTimes,
): BigUint64Array<ArrayBuffer> {
  const length = requests.reduce((most, { number }) => Math.max(most, number + 1), 0);
  const all = new BigUint64Array(length);
  const taken = requests.filter(({ doneNs }) => doneNs > 0).map(({ launchNs, doneNs }) => doneNs - launchNs);
  const p50Ns = quantileOf(taken.sort((a, b) => a - b), 0.5);
  const overheadNs = task.runs === 0 ? 0 : times.launchNs + times.launchJitterNs / 2 + times.copyBaseNs +
    task.outputBytes * 1000 / times.copyBytesPerUs;
  const moveNs = task.aloneP50Ns - overheadNs - p50Ns;
  for (const { number, launchNs, doneNs } of requests) {
    if (doneNs > 0) all[number] = BigInt(Math.max(1, Math.round(doneNs - launchNs + moveNs)));
  }
  return all;
}

/** GPU time of a job's units: between two looks all the same. */
export function unitTimes({ looks }: FlightRecord, job: number): BigUint64Array<ArrayBuffer> {
  const times: bigint[] = [];
  let before = { units: 0, gpuNs: 0 };
  for (const { jobs } of looks) {
    const now = jobs[job] ?? before;
    const units = now.units - before.units;
    if (units <= 0) continue;
    const eachNs = BigInt(Math.max(1, Math.round((now.gpuNs - before.gpuNs) / units)));
    for (let i = 0; i < units; i++) times.push(eachNs);
    before = now;
  }
  return BigUint64Array.from(times);
}

/** Hands the record to an engine that is not ready yet. Throws `InputError` if the mission is another. */
export function prepareReplay(
  engine: Engine,
  prepared: PreparedMission,
  record: FlightRecord,
  { file, times }: { file: string; times: LaunchTimes },
): void {
  const { header, requests } = record;
  const here = [prepared.tasks, prepared.jobs].map((works) => works.map(({ name }) => name).join(", "));
  const there = [header.tasks, header.jobs].map((works) => works.map(({ name }) => name).join(", "));
  if (here.join("; ") !== there.join("; ")) {
    throw new InputError({
      file,
      field: "header",
      rule: `holds a flight of ${there.join("; ")}, and the mission has ${here.join("; ")}`,
      remedy: `take the mission that was recorded, ${header.mission}`,
    });
  }
  for (const [id, task] of header.tasks.entries()) {
    const list = requests[id] ?? [];
    engine.replayDurations("critical", id, executions(task, list, times));
    if (task.source !== "api") continue;
    const arrivals = list.map(({ arrivalNs }) => arrivalNs).sort((a, b) => a - b);
    engine.replayArrivals(id, BigUint64Array.from(arrivals, BigInt));
  }
  for (const id of header.jobs.keys()) engine.replayDurations("background", id, unitTimes(record, id));
}

export interface FlightFigures {
  /** By task id. */
  tasks: { requests: number; misses: number; p50Ns: number; p99Ns: number }[];
  /** By job id. */
  jobs: { units: number; gpuNs: number }[];
}

function figuresOf(requests: readonly RecordedRequest[]): FlightFigures["tasks"][number] {
  const responses = requests.filter(({ doneNs }) => doneNs > 0)
    .map(({ arrivalNs, doneNs }) => doneNs - arrivalNs).sort((a, b) => a - b);
  return {
    requests: requests.length,
    misses: requests.filter(({ late, doneNs }) => late || doneNs === 0).length,
    p50Ns: quantileOf(responses, 0.5),
    p99Ns: quantileOf(responses, 0.99),
  };
}

/** What the record says, up to its last look. */
export function recordedFigures({ requests, looks }: FlightRecord): FlightFigures {
  const last = looks.at(-1)!;
  return {
    tasks: requests.map((list) => figuresOf(list.filter(({ arrivalNs }) => arrivalNs < last.atNs))),
    jobs: last.jobs,
  };
}

/** Watches the simulated flight. */
export class FlightWatcher implements FlightTap {
  readonly #requests: RecordedRequest[][];
  #last: EngineSnapshot | undefined;

  constructor(tasks: number) {
    this.#requests = Array.from({ length: tasks }, () => []);
  }

  result({ kind, work, number, arrivalNs, startNs, doneNs, late, dropped, failed }: Result): void {
    if (kind !== "critical") return;
    const ran = !dropped && !failed;
    this.#requests[work]?.push({
      number,
      arrivalNs,
      launchNs: ran ? startNs : 0,
      doneNs: ran ? doneNs : 0,
      late,
    });
  }

  event(_event: EngineEvent): void {}

  snapshot(snapshot: EngineSnapshot): void {
    this.#last = snapshot;
  }

  figures(): FlightFigures {
    return {
      tasks: this.#requests.map(figuresOf),
      jobs: (this.#last?.jobs ?? []).map((job) => ({ units: job.units, gpuNs: totalGpuNs(job) })),
    };
  }
}

export interface Comparison {
  what: string;
  recorded: number;
  predicted: number;
  /** Of the recorded value, in percent; `null` if that is 0 and the other is not. */
  deviationPercent: number | null;
}

/** Every figure of both flights, side by side. */
export function compareFlights(
  { tasks, jobs }: Pick<FlightRecord["header"], "tasks" | "jobs">,
  recorded: FlightFigures,
  predicted: FlightFigures,
): Comparison[] {
  const rows: Comparison[] = [];
  const add = (what: string, from: number, to: number) => {
    const deviation = from === to ? 0 : from === 0 ? null : Math.round((to - from) / from * 10_000) / 100;
    rows.push({ what, recorded: from, predicted: to, deviationPercent: deviation });
  };
  for (const [id, { name }] of tasks.entries()) {
    const from = recorded.tasks[id]!, to = predicted.tasks[id]!;
    add(`${name} requests`, from.requests, to.requests);
    add(`${name} misses`, from.misses, to.misses);
    add(`${name} p50 ns`, from.p50Ns, to.p50Ns);
    add(`${name} p99 ns`, from.p99Ns, to.p99Ns);
  }
  for (const [id, { name }] of jobs.entries()) {
    add(`${name} units`, recorded.jobs[id]?.units ?? 0, predicted.jobs[id]?.units ?? 0);
  }
  return rows;
}

/** For a terminal; ends with a newline. */
export function comparisonText(rows: readonly Comparison[]): string {
  const value = (what: string, number: number) =>
    what.endsWith(" ns") ? formatDurationNs(number) : `${number}`;
  return table(
    ["", "recorded", "predicted", "deviation"],
    rows.map(({ what, recorded, predicted, deviationPercent }) => [
      what.replace(/ ns$/, ""),
      value(what, recorded),
      value(what, predicted),
      deviationPercent === null ? "—" : `${deviationPercent > 0 ? "+" : ""}${deviationPercent.toFixed(1)} %`,
    ]),
  ).join("\n") + "\n";
}
