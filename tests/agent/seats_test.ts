/**
 * The processes of isolated jobs, with the real library and its simulator in real time. Needs build/libcalypte.so: without it
 * these tests are left out, except in CI, where they fail.
 */
import { assert, assertEquals } from "../assert.ts";
import type { HostWorld } from "../../agent/containment/connect.ts";
import { EngineHost } from "../../agent/containment/engine_host.ts";
import { type EngineProcess, spawnEngine } from "../../agent/containment/engine_process.ts";
import type { Probation } from "../../agent/containment/probation.ts";
import { makeSeat } from "../../agent/containment/seats.ts";
import { libraryPath, NativeEngine, openLibrary, type OpenOptions } from "../../ffi/mod.ts";
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

/** The job's one step. */
function load(host: EngineHost): void {
  const kernel = host.kernel(host.loadModule(PTX), "work");
  host.addWork({
    kind: "background",
    name: "map",
    digest: new Uint8Array(32).fill(7),
    steps: [{
      kernel,
      grid: [64, 1, 1],
      block: [32, 1, 1],
      sharedBytes: 0,
      workers: 0,
      args: [],
      level: "block",
      estimateNs: 500_000,
      blockEstimateNs: 10_000,
    }],
    inputs: [],
    inputBytes: 0,
    outputs: [],
    outputBytes: 0,
    keepOutput: false,
    estimateNs: 0,
    source: { kind: "none", periodNs: 0, phaseNs: 0 },
    preemptionBoundNs: 30_000,
  });
}

/** Waits for a condition of another process, with a bound. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert(i < 12_000, "it did not come true within a minute");
    await realTimers.pause(5);
  }
}

interface Stage {
  scene: Parameters<typeof EngineHost.start>[0];
  seatAt(engine: EngineHost): ReturnType<typeof makeSeat>;
  /** In the order in which they were started: the engine, the worker, and those that took their places. */
  processes: EngineProcess[];
  ended(): number;
  /** How often a worker has measured its job. */
  measured(): number;
  /** Closed in the end. */
  last?: EngineHost;
}

const PLAN = { entries: [{ job: 0, weight: 1, maxUnits: 0 }], leaseNs: 60e9 };

/** An engine and one job in a process of its own, at work; closed in the end, with all processes. */
async function staged(run: (stage: Stage, engine: EngineHost) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const file = path.resolve(libraryPath());
  const library = openLibrary(file);
  const processes: EngineProcess[] = [];
  let [measured, ended] = [0, 0];
  const world = (name: string): HostWorld => ({
    spawn() {
      const process = spawnEngine({ socket: `${dir}/${name}.sock`, library: file, keepNs: 60e9 });
      processes.push(process);
      process.exited.then(() => ended++);
      return process;
    },
    attach(open) {
      const at = { path: `${dir}/${name}.sock`, ...(open === undefined ? {} : { open }) };
      const native = NativeEngine.attach(library, at);
      const warmUp = native.warmUp.bind(native);
      native.warmUp = () => {
        if (name === "map") measured++;
        warmUp();
      };
      return native;
    },
    nowNs: () => library.nowNs(),
    pause: realTimers.pause,
  });
  const stage: Stage = {
    scene: { world: world("engine"), open: OPEN, log: SILENT, key: "mission 1" },
    seatAt: (engine) =>
      makeSeat("map", {
        ...{ engine, world, open: OPEN, log: SILENT, key: "mission 1" },
        page: (job) => `${dir}/${job}.page`,
        probation: { failed: () => 0, forgive() {} } as unknown as Probation,
      }),
    processes,
    ended: () => ended,
    measured: () => measured,
  };
  try {
    const engine = await EngineHost.start(stage.scene);
    const seat = await stage.seatAt(engine);
    load(seat.engine as EngineHost);
    assertEquals(seat.take(), 0);
    assertEquals(measured, 1);
    engine.ready();
    engine.setPlan({ ...PLAN, id: 1 });
    await until(() => engine.snapshot().jobs[0]!.units > 5);
    await run(stage, engine);
  } finally {
    stage.last?.close();
    for (const process of processes) process.kill();
    await until(() => ended === processes.length);
    library.close();
    await Deno.remove(dir, { recursive: true });
  }
}

/** An agent that comes later takes the engine over, and what there is of its job. */
async function takenOver(stage: Stage): Promise<EngineHost> {
  const next = await EngineHost.adopt(stage.scene);
  assert(next !== undefined && next.adopted);
  stage.last = next;
  const seat = await stage.seatAt(next);
  load(seat.engine as EngineHost);
  assertEquals(seat.take(), 0);
  next.ready();
  return next;
}

async function goesOn(engine: EngineHost, plan: number): Promise<void> {
  const { units } = engine.snapshot().jobs[0]!;
  engine.setPlan({ ...PLAN, id: plan });
  await until(() => engine.snapshot().jobs[0]!.units > units + 5);
}

/** Another engine is loaded with all that the lost one had. */
async function losesItsEngine(host: EngineHost): Promise<void> {
  const { restarts } = host;
  Deno.kill(host.processId, "SIGKILL");
  await until(() => (host.snapshot(), host.restarts > restarts));
}

const REAL = { ignore, sanitizeOps: false, sanitizeResources: false };

Deno.test({
  name: "a worker that joins an engine which serves is neither warmed up nor measured, and its units go on",
  ...REAL,
  fn: () =>
    staged(async (stage, engine) => {
      const worker = stage.processes[1]!;
      engine.leave();
      worker.kill();
      // Nothing but this test waits for it.
      await until(() => stage.ended() === 1);

      const next = await takenOver(stage);
      await goesOn(next, 2);
      // What the engine knew of the job is what the next engine is told.
      await losesItsEngine(next);
      await goesOn(next, 3);
      assertEquals(stage.measured(), 1);
    }),
});

Deno.test({
  name: "an engine and a worker that were taken over and then lost together come back",
  ...REAL,
  fn: () =>
    staged(async (stage, engine) => {
      engine.leave();
      const next = await takenOver(stage);
      await goesOn(next, 2);
      await losesItsEngine(next);
      await goesOn(next, 3);
      assertEquals(stage.measured(), 1);
    }),
});
