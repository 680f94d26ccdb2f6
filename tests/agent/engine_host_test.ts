/**
 * The engine in a process of its own, with the real library and its simulator in real time. Needs build/libcalypte.so:
 * without it these tests are left out, except in CI, where they fail.
 */
import { assert, assertEquals, assertRejects } from "../assert.ts";
import type { HostWorld } from "../../agent/containment/connect.ts";
import { EngineHost } from "../../agent/containment/engine_host.ts";
import type { HostOptions } from "../../agent/containment/host_options.ts";
import { type EngineProcess, spawnEngine } from "../../agent/containment/engine_process.ts";
import { EngineError, libraryPath, NativeEngine, openLibrary, type OpenOptions } from "../../ffi/mod.ts";
import type { EngineEvent, Result } from "../../ffi/engine.ts";
import type { TraceRecord } from "../../ffi/trace.ts";
import { path } from "../../agent/std/mod.ts";
import { realTimers } from "../../agent/timers.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";
const PTX = ".version 8.0\n.target sm_87\n.visible .entry work() { ret; }\n";
const OPEN: OpenOptions = { backend: "sim" };
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

interface Scene extends HostOptions {
  processes: EngineProcess[];
}

/** A place for engines; all its processes are killed at the end. */
function sceneTest(name: string, test: (scene: Scene) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    // Processes are waited for in the background.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const dir = await Deno.makeTempDir();
      const file = path.resolve(libraryPath());
      const library = openLibrary(file);
      const processes: EngineProcess[] = [];
      const socket = `${dir}/engine.sock`;
      const world: HostWorld = {
        spawn() {
          const process = spawnEngine({ socket, library: file, keepNs: 20e9 });
          processes.push(process);
          return process;
        },
        attach: (open) =>
          NativeEngine.attach(library, { path: socket, ...(open === undefined ? {} : { open }) }),
        nowNs: () => library.nowNs(),
        pause: realTimers.pause,
      };
      try {
        await test({ world, open: OPEN, log: SILENT, key: "mission 1", processes });
      } finally {
        for (const process of processes) process.kill();
        await Promise.all(processes.map(({ exited }) => exited));
        library.close();
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

/** A task at 100 Hz and a job without end. */
function load(host: EngineHost): void {
  const module = host.loadModule(PTX);
  const kernel = host.kernel(module, "work");
  assertEquals(host.kernel(module, "work"), kernel);
  const buffer = host.createBuffer(4096);
  host.writeBuffer(buffer, 0, new Uint8Array(16));
  const frames = host.addFrames(new Uint8Array(64), 32, 2);
  const step = {
    kernel,
    grid: [64, 1, 1],
    block: [32, 1, 1],
    sharedBytes: 0,
    workers: 0,
    args: [],
    blockEstimateNs: 10_000,
  } as const;
  const common = {
    digest: new Uint8Array(32),
    outputs: [],
    outputBytes: 0,
    keepOutput: false,
    estimateNs: 0,
  };
  host.addWork({
    ...common,
    kind: "critical",
    name: "detector",
    steps: [{ ...step, level: "whole", estimateNs: 200_000 }],
    inputs: [{ buffer, offset: 0, sizeBytes: 32 }],
    inputBytes: 32,
    source: { kind: "frames", frames, periodNs: 10_000_000, phaseNs: 0 },
    deadlineNs: 8_000_000,
    from: "arrival",
    queue: "latest",
    queueDepth: 1,
    onMiss: "publish-late",
    maxBlockingNs: 0,
    yield: "always",
    anticipate: true,
  });
  host.addWork({
    ...common,
    kind: "background",
    name: "map",
    steps: [{ ...step, level: "block", estimateNs: 1_000_000 }],
    inputs: [],
    inputBytes: 0,
    source: { kind: "none", periodNs: 0, phaseNs: 0 },
    preemptionBoundNs: 0,
  });
  host.warmUp();
  host.ready();
}

/** Bounded, as another process has to come first. */
async function until(condition: () => boolean, withinMs = 15_000): Promise<void> {
  for (const giveUp = performance.now() + withinMs; !condition();) {
    assert(performance.now() < giveUp, `not within ${withinMs} ms: ${condition}`);
    await realTimers.pause(2);
  }
}

async function started(scene: Scene): Promise<EngineHost> {
  const host = await EngineHost.start(scene);
  load(host);
  host.setPlan({ id: 1, leaseNs: 20e9, entries: [{ job: 0, weight: 1, maxUnits: 0 }] });
  await until(() => host.snapshot().tasks[0]!.onTime >= 20);
  return host;
}

/** Each once; those that were completed, in order. One that is dropped while another runs ends before it. */
function serial(results: readonly Result[], kind: string): void {
  const ended = results.filter((result) => result.kind === kind);
  const all = ended.map(({ number }) => number);
  assertEquals(new Set(all).size, all.length, `${kind} ${all}`);
  const done = ended.filter(({ doneNs }) => doneNs > 0).map(({ number }) => number);
  assertEquals(done, done.toSorted((a, b) => a - b), kind);
}

sceneTest("an engine that is killed is started again, and counts, numbers and holds go on", async (scene) => {
  const host = await started(scene);
  const before = host.snapshot();
  const first = host.processId;
  scene.processes[0]!.kill();
  const events: EngineEvent[] = [];
  const results: Result[] = [];
  host.hold("caller", true);
  await until(() => {
    events.push(...host.takeEvents());
    results.push(...host.takeResults());
    assert(host.snapshot().tasks[0]!.requests >= before.tasks[0]!.requests);
    return events.some(({ kind, a }) => kind === "engine" && a === 2);
  });
  assert(host.processId !== first && host.processId !== 0);
  assertEquals(host.restarts, 1);
  assertEquals(host.snapshot().holds.includes("caller"), true);
  host.hold("caller", false);
  host.setPlan({ id: 1, leaseNs: 20e9, entries: [{ job: 0, weight: 1, maxUnits: 0 }] });
  await until(() => {
    results.push(...host.takeResults());
    return host.snapshot().tasks[0]!.onTime > before.tasks[0]!.onTime + 20;
  });
  const { tasks: [task], jobs: [job] } = host.snapshot();
  assert(task!.failed > 0, "requests in between are missed");
  const ended = task!.onTime + task!.late + task!.dropped + task!.failed;
  assert(task!.requests - ended <= 1, "every request has ended in some way, or is under way");
  assert(job!.units > before.jobs[0]!.units);
  for (const kind of ["critical", "background"]) serial(results, kind);
  host.close();
});

sceneTest("what a lost engine had done is taken, released and not seen again", async (scene) => {
  const host = await started(scene);
  scene.processes[0]!.kill();
  await until(() => host.takeEvents().some(({ kind, a }) => kind === "engine" && a === 2));
  await until(() => host.snapshot().tasks[0]!.inFlight === 0 && host.restarts === 1);
  const results = host.takeResults();
  assert(results.some(({ kind }) => kind === "critical"));
  host.releaseResults(results.at(-1)!.position);
  const more: Result[] = [];
  await until(() => (more.push(...host.takeResults()), more.length > 10));
  serial([...results, ...more], "critical");
  serial([...results, ...more], "background");
  for (const { position } of more) assert(position > results.at(-1)!.position);
  host.releaseResults(more.at(-1)!.position);
  host.close();
});

sceneTest(
  "the trace goes on over a lost engine: nothing twice, nothing missing, numbers as the results have",
  async (scene) => {
    const host = await started(scene);
    const records: TraceRecord[] = [];
    let at = 0, lost = 0;
    const read = () => {
      const part = host.takeTrace(at);
      records.push(...part.records);
      at = part.next;
      lost += part.lost;
    };
    const requests = () => records.filter((record) => record.kind === "request");
    await until(() => (read(), requests().length > 5));
    scene.processes[0]!.kill();
    await until(() => (host.snapshot(), host.restarts === 1));
    const before = requests().length;
    await until(() => (read(), requests().length > before + 10));
    const numbers = requests().map(({ number }) => number);
    assertEquals(numbers, [...new Set(numbers)].toSorted((a, b) => a - b));
    assertEquals(lost, 0);
    const results: Result[] = [];
    await until(() => {
      results.push(...host.takeResults().filter(({ kind }) => kind === "critical"));
      return (results.at(-1)?.number ?? 0) >= numbers.at(-1)!;
    });
    // One that was dropped, as on a machine that stood still, has no output and no time of it.
    const completed = requests().filter(({ outcome }) => outcome !== "dropped");
    const done = new Map(completed.map((record) => [record.number, record.doneNs]));
    const compared = results.filter((result) => done.has(result.number));
    assert(compared.length > 0);
    for (const { number, doneNs } of compared) assertEquals(done.get(number), doneNs);
    assert(records.some((record) => record.kind === "slice"));
    host.close();
  },
);

sceneTest("an engine that is stopped is killed and started again", async (scene) => {
  const host = await started(scene);
  const process = host.processId;
  Deno.kill(process, "SIGSTOP");
  await until(() => (host.snapshot(), host.restarts === 1));
  assertEquals(await scene.processes[0]!.exited, "SIGKILL");
  host.close();
});

sceneTest(
  "an engine that was left goes on, and the next agent takes it over with its plan and counts",
  async (scene) => {
    const host = await started(scene);
    const { jobs: [job], tasks: [task] } = host.snapshot();
    const process = host.processId;
    host.leave();
    host.close();
    const next = await EngineHost.adopt(scene);
    assert(next !== undefined && next.adopted);
    load(next);
    assertEquals(next.processId, process);
    assertEquals(next.snapshot().planId, 1);
    await until(() => next.snapshot().tasks[0]!.onTime > task!.onTime + 5);
    assert(next.snapshot().jobs[0]!.units > job!.units);
    serial(next.takeResults(), "critical");
    // It is restarted like one of its own.
    Deno.kill(process, "SIGKILL");
    await until(() => (next.snapshot(), next.restarts === 1));
    await until(() => next.snapshot().tasks[0]!.onTime > task!.onTime + 25);
    next.close();
  },
);

sceneTest("an engine of another mission is ended, and its place is free", async (scene) => {
  const host = await started(scene);
  host.leave();
  assertEquals(await EngineHost.adopt({ ...scene, key: "mission 2" }), undefined);
  assertEquals(await scene.processes[0]!.exited, "exit status 0");
  const other = await EngineHost.start({ ...scene, key: "mission 2" });
  load(other);
  other.close();
});

sceneTest("an engine that another agent has is not taken over", async (scene) => {
  const host = await started(scene);
  const error = await assertRejects(() => EngineHost.adopt(scene), EngineError, `process ${Deno.pid}`);
  assertEquals(error.codeName, "E_BUSY");
  host.close();
  assertEquals(await EngineHost.adopt(scene), undefined);
});

sceneTest("jobs that were at work when the engine gave up are under suspicion", async (scene) => {
  let suspects: readonly number[] | undefined;
  let why = "";
  const host = await EngineHost.start({
    ...scene,
    // A tenth of a second in, a completion is lost for good: the watchdog fires.
    open: { ...OPEN, simFaults: { lostPpm: 50_000 } },
    onSuspects: (jobs, reason) => [suspects, why] = [suspects ?? jobs, reason],
  });
  load(host);
  host.setPlan({ id: 1, leaseNs: 20e9, entries: [{ job: 0, weight: 1, maxUnits: 0 }] });
  await until(() => (host.takeEvents(), host.snapshot(), suspects !== undefined), 60_000);
  assertEquals(suspects, [0]);
  assert(why !== "");
  host.close();
});

sceneTest("after eight restarts in a row that did not help the engine is given up", async (scene) => {
  const pauses: number[] = [];
  const pause = (ms: number) => (pauses.push(ms), scene.world.pause(Math.min(ms, 5)));
  const host = await EngineHost.start({ ...scene, world: { ...scene.world, pause } });
  load(host);
  await until(() => {
    scene.processes.at(-1)!.kill();
    host.snapshot();
    return host.snapshot().state === "fault";
  }, 60_000);
  for (const ms of [100, 200, 400, 800, 1600]) assert(pauses.includes(ms), `${ms} ms among ${pauses}`);
  host.close();
});

sceneTest("loading that fails in the engine leaves the journal as it was", async (scene) => {
  const host = await EngineHost.start(scene);
  let code = "";
  try {
    host.loadModule("\0");
  } catch (error) {
    code = (error as EngineError).codeName;
  }
  assertEquals(code, "E_INVALID");
  load(host);
  scene.processes[0]!.kill();
  await until(() => (host.snapshot(), host.restarts === 1));
  host.close();
});
