/** What a run leaves in the store, and what the next one makes of it. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "../assert.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { blackboxCommand } from "../../agent/commands/blackbox.ts";
import { loadMission } from "../../agent/config.ts";
import { InputError } from "../../agent/errors.ts";
import { FlightStore, type LearnedEngine, STORE_MS } from "../../agent/flight_store.ts";
import type { Handler } from "../../agent/http/app.ts";
import { Orders } from "../../agent/orders.ts";
import { createLogger, type Logger } from "../../agent/log.ts";
import { type MissionFiles, readMissionFiles } from "../../agent/prepare.ts";
import { stateFolder, stateHome } from "../../agent/state_folder.ts";
import { path } from "../../agent/std/mod.ts";
import { readBlackBox } from "../../agent/store/black_box.ts";
import { DiskFiles } from "../../agent/store/store_files.ts";
import { supervise } from "../../agent/supervisor.ts";
import type { Timers } from "../../agent/timers.ts";
import { EngineError } from "../../ffi/errors.ts";
import { FakeEngine, jobStats, snapshotOf, taskStats } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

const S = 1e9;

/** An engine that learns. */
class Apt extends FakeEngine implements LearnedEngine {
  override learned = new Uint8Array([1, 2, 3]);
  given: Uint8Array[] = [];
  override takeLearned(): Uint8Array {
    return this.learned;
  }
  override giveLearned(bytes: Uint8Array): number {
    this.calls.push("giveLearned");
    this.given.push(bytes);
    return 1;
  }
}

interface Flight {
  engine: FakeEngine;
  store: FlightStore;
  tick: (periodMs: number) => void;
  status: () => Promise<Record<string, unknown>>;
  metrics: () => Promise<string>;
}

interface Ground {
  dir: string;
  said: string[];
  log: Logger;
  files: MissionFiles;
  /** One run of the agent, from opening the store to closing it; `during` is called once the engine is ready. */
  fly: (engine: FakeEngine, during?: (flight: Flight) => Promise<void> | void) => Promise<void>;
  open: () => Promise<FlightStore>;
}

async function onGround(test: (ground: Ground) => Promise<void>): Promise<void> {
  await using fixture = await writeMission({ listen: "127.0.0.1:0" });
  const dir = path.join(fixture.dir, "state");
  const files = await readMissionFiles(await loadMission(fixture.file));
  const said: string[] = [];
  const log = createLogger({ write: (l) => void said.push(l), format: "text", color: false, now: () => "" });
  let starts = 0;
  const open = async () =>
    (await FlightStore.open(files, { dir, log, stamp: () => `day ${++starts}`, nowNs: 0 }))!;
  const fly: Ground["fly"] = async (engine, during = () => {}) => {
    await using store = await open();
    const ticks = new Map<number, () => void>();
    const timers: Timers = {
      every: (periodMs, tick) => (ticks.set(periodMs, tick), () => ticks.delete(periodMs)),
      pause: (ms) => ms < 1000 ? Promise.resolve() : new Promise(() => {}),
    };
    const { promise, resolve } = Promise.withResolvers<string>();
    let handler: Handler | undefined;
    const page = async (name: string) => await handler!(new Request(`http://x${name}`), { socket: true });
    let failure: unknown;
    await supervise({
      engine,
      checkpoint: checkpointCompiler,
      files: store.without(files),
      log,
      version: "0",
      seed: 1,
      timers,
      store,
      stop: promise,
      serve(answer) {
        handler = answer;
        return Promise.resolve({ url: "http://x", close: () => Promise.resolve() });
      },
      onReady: async () => {
        try {
          await during({
            engine,
            store,
            tick: (periodMs) => ticks.get(periodMs)!(),
            status: async () => await (await page("/v1/status")).json(),
            metrics: async () => await (await page("/metrics")).text(),
          });
        } catch (error) {
          failure = error;
        }
        resolve("enough");
      },
    });
    if (failure !== undefined) throw failure;
  };
  await test({ dir, said, log, files, fly, open });
}

