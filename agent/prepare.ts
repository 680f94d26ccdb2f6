/**
 * Is everything there that the mission needs, before anything runs?
 *
 * Reads bundles, frames and references, loads the work into the engine and, last, opens the sinks: the half of a run
 * that may fail for the user's reasons. Nothing is started here, and a run that does not start leaves no file behind.
 */
import type { Engine } from "../ffi/engine.ts";
import { findPolicy, POLICY_NAMES, POLICY_OPTIONS, type PolicyName } from "../policies/registry.ts";
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
import { DirectoryQueue } from "./directory_queue.ts";
import type { PutAway } from "./events.ts";
import { InputSuspects, type SuspectsKeeper } from "./input_suspects.ts";
import { closest, InputError } from "./errors.ts";
import { type Frames, loadFrames } from "./frames.ts";
import { Ledger } from "./ledger.ts";
import { type LoadedWork, Loader, type WorkSettings } from "./load.ts";
import type { Logger } from "./log.ts";
import { checkBudgets, checkDevice } from "./memory_budget.ts";
import { openCountedSink, Route } from "./outputs.ts";
import { type PolicyFile, readPolicyFile } from "./policy_sandbox.ts";
import type { PlannedJob } from "./policy_snapshot.ts";
import { loadReference, Turns } from "./reference.ts";
import type { InputMark, Sink } from "./sinks.ts";
import { path } from "./std/mod.ts";

/** What the mission's files hold. Knows no engine, so that a mission can be checked without one. */
export interface MissionFiles {
  mission: Mission;
  /** Built in; with a user's policy, what takes over where that fails. */
  policy: Policy;
  userPolicy: PolicyFile | undefined;
  /** By the name of the task or job. */
  bundles: ReadonlyMap<string, Bundle>;
  /** By the name of the task or job; only those with frames. */
  frames: ReadonlyMap<string, Frames>;
}

/**
 * Reads all files that the mission names, but references. Throws `InputError`. Frames that were read `before`, for a run
 * that goes on, are taken from there: they may be large, and play from memory anyway.
 */
export async function readMissionFiles(mission: Mission, before?: MissionFiles): Promise<MissionFiles> {
  const policy = policyOf(mission);
  const { file: policyFile } = mission.policy;
  const where = { file: mission.file, field: "policy" };
  const userPolicy = policyFile === undefined ? undefined : await readPolicyFile(policyFile, where);
  const bundles = await loadMissionBundles(mission);
  checkBudgets(mission, bundles, false);
  const frames = new Map<string, Frames>();
  const keyOf = (dir: string, bytes: number) => `${bytes} ${path.resolve(dir)}`;
  const byDir = new Map<string, Frames>();
  for (const { name, source } of before === undefined ? [] : worksOf(before.mission)) {
    const [known, bundle] = [before?.frames.get(name), before?.bundles.get(name)];
    if (source.kind !== "frames" || known === undefined || bundle === undefined) continue;
    byDir.set(keyOf(source.dir, inputLayout(bundle.manifest).sizeBytes), known);
  }
  for (const { name, source } of worksOf(mission)) {
    const bundle = bundles.get(name);
    if (source.kind !== "frames" || bundle === undefined) continue;
    const expectBytes = inputLayout(bundle.manifest).sizeBytes;
    const key = keyOf(source.dir, expectBytes);
    const loaded = byDir.get(key) ?? await loadFrames(source.dir, expectBytes);
    byDir.set(key, loaded);
    frames.set(name, loaded);
  }
  return { mission, policy, userPolicy, bundles, frames };
}

function worksOf({ critical, background }: Mission): (CriticalTask | BackgroundJob)[] {
  return [...critical, ...background];
}

function policyOf({ policy, file }: Mission): Policy {
  return builtInPolicy(policy.file === undefined ? policy : { name: policy.name, options: {} }, file);
}

/** Throws `InputError` that names `file`. */
export function builtInPolicy(
  { name, options }: Pick<Mission["policy"], "name" | "options">,
  file: string,
): Policy {
  const found = findPolicy(name);
  if (found !== undefined) {
    checkOptions(name as PolicyName, options, file);
    return found;
  }
  const near = closest(name, POLICY_NAMES);
  const rule = `must be one of ${POLICY_NAMES.join(", ")}, not ${name}`;
  throw new InputError({
    file,
    field: "policy.name",
    rule,
    ...(near === undefined ? {} : { remedy: `did you mean ${near}?` }),
  });
}

