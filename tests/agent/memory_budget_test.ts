/** What does a bundle need, and is a mission that asks for more than it may have refused before anything is loaded? */
import { type Bundle, loadBundle } from "../../agent/bundle.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { loadMission, type Mission } from "../../agent/config.ts";
import { createCounters } from "../../agent/counters.ts";
import { InputError } from "../../agent/errors.ts";
import { SILENT } from "../../agent/log.ts";
import { checkBudgets, checkDevice } from "../../agent/memory_budget.ts";
import { bytesOn, memoryNeed, useOf } from "../../agent/memory_need.ts";
import { prepareMission, readMissionFiles } from "../../agent/prepare.ts";
import { parseBytes } from "../../agent/quantity.ts";
import { path } from "../../agent/std/mod.ts";
import { supervise } from "../../agent/supervisor.ts";
import type { DeviceInfo, Feature } from "../../ffi/engine.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { FakeEngine } from "./fake_engine.ts";
import { FRAME_BYTES, writeMission } from "./mission_fixture.ts";

const MIB = 2 ** 20;
const BACKGROUND = { kind: "background" } as const;

type Role = Bundle["manifest"]["buffers"][number]["role"];
type Sizes = Partial<Record<Role, number>>;

/** The bundle with one buffer of each of these roles and sizes in place of its own. */
function resized(bundle: Bundle, sizes: Sizes): Bundle {
  const { manifest } = bundle;
  const others = manifest.buffers.filter(({ role }) => sizes[role] === undefined);
  const given = Object.entries(sizes).map(([role, sizeBytes]) => ({
    name: role,
    role: role as Role,
    sizeBytes,
    dtype: undefined,
    shape: undefined,
    data: undefined,
  }));
  return { ...bundle, manifest: { ...manifest, buffers: [...others, ...given] } };
}

interface Loaded {
  mission: Mission;
  bundles: Map<string, Bundle>;
}

/** A detector and the jobs map and thumbs, all of one small bundle but for those given here. */
async function loaded(
  sizes: Record<string, Sizes> = {},
  changes: Record<string, string> = {},
): Promise<Loaded> {
  await using fixture = await writeMission();
  let text = await Deno.readTextFile(fixture.file);
  for (const [from, to] of Object.entries(changes)) {
    assertStringIncludes(text, from);
    text = text.replace(from, to);
  }
  await Deno.writeTextFile(fixture.file, text);
  const mission = await loadMission(fixture.file);
  const small = await loadBundle(path.join(fixture.dir, "map"));
  const names = ["detector", "map", "thumbs"];
  return { mission, bundles: new Map(names.map((name) => [name, resized(small, sizes[name] ?? {})])) };
}

async function smallBundle(sizes: Sizes = {}): Promise<Bundle> {
  return (await loaded({ map: sizes })).bundles.get("map")!;
}

function refusal(check: () => void): InputError {
  return assertThrows(check, InputError);
}

Deno.test("a job needs its buffers as the driver rounds them, its control words and its code", async () => {
  const need = memoryNeed(
    await smallBundle({ weight: 3 * MIB, scratch: 5000, state: 4, input: 513 }),
    BACKGROUND,
  );
  assertEquals(Object.fromEntries(need.items.map(({ what, sizeBytes }) => [what, sizeBytes])), {
    weights: 4 * MIB,
    state: 512,
    scratch: 5120,
    "inputs and outputs": 1024 + FRAME_BYTES,
    "control words": 8192 + 512,
    code: 4 * MIB,
  });
  assertEquals(need.copyBytes, 4 * MIB + 512 + 5120 + 1024 + FRAME_BYTES);
});

Deno.test("eight units may be under way, four of more than 4 MiB, and no slot is without an address", async () => {
  const slots = async (sizes: Sizes) => memoryNeed(await smallBundle(sizes), BACKGROUND).slots.sizeBytes;
  assertEquals(await slots({ input: 4 * MIB - 1024, output: 1024 }), 8 * 4 * MIB);
  assertEquals(await slots({ input: 4 * MIB, output: 1024 }), 4 * (4 * MIB + 1024));
  assertEquals(await slots({ input: 1, output: 1 }), 8 * 512);
});

Deno.test("a critical task has slots for the requests that wait and for three more", async () => {
  const bundle = await smallBundle({ input: 4096, output: 8192 });
  for (const queueDepth of [1, 16]) {
    const { slots, items } = memoryNeed(bundle, { kind: "critical", queueDepth });
    assertEquals(slots.sizeBytes, (queueDepth + 3) * 12_288);
    assert(!items.some(({ what }) => what === "control words"));
  }
});