/** A state of the fixture's mission: one task, two jobs. */
function counted(engine: FakeEngine, requests: number, units: number, readyNs = 1): void {
  engine.state = snapshotOf({
    state: "ready",
    readyNs,
    nowNs: readyNs + requests * S,
    tasks: [taskStats({ requests, onTime: requests - 1, late: 1 })],
    jobs: [jobStats({ units }), jobStats({ units: 2 * units })],
  });
}

Deno.test("counts go on over starts, beside those of the process, which begin with it", () =>
  onGround(async ({ fly }) => {
    await fly(new FakeEngine(), ({ engine }) => counted(engine, 10, 100));
    await fly(new FakeEngine(), async ({ engine, tick, status, metrics }) => {
      counted(engine, 5, 50, 2);
      tick(100);
      tick(STORE_MS);
      // deno-lint-ignore no-explicit-any
      const all = await status() as any;
      assertEquals([all.store.starts, all.critical.detector.requests], [2, 5]);
      assertEquals(all.store.sinceFirstStart.critical.detector.requests, 15);
      assertEquals(all.store.sinceFirstStart.critical.detector.misses.late, 2);
      assertEquals(all.store.progress, { map: 150, thumbs: 300 });
      const text = await metrics();
      assertStringIncludes(text, '\ncalypte_requests_total{task="detector",outcome="on_time"} 4\n');
      assertStringIncludes(text, '\ncalypte_lifetime_requests_total{task="detector",outcome="on_time"} 13\n');
      assertStringIncludes(text, '\ncalypte_lifetime_requests_total{task="detector",outcome="late"} 2\n');
      assertStringIncludes(text, "\ncalypte_starts_total 2\n");
    });
  }));

Deno.test("counts of an engine that outlived its agent are not counted twice", () =>
  onGround(async ({ fly, open }) => {
    await fly(new FakeEngine(), ({ engine }) => counted(engine, 10, 100));
    await fly(
      Object.assign(new FakeEngine(), { adopted: true }),
      ({ engine }) => counted(engine, 12, 110),
    );
    await using store = await open();
    const { total } = store.view();
    assertEquals([total["critical/detector/requests"], total["background/map/units"]], [12, 110]);
  }));

Deno.test("what the engine learned is given to the next one before anything is measured, on the same device", () =>
  onGround(async ({ fly }) => {
    await fly(new Apt());
    const second = new Apt();
    await fly(second);
    assertEquals(second.given, [new Uint8Array([1, 2, 3])]);
    assert(second.calls.indexOf("giveLearned") > second.calls.lastIndexOf("addWork"));
    assert(second.calls.indexOf("giveLearned") < second.calls.indexOf("warmUp"));
    const other = new Apt();
    const device = { ...other.device(), name: "another board" };
    other.device = () => device;
    await fly(other);
    assertEquals(other.given, []);
  }));

Deno.test("an engine that cannot say or take what was learned runs all the same, with one warning", () =>
  onGround(async ({ fly, said }) => {
    const mute = new Apt();
    mute.takeLearned = () => {
      throw new EngineError(-1, "takeLearned", "not now");
    };
    await fly(mute, ({ tick }) => {
      for (let count = 0; count < 100; count++) tick(STORE_MS);
    });
    assertEquals(said.filter((line) => /learned cannot be kept/.test(line)).length, 1);
    await fly(new Apt());
    const deaf = new Apt();
    deaf.giveLearned = () => {
      throw new EngineError(-1, "giveLearned", "another version");
    };
    await fly(deaf);
    assertEquals(said.filter((line) => /earlier runs is of no use/.test(line)).length, 1);
  }));

