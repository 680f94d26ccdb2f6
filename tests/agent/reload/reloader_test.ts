import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import { loadMission } from "../../../agent/config.ts";
import type { Logger } from "../../../agent/log.ts";
import { type MissionFiles, readMissionFiles } from "../../../agent/prepare.ts";
import { LiveSettings, liveValuesOf } from "../../../agent/reload/live_settings.ts";
import { Reloader } from "../../../agent/reload/reloader.ts";
import { EngineError } from "../../../ffi/errors.ts";
import type { SafeModeRule } from "../../../ffi/safe_mode.ts";
import { findPolicy } from "../../../policies/registry.ts";
import { writeMission } from "../mission_fixture.ts";

interface Scene {
  reloader: Reloader;
  live: LiveSettings;
  /** Writes the mission anew, from its first text. */
  edit: (change: (text: string) => string) => Promise<void>;
  said: string[];
  rules: (SafeModeRule | undefined)[];
  /** The engine refuses this often from now on. */
  failing: { times: number };
  dir: string;
  reads: () => number;
  /** Runs within the next read, ahead of it. */
  during: { call: () => void };
}

async function onStage(test: (scene: Scene) => Promise<void>): Promise<void> {
  await using fixture = await writeMission();
  const first = await Deno.readTextFile(fixture.file);
  const files = await readMissionFiles(await loadMission(fixture.file));
  const live = new LiveSettings(liveValuesOf(files));
  const said: string[] = [];
  const say = (level: string) => (text: string) => void said.push(`${level} ${text}`);
  const log: Logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  const rules: (SafeModeRule | undefined)[] = [];
  const failing = { times: 0 };
  const during = { call: () => {} };
  let reads = 0;
  const read = async (): Promise<MissionFiles> => {
    reads++;
    const { call } = during;
    during.call = () => {};
    call();
    return await readMissionFiles(await loadMission(fixture.file));
  };
  const setSafeMode = (rule: SafeModeRule | undefined) => {
    if (failing.times-- > 0) throw new EngineError(-10, "set the rule of safe mode", "busy");
    rules.push(rule);
  };
  await test({
    reloader: new Reloader({ files, read, live, setSafeMode, log }),
    live,
    edit: async (change) => {
      const text = change(first);
      await Deno.writeTextFile(fixture.file, text);
    },
    ...{ said, rules, failing, dir: fixture.dir, reads: () => reads, during },
  });
}

const weight = (value: number) => (text: string) => text.replace("weight: 3", `weight: ${value}`);

Deno.test("a file that is the same changes nothing and says so", () =>
  onStage(async ({ reloader, live, said }) => {
    const before = live.values;
    assertEquals(await reloader.reload("SIGHUP"), { kind: "applied", live: [], restart: [] });
    assert(live.values === before);
    assertStringIncludes(said.join(), "SIGHUP: the mission was read again and is the same");
  }));

Deno.test("what is live is applied in one stroke, what is not is named and left", () =>
  onStage(async ({ reloader, live, edit, said, rules }) => {
    const seen = new Set<unknown>([live.values]);
    await edit((text) => `${weight(9)(text)}\nsafeMode: off\npreemptionBound: 77us\n`);
    const outcome = await reloader.reload("SIGHUP");
    seen.add(live.values);
    assert(outcome.kind === "applied");
    assertEquals(outcome.live.map((text) => text.split(":")[0]), ["safeMode", "background.map.weight"]);
    assertEquals(outcome.restart.map((text) => text.split(":")[0]), ["preemptionBound"]);
    assertEquals([live.values.jobs.get("map")?.weight, live.values.safeMode, rules], [9, undefined, [
      undefined,
    ]]);
    assertEquals(seen.size, 2);
    assertStringIncludes(said.join("\n"), "warn SIGHUP: needs a restart: preemptionBound: ");
    const again = await reloader.reload("SIGHUP");
    assert(again.kind === "applied");
    assertEquals([again.live, again.restart.length], [[], 1]);
  }));

