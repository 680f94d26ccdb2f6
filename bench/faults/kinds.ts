/**
 * Which faults are there, on which mission, and how often?
 *
 * A scene is one mission with one start of its agent; kinds that do not spoil it for each other share one. What needs a GPU,
 * or something that missions cannot ask for, says so and is left out.
 */
import { type Disk, limitFiles, mountSmall } from "./disk.ts";
import { Feeder } from "./feeder.ts";
import type { Fault } from "./judge.ts";
import { breakCritical, breakIsolated, breakShared, hitWorkers } from "./kernel_kinds.ts";
import { aloneJob, bundleDir, type Features, mission, PERIOD_NS, writeFrames } from "./missions.ts";
import {
  corruptStore,
  fillDisk,
  greedyPolicy,
  hitEngines,
  killAgents,
  stallAgents,
} from "./process_kinds.ts";
import { nowNs } from "./scene.ts";
import type { Stage } from "./stage.ts";

export interface Kind {
  name: string;
  inject(stage: Stage): Promise<Fault[]>;
}

export interface SceneKind {
  name: string;
  kinds: Kind[];
  mission: Record<string, unknown>;
  /** Why it cannot be done here; `undefined`: it can. */
  skip?: string | undefined;
  /** Before the agent starts. */
  prepare?(stage: Stage): Promise<(() => void) | void>;
  /** The mission is refused as a whole, and nothing else happens. */
  refused?: boolean;
}

export interface Campaign {
  backend: "cuda" | "sim";
  quick: boolean;
  has: Features;
  /** A disk is made full by mounting a small one, where that may be done. */
  mount: boolean;
}

const ABORTS: readonly Deno.Signal[] = ["SIGKILL", "SIGABRT"];
const DEATHS: readonly Deno.Signal[] = ["SIGKILL", "SIGABRT", "SIGSEGV"];
const NO_GPU = "not on the simulator: its kernels cannot fault";

export function scenesOf({ backend, quick, has, mount }: Campaign): SceneKind[] {
  const plain = mission(has, backend);
  const many = (full: number, few: number) => quick ? few : full;
  const agents = many(60, 6);
  const noGpu = backend === "sim" ? NO_GPU : undefined;
  const noStore = has.state ? undefined : "missions have no `state` yet";
  const noIsolation = has.isolation ? undefined : "missions have no `isolation: process` yet";
  const processes: Kind[] = [
    { name: "engine: SIGKILL, SIGABRT, SIGSEGV", inject: (stage) => hitEngines(stage, many(6, 2), DEATHS) },
    { name: "agent: SIGKILL", inject: (stage) => killAgents(stage, agents, ["SIGKILL"]) },
    { name: "engine: SIGSTOP", inject: (stage) => hitEngines(stage, many(4, 1), ["SIGSTOP"]) },
    { name: "agent: SIGABRT", inject: (stage) => killAgents(stage, many(60, 3), ABORTS.slice(1)) },
    { name: "agent: stalled for 2 s", inject: (stage) => stallAgents(stage, many(4, 1)) },
  ];
  // What takes longest comes last, and makes do with the time that is left.
  return [
    diskScene(plain, many(3, 1), mount),
    policyScene("policy-hoards", "policy: keeps more with each plan", HOARDS, has, backend),
    policyScene("policy-bursts", "policy: allocates without end", BURSTS, has, backend),
    workerScene(has, backend, many(4, 1), noIsolation),
    ...ISOLATED.map((kind) => isolatedScene(kind, has, backend, many(3, 1), noIsolation ?? noGpu)),
    refusedScene("launch failure", "fault-launch", has, backend, noGpu),
    refusedScene("out of memory", "fault-memory", has, backend, noGpu),
    ...([["fault", 1], ["hang", 2]] as const).map(([what, trigger]): SceneKind => ({
      name: `critical-${what}`,
      kinds: [{
        name: `critical graph: ${what} midway`,
        inject: (stage) => breakCritical(stage, many(2, 1), trigger),
      }],
      mission: mission(has, backend, { critical: { victim: VICTIM } }),
      skip: noGpu,
    })),
    ...([["fault", "fault-address"], ["hang", "fault-spin"]] as const).map(([what, bundle]) =>
      sharedScene(what, bundle, has, backend, noGpu)
    ),
    { name: "processes", kinds: processes, mission: mission(has, backend, { background: aloneJob(has) }) },
    {
      name: "store",
      kinds: [{ name: "store: corrupted", inject: (stage) => corruptStore(stage, many(25, 3)) }],
      mission: plain,
      skip: noStore,
    },
  ];
}

