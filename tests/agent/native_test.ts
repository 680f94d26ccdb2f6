/**
 * The agent as a process, with the real library and its simulator. Needs build/libcalypte.so: without it these tests
 * are left out, except in CI, where they fail.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { libraryPath } from "../../ffi/mod.ts";
import { path } from "../../agent/std/mod.ts";
import { type MissionFixture, writeMission } from "./mission_fixture.ts";

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

const ignore = !libraryExists() && (Deno.env.get("CI") ?? "") === "";
const MAIN = new URL("../../agent/main.ts", import.meta.url).pathname;

/** Nothing is kept below the folder of whoever runs the tests. */
function command(args: string[], cache = "off"): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-prompt", MAIN, ...args],
    env: { NO_COLOR: "1", CALYPTE_CACHE: cache, CALYPTE_STATE: "off" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function calypte(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await command(args).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

function nativeTest(
  name: string,
  test: (mission: MissionFixture) => Promise<void>,
  options: Parameters<typeof writeMission>[0] = {},
): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      await using mission = await writeMission(options);
      await test(mission);
    },
  });
}

nativeTest("simulate: the same mission and seed give the same bytes", async ({ file }) => {
  const args = ["simulate", file, "--for", "3s", "--seed", "7", "--json"];
  const [first, second] = await Promise.all([calypte(...args), calypte(...args)]);
  assertEquals(first.code, 0, first.err);
  assertEquals(first.out, second.out);
  assertEquals(first.err, second.err);
});

nativeTest(
  "simulate: faults come by the seed, and the planner's stall lets the lease end",
  async ({ file }) => {
    const args = ["simulate", file, "--for", "3s", "--json", "--profile", "orin-nano"];
    const spec = "late-timers=0.1x1ms,slow-kernels=0.05x3,stalled-planner=1s..2s";
    const [without, first, second] = await Promise.all([
      calypte(...args),
      calypte(...args, "--faults", spec),
      calypte(...args, "--faults", spec),
    ]);
    assertEquals(first.code, 0, first.err);
    assertEquals(first.out, second.out);
    const [good, bad] = [without, first].map(({ out }) => JSON.parse(out));
    assertEquals(good.profile, { name: "orin-nano", estimate: true });
    assertEquals([good.events.leaseExpired, bad.events.leaseExpired], [0, 1]);
    assert(bad.critical.detector.response.p99Us > 1.5 * good.critical.detector.response.p99Us);
  },
);

nativeTest(
  "run --record keeps a flight that simulate --replay flies again and compares",
  async ({ dir, file }) => {
    const record = path.join(dir, "flight.jsonl");
    const run = await calypte("run", file, "--backend", "sim", "--for", "1s", "--json", "--record", record);
    assertEquals(run.code, 0, run.err);
    const { code, out, err } = await calypte("simulate", file, "--replay", record, "--json");
    assertEquals(code, 0, err);
    const summary = JSON.parse(out);
    assert(Math.abs(summary.durationS - JSON.parse(run.out).durationS) < 0.01, out);
    const of = (what: string) => summary.comparison.find((row: { what: string }) => row.what === what);
    const requests = of("detector requests");
    assert(requests.recorded > 90 && Math.abs(requests.predicted - requests.recorded) <= 2, out);
    // Generous: the machine that records in real time may have something else to do.
    assert(Math.abs(of("detector p50 ns").deviationPercent) < 30, out);
    assert(of("map units").predicted > 0, out);
  },
);

