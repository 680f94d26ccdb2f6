/**
 * What is different between two missions, and what of that can change while one runs?
 *
 * Pure. Each field of a mission stands in one of the tables below with the key that the file calls it by and whether
 * it is live; the compiler wants every field there. What is not live needs a restart.
 */
import type { BackgroundJob, CriticalTask, Mission } from "../config.ts";
import type { MissionPolicy } from "../config_policy.ts";

export interface Change {
  /** Such as `background.map.weight`, as the file has it. */
  field: string;
  /** Short JSON of the plain data, units as in `Mission`; `undefined`: it was, or is, not there. */
  before: string | undefined;
  after: string | undefined;
}

export interface MissionDiff {
  live: Change[];
  restart: Change[];
}

/** A key of the mission file. */
interface Field {
  key: string;
  live: boolean;
}

const restart = (key: string): Field => ({ key, live: false });
const live = (key: string): Field => ({ key, live: true });

export const MISSION_FIELDS: Readonly<
  Record<Exclude<keyof Mission, "file" | "critical" | "background" | "policy">, Field>
> = {
  backend: restart("device.backend"),
  reserveSms: restart("device.reserveSms"),
  backgroundMemoryBytes: restart("device.backgroundMemory"),
  foreign: restart("device.foreign"),
  http: restart("http"),
  preemptionBoundNs: restart("preemptionBound"),
  overcommit: restart("overcommit"),
  flight: restart("flight"),
  conditions: restart("conditions"),
  stopBackgroundAbove: live("stopBackgroundAbove"),
  safeMode: live("safeMode"),
  state: restart("state"),
};

export const POLICY_FIELDS: Readonly<Record<keyof MissionPolicy, Field>> = {
  name: live("policy.name"),
  file: live("policy.file"),
  // The loops of the agent beat in time with it.
  leaseNs: restart("policy.lease"),
  options: live("policy.options"),
};

export const TASK_FIELDS: Readonly<Record<Exclude<keyof CriticalTask, "name">, Field>> = {
  bundleDir: restart("bundle"),
  source: restart("source"),
  deadlineNs: restart("deadline"),
  from: restart("deadline.from"),
  queue: restart("queue"),
  queueDepth: restart("queue"),
  onMiss: restart("onMiss"),
  maxBlockingNs: restart("maxBlocking"),
  yield: restart("yield"),
  anticipate: restart("anticipate"),
  overlap: restart("overlap"),
  output: restart("output"),
};

export const JOB_FIELDS: Readonly<Record<Exclude<keyof BackgroundJob, "name">, Field>> = {
  bundleDir: restart("bundle"),
  source: restart("source"),
  weight: live("weight"),
  isolation: restart("isolation"),
  memoryBytes: restart("memory"),
  when: live("when"),
  deadlineNs: live("deadline"),
  enabled: live("enabled"),
  output: restart("output"),
};

/**
 * All of a mission that needs a restart, as one text: equal for two missions that can follow each other in one run. An
 * engine that outlives its agent is taken over by one with such a mission, whatever was reloaded meanwhile.
 */
export function fixedText({ critical, background, policy, ...rest }: Mission): string {
  return textOf({
    mission: fixedOf(MISSION_FIELDS, rest),
    policy: fixedOf(POLICY_FIELDS, policy),
    // Their order gives them their ids.
    critical: critical.map((task) => ({ name: task.name, ...fixedOf(TASK_FIELDS, task) })),
    background: background.map((job) => ({ name: job.name, ...fixedOf(JOB_FIELDS, job) })),
  }) ?? "";
}

/** In the order of the tables. The order of tasks and jobs in the file makes no difference. */
export function missionDiff(before: Mission, after: Mission): MissionDiff {
  const diff: MissionDiff = { live: [], restart: [] };
  compare(diff, "", MISSION_FIELDS, before, after);
  compare(diff, "", POLICY_FIELDS, before.policy, after.policy);
  compareWorks(diff, "critical", TASK_FIELDS, before.critical, after.critical);
  compareWorks(diff, "background", JOB_FIELDS, before.background, after.background);
  return diff;
}

/** What runs once the live part of `after` has been applied to `running`. */
export function withLive(running: Mission, after: Mission): Mission {
  return {
    ...running,
    ...liveOf(MISSION_FIELDS, after),
    policy: { ...running.policy, ...liveOf(POLICY_FIELDS, after.policy) },
    background: running.background.map((job) => {
      const next = after.background.find(({ name }) => name === job.name);
      return next === undefined ? job : { ...job, ...liveOf(JOB_FIELDS, next) };
    }),
  };
}

/** Two fields of a mission may be one key of the file: it is named once. */
function compare<T extends object>(
  diff: MissionDiff,
  prefix: string,
  fields: Readonly<Partial<Record<keyof T, Field>>>,
  before: T,
  after: T,
): void {
  for (const [name, { key, live }] of entriesOf(fields)) {
    const [was, is] = [textOf(before[name]), textOf(after[name])];
    const list = live ? diff.live : diff.restart;
    const field = prefix + key;
    if (was === is || list.some((change) => change.field === field)) continue;
    list.push({ field, before: was, after: is });
  }
}

function compareWorks<T extends { name: string }>(
  diff: MissionDiff,
  group: string,
  fields: Readonly<Partial<Record<keyof T, Field>>>,
  before: readonly T[],
  after: readonly T[],
): void {
  for (const work of before) {
    const field = `${group}.${work.name}`;
    const next = after.find(({ name }) => name === work.name);
    if (next === undefined) diff.restart.push({ field, before: "there", after: undefined });
    else compare(diff, `${field}.`, fields, work, next);
  }
  for (const { name } of after) {
    if (before.some((work) => work.name === name)) continue;
    diff.restart.push({ field: `${group}.${name}`, before: undefined, after: "there" });
  }
}

function liveOf<T extends object>(fields: Readonly<Partial<Record<keyof T, Field>>>, from: T): Partial<T> {
  const found: Partial<T> = {};
  for (const [name, field] of entriesOf(fields)) if (field.live) found[name] = from[name];
  return found;
}

function fixedOf<T extends object>(fields: Readonly<Partial<Record<keyof T, Field>>>, from: T): Partial<T> {
  const found: Partial<T> = {};
  for (const [name, field] of entriesOf(fields)) if (!field.live) found[name] = from[name];
  return found;
}

function entriesOf<T extends object>(fields: Readonly<Partial<Record<keyof T, Field>>>): [keyof T, Field][] {
  return Object.entries(fields) as [keyof T, Field][];
}

/** Keys in alphabetical order: that of the file makes no difference. */
function textOf(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

/** For people: `background.map.weight: 3 -> 5`. */
export function changeText({ field, before, after }: Change): string {
  if (before === undefined && after === "there") return `${field} (new)`;
  if (after === undefined && before === "there") return `${field} (gone)`;
  return `${field}: ${short(before)} -> ${short(after)}`;
}

function short(text: string | undefined): string {
  if (text === undefined) return "not given";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