Deno.test("a job that fails five times gets no plan any more, and is left out of the next run, until it is released", () =>
  onGround(async ({ fly, said, open }) => {
    await fly(new FakeEngine(), async ({ engine, store, tick, metrics }) => {
      counted(engine, 1, 1);
      const jobs = () => engine.plans.at(-1)!.entries.map(({ job }) => job);
      for (let at = 1; at < 5; at++) store.failed("map", "it crashed", at * S);
      tick(100);
      assertEquals(jobs(), [0, 1]);
      assertEquals(store.failed("map", "it crashed", 5 * S).kind, "quarantined");
      tick(100);
      assertEquals(jobs(), [1]);
      assertStringIncludes(await metrics(), '\ncalypte_background_quarantined{job="map"} 1\n');
    });
    const engine = new FakeEngine();
    await fly(engine, async ({ status }) => {
      // deno-lint-ignore no-explicit-any
      const { store, background } = await status() as any;
      assertEquals(Object.keys(background), ["thumbs"]);
      const [{ job, reason, count, since }] = store.quarantine;
      assertEquals([job, reason, count], ["map", "it crashed", 5]);
      assertMatch(since, /^day \d/);
    });
    assertEquals(engine.works.map(({ name }) => name), ["detector", "thumbs"]);
    assertMatch(
      said.join(""),
      /warn: map is left out: it is in quarantine since day \d after 5 failures: it crashed/,
    );
    {
      await using store = await open();
      assertEquals(store.release("map"), true);
    }
    const after = new FakeEngine();
    await fly(after);
    assertEquals(after.works.map(({ name }) => name), ["detector", "map", "thumbs"]);
  }));

Deno.test("failures of runs that were too short to say goodbye still add up", () =>
  onGround(async ({ open, files }) => {
    for (let start = 1; start <= 5; start++) {
      const store = await open();
      store.failed("map", "it crashed", 0);
      await store.close();
    }
    await using store = await open();
    assertEquals(store.without(files).mission.background.map(({ name }) => name), ["thumbs"]);
  }));

Deno.test("a mission of which nothing is left is refused", () =>
  onGround(async ({ open, files }) => {
    await using store = await open();
    for (const job of ["map", "thumbs"]) for (let at = 0; at < 5; at++) store.failed(job, "it crashed", at);
    const bare = { ...files, mission: { ...files.mission, critical: [] } };
    const error = await assertRejects(() => Promise.resolve().then(() => store.without(bare)), InputError);
    assertMatch(error.message, /background: has no job that is not in quarantine; mend the bundles, or/);
  }));

Deno.test("a second agent on the same folder is refused, and told who has it", () =>
  onGround(async ({ open }) => {
    await using _first = await open();
    const error = await assertRejects(open, InputError);
    assertMatch(error.message, new RegExp(`state.dir: .* is in use by process ${Deno.pid}; stop that agent`));
  }));

Deno.test("the black box has the flight: start, plan, events, a snapshot a second, the end", () =>
  onGround(async ({ dir, fly }) => {
    await fly(new FakeEngine(), ({ engine, tick }) => {
      counted(engine, 1, 1);
      for (let step = 0; step < 30; step++) {
        engine.state.nowNs += S / 10;
        tick(100);
      }
      const event = { sequence: 1, timeNs: 3 * S, kind: "miss" as const, source: 0, a: 7, b: 9, text: "" };
      engine.events = Array.from({ length: 80 }, (_, i) => ({ ...event, sequence: i }));
      tick(10);
      engine.state.nowNs += S;
      tick(100);
    });
    const { records, lostBytes } = await readBlackBox(new DiskFiles(dir));
    const of = (kind: string) => records.filter((record) => record.kind === kind);
    assertEquals(lostBytes, 0);
    assertEquals([of("start").length, of("plan").length, of("end").length], [1, 1, 1]);
    assertEquals(of("event").length, 50);
    assertEquals(of("snapshot").filter(({ eventsLeftOut }) => eventsLeftOut === 30).length, 1);
    assert(of("snapshot").length >= 4 && of("snapshot").length <= 7, `${of("snapshot").length}`);
    assertEquals(of("plan")[0]!.shares, { map: 100_000, thumbs: 33_333 });
    assertMatch(JSON.stringify(of("end")[0]), /"reason":"enough","at":"day \d"/);
  }));

