import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission } from "../../agent/config.ts";
import type { Handler } from "../../agent/http/app.ts";
import { InputError } from "../../agent/errors.ts";
import { SILENT } from "../../agent/log.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { simulate } from "../../agent/simulation.ts";
import { path } from "../../agent/std/mod.ts";
import { supervise, type SuperviseOptions } from "../../agent/supervisor.ts";
import type { Timers } from "../../agent/timers.ts";
import { EngineError } from "../../ffi/errors.ts";
import { FakeEngine, resultOf, taskStats } from "./fake_engine.ts";
import { type MissionFixture, writeMission } from "./mission_fixture.ts";

/** Time that moves when the test says so. */
class FakeTimers implements Timers {
  readonly ticks = new Map<number, () => void>();
  every(periodMs: number, tick: () => void): () => void {
    this.ticks.set(periodMs, tick);
    return () => this.ticks.delete(periodMs);
  }
  /** Short pauses are over at once; the references get all the time they want. */
  pause(ms: number): Promise<void> {
    return ms < 1000 ? Promise.resolve() : new Promise(() => {});
  }
}

const TOKEN = "a-token-of-a-test";

interface Scene {
  engine: FakeEngine;
  timers: FakeTimers;
  stop: (why: string) => void;
  fixture: MissionFixture;
  /** Calls of the status server, in order with those of the engine. */
  fetch: (page: string, init?: RequestInit) => Promise<Response>;
  options: SuperviseOptions;
}

async function onStage(
  test: (scene: Scene) => Promise<void>,
  mission: Parameters<typeof writeMission>[0] = {},
): Promise<void> {
  await using fixture = await writeMission({ listen: "127.0.0.1:0", ...mission });
  const engine = new FakeEngine();
  const timers = new FakeTimers();
  const { promise, resolve } = Promise.withResolvers<string>();
  let handler: Handler | undefined;
  const files = await readMissionFiles(await loadMission(fixture.file));
  await test({
    engine,
    timers,
    stop: resolve,
    fixture,
    fetch: async (page, init = {}) => {
      const headers = { host: "127.0.0.1:4567", authorization: `Bearer ${TOKEN}` };
      const request = { ...init, headers: { ...headers, ...init.headers } };
      return await handler!(new Request(`http://x${page}`, request), { socket: false });
    },
    options: {
      engine,
      checkpoint: checkpointCompiler,
      files,
      log: SILENT,
      version: "0",
      token: TOKEN,
      seed: 1,
      timers,
      stop: promise,
      serve: (answer) => {
        engine.calls.push("serve");
        handler = answer;
        const close = () => Promise.resolve(void engine.calls.push("unserve"));
        return Promise.resolve({ url: "http://127.0.0.1:4567", close });
      },
    },
  });
}

const START = ["serve", "warmUp", "setSafeMode", "ready", "setPlan"];

function afterLoading(calls: readonly string[]): string[] {
  return calls.filter((call) => call !== "loadModule" && call !== "addWork");
}

Deno.test("a run loads everything, binds the port, gets ready, plans, and ends in order", () =>
  onStage(async ({ engine, options, stop }) => {
    const { summary, fault } = await supervise({ ...options, onReady: () => stop("enough") });
    assertEquals(fault, undefined);
    assertEquals(afterLoading(engine.calls), [...START, "hold caller true", "close", "unserve"]);
    assert(engine.calls.indexOf("serve") > engine.calls.lastIndexOf("addWork"));
    assertEquals(Object.keys(summary.critical), ["detector"]);
    assertEquals(Object.keys(summary.background), ["map", "thumbs"]);
  }));

