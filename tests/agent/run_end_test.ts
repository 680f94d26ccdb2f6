/**
 * Does a run end in order, by Ctrl-C or because it cannot start, with everything closed and no file left half-started?
 * What the simulator cannot refuse, an engine of the tests refuses.
 */
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { SILENT } from "../../agent/log.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { simulate } from "../../agent/simulation.ts";
import { path } from "../../agent/std/mod.ts";
import { supervise } from "../../agent/supervisor.ts";
import { CONSTANTS, EngineError } from "../../ffi/mod.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "../assert.ts";
import { calypte, ignore, Scene, start } from "./bad_input_scene.ts";
import { FakeEngine } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

/** Starts a run without an end, waits until it is ready, then interrupts it. */
async function interrupted(
  mission: string,
  times: number,
): Promise<{ status: Deno.CommandStatus; tookMs: number; out: string; err: string }> {
  const child = start(["run", mission, "--backend", "sim", "--json"]);
  const out = new Response(child.stdout).text();
  let err = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    const ready = err.includes("Ctrl-C ends it");
    err += text;
    if (ready || !err.includes("Ctrl-C ends it")) continue;
    performance.mark("interrupt");
    for (let i = 0; i < times; i++) child.kill("SIGINT");
  }
  const status = await child.status;
  const tookMs = performance.measure("end", "interrupt").duration;
  return { status, tookMs, out: await out, err };
}

Deno.test({
  name: "Ctrl-C ends a run with a summary and status 0 within 5 s",
  ignore,
  fn: async () => {
    using scene = new Scene();
    // Longer than a busy machine keeps the agent from planning: at the end it is held, and does not run into its end.
    scene.say("critical:", "policy: { name: weighted-fair, lease: 5s }\ncritical:");
    const { status, tookMs, out, err } = await interrupted(scene.mission, 1);
    assertEquals(status.code, 0, err);
    assert(tookMs < 5000, `${tookMs} ms`);
    assertEquals(JSON.parse(out).events.leaseExpired, 0);
  },
});

Deno.test({
  name: "a reference that never answers does not keep Ctrl-C from ending the run within 5 s",
  ignore,
  fn: async () => {
    await using mission = await writeMission();
    const hangs = "export const createReference = () => ({ run: () => new Promise(() => {}) });\n";
    for (const bundle of ["detector", "map"]) {
      Deno.writeTextFileSync(path.join(mission.dir, bundle, "reference.ts"), hangs);
    }
    const { status, tookMs, out, err } = await interrupted(mission.file, 1);
    assertEquals(status.code, 0, err);
    assert(tookMs < 5000, `${tookMs} ms`);
    assert(JSON.parse(out).events.outputsSkipped > 0, out);
  },
});

Deno.test({
  name: "a second Ctrl-C ends the process, with or without its summary",
  ignore,
  fn: async () => {
    using scene = new Scene();
    const { status, tookMs, out } = await interrupted(scene.mission, 2);
    assert(tookMs < 5000, `${tookMs} ms`);
    if (status.code === 0) JSON.parse(out);
    else assertEquals(status.signal, "SIGINT");
  },
});

/** An engine whose device has memory for so many buffers, and perhaps none to get ready. */
class SmallEngine extends FakeEngine {
  constructor(readonly room: number) {
    super();
  }
  override createBuffer(sizeBytes: number): number {
    if (this.buffers.length < this.room) return super.createBuffer(sizeBytes);
    throw new EngineError(CONSTANTS.E_NO_MEMORY, "create buffer", "cuMemAlloc: out of memory");
  }
  override ready(): void {
    throw new EngineError(
      CONSTANTS.E_NO_MEMORY,
      "make the engine ready",
      "cuGraphInstantiate: out of memory",
    );
  }
}

async function list(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    found.push(path.join(dir, name));
    if (isDirectory) found.push(...await list(path.join(dir, name)));
  }
  return found.sort();
}