nativeTest("simulate: every request is served in time and background fills the rest", async ({ file }) => {
  const { code, out, err } = await calypte("simulate", file, "--for", "3s", "--json");
  assertEquals(code, 0, err);
  const summary = JSON.parse(out);
  assertEquals([summary.backend, summary.seed, summary.durationS], ["sim", 1, 3]);
  const { requests, misses, response } = summary.critical.detector;
  assert(requests >= 299 && requests <= 301, `${requests} requests`);
  assertEquals(misses, 0);
  assert(response.p50Us >= 200 && response.maxUs < 5000);
  for (const name of ["map", "thumbs"]) {
    assert(summary.background[name].units > 0, name);
    assertEquals(summary.background[name].levelShare.block, 1);
  }
  assert(summary.idleFill > 0.5, `idle fill ${summary.idleFill}`);
  assertEquals(summary.events, {
    leaseExpired: 0,
    safeMode: 0,
    safeModeS: 0,
    policyFaults: 0,
    outputsSkipped: 0,
    resultsLost: 0,
    poisonInputs: 0,
  });
});

nativeTest(
  "simulate: kernels that are slow enter safe mode, unless the mission switches it off",
  async ({ file }) => {
    const args = ["simulate", file, "--for", "5s", "--faults", "slow-kernels=0.05x100", "--json"];
    const run = async () => JSON.parse((await calypte(...args)).out);
    const { critical: { detector }, background: { map: held }, events } = await run();
    assert(detector.misses >= 3);
    assertEquals(events.safeMode, 1);
    assert(events.safeModeS > 1 && events.safeModeS < 5, `${events.safeModeS} s`);
    await Deno.writeTextFile(file, (await Deno.readTextFile(file)) + "safeMode: off\n");
    const { background: { map: free }, events: { safeMode } } = await run();
    assertEquals(safeMode, 0);
    assert(free.units > 2 * held.units, `${free.units} units, and ${held.units} in safe mode`);
  },
);

nativeTest("simulate: another seed is another run", async ({ file }) => {
  const run = async (seed: string) =>
    (await calypte("simulate", file, "--for", "3s", "--seed", seed, "--json")).out.replace(/"seed":\d+/, "");
  const [one, two] = await Promise.all([run("1"), run("2")]);
  assert(one !== two);
});

nativeTest("simulate --output writes computed results, the same bytes each time", async ({ file, dir }) => {
  const written = path.join(dir, "out", "detections.jsonl");
  const texts: string[] = [];
  for (let run = 0; run < 2; run++) {
    const { code, err } = await calypte("simulate", file, "--for", "500ms", "--output", "--json");
    assertEquals(code, 0, err);
    texts.push(await Deno.readTextFile(written));
    await Deno.remove(written);
  }
  assertEquals(texts[0], texts[1]);
  const lines = texts[0]!.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert(lines.length >= 49);
  for (const { frameSeq, complete, simulated, values } of lines) {
    assertEquals([complete, simulated, values.answer[0][0]], [true, true, frameSeq % 3 * 10 + 1]);
  }
});

nativeTest("a stateful bundle sees its units in order", async ({ file, dir }) => {
  const { code, err } = await calypte("simulate", file, "--for", "300ms", "--output", "--json");
  assertEquals(code, 0, err);
  const lines = (await Deno.readTextFile(path.join(dir, "out", "map.jsonl"))).trimEnd().split("\n");
  for (const [index, line] of lines.entries()) {
    const { unit, values } = JSON.parse(line);
    assertEquals([unit, values.answer[0][0]], [index, (index + 1) % 256]);
  }
}, { stateful: true, mapOutput: "{ jsonl: out/map.jsonl }" });

nativeTest("run on the simulator serves its status, ends on SIGTERM and sums up", async ({ file }) => {
  const child = command(["run", file, "--backend", "sim", "--json"]).spawn();
  const lines = child.stderr.pipeThrough(new TextDecoderStream());
  let url: string | undefined;
  let said = "";
  const reader = lines.getReader();
  while (url === undefined) {
    const { value, done } = await reader.read();
    if (done) break;
    said += value;
    url = /status on (http:\S+)\/v1\/status/.exec(said)?.[1];
  }
  assert(url !== undefined, said);
  reader.releaseLock();
  const rest = (async () => {
    for await (const _ of lines);
  })();
  const page = async (name: string) => await (await fetch(url + name)).text();
  assertEquals(await page("/readyz"), "ready\n");
  assertStringIncludes(await page("/metrics"), "calypte_ready 1\n");
  assertEquals(JSON.parse(await page("/v1/status")).background.map.steps[1].level, "block");
  const status = await calypte("status", "--address", new URL(url).host);
  assertEquals(status.code, 0, status.err);
  assertStringIncludes(status.out, ": ready on sim for ");
  child.kill("SIGTERM");
  const summary = JSON.parse(await new Response(child.stdout).text());
  assertEquals((await child.status).code, 0);
  await rest;
  assert(summary.critical.detector.requests > 0);
  assertEquals(summary.events.leaseExpired, 0);
}, { listen: "127.0.0.1:0" });