Deno.test("plans are renewed by one timer and results taken by another", () =>
  onStage(async ({ engine, options, timers, stop, fixture }) => {
    const run = supervise({
      ...options,
      onReady: () => {
        assertEquals([...timers.ticks.keys()], [100, 10]);
        timers.ticks.get(100)?.();
        engine.results = [
          resultOf({ kind: "critical", number: 0, frameIndex: 1, simulated: true }),
          resultOf({ kind: "background", work: 0, number: 0, frameIndex: 2, simulated: true }),
        ];
        timers.ticks.get(10)?.();
        stop("enough");
      },
    });
    const { summary } = await run;
    assertEquals(engine.plans.map(({ id, leaseNs }) => [id, leaseNs]), [[1, 400e6], [2, 400e6]]);
    assertEquals(timers.ticks.size, 0);
    const line = JSON.parse(await Deno.readTextFile(path.join(fixture.dir, "out", "detections.jsonl")));
    assertEquals([line.number, line.complete, line.values.answer[0][0]], [0, true, 11]);
    assertEquals((await Deno.readFile(path.join(fixture.dir, "out", "map", "00000000.bin")))[0], 21);
    assertEquals(summary.events.outputsSkipped, 0);
  }));

Deno.test("a CPU reference is given a fresh plan before it holds up the agent, unless the plan is new", () =>
  onStage(async ({ engine, options, stop }) => {
    const plans: number[] = [];
    await supervise({
      ...options,
      onReady: ({ turns }) => {
        for (const nowNs of [19e6, 20e6, 39e6, 40e6]) {
          engine.state.nowNs = nowNs;
          turns.before();
          plans.push(engine.plans.length);
        }
        stop("enough");
      },
    });
    assertEquals(plans, [1, 2, 2, 3]);
  }));

Deno.test("results that come while the run ends still reach their file", () =>
  onStage(async ({ engine, options, stop, fixture }) => {
    stop("at once");
    await supervise({
      ...options,
      timers: {
        every: () => () => {},
        pause: (ms) => {
          if (ms >= 1000) return new Promise(() => {});
          if (!engine.closed) engine.results = [resultOf({ kind: "critical", number: 9, simulated: true })];
          return Promise.resolve();
        },
      },
    });
    assertStringIncludes(
      await Deno.readTextFile(path.join(fixture.dir, "out", "detections.jsonl")),
      '"number":9',
    );
  }));

Deno.test("results from a GPU are written as they are, without the reference", () =>
  onStage(async ({ engine, options, stop, fixture }) => {
    engine.backend = "cuda";
    engine.results = [resultOf({ kind: "critical", payload: new Uint8Array(512).fill(77) })];
    stop("at once");
    await supervise(options);
    const line = JSON.parse(await Deno.readTextFile(path.join(fixture.dir, "out", "detections.jsonl")));
    assertEquals([line.simulated, line.values.answer[1][255]], [false, 77]);
  }));

Deno.test("outputs without a reference are counted in the summary, and nothing is invented", () =>
  onStage(async ({ engine, options, stop, fixture }) => {
    engine.results = [resultOf({ kind: "critical", simulated: true })];
    stop("at once");
    const { summary } = await supervise(options);
    assertEquals(summary.events.outputsSkipped, 1);
    const line = JSON.parse(await Deno.readTextFile(path.join(fixture.dir, "out", "detections.jsonl")));
    assertEquals([line.complete, line.values], [false, null]);
  }, { reference: false }));

Deno.test("a port that is taken ends the run before anything is ready, and the engine is closed", () =>
  onStage(async ({ engine, options }) => {
    const serve = () => {
      throw new InputError({ file: "m", field: "http.listen", rule: "is in use already" });
    };
    await assertRejects(() => supervise({ ...options, serve }), InputError, "is in use");
    assertEquals(engine.calls.includes("ready"), false);
    assertEquals(engine.closed, true);
  }));

Deno.test("an engine that refuses to be ready closes what was opened, in reverse", () =>
  onStage(async ({ engine, options }) => {
    engine.failures.ready = new EngineError(-6, "get ready", "self-test failed");
    await assertRejects(() => supervise(options), EngineError, "self-test failed");
    assertEquals(afterLoading(engine.calls), ["serve", "warmUp", "setSafeMode", "unserve", "close"]);
  }));

Deno.test("a fault of the engine ends the run with a reason and a summary", () =>
  onStage(async ({ engine, options, timers }) => {
    const { fault, summary } = await supervise({
      ...options,
      onReady: () => {
        engine.state.state = "fault";
        engine.failures.setPlan = new EngineError(-11, "set plan", "the engine is at fault");
        timers.ticks.get(100)?.();
      },
    });
    assertStringIncludes(fault ?? "", "the engine is at fault");
    assertEquals(summary.backend, "sim");
  }));

