/**
 * What does the mission file ask for?
 *
 * Reads the YAML into plain data: units converted once, paths resolved, defaults applied, every rule checked that
 * needs no device. Whether the policy exists and whether frames fit is for those who know policies and frames.
 */
import { type Bundle, inputLayout, loadBundle } from "./bundle.ts";
import { MAX_BACKGROUND, MAX_CRITICAL, missionSchema, type RawMission } from "./config_schema.ts";
import {
  checkConditional,
  type MissionConditions,
  type MissionPolicy,
  policyOf,
  stopLimitsOf,
} from "./config_policy.ts";
import { type Override, override } from "./config_overrides.ts";
import { safeModeOf } from "./config_safe_mode.ts";
import type { SafeModeRule } from "../ffi/safe_mode.ts";
import type { Phase } from "../policies/policy.ts";
import type { StopLimits } from "./stop_limits.ts";
import { flightOf, type MissionFlight } from "./config_flight.ts";
import { decodeText } from "./bundle_reader.ts";
import { externalBundle, type ExternalSource } from "./external_task.ts";
import { InputError, type Problem, problemsOf, reasonOf, throwIfAny } from "./errors.ts";
import { formatDurationNs } from "./quantity.ts";
import { parseWith } from "./schema.ts";
import { path, yaml } from "./std/mod.ts";
import { type MaskOptions, maskProblem } from "./mask_files.ts";
import { httpOf, type HttpSettings } from "./http/settings.ts";

export { missionJsonSchema } from "./config_schema.ts";

export type MissionSource =
  /** A folder of frames. `periodNs` 0, background only: back to back. */
  | { kind: "frames"; dir: string; periodNs: number }
  /** Requests come by HTTP. Critical only. `periodNs`: the shortest time between two, if the mission states a rate. */
  | { kind: "api"; periodNs?: number }
  /** Datagrams to a Unix socket, or records of a producer's ring, come when they come: `periodNs` is a hint, 0: none. */
  | { kind: "socket" | "ring"; path: string; periodNs: number }
  /** Files that are renamed into a folder; `keep`: what becomes of those that are done. Background only. */
  | { kind: "queue"; dir: string; keep: "done" | "none" }
  /** Another process does the work. Critical only. */
  | ExternalSource
  /** No input. Background only. */
  | { kind: "none" };

/** Of a file or folder: only results whose number is a multiple of `every` (1..1000000) are written. */
export type MissionOutput =
  | { kind: "jsonl"; file: string; every: number }
  | { kind: "dir"; dir: string; every: number; masks?: MaskOptions }
  /** A ring of `slots` (2..65536) that the engine writes itself, with a heartbeat. */
  | { kind: "shm"; file: string; slots: number; expiryNs: number }
  | { kind: "drop" };

export interface CriticalTask {
  /** Kebab-case, unique among all work of the mission. */
  name: string;
  bundleDir: string;
  source: Exclude<MissionSource, { kind: "none" | "queue" }>;
  deadlineNs: number;
  /** What the deadline counts from. */
  from: "arrival" | "sensor";
  queue: "latest" | "fifo";
  /** 1 for `latest`; 1..16 for `fifo`. */
  queueDepth: number;
  onMiss: "publish-late" | "drop";
  /** How long a `whole` background kernel may delay it; 0: not at all. */
  maxBlockingNs: number;
  /** Whether background leaves at once, when the deadline needs it, or never, as the task has SMs of its own. */
  yield: "always" | "when-needed" | "reserved";
  /** Background leaves ahead of the request that is expected next. */
  anticipate: boolean;
  /** The deadline may be longer than the period. */
  overlap: boolean;
  output: MissionOutput;
}