/** Those of a user's policy are its own affair. */
function checkOptions(name: PolicyName, options: Mission["policy"]["options"], file: string): void {
  const known = POLICY_OPTIONS[name];
  for (const [key, value] of Object.entries(options)) {
    const field = `policy.options.${key}`;
    if (!known.includes(key)) {
      const those = known.length === 0 ? "none" : known.join(", ");
      throw new InputError({ file, field, rule: `is not an option of ${name}, which has ${those}` });
    }
    if (typeof value !== "number" || !(value >= 0.001 && value <= 1)) {
      throw new InputError({ file, field, rule: `must be a number of 0.001..1, not ${value}` });
    }
  }
}

export interface PreparedMission {
  files: MissionFiles;
  /** By id. */
  tasks: readonly LoadedWork[];
  jobs: readonly LoadedWork[];
  plannedJobs: readonly PlannedJob[];
  /** By id of the task or job; empty before `open`. */
  taskRoutes: readonly Route[];
  jobRoutes: readonly Route[];
  /** Of the CPU references. */
  turns: Turns;
  /** Which results the engine may forget. */
  ledger: Ledger;
  /** Of the jobs that are fed from folders; empty before `open`. */
  queues: readonly DirectoryQueue[];
  /** Of a background job, by its id; `undefined`: it has none. */
  queueOf(job: number | undefined): DirectoryQueue | undefined;
  /** Files that ended their job's process, for whoever tells of them; he takes them out. */
  putAway: PutAway[];
  /** Opens all sinks, which sets earlier results aside. Throws `InputError`; then call `discard`. */
  open(): Promise<void>;
  /** Waits until all that was taken is computed and durable, or reported as lost. */
  settle(): Promise<void>;
  /** Closes all sinks; what is still to be computed is skipped once `expired` resolves. */
  close(expired?: Promise<void>): Promise<void>;
  /** Instead of `close`, for a run that did not start: closes all sinks and takes back what opening them did. */
  discard(): Promise<void>;
}

export interface PrepareOptions {
  files: MissionFiles;
  engine: Engine;
  checkpoint: CheckpointCompiler;
  counters: Counters;
  log: Logger;
  /** False: results go nowhere, whatever the mission says. */
  output: boolean;
  /** Makes the process of a job with `isolation: process`. Absent, as in virtual time: it shares the engine's. */
  seat?: ((job: string) => Promise<Seat>) | undefined;
  /** The engine ran before: outputs go on where they ended. See `SinkOptions`. */
  resume?: boolean | undefined;
  /** See `SinkOptions`. */
  durable?: boolean;
  /** Default: what is known of inputs ends with the agent. */
  store?: SuspectsKeeper | undefined;
}

/** A process for one background job. */
export interface Seat {
  /** What the job is loaded into. */
  engine: Engine;
  /** Loaded: the engine is told of it. Returns the job's id there. */
  take(): number;
  /** What the process died of was found, and is not the job's fault. */
  forgive(): void;
}