const VICTIM = {
  bundle: bundleDir("fault-chain"),
  source: { api: true, rate: "1Hz" },
  deadline: "100ms",
  output: { jsonl: "out/victim.jsonl" },
};

/** 8 MB more with each plan. */
const HOARDS = `const kept = [];
export default function hoards(snapshot) {
  kept.push(new Array(1e6).fill(kept.length));
  return { entries: snapshot.jobs.map(({ id }) => ({ job: id, weight: 1, maxUnits: 0 })) };
}
`;

/** From the tenth plan on it does not answer any more, but allocates until somebody stops it. */
const BURSTS = `const kept = [];
let plans = 0;
export default function bursts(snapshot) {
  while (++plans > 10) kept.push(new Array(1e6).fill(plans));
  return { entries: snapshot.jobs.map(({ id }) => ({ job: id, weight: 1, maxUnits: 0 })) };
}
`;

function policyScene(
  name: string,
  kind: string,
  policy: string,
  has: Features,
  backend: "cuda" | "sim",
): SceneKind {
  return {
    name,
    kinds: [{ name: kind, inject: (stage) => greedyPolicy(stage, 20_000) }],
    mission: mission(has, backend, { top: { policy: { file: "greedy.js", lease: "200ms" } } }),
    prepare: async (stage) => await Deno.writeTextFile(stage.scene.path("greedy.js"), policy),
  };
}

function diskScene(plain: Record<string, unknown>, count: number, mount: boolean): SceneKind {
  let disk: Disk | undefined;
  return {
    name: "disk",
    mission: plain,
    kinds: [{
      name: "disk: full",
      inject: async (stage) => {
        disk ??= limitFiles(stage.scene.agentPid()!, stage.scene.path("out", "chain.jsonl"));
        stage.notes.push(disk.how);
        return await fillDisk(stage, count, disk);
      },
    }],
    prepare: (stage) => {
      disk = mount ? mountSmall(stage.scene.path("out")) : undefined;
      return Promise.resolve(() => disk?.close());
    },
  };
}

interface IsolatedKind {
  name: string;
  bundle: string;
  /** The worker is expected to end over it. */
  dies: boolean;
}

const ISOLATED: readonly IsolatedKind[] = [
  { name: "illegal address", bundle: "fault-address", dies: true },
  { name: "trap", bundle: "fault-trap", dies: true },
  { name: "endless loop in a block", bundle: "fault-spin", dies: true },
  { name: "endless loop between barriers", bundle: "fault-barriers", dies: true },
  { name: "endless grid", bundle: "fault-flood", dies: false },
];

function isolatedScene(
  { name, bundle, dies }: IsolatedKind,
  has: Features,
  backend: "cuda" | "sim",
  count: number,
  skip: string | undefined,
): SceneKind {
  let bad: Feeder | undefined;
  const job = {
    bundle: bundleDir(bundle),
    isolation: "process",
    source: badSource(has),
    output: { jsonl: "out/bad.jsonl" },
  };
  return {
    name: `isolated-${bundle}`,
    kinds: [{ name: `worker: ${name}`, inject: (stage) => breakIsolated(stage, count, bad, dies) }],
    mission: mission(has, backend, { background: { bad: job } }),
    skip,
    prepare: async (stage) => {
      bad = await feedBad(stage);
      return () => bad?.stop();
    },
  };
}

