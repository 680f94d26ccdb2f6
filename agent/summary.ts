/**
 * How did the run go?
 *
 * One object for machines (the end of `run --json` and `simulate --json`) and one table for people, both from the
 * engine's last snapshot and the agent's counters. A miss is a request that was late, dropped or failed.
 */
import {
  type Backend,
  type EngineSnapshot,
  type JobStats,
  type Level,
  LEVELS,
  type TaskStats,
} from "../ffi/engine.ts";
import type { Counters } from "./counters.ts";
import { attainmentOf, type ForeignReport } from "./foreign/accounts.ts";
import { type ResponseUs, responseUs } from "./metrics.ts";
import { totalGpuNs } from "./policy_snapshot.ts";
import type { ProfileName } from "./profile.ts";
import { formatDurationNs } from "./quantity.ts";

export interface TaskSummary {
  requests: number;
  misses: number;
  /** Share of requests on time, 0..1; `null`: there were none, or it is not claimed (`foreign.withheld`). */
  attainment: number | null;
  longestMissRun: number;
  response: ResponseUs;
}

export interface JobSummary {
  units: number;
  preemptions: number;
  gpuSeconds: number;
  /** Parts of the job's GPU time, 0..1; all 0 if it had none. */
  levelShare: Record<Level, number>;
}

export interface RunSummary {
  backend: Backend;
  /** Of the simulator; `null` on a GPU, which has none. */
  seed: number | null;
  /** The device that was simulated; `null` on a GPU. `estimate`: its times are guesses. */
  profile: ProfileName | null;
  durationS: number;
  critical: Record<string, TaskSummary>;
  background: Record<string, JobSummary>;
  /** Background GPU time as a part of the time in which no critical work ran, 0..1. */
  idleFill: number;
  /** Jobs that failed too often and are left out, each with its reason. */
  quarantine: Record<string, string>;
  /** Other users of the GPU; `null`: there can be none, as on the simulator. */
  foreign: ForeignReport | null;
  events: {
    leaseExpired: number;
    safeMode: number;
    /** Time in safe mode. */
    safeModeS: number;
    policyFaults: number;
    /** Results whose output was not computed (simulator only). */
    outputsSkipped: number;
    /** Results that never reached their file. */
    resultsLost: number;
    poisonInputs: number;
  };
}

export interface SummaryInput {
  snapshot: EngineSnapshot;
  counters: Counters;
  seed: number | undefined;
  profile?: ProfileName;
  /** Names by id. */
  tasks: readonly string[];
  jobs: readonly string[];
  /** Absent: none. */
  quarantined?: readonly { job: string; reason: string }[];
  /** Absent: nobody else can use the device. */
  foreign?: ForeignReport | undefined;
}

export function summarize(input: SummaryInput): RunSummary {
  const { snapshot, counters, seed, profile, tasks, jobs, foreign, quarantined = [] } = input;
  const durationNs = snapshot.state === "loading" ? 0 : snapshot.nowNs - snapshot.readyNs;
  const idleNs = durationNs - snapshot.criticalBusyNs;
  return {
    backend: snapshot.backend,
    seed: seed ?? null,
    profile: profile ?? null,
    durationS: round(durationNs / 1e9, 3),
    critical: Object.fromEntries(
      snapshot.tasks.map((task, id) => [tasks[id] ?? `${id}`, ofTask(task, foreign)]),
    ),
    background: Object.fromEntries(snapshot.jobs.map((job, id) => [jobs[id] ?? `${id}`, ofJob(job)])),
    idleFill: idleNs <= 0 ? 0 : round(Math.min(1, snapshot.backgroundBusyNs / idleNs), 4),
    quarantine: Object.fromEntries(quarantined.map(({ job, reason }) => [job, reason])),
    foreign: foreign ?? null,
    events: {
      leaseExpired: snapshot.leaseExpired,
      safeMode: snapshot.safeMode,
      safeModeS: round(snapshot.safeModeNs / 1e9, 3),
      policyFaults: counters.policyFaults,
      outputsSkipped: counters.outputsSkipped,
      resultsLost: counters.resultsLost,
      poisonInputs: counters.poisonInputs,
    },
  };
}

function ofTask(task: TaskStats, foreign: ForeignReport | undefined): TaskSummary {
  return {
    requests: task.requests,
    misses: task.late + task.dropped + task.failed,
    attainment: attainmentOf(task, foreign),
    longestMissRun: task.longestMissRun,
    response: responseUs(task.response),
  };
}