Deno.test("the black box of a run that was cut short is printed, as a table and as JSON", () =>
  onGround(async ({ dir, fly }) => {
    await fly(new FakeEngine(), ({ engine, tick }) => {
      counted(engine, 1, 1);
      tick(100);
    });
    await Deno.writeTextFile(path.join(dir, "box-00000001.log"), "00000000 12 {", { append: true });
    const print = async (...args: string[]) => {
      let [out, err] = ["", ""];
      const terminal = {
        out: (text: string) => void (out += text),
        err: (text: string) => void (err += text),
      };
      const code = await blackboxCommand.run(["--dir", dir, ...args], terminal);
      return { code, out, err };
    };
    const { code, out, err } = await print();
    assertEquals(code, 0);
    assertMatch(out, /^ {3}1 {2} +0\.000 s {2}start /m);
    assertMatch(out, /snapshot {4}ready; plan \d+; detector: 1 requests, 1 missed/);
    assertMatch(err, /13 bytes are no records/);
    const json = (await print("--json")).out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(json.map(({ n }) => n), json.map((_, index) => index + 1));
    assertEquals((await print("--last", "1ns")).out.split("\n").length < out.split("\n").length, true);
    await assertRejects(() => print("--last", "soon"), InputError);
  }));

Deno.test("without a folder of its own a mission gets one below the user's; the simulator's lies apart", () => {
  const env = (values: Record<string, string>) => (name: string) => values[name];
  const where = (state: MissionFiles["mission"]["state"], backend: "cuda" | "sim", values = {}) =>
    stateFolder({ state }, "/missions/survey.yaml", backend, env(values));
  const home = { HOME: "/h" };
  assertMatch(
    where({ kind: "default" }, "cuda", home)!,
    /^\/h\/\.local\/state\/calypte\/survey-[0-9a-f]{8}$/,
  );
  assertEquals(where({ kind: "dir", dir: "/x" }, "cuda", { CALYPTE_STATE: "off" }), "/x");
  assertEquals(where({ kind: "dir", dir: "/x" }, "sim"), "/x/sim");
  assertEquals(where({ kind: "off" }, "cuda", home), undefined);
  assertEquals(where({ kind: "default" }, "cuda"), undefined);
  assertEquals(stateHome(env({ CALYPTE_STATE: "off", HOME: "/h" })), undefined);
  assertEquals(stateHome(env({ CALYPTE_STATE: "/s", HOME: "/h" })), "/s");
  assertEquals(stateHome(env({ XDG_STATE_HOME: "/x", HOME: "/h" })), "/x/calypte");
  assertEquals(stateHome(env({ XDG_STATE_HOME: "x", HOME: "/h" })), "/h/.local/state/calypte");
});

Deno.test("what was ordered outlives a crash of the agent, and not the end of the run", () =>
  onGround(async ({ fly, open, said }) => {
    {
      // Without the end that `finish` writes.
      await using store = await open();
      const orders = new Orders(store);
      orders.order("map", "pause");
      orders.forceSafeMode(true);
      orders.orderPolicy({ name: "round-robin", options: {}, instead: '["weighted-fair",null,{}]' });
    }
    await fly(new FakeEngine(), async ({ engine, status }) => {
      counted(engine, 10, 100);
      const { background } = await status() as { background: Record<string, unknown> };
      const { state, why } = background["map"] as Record<string, unknown>;
      assertEquals([state, why], ["paused", "ordered at day 1"]);
      assertEquals(engine.calls.filter((call) => call.startsWith("hold")), ["hold safe-mode true"]);
      const first = engine.plans[0];
      assertEquals(first?.entries.map(({ job }) => job), [1]);
      assertEquals(said.filter((line) => line.includes("as was ordered at")).length, 3);
      assertEquals(said.filter((line) => line.includes("the policy is round-robin")).length, 1);
    });
    await fly(new FakeEngine(), async ({ engine, status }) => {
      counted(engine, 10, 100);
      const { background } = await status() as { background: Record<string, unknown> };
      assertEquals((background["map"] as Record<string, unknown>)["state"], "waiting");
      assertEquals(engine.calls.filter((call) => call.startsWith("hold")), []);
    });
  }));
