/** What a drain tells the queues, and in which order; and what a run makes of an input that kills its job's process. */
import { assert, assertEquals } from "../assert.ts";
import { CONSTANTS } from "../../ffi/abi.ts";
import type { Engine, EngineEvent } from "../../ffi/engine.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission } from "../../agent/config.ts";
import { createCounters } from "../../agent/counters.ts";
import { EventLog } from "../../agent/events.ts";
import { EventHistory } from "../../agent/http/history.ts";
import { SILENT } from "../../agent/log.ts";
import { prepareMission, readMissionFiles } from "../../agent/prepare.ts";
import { drain, type PumpOptions } from "../../agent/pump.ts";
import { path } from "../../agent/std/mod.ts";
import { FakeEngine, resultOf } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

const LOST: EngineEvent = {
  ...{ sequence: 0, timeNs: 7, kind: "worker", source: 0, a: CONSTANTS.WORKER_LOST, b: 0, text: "" },
};
const SERVES: EngineEvent = { ...LOST, kind: "engine", source: undefined, a: 2 };

/** What was said, in order, when these events and one result waited. */
function drained(events: EngineEvent[]): string[] {
  const said: string[] = [];
  const results = [resultOf({ position: 1 })];
  const engine = {
    takeEvents: () => events,
    takeResults: () => results.splice(0),
    releaseResults() {},
  } as unknown as Engine;
  const queue = {
    engineLost: () => void said.push("engine lost"),
    processLost: (sure: boolean) => void said.push(`process lost, ${sure ? "sure" : "not sure"}`),
  };
  const prepared = {
    ...{ taskRoutes: [], jobRoutes: [{ take: () => void said.push("result") }], putAway: [] },
    ...{ ledger: { take() {}, settle() {}, releasable() {} }, queues: [queue], queueOf: () => queue },
  } as unknown as PumpOptions["prepared"];
  const counters = createCounters();
  const log = new EventLog({ log: SILENT, counters, leaseNs: 1, tasks: [], jobs: ["map"] });
  drain({ engine, prepared, counters, events: log });
  return said;
}

Deno.test("a queue hears of a loss after the results that came before it: what was done is nobody's to blame", () => {
  assertEquals(drained([LOST]), ["result", "process lost, sure"]);
  assertEquals(drained([SERVES]), ["result", "engine lost"]);
});

Deno.test("a job's process that is lost together with the engine is no witness against its input", () => {
  assertEquals(drained([LOST, { ...SERVES, a: 1 }]), ["result", "process lost, not sure"]);
  assertEquals(drained([{ ...LOST, a: CONSTANTS.WORKER_JOINED }]), ["result"]);
});

Deno.test("an input that kills is counted, told of, kept for the next agent, and its job is forgiven", async () => {
  await using fixture = await writeMission();
  const { dir, file } = fixture;
  await Deno.mkdir(path.join(dir, "in"));
  await Deno.writeTextFile(
    file,
    (await Deno.readTextFile(file)).replace(
      /map: .*/,
      "map: { bundle: map, isolation: process, source: { queue: in }, output: { jsonl: out/map.jsonl } }",
    ),
  );
  await Deno.writeFile(path.join(dir, "in", "one.raw"), new Uint8Array(512).fill(41));
  const engine = new FakeEngine();
  const counters = createCounters();
  let forgiven = 0;
  const kept: string[] = [];
  const prepared = await prepareMission({
    ...{ files: await readMissionFiles(await loadMission(file)), engine, checkpoint: checkpointCompiler },
    ...{ counters, log: SILENT, output: true },
    seat: () => Promise.resolve({ engine: new FakeEngine(), take: () => 0, forgive: () => void forgiven++ }),
    store: {
      suspectsOf: () => ({ suspects: [], worked: true }),
      keepSuspects: (job, queue, { suspects }) => {
        kept.push(`${job} ${path.basename(queue)} ${suspects.map(({ name, lone }) => `${name} ${lone}`)}`);
      },
    },
  });
  const history = new EventHistory("run");
  const events = new EventLog({ log: SILENT, counters, leaseNs: 1, tasks: [], jobs: ["map"], history });
  const pump = { engine, prepared, counters, events };
  try {
    await prepared.open();
    const [queue] = prepared.queues;
    for (let deaths = 0; deaths < 2; deaths++) {
      await queue!.feed();
      assertEquals(engine.submitted.length, deaths + 1);
      engine.events = [LOST];
      drain(pump);
    }
    await queue!.feed();
    drain(pump);
    assertEquals([counters.poisonInputs, forgiven, engine.submitted.length], [1, 1, 2]);
    const told = history.since(undefined).filter(({ kind }) => kind === "input-put-away");
    assertEquals(told.map(({ source, text }) => [source, text]), [[
      "map",
      "one.raw was put into failed/: it ended the job's process twice while it was the only input there",
    ]]);
    assertEquals(kept, ["map in one.raw 1", "map in one.raw 2", "map in one.raw 2", "map in "]);
    assert((await Deno.stat(path.join(dir, "in", "failed", "one.raw.reason.json"))).isFile);
  } finally {
    await prepared.close();
  }
});