/** Loads all work into the engine and reads references; opens nothing. Throws `InputError` or `EngineError`. */
export async function prepareMission(options: PrepareOptions): Promise<PreparedMission> {
  const { files, engine, checkpoint, counters, log, output } = options;
  const { mission } = files;
  const { preemptionBoundNs } = mission;
  const loader = new Loader({ engine, checkpoint, preemptionBoundNs });
  // The simulator's device has as much memory as anybody wants.
  const freeBytes = engine.backend === "cuda" ? engine.device().memoryFreeBytes : 0;
  const integrated = engine.features().some(({ name, on }) => name === "integrated" && on);
  checkBudgets(mission, files.bundles, integrated);
  // In an engine that is taken over all of it is loaded.
  if (options.resume !== true) checkDevice(mission, files.bundles, { freeBytes, integrated });
  const turns = new Turns();
  const ledger = new Ledger();
  const settled = (position: number) => ledger.settle(position);
  const queues: DirectoryQueue[] = [];
  const byJob = new Map<number, DirectoryQueue>();
  const putAway: PutAway[] = [];
  const { resume = false, durable = true } = options;
  const load = async (work: CriticalTask | BackgroundJob, kind: "critical" | "background") => {
    const target: MissionOutput = output ? work.output : { kind: "drop" };
    const bundle = files.bundles.get(work.name);
    if (bundle === undefined) throw new Error(`bundle of ${work.name} was not read`);
    // What goes into a ring is the engine's own business.
    const kept = target.kind !== "drop" && target.kind !== "shm";
    const settings = settingsOf(work, kept);
    if (target.kind === "shm") settings.outputRing = target;
    const apart = "isolation" in work && work.isolation === "process";
    const seat = apart ? await options.seat?.(work.name) : undefined;
    const place = seat === undefined
      ? loader
      : new Loader({ engine: seat.engine, checkpoint, preemptionBoundNs });
    const alone = place.add(settings, bundle, files.frames.get(work.name));
    const loaded = seat === undefined ? alone : { ...alone, id: seat.take() };
    const computes = engine.backend === "sim" && kept;
    const reference = computes ? await loadReference(bundle) : undefined;
    const sinks: Sink[] = [];
    const { source } = work;
    const makeQueue = (sink: Sink) => {
      if (source.kind !== "queue") return undefined;
      const submit = (input: Uint8Array) => engine.submit("background", loaded.id, input, 0);
      const { inputBytes } = loaded;
      const holds = (unit: InputMark) => sink.holdsInput(unit);
      const nowNs = () => engine.snapshot().nowNs;
      const { store } = options;
      const suspects = new InputSuspects(
        store?.suspectsOf(work.name, source.dir),
        (state) => store?.keepSuspects(work.name, source.dir, state),
      );
      const onPoison = (file: string, reason: string) => {
        counters.poisonInputs++;
        seat?.forgive();
        putAway.push({ timeNs: nowNs(), job: work.name, file, reason });
      };
      const queue = new DirectoryQueue({
        ...{ ...source, inputBytes, submit, holds, log, nowNs },
        ...{ apart: seat !== undefined, resume, suspects, onPoison },
      });
      queues.push(queue);
      byJob.set(loaded.id, queue);
      return queue;
    };
    const open = async () => {
      const opened: { route?: Route } = {};
      const onSettled = (position: number, durable: boolean) => {
        opened.route?.ended(position, durable);
        settled(position);
      };
      const sink = await openCountedSink(
        target.kind === "shm" ? { kind: "drop" } : target,
        `${kind}.${work.name}.output`,
        { counters, log, onSettled, resume, durable, queue: source.kind === "queue" },
      );
      sinks.push(sink);
      const every = "every" in target ? target.every : 1;
      const queue = makeQueue(sink);
      const shared = { turns, counters, log, settled, queue };
      return opened.route = new Route({
        work: loaded,
        sink,
        every,
        reference,
        keepsOutput: kept,
        computes,
        ...shared,
      });
    };
    return { loaded, open, sinks };
  };
  const tasks: Awaited<ReturnType<typeof load>>[] = [];
  for (const task of mission.critical) tasks.push(await load(task, "critical"));
  const jobs: Awaited<ReturnType<typeof load>>[] = [];
  for (const job of mission.background) jobs.push(await load(job, "background"));
  const taskRoutes: Route[] = [];
  const jobRoutes: Route[] = [];
  return {
    files,
    tasks: tasks.map(({ loaded }) => loaded),
    jobs: jobs.map(({ loaded }) => loaded),
    plannedJobs: jobs.map(({ loaded }, index) => plannedJob(loaded, mission.background[index])),
    taskRoutes,
    jobRoutes,
    turns,
    ledger,
    queues,
    queueOf: (job) => job === undefined ? undefined : byJob.get(job),
    putAway,
    async settle() {
      await Promise.all([...taskRoutes, ...jobRoutes].map((route) => route.settle()));
    },
    async open() {
      for (const task of tasks) taskRoutes.push(await task.open());
      for (const job of jobs) jobRoutes.push(await job.open());
    },
    async close(expired) {
      await Promise.all([...taskRoutes, ...jobRoutes].map((route) => route.close(expired)));
    },
    async discard() {
      // Last opened first, so that a folder is empty by the turn of the one that made it.
      for (const { sinks } of [...tasks, ...jobs].reverse()) for (const sink of sinks) await sink.discard();
    },
  };
}

function settingsOf(work: CriticalTask | BackgroundJob, keepOutput: boolean): WorkSettings {
  const { name } = work;
  if (!("onMiss" in work)) {
    const from = work.source.kind === "queue" ? { kind: "api" as const } : work.source;
    return { kind: "background", name, source: from, keepOutput };
  }
  const { source, deadlineNs, from, queue, queueDepth, onMiss, maxBlockingNs, anticipate } = work;
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
    yield: work.yield,
    anticipate,
  };
}

function plannedJob({ id, name, steps }: LoadedWork, job: BackgroundJob | undefined): PlannedJob {
  const { source = { kind: "none" }, weight = 1, deadlineNs = 0, when = [] } = job ?? {};
  const endless = source.kind === "none" || (source.kind === "frames" && source.periodNs === 0);
  const launches = steps.reduce((sum, step) => sum + step.launches, 0);
  return { id, name, weight, endless, deadlineNs, when, steps: launches };
}