Deno.test("an engine that answers late once is asked again", () =>
  onStage(async ({ engine, options, timers, stop }) => {
    const { fault } = await supervise({
      ...options,
      onReady: () => {
        engine.failures.snapshot = new EngineError(-10, "take snapshot", "no answer within 200 ms");
        timers.ticks.get(100)?.();
        delete engine.failures.snapshot;
        timers.ticks.get(100)?.();
        stop("enough");
      },
    });
    assertEquals(fault, undefined);
    assertEquals(engine.plans.length, 2);
  }));

Deno.test("a policy that throws sets no plan, and critical work goes on", () =>
  onStage(async ({ engine, options, stop }) => {
    const files = {
      ...options.files,
      policy: () => {
        throw new Error("oops");
      },
    };
    const { fault, summary } = await supervise({ ...options, files, onReady: () => stop("enough") });
    assertEquals([fault, engine.plans.length, summary.events.policyFaults], [undefined, 0, 1]);
  }));

Deno.test("what a companion writes about the flight reaches the plans of a running agent", () =>
  onStage(async ({ engine, options, timers, stop, fixture }) => {
    const file = path.join(fixture.dir, "now.json");
    const text = await Deno.readTextFile(fixture.file);
    await Deno.writeTextFile(
      fixture.file,
      text.replace("bundle: map, weight: 3,", "bundle: map, weight: 3, when: [cruising],") +
        "conditions: { file: now.json }\n",
    );
    const files = await readMissionFiles(await loadMission(fixture.file));
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const run = supervise({ ...options, files, onReady: () => resolve() });
    await ready;
    const jobs = () => engine.plans.at(-1)?.entries.map(({ job }) => job);
    assertEquals(jobs(), [1]);
    await Deno.writeTextFile(file, `{"phase":"cruising","clockKey":4}`);
    // The agent reads beside its loops; the engine's clock stands still meanwhile.
    while (jobs()?.length !== 2) {
      timers.ticks.get(100)?.();
      await new Promise((done) => setTimeout(done, 0));
    }
    assertEquals(engine.state.clockKey, 4);
    engine.state.nowNs = 3e9;
    timers.ticks.get(100)?.();
    assertEquals(jobs(), [1]);
    stop("enough");
    await run;
  }));

Deno.test("the status of a running agent is served, and requests reach tasks that take them only", () =>
  onStage(async ({ options, fetch, stop }) => {
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const run = supervise({ ...options, onReady: () => resolve() });
    await ready;
    assertEquals(await (await fetch("/readyz")).text(), "ready\n");
    assertEquals((await (await fetch("/v1/status")).json()).background.map.steps.length, 3);
    const submitted = await fetch("/v1/tasks/detector/infer", { method: "POST", body: "x" });
    assertEquals([submitted.status, (await submitted.json()).detail], [
      404,
      'no critical task "detector" takes requests over HTTP',
    ]);
    stop("enough");
    await run;
  }));

Deno.test("the engine has the mission's rule of safe mode before it is ready, and an operator may force it", () =>
  onStage(async ({ engine, options, fetch, stop }) => {
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const run = supervise({ ...options, onReady: () => resolve() });
    await ready;
    const rule = { misses: 3, staleLeases: 0, windowNs: 10e9, clearAfterNs: 10e9 };
    assertEquals(engine.safeModeRule, rule);
    const put = async (headers: Record<string, string> = {}) => {
      const init = { method: "PUT", headers: { "content-type": "application/json", ...headers } };
      return (await fetch("/v1/safe-mode", { ...init, body: '{"on": true}' })).status;
    };
    assertEquals([await put({ host: "127.0.0.1:8717" }), await put({ authorization: "" })], [421, 401]);
    assertEquals(await put(), 200);
    assertEquals(engine.calls.includes("hold safe-mode true"), true);
    assertEquals((await (await fetch("/v1/status")).json()).safeMode.reasons, ["forced"]);
    stop("enough");
    await run;
  }));