for (
  const { name, room, served, message } of [
    {
      name: "for a buffer",
      room: 3,
      served: [],
      message:
        /map.bundle\.json: buffers\[1\]: must .*, and buffer answer of work map \(512 bytes\) does not: cuMem/,
    },
    {
      name: "to get ready",
      room: Infinity,
      served: ["serve", "unserve"],
      message: /mission\.yaml: must .*, and the mission as a whole does not: cuGraphInstantiate/,
    },
  ]
) {
  Deno.test(`a GPU without memory ${name} ends the start: all is closed, and no file is left`, async () => {
    await using mission = await writeMission({ listen: "127.0.0.1:0" });
    const earlier = path.join(mission.dir, "out", "detections.jsonl");
    await Deno.mkdir(path.dirname(earlier));
    await Deno.writeTextFile(earlier, "{}\n");
    const before = await list(mission.dir);
    const files = await readMissionFiles(await loadMission(mission.file));
    const engine = new SmallEngine(room);
    const calls: string[] = [];
    const options = { engine, checkpoint: checkpointCompiler, files, log: SILENT, seed: 1 };
    const error = await assertRejects(() =>
      supervise({
        ...options,
        version: "0",
        timers: { every: () => () => {}, pause: () => Promise.resolve() },
        stop: new Promise(() => {}),
        serve: () => {
          calls.push("serve");
          const close = () => Promise.resolve(void calls.push("unserve"));
          return Promise.resolve({ url: "http://x", close });
        },
      }), InputError);
    assertMatch(error.message, message);
    assertEquals([error.exitCode, engine.closed, calls], [2, true, served]);
    assertEquals([await list(mission.dir), await Deno.readTextFile(earlier)], [before, "{}\n"]);

    const again = new SmallEngine(room);
    const simulated = () => simulate({ ...options, engine: again, durationNs: 1e9, output: true });
    assertEquals((await assertRejects(simulated, InputError)).exitCode, 2);
    assertEquals([again.closed, await list(mission.dir)], [true, before]);
  });
}

Deno.test("PTX that only the driver refuses names its file and what the driver says", async () => {
  await using mission = await writeMission();
  const engine = new FakeEngine();
  engine.failures.loadModule = new EngineError(CONSTANTS.E_MODULE, "load module", "ptxas: line 7: unknown");
  const error = await assertRejects(
    async () =>
      await simulate({
        engine,
        checkpoint: checkpointCompiler,
        files: await readMissionFiles(await loadMission(mission.file)),
        log: SILENT,
        seed: 1,
        durationNs: 1,
        output: true,
      }),
    InputError,
    "must be PTX that the driver takes: ptxas: line 7: unknown",
  );
  assertEquals([error.file, engine.closed], [path.join(mission.dir, "detector", "kernels.ptx"), true]);
});

Deno.test("a reference that throws fails the verification of its bundle", async () => {
  await using mission = await writeMission();
  const dir = path.join(mission.dir, "map");
  const throws = "export const createReference = () => ({ run: () => { throw new Error('oops'); } });\n";
  Deno.writeTextFileSync(path.join(dir, "reference.ts"), throws);
  const { code, out } = await calypte(["bundle", "verify", dir, "--backend", "sim"]);
  assertEquals(code, 1);
  assertStringIncludes(out, "FAILED  CPU reference, against the sample: it failed: oops");
});

Deno.test("an engine that does not close leaves the summary, with the reason", async () => {
  await using mission = await writeMission();
  const files = await readMissionFiles(await loadMission(mission.file));
  class StuckEngine extends FakeEngine {
    override close(): void {
      throw new EngineError(CONSTANTS.E_TIMEOUT, "close the engine", "critical work is in flight");
    }
  }
  const { fault, summary } = await supervise({
    engine: new StuckEngine(),
    checkpoint: checkpointCompiler,
    files,
    log: SILENT,
    version: "0",
    seed: 1,
    timers: { every: () => () => {}, pause: () => Promise.resolve() },
    stop: Promise.resolve("enough"),
  });
  assertStringIncludes(fault ?? "", "critical work is in flight");
  assertEquals(Object.keys(summary.background), ["map", "thumbs"]);
});