export interface BackgroundJob {
  /** Kebab-case, unique among all work of the mission. */
  name: string;
  bundleDir: string;
  source: Exclude<MissionSource, { kind: "api" | "socket" | "ring" | "external" }>;
  /** 1..1000000. */
  weight: number;
  /** Where it lives; `auto`: in the engine's process if its bundle was verified on this machine, else in its own. */
  isolation: "shared" | "process" | "auto";
  /** GPU memory that it may need at most; 0: no limit. */
  memoryBytes: number;
  /** Phases of the mission in which it may run; empty: in all, the unknown one too. */
  when: readonly Phase[];
  /** Soft, of one unit; 0: none. */
  deadlineNs: number;
  /** False: it is loaded and gets nothing, until a reload says otherwise. */
  enabled: boolean;
  output: MissionOutput;
}

/** Plain data. Paths are relative to the working directory or absolute. */
export interface Mission {
  /** As given to `loadMission`. */
  file: string;
  backend: "auto" | "cuda" | "sim";
  /** SMs that background never uses, rounded up to what the device can split off; 0: none. */
  reserveSms: number;
  /** GPU memory of all background jobs together; 0: no limit. */
  backgroundMemoryBytes: number;
  /** Names of programs that may use the GPU beside this agent; `undefined`: the mission does not say. */
  foreign: readonly string[] | undefined;
  /** `undefined`: no HTTP. Port 0: any free port. */
  http: HttpSettings | undefined;
  /** How long background may keep the GPU after the gate has closed. */
  preemptionBoundNs: number;
  /** Starts also where critical tasks cannot all meet their deadlines. */
  overcommit: boolean;
  /** In the order of the file; 0..7. There is at least one task or job. */
  critical: readonly CriticalTask[];
  /** In the order of the file; 0..24. */
  background: readonly BackgroundJob[];
  policy: MissionPolicy;
  /** `undefined`: nothing is known of the world outside the GPU. */
  conditions: MissionConditions | undefined;
  /** The vehicle; `undefined`: none is listened to. */
  flight: MissionFlight | undefined;
  /** Empty: never. */
  stopBackgroundAbove: StopLimits;
  /** When misses keep background away; `undefined`: never. */
  safeMode: SafeModeRule | undefined;
  /** What is kept over restarts, and where. */
  state: { kind: "off" } | { kind: "default" } | { kind: "dir"; dir: string };
}

const MAX_MISSION_BYTES = 2 ** 20;