function ofJob(job: JobStats): JobSummary {
  const totalNs = totalGpuNs(job);
  const share = (level: Level) => totalNs === 0 ? 0 : round(job.gpuNs[level] / totalNs, 4);
  return {
    units: job.units,
    preemptions: job.preemptions,
    gpuSeconds: round(totalNs / 1e9, 6),
    levelShare: { loop: share("loop"), block: share("block"), slice: share("slice"), whole: share("whole") },
  };
}

function round(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}

/** For a terminal of 100 columns; ends with a newline. */
export function summaryText(summary: RunSummary): string {
  const { critical, background, idleFill, quarantine, foreign, events, durationS, backend } = summary;
  const where = backend === "sim" ? simulatorText(summary) : "the GPU";
  const lines = [`${formatDurationNs(durationS * 1e9)} on ${where}`];
  const us = (value: number) => formatDurationNs(value * 1000);
  if (Object.keys(critical).length > 0) {
    lines.push(
      "",
      ...table(
        ["critical", "requests", "misses", "in a row", "p50", "p99", "max"],
        Object.entries(critical).map(([name, { requests, misses, longestMissRun, response }]) => [
          name,
          `${requests}`,
          `${misses}`,
          `${longestMissRun}`,
          us(response.p50Us),
          us(response.p99Us),
          us(response.maxUs),
        ]),
      ),
    );
  }
  if (Object.keys(background).length > 0) {
    const levels = [...LEVELS].reverse();
    lines.push(
      "",
      ...table(
        ["background", "units", "preempted", "GPU time", ...levels],
        Object.entries(background).map(([name, { units, preemptions, gpuSeconds, levelShare }]) => [
          name,
          `${units}`,
          `${preemptions}`,
          formatDurationNs(gpuSeconds * 1e9),
          ...percents(levels.map((level) => levelShare[level])),
        ]),
      ),
      "",
      `idle fill ${percent(idleFill)}: so much of the time without critical work, background used`,
    );
  }
  const out = Object.entries(quarantine);
  if (out.length > 0) lines.push("", ...out.map(([job, reason]) => `in quarantine: ${job}: ${reason}`));
  lines.push("", ...legend(critical, background));
  const odd = [
    [events.leaseExpired, "leases that ended without a new plan"],
    [events.safeMode, `times in safe mode, ${formatDurationNs(events.safeModeS * 1e9)} in all`],
    [events.policyFaults, "plans not set because the policy failed"],
    [events.outputsSkipped, "outputs not computed by the CPU references"],
    [events.resultsLost, "results that never reached their file"],
    [events.poisonInputs, "inputs that were put into failed/ because they ended their job's process"],
  ] as const;
  const found = odd.filter(([count]) => count > 0);
  if (found.length > 0) lines.push("", "look into:", ...found.map(([count, what]) => `  ${what}: ${count}`));
  if (foreign !== null) lines.push(...foreignLines(foreign));
  return lines.join("\n") + "\n";
}

function foreignLines({ withheld, byName, missesMeanwhile }: ForeignReport): string[] {
  const names = Object.keys(byName).join(", ");
  return [
    ...(withheld === null ? [] : ["", `attainment is not claimed: ${withheld}`]),
    ...(names === ""
      ? []
      : ["", `also on the GPU: ${names}; requests that missed meanwhile: ${missesMeanwhile}`]),
  ];
}

function simulatorText({ seed, profile }: RunSummary): string {
  const guessed = profile?.estimate ? ", an estimate" : "";
  return `the simulator (seed ${seed}${profile === null ? "" : `, profile ${profile.name}${guessed}`})`;
}

/** What the columns mean, for those who see them for the first time. */
function legend(critical: RunSummary["critical"], background: RunSummary["background"]): string[] {
  const lines: string[] = [];
  if (Object.keys(critical).length > 0) {
    lines.push("p50, p99, max: from the arrival of a request to its result");
  }
  if (Object.keys(background).length > 0) {
    lines.push(
      "loop, block, slice, whole: parts of GPU time, by where the job could be stopped for critical work:",
      "inside a loop, at the end of a block, at the end of a slice, only at the end of its kernel",
    );
  }
  return lines;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Shares that are all of a whole, so rounded that they add up to 100.0 %; all 0 stays so. */
function percents(shares: readonly number[]): string[] {
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (total === 0) return shares.map(percent);
  const exact = shares.map((share) => share / total * 1000);
  const floors = exact.map(Math.floor);
  let missing = 1000 - floors.reduce((sum, tenths) => sum + tenths, 0);
  const byRemainder = [...shares.keys()].sort((a, b) => (exact[b]! - floors[b]!) - (exact[a]! - floors[a]!));
  for (const index of byRemainder) {
    if (missing-- <= 0) break;
    floors[index]!++;
  }
  return floors.map((tenths) => percent(tenths / 1000));
}

/** Columns two spaces apart; the first to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd()
  );
}
