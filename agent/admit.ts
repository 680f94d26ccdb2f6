/**
 * May this mission start on this device, by what the engine has measured?
 *
 * Asks the engine for the times of critical work and of the background's leaving, and the mission for all else. A
 * mission whose deadlines cannot all be met is refused, with the arithmetic, unless it says `overcommit: true`.
 */
import type { Engine } from "../ffi/engine.ts";
import { type Admission, admission, type AdmissionTask, type Known } from "./admission.ts";
import type { CriticalTask, Mission } from "./config.ts";
import { InputError } from "./errors.ts";
import type { LoadedWork } from "./load.ts";
import type { Logger } from "./log.ts";

export interface AdmitOptions {
  /** Warm, not ready. */
  engine: Engine;
  mission: Mission;
  /** By id. */
  tasks: readonly LoadedWork[];
  jobs: readonly LoadedWork[];
  log: Logger;
}

/** Returns a line for each task of a mission that may start; none if it may only by `overcommit`. Throws `InputError`. */
export function admit({ engine, mission, tasks, jobs, log }: AdmitOptions): string[] {
  const { drain, interruptible } = backgroundOf(engine, jobs, mission.preemptionBoundNs);
  const known = mission.critical.map((task, i) => taskOf(engine, task, tasks[i]?.id ?? i, interruptible));
  const answer = admission(known, drain);
  const lines = answer.tasks.map((text, i) => `${known[i]!.name}: ${text}`);
  if (answer.admitted) return lines;
  if (!mission.overcommit) throw refusal(mission.file, known, answer);
  log.warn(`overcommit: critical tasks ${answer.problem}; ${answer.remedy}`);
  for (const line of [...lines, answer.total]) log.warn(line);
  return [];
}

function refusal(file: string, tasks: readonly AdmissionTask[], answer: Admission): InputError {
  return new InputError([
    {
      file,
      field: "critical",
      rule: answer.problem,
      remedy: `${answer.remedy}; or set \`overcommit: true\` and accept misses`,
    },
    ...answer.tasks.map((rule, i) => ({ file, field: `critical.${tasks[i]!.name}`, rule })),
    { file, field: "critical", rule: answer.total },
  ]);
}

function taskOf(engine: Engine, task: CriticalTask, id: number, interruptible: boolean): AdmissionTask {
  const { runs, worstNs } = engine.timing(id);
  const { name, deadlineNs, overlap, queueDepth, source } = task;
  const unknown = source.kind === "external" && source.executionNs === 0;
  const origin = unknown
    ? "not known: the task may state `execution`"
    : runs === 0
    ? "as estimated, not measured"
    : `the worst of ${runs} runs`;
  return {
    name,
    execution: { ns: worstNs, origin, safety: true },
    periodNs: source.periodNs === 0 ? undefined : source.periodNs,
    deadlineNs,
    overlap: overlap || source.kind === "api",
    queueDepth,
    defers: task.yield === "when-needed",
    maxBlockingNs: interruptible ? 0 : task.maxBlockingNs,
  };
}

/** The longest that any step keeps the GPU behind a closed gate, and whether all steps leave when it closes. */
function backgroundOf(
  engine: Engine,
  jobs: readonly LoadedWork[],
  preemptionBoundNs: number,
): { drain: Known; interruptible: boolean } {
  let longest: Known = { ns: 0, origin: "", safety: false };
  let unknown = false;
  let interruptible = true;
  for (const { id, name, steps } of jobs) {
    const launches = steps.reduce((sum, step) => sum + step.launches, 0);
    for (let launch = 0; launch < launches; launch++) {
      const { level, blockDrainNs, loopDrainNs } = engine.jobStep(id, launch);
      if (level !== "block" && level !== "loop") {
        interruptible = false;
        continue;
      }
      const ns = level === "loop" ? loopDrainNs : blockDrainNs;
      unknown ||= ns === 0;
      if (ns > longest.ns) longest = { ns, origin: `the longest seen, of ${name}`, safety: true };
    }
  }
  const bound = { ns: preemptionBoundNs, origin: "preemptionBound, not measured", safety: false };
  return { drain: unknown && bound.ns > longest.ns ? bound : longest, interruptible };
}