/** Reads and checks a mission file, with what was given outside of it. Throws one `InputError` with every problem found. */
export async function loadMission(file: string, overrides: readonly Override[] = []): Promise<Mission> {
  const whole = { file, field: "" };
  let bytes: Uint8Array;
  try {
    const info = await Deno.stat(file);
    if (!info.isFile) throw new InputError({ ...whole, rule: "must be a plain file" });
    if (info.size > MAX_MISSION_BYTES) throw new InputError({ ...whole, rule: "must be at most 1 MiB" });
    bytes = await Deno.readFile(file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError({ ...whole, rule: reasonOf(error) }, { cause: error });
  }
  return parseMission(decodeText(bytes, whole), file, overrides);
}

/** Parses the text of a mission file. Paths in it are taken relative to `file`. Throws like `loadMission`. */
export function parseMission(text: string, file: string, overrides: readonly Override[] = []): Mission {
  const data = override(parseYaml(text, file), overrides);
  const mission = missionOf(parseWith(missionSchema, data, file), file);
  throwIfAny(checkMission(mission));
  return mission;
}

function parseYaml(text: string, file: string): unknown {
  try {
    return yaml.parse(text, { schema: "core", allowDuplicateKeys: false });
  } catch (error) {
    // "Cannot store mapping pair: duplicated key at line 2, column 1:", and the lines themselves below.
    const message = error instanceof Error ? error.message.split("\n")[0] ?? "" : "unreadable";
    const [, why = message, field = ""] = /^(.*?) at (line \d+, column \d+):?$/.exec(message) ?? [];
    throw new InputError({ file, field, rule: `must be YAML: ${why.slice(0, 160)}` }, { cause: error });
  }
}

function missionOf(raw: RawMission, file: string): Mission {
  const folder = path.dirname(file);
  const resolve = (text: string) => path.isAbsolute(text) ? path.normalize(text) : path.join(folder, text);
  const output = (out: RawMission["critical"][string]["output"]): MissionOutput => {
    if (out === "drop") return { kind: "drop" };
    if ("shm" in out) {
      return { kind: "shm", file: resolve(out.shm), slots: out.slots, expiryNs: out.expiry };
    }
    return "jsonl" in out ? { kind: "jsonl", file: resolve(out.jsonl), every: out.every } : {
      kind: "dir",
      dir: resolve(out.dir),
      every: out.every,
      ...(out.as === "masks" ? { masks: out.across === undefined ? {} : { across: out.across } } : {}),
    };
  };
  const critical = Object.entries(raw.critical).map(([name, task]): CriticalTask => ({
    name,
    bundleDir: resolve(task.bundle ?? ""),
    source: sourceOf(task, resolve),
    deadlineNs: typeof task.deadline === "number" ? task.deadline : task.deadline.within,
    from: typeof task.deadline === "number" ? "arrival" : task.deadline.from,
    queue: task.queue.kind,
    queueDepth: task.queue.depth,
    onMiss: task.onMiss,
    maxBlockingNs: task.maxBlocking,
    yield: task.yield,
    anticipate: task.anticipate,
    overlap: task.overlap,
    output: output(task.output),
  }));
  const background = Object.entries(raw.background).map(([name, job]): BackgroundJob => ({
    name,
    bundleDir: resolve(job.bundle),
    source: "none" in job.source
      ? { kind: "none" }
      : "queue" in job.source
      ? { kind: "queue", dir: resolve(job.source.queue), keep: job.source.keep }
      : { kind: "frames", dir: resolve(job.source.frames), periodNs: job.source.rate ?? 0 },
    weight: job.weight,
    isolation: job.isolation ?? "auto",
    memoryBytes: job.memory ?? 0,
    when: job.when,
    deadlineNs: job.deadline ?? 0,
    enabled: job.enabled,
    output: output(job.output),
  }));
  return {
    file,
    backend: raw.device.backend,
    reserveSms: raw.device.reserveSms,
    backgroundMemoryBytes: raw.device.backgroundMemory ?? 0,
    foreign: raw.device.foreign,
    http: httpOf(raw.http, resolve),
    preemptionBoundNs: raw.preemptionBound,
    overcommit: raw.overcommit,
    critical,
    background,
    policy: policyOf(raw.policy, resolve),
    conditions: raw.conditions && { file: resolve(raw.conditions.file), maxAgeNs: raw.conditions.maxAge },
    flight: raw.flight && flightOf(raw.flight),
    stopBackgroundAbove: stopLimitsOf(raw.stopBackgroundAbove),
    safeMode: safeModeOf(raw.safeMode),
    state: stateOf(raw.state, resolve),
  };
}

function stateOf(state: RawMission["state"], resolve: (text: string) => string): Mission["state"] {
  if (state === "off" || state === false) return { kind: "off" };
  return state.dir === undefined ? { kind: "default" } : { kind: "dir", dir: resolve(state.dir) };
}

function sourceOf(
  { source, external, rate, execution }: RawMission["critical"][string],
  resolve: (text: string) => string,
): CriticalTask["source"] {
  if (external !== undefined) {
    return { kind: "external", path: resolve(external), periodNs: rate ?? 0, executionNs: execution ?? 0 };
  }
  if (source === undefined) throw new Error("a task has a source or is external");
  if ("api" in source) {
    return { kind: "api", ...(source.rate === undefined ? {} : { periodNs: source.rate }) };
  }
  if ("frames" in source) return { kind: "frames", dir: resolve(source.frames), periodNs: source.rate };
  const periodNs = source.rate ?? 0;
  return "socket" in source
    ? { kind: "socket", path: resolve(source.socket), periodNs }
    : { kind: "ring", path: resolve(source.shm), periodNs };
}

/** The rules that join several fields. */
export function checkMission(mission: Mission): Problem[] {
  const { file, critical, background } = mission;
  const problems: Problem[] = [];
  if (critical.length + background.length === 0) {
    problems.push({ file, field: "", rule: "must have at least one critical task or background job" });
  }
  for (const { name, yield: how } of critical) {
    if (how !== "reserved" || mission.reserveSms > 0) continue;
    problems.push({
      file,
      field: `critical.${name}.yield`,
      rule: "must not be reserved without SMs of its own",
      remedy: "set device.reserveSms, or yield: always",
    });
  }
  if (critical.length > MAX_CRITICAL) {
    problems.push({
      file,
      field: "critical",
      rule: `must have at most ${MAX_CRITICAL} tasks, not ${critical.length}`,
    });
  }
  if (background.length > MAX_BACKGROUND) {
    const rule = `must have at most ${MAX_BACKGROUND} jobs, not ${background.length}`;
    problems.push({ file, field: "background", rule });
  }
  const names = new Set(critical.map((task) => task.name));
  for (const { name } of background) {
    if (!names.has(name)) continue;
    problems.push({ file, field: `background.${name}`, rule: "must not have the name of a critical task" });
  }
  return [
    ...problems,
    ...critical.flatMap((task) => checkDeadline(task, file)),
    ...checkOutputs(mission),
    ...checkQueues(mission),
    ...checkMaskOutputs(mission),
    ...checkConditional(mission),
  ];
}

function checkDeadline(task: CriticalTask, file: string): Problem[] {
  const { name, source, deadlineNs, overlap } = task;
  const periodNs = source.kind === "api" ? 0 : source.periodNs;
  if (overlap || periodNs === 0 || deadlineNs <= periodNs) return [];
  return [{
    file,
    field: `critical.${name}.deadline`,
    rule: `must not be longer than the period (${formatDurationNs(periodNs)})`,
    remedy: "shorten it or set `overlap: true`",
  }];
}

/** Two works never write to one file or folder, nor any to a place that input comes from; each source has one task. */
function checkOutputs(mission: Mission): Problem[] {
  const problems: Problem[] = [];
  const works = worksOf(mission);
  const writers = new Map<string, string>();
  const frameDirs = new Set(
    works.flatMap(({ work }) => work.source.kind === "frames" ? [key(work.source.dir)] : []),
  );
  const inputs = new Set<string>();
  for (const { field, work: { source } } of works) {
    if (!("path" in source) && source.kind !== "queue") continue;
    const from = key(source.kind === "queue" ? source.dir : source.path);
    if (frameDirs.has(from)) {
      problems.push({
        file: mission.file,
        field: `${field}.source`,
        rule: "must not be a folder that frames come from",
      });
    }
    if (inputs.has(from)) {
      problems.push({
        file: mission.file,
        field: `${field}.source`,
        rule: `must not be another ${source.kind === "queue" ? "job" : "task"}'s source`,
      });
    }
    inputs.add(from);
  }
  for (const { field, work } of works) {
    if (work.output.kind === "drop") continue;
    const target = work.output.kind === "dir" ? work.output.dir : work.output.file;
    const place = { file: mission.file, field: `${field}.output` };
    const earlier = writers.get(key(target));
    if (earlier !== undefined) problems.push({ ...place, rule: `must not be where ${earlier} writes` });
    if (frameDirs.has(key(target))) {
      problems.push({ ...place, rule: "must not be a folder that frames come from" });
    }
    if (inputs.has(key(target))) problems.push({ ...place, rule: "must not be where input comes from" });
    writers.set(key(target), field);
  }
  return problems;
}

/**
 * A file leaves a queue when its result is safe, so each must have one, and on a disk. Nobody writes into a queue's folder:
 * what appears there is an input.
 */
function checkQueues(mission: Mission): Problem[] {
  const { file, background } = mission;
  const problems: Problem[] = [];
  for (const { name, source, output } of background) {
    if (source.kind !== "queue") continue;
    const field = `background.${name}.output`;
    if (output.kind !== "jsonl" && output.kind !== "dir") {
      problems.push({
        file,
        field,
        rule: "must be {jsonl} or {dir}: a file leaves a queue only when its result is safe on disk",
        remedy: "such as `output: { jsonl: out.jsonl }`",
      });
    } else if (output.every !== 1) {
      problems.push({
        file,
        field: `${field}.every`,
        rule: `must be 1, not ${output.every}: the other files of the queue would go without a result`,
      });
    }
    for (const { field, work } of worksOf(mission)) {
      if (work.output.kind === "drop") continue;
      const target = key(work.output.kind === "dir" ? work.output.dir : work.output.file);
      if (!target.startsWith(`${key(source.dir)}/`)) continue;
      problems.push({ file, field: `${field}.output`, rule: `must not lie in the queue of job ${name}` });
    }
  }
  return problems;
}

/** A frame's place among tiles is known from its place in the folder. */
function checkMaskOutputs(mission: Mission): Problem[] {
  return worksOf(mission).flatMap(({ field, work: { output, source } }) =>
    output.kind === "dir" && output.masks?.across !== undefined && source.kind !== "frames"
      ? [{
        file: mission.file,
        field: `${field}.output.across`,
        rule: "must be left out without a source of frames, whose order says which tile is which",
      }]
      : []
  );
}

/** One text for all ways to write a path. */
function key(target: string): string {
  return path.resolve(target);
}

function worksOf(mission: Mission): { field: string; work: CriticalTask | BackgroundJob }[] {
  return [
    ...mission.critical.map((work) => ({ field: `critical.${work.name}`, work })),
    ...mission.background.map((work) => ({ field: `background.${work.name}`, work })),
  ];
}

/**
 * Loads the bundles of all tasks and jobs, each folder once; returns them by the name of the task or job. Checks
 * that each has the input that its bundle wants. Throws one `InputError` with every problem of all of them.
 */
export async function loadMissionBundles(mission: Mission): Promise<Map<string, Bundle>> {
  const problems: Problem[] = [];
  const byDir = new Map<string, Promise<Bundle | undefined>>();
  const bundles = new Map<string, Bundle>();
  for (const { field, work } of worksOf(mission)) {
    if (work.source.kind === "external") {
      bundles.set(work.name, await externalBundle(work.name, work.source));
      continue;
    }
    const known = byDir.get(key(work.bundleDir));
    const loading = known ?? loadBundle(work.bundleDir).catch((error) => {
      problems.push(
        ...problemsOf(error).map((problem) => named(problem, work.bundleDir, mission.file, field)),
      );
      return undefined;
    });
    byDir.set(key(work.bundleDir), loading);
    const bundle = await loading;
    if (bundle === undefined) continue;
    bundles.set(work.name, bundle);
    problems.push(...checkSource(work, bundle, mission.file, field));
    problems.push(...checkMasks(work, bundle, mission.file, field));
  }
  throwIfAny(problems);
  return bundles;
}

/** A bundle that is not there at all is a fault of the mission; one that is broken is its own. */
function named(problem: Problem, bundleDir: string, file: string, field: string): Problem {
  return problem.file === bundleDir ? { ...problem, file, field: `${field}.bundle` } : problem;
}

function checkMasks(
  { output }: CriticalTask | BackgroundJob,
  bundle: Bundle,
  file: string,
  field: string,
): Problem[] {
  if (output.kind !== "dir" || output.masks === undefined) return [];
  const found = maskProblem(bundle);
  return found === undefined ? [] : [{ file, field: `${field}.output.as`, ...found }];
}

function checkSource(
  work: CriticalTask | BackgroundJob,
  bundle: Bundle,
  file: string,
  field: string,
): Problem[] {
  const wantsInput = inputLayout(bundle.manifest).sizeBytes > 0;
  const { name } = bundle.manifest;
  if (wantsInput && work.source.kind === "none") {
    const rule = `must be given: bundle ${name} has inputs`;
    return [{
      file,
      field: `${field}.source`,
      rule,
      remedy: "give it {frames: <folder>} or {queue: <folder>}",
    }];
  }
  if (!wantsInput && (work.source.kind === "frames" || work.source.kind === "queue")) {
    const what = work.source.kind === "queue" ? "a queue" : "frames";
    return [{ file, field: `${field}.source`, rule: `must not have ${what}: bundle ${name} has no inputs` }];
  }
  return [];
}
