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

Deno.test({
  name:
    "a worker that joins an engine which serves already is neither warmed up nor measured, and its units go on",
  ignore,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const dir = await Deno.makeTempDir();
    const file = path.resolve(libraryPath());
    const library = openLibrary(file);
    const processes: EngineProcess[] = [];
    let measured = 0;
    let ended = 0;
    let last: EngineHost | undefined;
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
    const scene = { world: world("engine"), open: OPEN, log: SILENT, key: "mission 1" };
    const seatAt = (engine: EngineHost) =>
      makeSeat("map", {
        ...{ engine, world, open: OPEN, log: SILENT, key: "mission 1" },
        page: (job) => `${dir}/${job}.page`,
        probation: { failed: () => 0, forgive() {} } as unknown as Probation,
      });
    const plan = { entries: [{ job: 0, weight: 1, maxUnits: 0 }], leaseNs: 60e9 };
    try {
      const engine = await EngineHost.start(scene);
      const seat = await seatAt(engine);
      load(seat.engine as EngineHost);
      assertEquals(seat.take(), 0);
      assertEquals(measured, 1);
      engine.ready();
      engine.setPlan({ ...plan, id: 1 });
      await until(() => engine.snapshot().jobs[0]!.units > 5);
      const worker = processes[1]!;
      engine.leave();
      worker.kill();
      // Nothing but this test waits for it.
      await until(() => ended === 1);

      const next = last = await EngineHost.adopt(scene);
      assert(next !== undefined && next.adopted);
      const { units } = next.snapshot().jobs[0]!;
      const second = await seatAt(next);
      load(second.engine as EngineHost);
      assertEquals(second.take(), 0);
      assertEquals(measured, 1);
      next.ready();
      next.setPlan({ ...plan, id: 2 });
      await until(() => next.snapshot().jobs[0]!.units > units + 5);
      assertEquals(measured, 1);
      // What the engine knew of the job is what the next engine is told.
      const { restarts } = next;
      Deno.kill(next.processId, "SIGKILL");
      await until(() => (next.snapshot(), next.restarts > restarts));
      const begun = next.snapshot().jobs[0]!.units;
      next.setPlan({ ...plan, id: 3 });
      await until(() => next.snapshot().jobs[0]!.units > begun + 5);
      assertEquals(measured, 1);
    } finally {
      last?.close();
      for (const process of processes) process.kill();
      await until(() => ended === processes.length);
      library.close();
      await Deno.remove(dir, { recursive: true });
    }
  },
});
