/** Does preflight say GO to what may fly, and NO-GO, with the reason, to what may not? */
import { assert, assertEquals, assertMatch } from "../../assert.ts";
import { checkpointCompiler } from "../../../agent/checkpoint.ts";
import { closeLibrary, openEngine } from "../../../agent/commands/engines.ts";
import { loadMission } from "../../../agent/config.ts";
import type { Finding } from "../../../agent/doctor/finding.ts";
import { main } from "../../../agent/main.ts";
import type { LoadedWork, StepReport } from "../../../agent/load.ts";
import { preemptionFindings, progressFindings } from "../../../agent/preflight/checks.ts";
import { type Ground, preflight } from "../../../agent/preflight/preflight.ts";
import { runningFindings, type RunningStatus } from "../../../agent/preflight/running.ts";
import { readMissionFiles } from "../../../agent/prepare.ts";
import { stateFolder } from "../../../agent/state_folder.ts";
import { QUARANTINE, QUARANTINE_VERSION } from "../../../agent/store/release.ts";
import { Sections } from "../../../agent/store/sections.ts";
import { DiskFiles } from "../../../agent/store/store_files.ts";
import { emptySample } from "../../../jetson/telemetry.ts";
import type { DeviceInfo } from "../../../ffi/mod.ts";
import { writeMission } from "../mission_fixture.ts";
import { setUpCommands } from "../commands/scene.ts";

const SIM = ["--backend", "sim"];

async function calypte(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await main(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

// deno-lint-ignore no-explicit-any
async function findingsOf(...args: string[]): Promise<any> {
  const { code, out } = await calypte("preflight", ...args, "--json");
  const answer = JSON.parse(out);
  assertEquals(code, answer.verdict === "GO" ? 0 : 1);
  return answer;
}

const failing = (findings: Finding[]) => findings.filter(({ verdict }) => verdict === "fail");

Deno.test("a mission that is right is GO, says that nothing was measured, and leaves no file behind", async () => {
  await using fixture = await writeMission();
  const before = [...Deno.readDirSync(fixture.dir)].map(({ name }) => name).sort();
  const { verdict, findings } = await findingsOf(fixture.file, ...SIM);
  assertEquals([verdict, failing(findings)], ["GO", []]);
  const lineOf = (what: string) => findings.find((each: Finding) => each.what === what);
  assertMatch(lineOf("mission").text, /1 critical, 2 background/);
  assertMatch(lineOf("device").text, /simulated/);
  assertMatch(lineOf("preemption").text, /not measured/);
  assertMatch(lineOf("deadlines").text, /^detector: worst case .* of 5 ms/);
  assertEquals([...Deno.readDirSync(fixture.dir)].map(({ name }) => name).sort(), before);
  const { code, out } = await calypte("preflight", fixture.file, ...SIM);
  assertEquals(code, 0);
  assertMatch(out, /\n\nGO: \d+ to look at\n$/);
});

Deno.test("strict, a warning is NO-GO", async () => {
  await using fixture = await writeMission();
  assertEquals((await findingsOf(fixture.file, ...SIM, "--strict")).verdict, "NO-GO");
});

Deno.test("without a GPU a mission that wants one, if there is one, is NO-GO", async () => {
  await using fixture = await writeMission();
  const { verdict, findings } = await findingsOf(fixture.file);
  if (findings.some(({ text }: Finding) => text.includes("driver"))) return;
  assertEquals(verdict, "NO-GO");
  assertMatch(failing(findings)[0]!.text, /would only simulate/);
});

Deno.test("a mission that is wrong is NO-GO with each fault, and no crash", async () => {
  const { verdict, findings } = await findingsOf("no-such.yaml");
  assertEquals([verdict, findings.length], ["NO-GO", 1]);
  assertEquals(findings[0].text, "no-such.yaml: does not exist");
});

Deno.test("a bundle that does not compute its sample is NO-GO", async () => {
  await using fixture = await writeMission({ wrongSample: true });
  const { verdict, findings } = await findingsOf(fixture.file, ...SIM);
  assertEquals(verdict, "NO-GO");
  assertEquals(failing(findings).map(({ what }) => what), ["bundle", "bundle"]);
});

Deno.test("deadlines that cannot be met are NO-GO, with the arithmetic", async () => {
  await using fixture = await writeMission({ estimateUs: 6000 });
  const { findings } = await findingsOf(fixture.file, ...SIM);
  assertEquals(new Set(failing(findings).map(({ what }) => what)), new Set(["deadlines"]));
  assertMatch(failing(findings).map(({ text }) => text).join("\n"), /worst case .* too late/);
});

Deno.test("results that cannot be written are NO-GO", async () => {
  await using fixture = await writeMission();
  await Deno.writeTextFile(`${fixture.dir}/out`, "a file where a folder is needed");
  const { findings } = await findingsOf(fixture.file, ...SIM);
  assertEquals(new Set(failing(findings).map(({ what }) => what)), new Set(["results"]));
});

Deno.test("a job in quarantine is said, and its state is not touched", async () => {
  await using fixture = await writeMission();
  const mission = await loadMission(fixture.file);
  const { bundles } = await readMissionFiles(mission);
  const before = Deno.env.get("CALYPTE_STATE");
  Deno.env.set("CALYPTE_STATE", `${fixture.dir}/state`);
  try {
    const dir = stateFolder(mission, await Deno.realPath(fixture.file), "sim", (name) => Deno.env.get(name))!;
    await Deno.mkdir(dir, { recursive: true });
    const digest = bundles.get("map")!.digestHex;
    const entry = { job: "map", digest, reason: "it hung", since: "", count: 5 };
    const put = async (state: unknown) =>
      await new Sections(new DiskFiles(dir), () => {}).write(
        QUARANTINE,
        QUARANTINE_VERSION,
        new TextEncoder().encode(JSON.stringify(state)),
      );
    await put({ quarantined: [entry], failures: [] });
    const lines = async () =>
      (await findingsOf(fixture.file, ...SIM)).findings.filter(({ what }: Finding) => what === "quarantine");
    assertMatch((await lines())[0].text, /map is left out: it failed 5 times: it hung/);
    await put({ quarantined: [{ ...entry, digest: "another" }], failures: [] });
    assertEquals((await lines())[0].text, "no job is in it");
    await put("nonsense");
    const names = [...Deno.readDirSync(dir)].map(({ name }) => name);
    assertEquals((await lines())[0].verdict, "ok");
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), names);
  } finally {
    if (before === undefined) Deno.env.delete("CALYPTE_STATE");
    else Deno.env.set("CALYPTE_STATE", before);
  }
});

