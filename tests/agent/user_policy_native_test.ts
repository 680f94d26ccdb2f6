/** Missions with a user's policy, from the command line to the real library on the simulator. */
import { libraryPath } from "../../ffi/mod.ts";
import { path } from "../../agent/std/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { writeMission } from "./mission_fixture.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}
const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";
const ROOT = new URL("../..", import.meta.url).pathname;

/** With the permissions that `./calypte` gives, from another folder. */
async function calypte(cwd: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(path.join(ROOT, "calypte"), {
    args,
    cwd,
    env: { NO_COLOR: "1", CALYPTE_CACHE: "off", CALYPTE_STATE: "off", CALYPTE_LIBRARY: libraryPath() },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** `policy`: the module's text. `top`: further keys of the mission. `job`: further keys of the job map. */
function missionTest(
  name: string,
  { policy, top = "", job = "" }: { policy?: string; top?: string; job?: string },
  test: (dir: string) => Promise<void>,
): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      await using mission = await writeMission({ mapOutput: "drop" });
      if (policy !== undefined) await Deno.writeTextFile(path.join(mission.dir, "mine.js"), policy);
      const chosen = policy === undefined ? "" : "policy: { file: ./mine.js, lease: 400ms }\n";
      const text = (await Deno.readTextFile(mission.file)).replace(
        "policy: { lease: 400ms }\n",
        chosen + top,
      );
      await Deno.writeTextFile(
        mission.file,
        text.replace("bundle: map, weight: 3,", `bundle: map, weight: 3, ${job}`),
      );
      await test(mission.dir);
    },
  });
}

const simulate = async (dir: string, seconds = 3) => {
  const run = await calypte(dir, "simulate", "mission.yaml", "--for", `${seconds}s`, "--json");
  assertEquals(run.code, 0, run.err);
  return { ...run, summary: JSON.parse(run.out) };
};
/** Share of the first job among the background. */
const mapShare = (summary: { background: Record<string, { gpuSeconds: number }> }) => {
  const { map, thumbs } = summary.background;
  return map!.gpuSeconds / (map!.gpuSeconds + thumbs!.gpuSeconds);
};

const BY_WEIGHT = (weight: string) =>
  `export default ({ jobs, options }) => ({ entries: jobs.map((job) => ({ job: job.id, weight: ${weight}, maxUnits: 0 })) });`;

missionTest("a user's policy shares the GPU as it says, in virtual time with the same bytes each time", {
  policy: BY_WEIGHT(`job.name === "map" ? 1 : 4`),
}, async (dir) => {
  const [one, two] = await Promise.all([simulate(dir), simulate(dir)]);
  assertEquals(one.out, two.out);
  assert(Math.abs(mapShare(one.summary) - 0.2) < 0.05, `${mapShare(one.summary)}`);
  assertEquals([one.summary.events.policyFaults, one.summary.events.leaseExpired], [0, 0]);
});

missionTest("a user's policy that throws for a while loses one lease, then weights rule, then it is back", {
  policy: `export default ({ nowNs, jobs }) => {
    if (nowNs > 1e9 && nowNs < 1.8e9) throw new Error("not now");
    return { entries: jobs.map((job) => ({ job: job.id, weight: job.name === "map" ? 1 : 99, maxUnits: 0 })) };
  };`,
}, async (dir) => {
  const { summary, err } = await simulate(dir, 4);
  assertEquals([summary.events.policyFaults, summary.events.leaseExpired], [1, 1]);
  assertStringIncludes(
    err,
    "it threw: not now; its last plan runs out its lease, then weighted-fair takes over",
  );
  assertEquals(summary.critical.detector.misses, 0);
  // Before and after it is nearly nothing, between the two 3 of 4.
  assert(mapShare(summary) > 0.1 && mapShare(summary) < 0.5, `${mapShare(summary)}`);
});

missionTest("a user's policy that does not load leaves the whole run to the default", {
  policy: "export default {",
}, async (dir) => {
  const { summary, err } = await simulate(dir);
  assert(Math.abs(mapShare(summary) - 0.75) < 0.05, `${mapShare(summary)}`);
  assertStringIncludes(err, "it does not load");
  assert(summary.events.policyFaults >= 1);
});

missionTest("in real time a user's policy is in force from the first plan on", {
  policy: BY_WEIGHT("1"),
}, async (dir) => {
  const { code, out, err } = await calypte(
    dir,
    "run",
    "mission.yaml",
    "--backend",
    "sim",
    "--for",
    "1s",
    "--json",
  );
  assertEquals(code, 0, err);
  const { events, background } = JSON.parse(out);
  assertEquals(events.policyFaults, 0, err);
  assert(background.map.units > 0 && background.thumbs.units > 0, out);
});

missionTest("a job waits for its phase, and a limit for its temperature", {
  top: "conditions: { file: now.json }\nstopBackgroundAbove: { temperature: 80C }\n",
  job: "when: [cruising],",
}, async (dir) => {
  const units = async (conditions: Record<string, unknown>) => {
    await Deno.writeTextFile(path.join(dir, "now.json"), JSON.stringify(conditions));
    const { background } = (await simulate(dir, 1)).summary;
    return [background.map.units > 0, background.thumbs.units > 0];
  };
  assertEquals(await units({ phase: "cruising", temperatureC: 50 }), [true, true]);
  assertEquals(await units({ phase: "landing", temperatureC: 50 }), [false, true]);
  assertEquals(await units({ phase: "cruising", temperatureC: 81 }), [false, false]);
  assertEquals(await units({ phase: "cruising" }), [false, false]);
});

missionTest(
  "a policy file that is not there is a fault of the mission",
  { top: "policy: ./none.js\n" },
  async (dir) => {
    const { code, err } = await calypte(dir, "config", "check", "mission.yaml");
    assertEquals([code, err], [2, "calypte: mission.yaml: policy: none.js does not exist\n"]);
  },
);