Deno.test("a simulation moves virtual time to the end, plans on the way and closes the engine", () =>
  onStage(async ({ engine, options: { files } }) => {
    const times: number[] = [];
    const summary = await simulate({
      engine,
      checkpoint: checkpointCompiler,
      files,
      log: SILENT,
      seed: 3,
      durationNs: 250e6,
      output: false,
      onTime: (nowNs) => times.push(nowNs),
    });
    assertEquals(times, [100e6, 200e6, 250e6]);
    assertEquals(engine.plans.length, 3);
    assertEquals([summary.seed, summary.durationS], [3, 0.25]);
    assertEquals(engine.closed, true);
  }));

Deno.test("a simulation without output opens no file", () =>
  onStage(async ({ engine, fixture, options: { files } }) => {
    engine.results = [resultOf({ kind: "critical", simulated: true })];
    const options = { engine, checkpoint: checkpointCompiler, files, log: SILENT, seed: 3, durationNs: 1 };
    const summary = await simulate({ ...options, output: false });
    assertEquals(summary.events.outputsSkipped, 0);
    assertEquals([...Deno.readDirSync(fixture.dir)].some(({ name }) => name === "out"), false);
  }));

Deno.test("who else uses the GPU is in the status and the summary, and an unnamed one withholds attainment", () =>
  onStage(async ({ engine, options, timers, stop, fetch }) => {
    const looks: ReadonlySet<number>[] = [];
    const seen = Promise.withResolvers<void>();
    let status: Record<string, unknown> = {};
    const { summary } = await supervise({
      ...options,
      foreign: {
        own: () => [77],
        source: {
          everyMs: 1234,
          look: (own) => {
            looks.push(own);
            queueMicrotask(seen.resolve);
            return Promise.resolve({ users: [{ pid: 5, name: "Xorg" }] });
          },
          close() {},
        },
      },
      onReady: async () => {
        assert(timers.ticks.has(1234));
        await seen.promise;
        engine.state.tasks = [taskStats({ requests: 10, late: 4 })];
        timers.ticks.get(100)?.();
        status = await (await fetch("/v1/status")).json();
        stop("enough");
      },
    });
    assertEquals(looks, [new Set([77])]);
    assertEquals(status.attainment, { detector: null });
    assertEquals((status.foreign as { users: unknown }).users, [{ pid: 5, name: "Xorg", declared: false }]);
    assertEquals(summary.critical.detector?.attainment, null);
    assertEquals(summary.foreign?.missesMeanwhile, 4);
    assertStringIncludes(summary.foreign?.withheld ?? "", "Xorg used the GPU too");
  }));

Deno.test("a reload that is asked for reaches plans, engine and status, and none is taken after the end", () =>
  onStage(async ({ engine, options, timers, stop, fixture, fetch }) => {
    let ask: ((why: string) => void) | undefined;
    const applied = Promise.withResolvers<void>();
    const setSafeMode = engine.setSafeMode.bind(engine);
    engine.setSafeMode = (rule) => {
      setSafeMode(rule);
      // The first is the start's.
      if (ask !== undefined) applied.resolve();
    };
    let status: { safeMode?: { rule: unknown } } = {};
    await supervise({
      ...options,
      reload: {
        files: options.files,
        read: async () => {
          const text = (await Deno.readTextFile(fixture.file)).replace("weight: 3", "enabled: false");
          await Deno.writeTextFile(fixture.file, `${text}\nsafeMode: off\n`);
          return await readMissionFiles(await loadMission(fixture.file));
        },
        subscribe: (now) => {
          ask = now;
          return () => ask = undefined;
        },
      },
      onReady: async () => {
        ask?.("SIGHUP");
        await applied.promise;
        timers.ticks.get(100)?.();
        status = await (await fetch("/v1/status")).json();
        stop("enough");
      },
    });
    assertEquals(status.safeMode?.rule, null);
    assertEquals(engine.plans.map(({ entries }) => entries.some(({ job }) => job === 0)), [true, false]);
    assertEquals(ask, undefined);
  }));