Deno.test("where an agent runs the mission, its status is judged; another mission there is NO-GO", async () => {
  await using scene = await setUpCommands();
  await using fixture = await writeMission({ listen: scene.address });
  const { findings } = await findingsOf(fixture.file);
  const agent = findings.find(({ what }: Finding) => what === "agent");
  assertEquals(agent.text, "calypte 1.2.3 runs mission.yaml, ready");
  const other = `${fixture.dir}/other.yaml`;
  await Deno.copyFile(fixture.file, other);
  const refused = await findingsOf(other);
  assertEquals(refused.verdict, "NO-GO");
  assertMatch(refused.findings[0].text, /runs another mission there: mission\.yaml/);
});

// ---- A ground of which the test says how it is

async function fly(change: Partial<Ground>): Promise<Finding[]> {
  await using fixture = await writeMission();
  const files = await readMissionFiles(await loadMission(fixture.file));
  using _library = { [Symbol.dispose]: closeLibrary };
  return await preflight(files, {
    device: simulated(),
    ...{
      checkpoint: checkpointCompiler,
      files: { text: () => Promise.resolve(undefined), list: () => Promise.resolve([]) },
    },
    kernelConfig: () => Promise.resolve(undefined),
    criticalCore: undefined,
    verified: { has: () => false, add: () => Promise.resolve() },
    open: () => Promise.resolve(openEngine({ backend: "sim", clock: "real" })),
    others: () => Promise.resolve(undefined),
    realtime: () => ({ name: "realtime", on: true, reason: "" }),
    sample: () => Promise.resolve(emptySample(0)),
    folders: [],
    quarantined: () => Promise.resolve([]),
    step: () => {},
    ...change,
  });
}

function simulated(): DeviceInfo {
  using engine = openEngine({ backend: "sim", clock: "real" });
  return engine.device();
}

Deno.test("somebody on the GPU whom the mission does not name is NO-GO; whoever cannot be seen is to look at", async () => {
  const lines = async (sighting: Awaited<ReturnType<Ground["others"]>>) =>
    (await fly({ others: () => Promise.resolve(sighting) })).filter(({ what }) =>
      what === "others on the GPU"
    );
  assertEquals((await lines({ users: [{ pid: 7, name: "gnome-shell" }] })).map(({ verdict }) => verdict), [
    "fail",
  ]);
  assertEquals((await lines({ users: [], blind: "no NVML" })).map(({ verdict }) => verdict), ["warn"]);
  assertEquals((await lines({ users: [] })).map(({ verdict }) => verdict), ["ok"]);
});

Deno.test("an engine that cannot be opened is NO-GO with the reason, and all else is still looked at", async () => {
  const findings = await fly({ open: () => Promise.reject(new Error("the GPU has fallen off the bus")) });
  assertEquals(failing(findings).map(({ text }) => text), ["the GPU has fallen off the bus"]);
  assert(findings.some(({ what }) => what === "quarantine"));
});