nativeTest("run keeps rewritten kernels for the next run, where it may", async ({ file, dir }) => {
  const run = async (cache: string) => {
    const args = ["run", file, "--backend", "sim", "--for", "50ms", "--json"];
    const { code, stdout, stderr } = await command(args, cache).output();
    const err = new TextDecoder().decode(stderr);
    assertEquals(code, 0, err);
    return { err, units: JSON.parse(new TextDecoder().decode(stdout)).background.map.units };
  };
  const cache = path.join(dir, "cache");
  const names = () => [...Deno.readDirSync(cache)].map(({ name }) => name).sort();
  assert((await run(cache)).units >= 0);
  const made = names();
  assert(made.length > 0);
  const before = made.map((name) => Deno.statSync(path.join(cache, name)).mtime?.getTime());
  await run(cache);
  assertEquals(names(), made);
  assertEquals(made.map((name) => Deno.statSync(path.join(cache, name)).mtime?.getTime()), before);
  const { err } = await run(path.join(file, "below a file"));
  assertEquals(err.split("rewritten kernels are not kept").length, 2, err);
});

nativeTest(
  "run without a GPU says on its first line that it simulates, or fails if the GPU was asked for",
  async ({ file }) => {
    const probe = await calypte("run", file, "--backend", "cuda", "--for", "1ms");
    if (probe.code === 0) return;
    assertEquals(probe.code, 2);
    assertMatch(
      probe.err,
      /^calypte: --backend cuda: needs a GPU, and none was found: .+; take --backend sim to simulate\n$/,
    );
    const { code, err, out } = await calypte("run", file, "--for", "200ms");
    assertEquals(code, 0, err);
    assertMatch(
      err,
      /^no GPU found \(.+\): simulating; timing is simulated, outputs are computed by the bundles' CPU references\n/,
    );
    assertMatch(out, /critical +requests +misses[\s\S]+idle fill \d+\.\d %: /);
  },
);

nativeTest("two agents on one port: the second fails with 2 and names http.listen", async ({ file }) => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const text = await Deno.readTextFile(file);
    await Deno.writeTextFile(
      file,
      text.replace("http: false", `http: { listen: "127.0.0.1:${taken.addr.port}" }`),
    );
    const { code, err } = await calypte("run", file, "--backend", "sim", "--for", "1s");
    assertEquals(code, 2);
    assertStringIncludes(err, `http.listen: 127.0.0.1:${taken.addr.port} is in use already`);
  } finally {
    taken.close();
  }
});

nativeTest(
  "bundle verify without a GPU verifies the reference and says that no kernel was run",
  async ({ dir }) => {
    const good = await calypte("bundle", "verify", path.join(dir, "map"), "--backend", "sim");
    assertEquals(good.code, 0, good.err);
    assertStringIncludes(good.out, "only the CPU reference is verified; the kernels were not run\nok  ");
  },
);

nativeTest("bundle verify fails with 1 and shows the first difference", async ({ dir }) => {
  const bad = await calypte("bundle", "verify", path.join(dir, "map"), "--backend", "sim");
  assertEquals(bad.code, 1);
  assertStringIncludes(
    bad.out,
    "FAILED  CPU reference, against the sample: 512 of 512 elements differ; the first is answer[0]: 5, not 6",
  );
}, { wrongSample: true });