for (
  const [what, change] of [
    ["is no YAML", () => "critical: ["],
    [
      "breaks a rule far behind what would be live",
      (text: string) => `${weight(9)(text)}\nsafeMode: { misses: 0 }\n`,
    ],
    [
      "names a bundle that is not there",
      (text: string) => weight(9)(text).replace("bundle: detector", "bundle: nowhere"),
    ],
    [
      "names a policy that does not exist",
      (text: string) => `${weight(9)(text)}`.replace(/$/, "\npolicy: nonsense\n"),
    ],
  ] as const
) {
  Deno.test(`of a mission that ${what} nothing is applied, and a good one is taken up later`, () =>
    onStage(async ({ reloader, live, edit, said, rules }) => {
      const before = live.values;
      await edit((text) => change(text));
      const outcome = await reloader.reload("SIGHUP");
      assertEquals([outcome.kind, live.values === before, rules.length], ["refused", true, 0]);
      assertStringIncludes(said.join("\n"), "the last good one goes on: ");
      await edit(weight(4));
      assertEquals((await reloader.reload("SIGHUP")).kind, "applied");
      assertEquals(live.values.jobs.get("map")?.weight, 4);
    }));
}

Deno.test("an engine that does not take the rule of safe mode leaves all as it was, and is asked again next time", () =>
  onStage(async ({ reloader, live, edit, rules, failing }) => {
    const before = live.values;
    await edit((text) => `${weight(9)(text)}\nsafeMode: off\n`);
    failing.times = 1;
    assertEquals((await reloader.reload("SIGHUP")).kind, "refused");
    assert(live.values === before);
    assertEquals((await reloader.reload("SIGHUP")).kind, "applied");
    assertEquals([live.values.jobs.get("map")?.weight, rules], [9, [undefined]]);
  }));

Deno.test("a live change that leans on one that needs a restart waits for the restart", () =>
  onStage(async ({ reloader, live, edit }) => {
    const before = live.values;
    await edit((text) => `${text.replace("weight: 3", "when: [cruising]")}\nconditions: { file: c.json }\n`);
    const outcome = await reloader.reload("SIGHUP");
    assert(outcome.kind === "applied");
    assertEquals([outcome.live, live.values === before], [[], true]);
    assertStringIncludes(outcome.restart.join("\n"), "background.map.when needs `conditions`");
  }));

Deno.test("what the file does not change stays as an operator has set it", () =>
  onStage(async ({ reloader, live, edit }) => {
    const builtIn = findPolicy("round-robin")!;
    live.apply({ policy: { name: "round-robin", builtIn, file: undefined, options: {} } });
    live.order("map", "pause");
    await edit(weight(4));
    await reloader.reload("SIGHUP");
    assertEquals([live.values.policy.name, live.barredBy("map")], ["round-robin", "paused"]);
    assertEquals(live.values.jobs.get("map")?.weight, 4);
  }));

Deno.test("requests that come while one is at work are one more, which reads what was written meanwhile", () =>
  onStage(async ({ reloader, live, edit, reads, during }) => {
    const waiting: Promise<unknown>[] = [];
    during.call = () => waiting.push(reloader.reload("b"), reloader.reload("c"));
    const first = reloader.reload("a");
    await first;
    await edit(weight(5));
    await Promise.all(waiting);
    assertEquals([reads(), live.values.jobs.get("map")?.weight, reloader.applied], [2, 5, 2]);
  }));

Deno.test("what is read when the run is over is not applied", () =>
  onStage(async ({ reloader, live, edit, said, rules, during, reads }) => {
    const before = live.values;
    await edit((text) => `${weight(5)(text)}\nsafeMode: off\n`);
    during.call = () => reloader.end();
    assertEquals((await reloader.reload("SIGHUP")).kind, "refused");
    assertEquals((await reloader.reload("SIGHUP")).kind, "refused");
    assertEquals([live.values === before, rules, said, reads()], [true, [], [], 1]);
  }));

Deno.test("frames that were read before are not read again; those of another folder are", async () => {
  await using fixture = await writeMission();
  const first = await readMissionFiles(await loadMission(fixture.file));
  await Deno.rename(`${fixture.dir}/frames`, `${fixture.dir}/other`);
  const again = await readMissionFiles(await loadMission(fixture.file), first);
  assert(again.frames.get("detector") === first.frames.get("detector"));
  await Deno.writeTextFile(
    fixture.file,
    (await Deno.readTextFile(fixture.file)).replaceAll("frames: frames", "frames: other"),
  );
  const moved = await readMissionFiles(await loadMission(fixture.file), first);
  assert(moved.frames.get("detector") !== first.frames.get("detector"));
});