Deno.test("each look is told before it is taken", async () => {
  const steps: string[] = [];
  await fly({ step: (share, text) => void (steps.push(`${share.toFixed(1)} ${text}`)) });
  assertEquals(steps[0], "0.0 mission");
  assertEquals(steps.length, 7);
});

// ---- What a GPU measured

function job(name: string, steps: Pick<StepReport, "level" | "drainNs" | "blockLastsNs">[]): LoadedWork {
  const whole = steps.map((step) => ({
    ...{ kernel: "k", launches: 1, notes: [], blocksPerSm: 1, blocksPerSmUntouched: 1 },
    ...step,
  }));
  return { name, steps: whole } as unknown as LoadedWork;
}

Deno.test("a job that keeps the GPU longer than preemptionBound is NO-GO", () => {
  const good = job("map", [{ level: "loop", drainNs: 12_000 }, { level: "block", drainNs: 20_000 }]);
  assertEquals(preemptionFindings([good], 30_000, false), [
    { what: "preemption", verdict: "ok", text: "at most 20 us, of map; preemptionBound 30 us" },
  ]);
  const slow = job("survey", [{ level: "block", drainNs: 31_000 }]);
  const [found] = preemptionFindings([good, slow], 30_000, false);
  assertEquals(found?.verdict, "fail");
  assertMatch(found?.text ?? "", /survey: k keeps the GPU 31 us, beyond preemptionBound 30 us/);
});

Deno.test("a job that cannot be preempted is to look at", () => {
  const found = preemptionFindings(
    [job("map", [{ level: "whole" }, { level: "block", drainNs: 1000 }])],
    30_000,
    false,
  );
  assertEquals(found.map(({ verdict }) => verdict), ["warn", "ok"]);
  assertMatch(found[0]!.text, /1 of 2 steps cannot be preempted/);
});

Deno.test("a job whose blocks last longer than the GPU is ever free is to look at: it would get nowhere", () => {
  const steps = (lastsNs: number) => [
    { level: "block" as const, drainNs: 9e6 },
    { level: "loop" as const, drainNs: 8000, blockLastsNs: lastsNs },
  ];
  const rhythms = [
    { name: "chain", periodNs: 10e6, executionNs: 1e6 },
    { name: "detector", periodNs: 4.5e6, executionNs: 0.5e6 },
  ];
  const jobs = (lastsNs: number) => [job("map", steps(3.9e6)), job("survey", steps(lastsNs))];
  assertEquals(progressFindings(jobs(4e6), rhythms), []);
  const [found, ...others] = progressFindings(jobs(4.1e6), rhythms);
  assertEquals([found?.verdict, others], ["warn", []]);
  assertMatch(
    found!.text,
    /^survey: a block of k lasts 4.1 ms, and the GPU is free for 4 ms between requests of detector/,
  );
  assertEquals(progressFindings(jobs(4.1e6), [rhythms[0]!]), []);
  assertEquals(progressFindings(jobs(1e9), []), []);
});

// ---- What an agent says of itself

const STATUS: RunningStatus = {
  ...{ version: "1.2.3", mission: "m.yaml", state: "ready", timing: "measured" },
  device: { name: "Orin", driver: "540" },
  safeMode: { on: false, reasons: [] },
  critical: { detector: { requests: 100, misses: { late: 0 } } },
};

Deno.test("an agent that is ready, out of safe mode and missed nothing is good", () => {
  assertEquals(runningFindings(STATUS, 30_000, false).filter(({ verdict }) => verdict !== "ok"), []);
});

for (
  const [what, change, verdict, text] of [
    ["is not ready", { state: "fault" }, "fail", /fault/],
    ["simulates where a GPU is wanted", { timing: "simulated" }, "fail", /only simulates/],
    ["is in safe mode", { safeMode: { on: true, reasons: ["forced"] } }, "fail", /forced/],
    ["holds background", { holds: ["caller"] }, "warn", /held: caller/],
    ["missed requests", { critical: { detector: { requests: 9, misses: { late: 2 } } } }, "warn", /2 of 9/],
    ["shares the GPU with somebody", { foreign: { withheld: "x used the GPU too" } }, "fail", /x used/],
    ["left a job out", { store: { quarantine: [{ job: "map", reason: "hung", count: 5 }] } }, "warn", /map/],
    [
      "has a job that leaves too late",
      { background: { map: { steps: [{ kernel: "k", drainNs: 99_000 }] } } },
      "fail",
      /99 us/,
    ],
  ] as [string, Partial<RunningStatus>, Finding["verdict"], RegExp][]
) {
  Deno.test(`an agent that ${what}: ${verdict}`, () => {
    const bad = runningFindings({ ...STATUS, ...change }, 30_000, false).filter(({ verdict }) =>
      verdict !== "ok"
    );
    assertEquals(bad.map(({ verdict }) => verdict), [verdict]);
    assertMatch(bad[0]!.text, text);
  });
}