/** Where units come from that misbehave: single files of a queue; else the last of some frames, 2 s after each start. */
function badSource(has: Features): Record<string, unknown> {
  return has.queue ? { queue: "bad-queue" } : { frames: "bad-frames", rate: "4Hz" };
}

async function feedBad(stage: Stage): Promise<Feeder | undefined> {
  if (!stage.options.has.queue) {
    await writeFrames(stage.scene, "bad-frames", 9, 1);
    return undefined;
  }
  const bad = new Feeder(stage.scene.path("bad-queue"));
  bad.start();
  return bad;
}

/** More workers than one, as each job is quarantined after five failures in ten minutes. */
const WORKERS = 4;

function workerScene(
  has: Features,
  backend: "cuda" | "sim",
  rounds: number,
  skip: string | undefined,
): SceneKind {
  const jobs = Array.from({ length: WORKERS }, (_, i) => `alone-${i}`);
  const job = {
    bundle: bundleDir("fault-none"),
    isolation: "process",
    source: { frames: "frames", rate: "50Hz" },
  };
  const signals: Deno.Signal[] = ["SIGKILL", "SIGSTOP", "SIGSEGV", "SIGKILL", "SIGSTOP", "SIGABRT"];
  return {
    name: "workers",
    kinds: [{
      name: "worker: SIGKILL, SIGSTOP, SIGSEGV, SIGABRT",
      inject: (stage) => hitWorkers(stage, jobs, rounds, signals, PERIOD_NS),
    }],
    mission: mission(has, backend, { background: Object.fromEntries(jobs.map((name) => [name, job])) }),
    skip,
  };
}

/** What cannot be loaded must not start anything by halves. */
function refusedScene(
  name: string,
  bundle: string,
  has: Features,
  backend: "cuda" | "sim",
  skip: string | undefined,
): SceneKind {
  return {
    name: `refused-${bundle}`,
    kinds: [{ name: `load: ${name}`, inject: () => Promise.resolve([]) }],
    mission: mission(has, backend, {
      background: {
        bad: {
          bundle: bundleDir(bundle),
          source: has.queue ? { queue: "bad-queue" } : { frames: "bad-frames", rate: "4Hz" },
          output: { jsonl: "out/bad.jsonl" },
          ...(has.isolation ? { isolation: "process" } : {}),
        },
      },
    }),
    skip,
    refused: true,
  };
}

function sharedScene(
  what: string,
  bundle: string,
  has: Features,
  backend: "cuda" | "sim",
  skip: string | undefined,
): SceneKind {
  let bad: Feeder | undefined;
  const job = { isolation: "shared", source: badSource(has), output: { jsonl: "out/bad.jsonl" } };
  return {
    name: `shared-${what}`,
    kinds: [{
      name: `shared job: ${what}`,
      // It may be quarantined after the first time.
      inject: (stage) => breakShared(stage, 1, bad),
    }],
    mission: mission(has, backend, {
      background: { bad: { bundle: bundleDir(bundle), ...job } },
    }),
    skip,
    prepare: async (stage) => {
      bad = await feedBad(stage);
      return () => bad?.stop();
    },
  };
}

/** The agent refuses the mission with status 2, or runs it without the job that cannot be. */
export async function expectRefused(stage: Stage): Promise<Fault[]> {
  const atNs = nowNs();
  stage.scene.start();
  const why = await stage.scene.ready();
  if (why === undefined) {
    const back = await stage.answers();
    stage.notes.push(`the mission runs without it: ${stage.scene.lastWords().slice(0, 200)}`);
    return [{ atNs, recoveredNs: back ? nowNs() : undefined, engineLost: false, what: "not loaded" }];
  }
  const clean = stage.scene.agentPid() === undefined && stage.scene.pids("engine").length === 0;
  stage.notes.push(`refused${clean ? "" : ", BUT PROCESSES WERE LEFT"}: ${why.slice(0, 300)}`);
  return [{ atNs, recoveredNs: clean ? nowNs() : undefined, engineLost: false, what: "refused" }];
}