Deno.test("a refused budget names the job, its need by item, the limit, and a remedy that suffices", async () => {
  const sizes = { map: { weight: 700 * MIB, scratch: 100 * MIB } };
  const { mission, bundles } = await loaded(sizes, { "weight: 3": "weight: 3, memory: 600MiB" });
  const { field, rule, remedy } = refusal(() => checkBudgets(mission, bundles, false));
  assertEquals(field, "background.map.memory");
  assertStringIncludes(rule, "must be at least what its bundle needs, not 600 MiB; job map needs 804 MiB: ");
  assertStringIncludes(rule, "700 MiB for weights, 100 MiB for scratch, 4 MiB for code, ");
  assertEquals(remedy, "give it 805MiB, or take a smaller bundle");
  const remedied = await loaded(sizes, { "weight: 3": "weight: 3, memory: 805MiB" });
  checkBudgets(remedied.mission, remedied.bundles, false);
});

Deno.test("a budget holds to the byte", async () => {
  const { mission, bundles } = await loaded();
  const [job] = mission.background;
  const bytes = bytesOn(memoryNeed(bundles.get("map")!, BACKGROUND), false);
  const within = (memoryBytes: number) => () =>
    checkBudgets({ ...mission, background: [{ ...job!, memoryBytes }] }, bundles, false);
  within(bytes)();
  refusal(within(bytes - 1));
});

Deno.test("the remedy suffices where three digits would round down", async () => {
  const { mission, bundles } = await loaded({ map: { weight: 4116 * MIB } });
  const limited = (memoryBytes: number): Mission => ({
    ...mission,
    background: mission.background.slice(0, 1).map((job) => ({ ...job, memoryBytes })),
  });
  const { remedy } = refusal(() => checkBudgets(limited(1), bundles, false));
  const [, given = ""] = /give it ([^,]+),/.exec(remedy ?? "") ?? [];
  checkBudgets(limited(parseBytes(given)), bundles, false);
});

Deno.test("where CPU and GPU share memory, units under way count", async () => {
  const { mission, bundles } = await loaded({}, { "weight: 3": "weight: 3, memory: 4110KiB" });
  checkBudgets(mission, bundles, false);
  assertStringIncludes(refusal(() => checkBudgets(mission, bundles, true)).rule, "8 KiB for units under way");
});

Deno.test("the limit of all background jobs names the first that is too much, and what would do", async () => {
  const sizes = { map: { weight: 100 * MIB }, thumbs: { weight: 50 * MIB } };
  const withLimit = (limit: string) =>
    loaded(sizes, { "policy:": `device: { backgroundMemory: ${limit} }\npolicy:` });
  const { mission, bundles } = await withLimit("128MiB");
  const { field, rule, remedy } = refusal(() => checkBudgets(mission, bundles, false));
  assertEquals(field, "device.backgroundMemory");
  assertStringIncludes(
    rule,
    "not 128 MiB; the jobs before it take 104 MiB, and job thumbs needs 54 MiB: 50 MiB for",
  );
  const enough = /raise it to (\d+MiB)/.exec(remedy ?? "")?.[1] ?? "";
  const raised = await withLimit(enough);
  checkBudgets(raised.mission, raised.bundles, false);
});

Deno.test("all limits that do not hold are reported at once, and critical work has none", async () => {
  const { mission, bundles } = await loaded({ detector: { weight: 2 ** 40 } }, {
    "weight: 3": "weight: 3, memory: 1MiB",
    "weight: 1": "weight: 1, memory: 2MiB",
    "policy:": "device: { backgroundMemory: 3MiB }\npolicy:",
  });
  const { problems } = refusal(() => checkBudgets(mission, bundles, false));
  assertEquals(problems.map(({ field }) => field), [
    "background.map.memory",
    "background.thumbs.memory",
    "device.backgroundMemory",
  ]);
});

