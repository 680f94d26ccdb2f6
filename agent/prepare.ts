/**
 * Is everything there that the mission needs, before anything runs?
 *
 * Reads bundles, frames and references, opens the sinks, loads the work into the engine: the half of a run that
 * may fail for the user's reasons. Nothing is started here; on a failure all that was opened is closed again.
 */
import type { Engine } from "../ffi/engine.ts";
import { findPolicy, POLICY_NAMES } from "../policies/registry.ts";
import type { Policy } from "../policies/policy.ts";
import { type Bundle, inputLayout } from "./bundle.ts";
import type { CheckpointCompiler } from "./checkpoint.ts";
import {
  type BackgroundJob,
  type CriticalTask,
  loadMissionBundles,
  type Mission,
  type MissionOutput,
} from "./config.ts";
import type { Counters } from "./counters.ts";
import { closest, InputError } from "./errors.ts";
import { type Frames, loadFrames } from "./frames.ts";
import { type LoadedWork, Loader, type WorkSettings } from "./load.ts";
import type { Logger } from "./log.ts";
import { openCountedSink, Route } from "./outputs.ts";
import type { PlannedJob } from "./planner.ts";
import { loadReference, Turns } from "./reference.ts";
import { path } from "./std/mod.ts";

/** What the mission's files hold. Knows no engine, so that a mission can be checked without one. */
export interface MissionFiles {
  mission: Mission;
  policy: Policy;
  /** By the name of the task or job. */
  bundles: ReadonlyMap<string, Bundle>;
  /** By the name of the task or job; only those with frames. */
  frames: ReadonlyMap<string, Frames>;
}

/** Reads all files that the mission names, but references. Throws `InputError`. */
export async function readMissionFiles(mission: Mission): Promise<MissionFiles> {
  const policy = policyOf(mission);
  const bundles = await loadMissionBundles(mission);
  const frames = new Map<string, Frames>();
  const byDir = new Map<string, Frames>();
  for (const { name, source } of [...mission.critical, ...mission.background]) {
    const bundle = bundles.get(name);
    if (source.kind !== "frames" || bundle === undefined) continue;
    const expectBytes = inputLayout(bundle.manifest).sizeBytes;
    const key = `${expectBytes} ${path.resolve(source.dir)}`;
    const loaded = byDir.get(key) ?? await loadFrames(source.dir, expectBytes);
    byDir.set(key, loaded);
    frames.set(name, loaded);
  }
  return { mission, policy, bundles, frames };
}

function policyOf({ policy, file }: Mission): Policy {
  const found = findPolicy(policy.name);
  if (found !== undefined) return found;
  const near = closest(policy.name, POLICY_NAMES);
  const rule = `must be one of ${POLICY_NAMES.join(", ")}, not ${policy.name}`;
  throw new InputError({
    file,
    field: "policy.name",
    rule,
    ...(near === undefined ? {} : { remedy: `did you mean ${near}?` }),
  });
}

export interface PreparedMission {
  files: MissionFiles;
  /** By id. */
  tasks: readonly LoadedWork[];
  jobs: readonly LoadedWork[];
  plannedJobs: readonly PlannedJob[];
  /** By id of the task or job. */
  taskRoutes: readonly Route[];
  jobRoutes: readonly Route[];
  /** Closes all sinks; what is still to be computed is skipped once `expired` resolves. */
  close(expired?: Promise<void>): Promise<void>;
}

export interface PrepareOptions {
  files: MissionFiles;
  engine: Engine;
  checkpoint: CheckpointCompiler;
  counters: Counters;
  log: Logger;
  /** False: results go nowhere, whatever the mission says. */
  output: boolean;
}

/** Loads all work into the engine and opens the sinks. Throws `InputError` or `EngineError`; nothing stays open then. */
export async function prepareMission(options: PrepareOptions): Promise<PreparedMission> {
  const { files, engine, checkpoint, counters, log, output } = options;
  const { mission } = files;
  const loader = new Loader({ engine, checkpoint, preemptionBoundNs: mission.preemptionBoundNs });
  const routes: Route[] = [];
  const turns = new Turns();
  const close = async (expired?: Promise<void>) => {
    await Promise.all(routes.map((route) => route.close(expired)));
  };
  try {
    const add = async (work: CriticalTask | BackgroundJob, kind: "critical" | "background") => {
      const target: MissionOutput = output ? work.output : { kind: "drop" };
      const bundle = files.bundles.get(work.name);
      if (bundle === undefined) throw new Error(`bundle of ${work.name} was not read`);
      const loaded = loader.add(
        settingsOf(work, target.kind !== "drop"),
        bundle,
        files.frames.get(work.name),
      );
      const wantsReference = engine.backend === "sim" && target.kind !== "drop";
      const reference = wantsReference ? await loadReference(bundle) : undefined;
      const sink = await openCountedSink(target, `${kind}.${work.name}.output`, { counters, log });
      const every = target.kind === "drop" ? 1 : target.every;
      const route = new Route({
        work: loaded,
        sink,
        every,
        reference,
        computes: wantsReference,
        turns,
        counters,
        log,
      });
      routes.push(route);
      return { loaded, route };
    };
    const tasks = [];
    for (const task of mission.critical) tasks.push(await add(task, "critical"));
    const jobs = [];
    for (const job of mission.background) jobs.push(await add(job, "background"));
    return {
      files,
      tasks: tasks.map(({ loaded }) => loaded),
      jobs: jobs.map(({ loaded }) => loaded),
      plannedJobs: jobs.map(({ loaded }, index) => plannedJob(loaded, mission.background[index])),
      taskRoutes: tasks.map(({ route }) => route),
      jobRoutes: jobs.map(({ route }) => route),
      close,
    };
  } catch (error) {
    await close(Promise.resolve());
    throw error;
  }
}

function settingsOf(work: CriticalTask | BackgroundJob, keepOutput: boolean): WorkSettings {
  const { name, source } = work;
  if (!("deadlineNs" in work)) return { kind: "background", name, source, keepOutput };
  const { deadlineNs, from, queue, queueDepth, onMiss, maxBlockingNs } = work;
  return {
    kind: "critical",
    name,
    source,
    keepOutput,
    deadlineNs,
    from,
    queue,
    queueDepth,
    onMiss,
    maxBlockingNs,
  };
}

function plannedJob({ id, name }: LoadedWork, job: BackgroundJob | undefined): PlannedJob {
  const source = job?.source ?? { kind: "none" };
  const endless = source.kind === "none" || source.periodNs === 0;
  return { id, name, weight: job?.weight ?? 1, endless };
}