for (const integrated of [false, true]) {
  for (const largest of ["detector", "map", "thumbs"]) {
    const where = integrated ? "a board that shares its memory" : "a card";
    Deno.test(`${where} must have free what all works keep and the copy of ${largest}, the largest, to the byte`, async () => {
      const { mission, bundles } = await loaded({ [largest]: { weight: 200 * MIB, input: 3 * MIB } });
      const needs = [...mission.critical, ...mission.background].map((work) =>
        memoryNeed(bundles.get(work.name)!, useOf(work))
      );
      const copyBytes = Math.max(...needs.map((need) => need.copyBytes));
      const freeBytes = needs.reduce((sum, need) => sum + bytesOn(need, integrated), copyBytes);
      checkDevice(mission, bundles, { freeBytes, integrated });
      const error = refusal(() => checkDevice(mission, bundles, { freeBytes: freeBytes - 1, integrated }));
      assertEquals(error.field, "background.thumbs");
      assertStringIncludes(error.rule, `are needed once more while ${largest} is tried`);
    });
  }
}

Deno.test("critical work comes first: what does not fit beside it is the background job", async () => {
  const large = { weight: 300 * MIB };
  const { mission, bundles } = await loaded({ detector: large, map: large });
  const at = (freeBytes: number) =>
    refusal(() => checkDevice(mission, bundles, { freeBytes, integrated: false })).field;
  assertEquals([at(700 * MIB), at(500 * MIB)], ["background.map", "critical.detector"]);
});

Deno.test("a device that does not say what it has free refuses nothing", async () => {
  const { mission, bundles } = await loaded({ map: { weight: 2 ** 45 } });
  checkDevice(mission, bundles, { freeBytes: 0, integrated: false });
});

/** A GPU with this much memory free. */
class SmallGpu extends FakeEngine {
  override backend = "cuda" as const;
  constructor(readonly freeBytes: number, readonly integrated = false) {
    super();
  }
  override device(): DeviceInfo {
    return { ...super.device(), memoryFreeBytes: this.freeBytes };
  }
  override features(): Feature[] {
    return [{ name: "integrated", on: this.integrated, reason: "" }];
  }
}

async function refusedRun(
  engine: SmallGpu,
  change: [from: string, to: string] = ["", ""],
): Promise<InputError> {
  await using fixture = await writeMission();
  const text = await Deno.readTextFile(fixture.file);
  await Deno.writeTextFile(fixture.file, text.replace(...change));
  const files = await readMissionFiles(await loadMission(fixture.file));
  const error = await assertRejects(() =>
    supervise({
      engine,
      checkpoint: checkpointCompiler,
      files,
      log: SILENT,
      version: "0",
      seed: 1,
      timers: { every: () => () => {}, pause: () => Promise.resolve() },
      stop: new Promise(() => {}),
    }), InputError);
  await assertRejects(() => Deno.stat(path.join(fixture.dir, "out")), Deno.errors.NotFound);
  return error;
}

Deno.test("a mission that does not fit the GPU is refused with nothing loaded and no file written", async () => {
  const engine = new SmallGpu(2 * MIB);
  const { exitCode, field } = await refusedRun(engine);
  assertEquals([exitCode, field, engine.calls, engine.buffers.length], [
    2,
    "critical.detector",
    ["close"],
    0,
  ]);
});

Deno.test("a budget that holds on a card and not on a board is refused on the board, with nothing loaded", async () => {
  const engine = new SmallGpu(2 ** 30, true);
  const { field } = await refusedRun(engine, ["weight: 3", "weight: 3, memory: 4110KiB"]);
  assertEquals([field, engine.calls, engine.buffers.length], ["background.map.memory", ["close"], 0]);
});

Deno.test("an engine that is taken over has its work loaded: what is free beside it is not asked for", async () => {
  await using fixture = await writeMission();
  const files = await readMissionFiles(await loadMission(fixture.file));
  const prepare = (resume: boolean) =>
    prepareMission({
      ...{ files, resume, engine: new SmallGpu(2 * MIB), checkpoint: checkpointCompiler },
      ...{ counters: createCounters(), log: SILENT, output: false },
    });
  assertEquals((await prepare(true)).jobs.length, 2);
  await assertRejects(
    () => prepare(false),
    InputError,
    "must fit the device's memory, of which 2 MiB are free",
  );
});

Deno.test("budgets are checked with the mission's files, before there is an engine", async () => {
  await using fixture = await writeMission();
  const text = await Deno.readTextFile(fixture.file);
  await Deno.writeTextFile(fixture.file, text.replace("weight: 3", "weight: 3, memory: 1MiB"));
  const mission = await loadMission(fixture.file);
  const { message } = await assertRejects(() => readMissionFiles(mission), InputError);
  assert(message.startsWith(`${fixture.file}: background.map.memory: must be at least`), message);
});
