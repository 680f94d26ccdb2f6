/**
 * The program as it is shipped: does it do everything where there is nothing but itself?
 *
 * Needs build/libcalypte.so and a runtime to compile with (tools/denort.ts): where the latter cannot be had, these tests are skipped and say so.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { PERMISSIONS } from "../../agent/assets/permissions.ts";
import { libraryPath } from "../../ffi/mod.ts";
import { NVML_VARIABLE } from "../../jetson/telemetry_nvml.ts";
import { compile } from "../ffi/double.ts";
import { VERSION } from "../../agent/version.ts";
import { argumentsOf, childrenOf, executableTest, residentBytes, type Running, type Scene } from "./scene.ts";

/** The example missions, each on a port of its own. Returns the folder of the missions. */
async function examples(scene: Scene): Promise<string> {
  const { code, out, err } = await scene.run(["examples", "demo"]);
  assertEquals([code, err], [0, ""]);
  for (const file of out.trim().split("\n")) {
    await change(`${scene.dir}/${file}`, '"127.0.0.1:8717"', '"127.0.0.1:0"');
  }
  return "demo/missions";
}

async function change(file: string, from: string, to: string): Promise<void> {
  const text = await Deno.readTextFile(file);
  assertStringIncludes(text, from);
  await Deno.writeTextFile(file, text.replace(from, to));
}

async function ready(running: Running): Promise<string> {
  const [, url] = await running.said(/status on (\S+)\/v1\/status/);
  await running.said(/"event":"ready"/);
  return url!;
}

function engineOf({ pid }: Running): number {
  const engine = childrenOf(pid).find((child) => argumentsOf(child)[0] === "engine");
  assert(engine !== undefined, "the agent has no engine's process");
  return engine;
}

executableTest(
  "knows its versions and its library in an empty folder with an empty environment",
  async (scene) => {
    const { code, out, err } = await scene.run(["version"]);
    assertEquals([code, err], [0, ""]);
    assertMatch(out, new RegExp(`^calypte ${VERSION}\nlibrary \\d+\\.\\d+\\.\\d+ `));
    assertEquals((await scene.run(["help"])).code, 0);
  },
);

executableTest(
  "takes the library that lies beside it, as in the package, and unpacks none",
  async (scene) => {
    const program = await scene.copyProgram();
    await Deno.copyFile(libraryPath(), `${scene.dir}/libcalypte.so`);
    const { code, out } = await scene.start(["version"], {}, program).ended;
    assertEquals(code, 0);
    assertMatch(out, /^library \d/m);
    assertEquals([...Deno.readDirSync(scene.tmp)], []);
    await Deno.writeTextFile(`${scene.dir}/libcalypte.so`, "no library");
    assertMatch((await scene.start(["version"], {}, program).ended).out, /^library none: .*libcalypte\.so/m);
  },
);

executableTest("holds none of the packages that only tests import", async (scene) => {
  // All that is embedded is read at every start.
  for (const [name, there] of [["zod", 0], ["playwright-core", 1], ["fast-check", 1]] as const) {
    const { code } = await new Deno.Command("grep", {
      args: ["--quiet", "--text", "--fixed-strings", `"name": "${name}"`, scene.program],
    }).output();
    assertEquals(code, there, name);
  }
});

executableTest("lists the permissions that are built in", async (scene) => {
  const { out } = await scene.run(["version", "--permissions"]);
  for (const { flag } of PERMISSIONS) assertStringIncludes(out, flag);
  assertStringIncludes(out, "nothing else is allowed");
});

executableTest("may listen on no address but those of its permissions", async (scene) => {
  const missions = await examples(scene);
  await change(`${scene.dir}/${missions}/survey.yaml`, '"127.0.0.1:0"', '"127.0.0.2:0"');
  const { code, err } = await scene.run([
    "run",
    `${missions}/survey.yaml`,
    "--backend",
    "sim",
    "--for",
    "1s",
  ]);
  assertEquals(code, 2, err);
  assertMatch(err, /127\.0\.0\.2/);
});

/** What a program and its threads take of the processors, in ms: other work of the machine does not count. */
async function processorMs(program: string, args: readonly string[], env: Record<string, string>) {
  const { success, stderr } = await new Deno.Command("/bin/bash", {
    args: ["-c", 'TIMEFORMAT="%3U %3S"; time "$0" "$@" >/dev/null', program, ...args],
    clearEnv: true,
    env,
  }).output();
  const parts = new TextDecoder().decode(stderr).trim().match(/^([\d.]+) ([\d.]+)$/);
  assert(success && parts, new TextDecoder().decode(stderr));
  return (Number(parts[1]) + Number(parts[2])) * 1000;
}

/** Fixed work of the same kind: the tests' runtime starts, reads two modules of others and runs them. About 65 ms at 3 GHz. */
const YARDSTICK = 'import "zod"; import "hono";\n';

/** How many yardsticks a start may take. Seen: 1.8 and 1.3; with the modules of all commands 4 and 3.5. */
const STARTS = [
  { args: ["version"], yardsticks: 2.5 },
  { args: ["engine", "--help"], yardsticks: 2 },
] as const;

executableTest("starts quickly for this machine's speed, agent and engine's process alike", async (scene) => {
  const root = new URL("../..", import.meta.url).pathname;
  const file = `${scene.dir}/yardstick.ts`;
  await Deno.writeTextFile(file, YARDSTICK);
  const yardstick = ["run", "--quiet", "--no-check", "--no-code-cache", "--config", `${root}deno.json`, file];
  const ms = { yardstick: [] as number[], starts: STARTS.map((): number[] => []) };
  // In turns, so that what slows the machine down slows all of them down. The first ones read files from the disk and unpack the library.
  for (let i = 0; i < 9; i++) {
    ms.yardstick.push(await processorMs(Deno.execPath(), yardstick, Deno.env.toObject()));
    for (const [at, { args }] of STARTS.entries()) {
      ms.starts[at]!.push(await processorMs(scene.program, args, { TMPDIR: scene.tmp }));
    }
  }
  const least = Math.min(...ms.yardstick);
  for (const [at, { args, yardsticks }] of STARTS.entries()) {
    const took = Math.min(...ms.starts[at]!);
    assert(
      took < yardsticks * least,
      `${args.join(" ")} took ${took.toFixed(0)} ms, ${(took / least).toFixed(2)} times the yardstick ` +
        `of ${least.toFixed(0)} ms; allowed: ${yardsticks}`,
    );
  }
});

executableTest(
  "runs a mission with an engine's process, answers over HTTP and stays below 150 MB",
  async (scene) => {
    const missions = await examples(scene);
    const running = scene.start([
      "run",
      `${missions}/survey.yaml`,
      "--backend",
      "sim",
      "--for",
      "5s",
      "--json",
    ]);
    const url = await ready(running);
    for (const page of ["/healthz", "/readyz", "/v1/status", "/metrics"]) {
      const answer = await fetch(url + page);
      assertEquals([answer.status, (await answer.text()).length > 0], [200, true], page);
    }
    const engine = engineOf(running);
    assert(residentBytes(engine) < 150e6, `the engine's process has ${residentBytes(engine)} bytes`);
    const { code, out, err } = await running.ended;
    assertEquals(code, 0, err);
    const summary = JSON.parse(out);
    const { requests } = summary.critical["obstacle-detector"];
    assertEquals(summary.backend, "sim");
    assert(requests >= 100, `only ${requests} requests in 5 s at 30 Hz`);
    // The reference is TypeScript beside the bundle: it has computed the outputs.
    const lines = (await Deno.readTextFile(`${scene.dir}/${missions}/out/detections.jsonl`)).trim().split(
      "\n",
    );
    assert(lines.length >= 100, `only ${lines.length} lines`);
    assert(lines.some((line) => JSON.parse(line).values?.boxes?.length > 0), lines[0]);
  },
);

const IDLE = `http: { listen: "127.0.0.1:0" }
critical:
  detector:
    bundle: demo/bundles/obstacle-detector
    source: { api: true, rate: 10Hz }
    deadline: { within: 15ms, from: arrival }
`;

executableTest("waits for requests with less than 150 MB in each process", async (scene) => {
  await examples(scene);
  await Deno.writeTextFile(`${scene.dir}/idle.yaml`, IDLE);
  const running = scene.start(["run", "idle.yaml", "--backend", "sim", "--for", "3s"]);
  await ready(running);
  for (const [who, pid] of [["agent", running.pid], ["engine", engineOf(running)]] as const) {
    assert(residentBytes(pid) < 150e6, `${who}: ${residentBytes(pid)} bytes`);
  }
  const { code, err } = await running.ended;
  assertEquals(code, 0, err);
});

executableTest("runs a job in a worker process", async (scene) => {
  const missions = await examples(scene);
  const running = scene.start([
    "run",
    `${missions}/isolated.yaml`,
    "--backend",
    "sim",
    "--for",
    "5s",
    "--json",
  ]);
  await ready(running);
  const engines = childrenOf(running.pid).filter((child) => argumentsOf(child)[0] === "engine");
  assertEquals(engines.length, 2);
  const { code, out, err } = await running.ended;
  assertEquals(code, 0, err);
  const units = Object.values(JSON.parse(out).background as Record<string, { units: number }>);
  assert(units.every((job) => job.units > 0), out);
});

const TYPED_POLICY = `interface Job { id: number; weight: number }
export default function heaviest(snapshot: { jobs: Job[] }): unknown {
  return { entries: snapshot.jobs.map((job: Job) => ({ job: job.id, weight: job.weight, maxUnits: 0 })) };
}
`;

executableTest("lets policies of the user's own decide, in JavaScript and TypeScript", async (scene) => {
  const missions = await examples(scene);
  await Deno.writeTextFile(`${scene.dir}/mine.ts`, TYPED_POLICY);
  for (const policy of ["../policies/longest_wait.js", "../../mine.ts"]) {
    const file = `${scene.dir}/${missions}/own.yaml`;
    await Deno.copyFile(`${scene.dir}/${missions}/survey.yaml`, file);
    await change(file, "policy: { name: weighted-fair, lease: 500ms }", `policy: ${policy}`);
    const { code, out, err } = await scene.run(["simulate", `${missions}/own.yaml`, "--for", "5s", "--json"]);
    assertEquals([code, err.includes("failed")], [0, false], err);
    assert(JSON.parse(out).idleFill > 0.5, out);
  }
});

executableTest("gives a policy none of its permissions", async (scene) => {
  await Deno.writeTextFile(
    `${scene.dir}/thief.js`,
    'export default () => ({ entries: [], found: Deno.readTextFileSync("/etc/passwd") });\n',
  );
  const { code, out, err } = await scene.run(["policy", "check", "thief.js"]);
  assert(code !== 0, out);
  assertMatch(out + err, /read access|NotCapable|permission/i);
});

executableTest("says which line of a TypeScript policy it cannot take types out of", async (scene) => {
  await Deno.writeTextFile(
    `${scene.dir}/enum.ts`,
    "enum Size { Small }\nexport default () => ({ entries: [] });\n",
  );
  const { code, err } = await scene.run(["policy", "check", "enum.ts"]);
  assertEquals(code, 2, err);
  assertStringIncludes(err, "enum.ts");
  assertStringIncludes(err, "no enum");
});

executableTest("tells the service manager that it is ready, alive and stopping", async (scene) => {
  const missions = await examples(scene);
  const socket = `${scene.dir}/notify.sock`;
  const listener = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--unstable-net",
      new URL("./notified.ts", import.meta.url).pathname,
      socket,
    ],
    stdout: "piped",
  }).spawn();
  const said = listener.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const until = async (word: string) => {
    while (!text.includes(word)) {
      const { value, done } = await said.read();
      if (done) return;
      text += value;
    }
  };
  await until("listening");
  const args = ["run", `${missions}/survey.yaml`, "--backend", "sim", "--for", "3s"];
  const { code, err } = await scene.run(args, { NOTIFY_SOCKET: socket });
  assertEquals(code, 0, err);
  await until("STOPPING=1");
  await said.cancel();
  await listener.status;
  assertMatch(text, /^listening\nREADY=1\n(WATCHDOG=1\n){2,4}STOPPING=1\n$/);
});

executableTest("starts its engine where LD_LIBRARY_PATH is set", async (scene) => {
  const missions = await examples(scene);
  const args = ["run", `${missions}/survey.yaml`, "--backend", "sim", "--for", "1s"];
  const { code, err } = await scene.run(args, { LD_LIBRARY_PATH: "/usr/local/lib" });
  assertEquals(code, 0, err);
});

executableTest("starts a lost engine again though its own file was replaced", async (scene) => {
  const missions = await examples(scene);
  const program = await scene.copyProgram();
  const running = scene.start(
    ["run", `${missions}/survey.yaml`, "--backend", "sim", "--for", "6s"],
    {},
    program,
  );
  const url = await ready(running);
  const first = engineOf(running);
  await Deno.writeTextFile(`${program}.new`, "#!/bin/sh\nexit 9\n", { mode: 0o755 });
  await Deno.rename(`${program}.new`, program);
  Deno.kill(first, "SIGKILL");
  const { code, err } = await running.ended;
  assertEquals(code, 0, err);
  assertMatch(err, /"event":"engine-(lost|restarted)"|engine/);
  assert(url.startsWith("http"));
});

executableTest("reads the board's sensors, in a process without leave for everything", async (scene) => {
  const { code, out, err } = await scene.run(["board", "--json"]);
  assertEquals([code, err], [0, ""]);
  const { board, sample } = JSON.parse(out);
  assertEquals(board.kernel, (await Deno.readTextFile("/proc/sys/kernel/osrelease")).trim());
  assert(sample.memoryTotalBytes > 0, out);
});

executableTest("asks NVML after it has given back the leave to load it", async (scene) => {
  const stubs = [["fixtures/foreign/nvml.c", "others"], ["jetson/nvml_stub.c", "sample"]] as const;
  for (const [source, op] of stubs) {
    const stub = `${scene.dir}/nvml.so`;
    compile("-shared", "-fPIC", new URL(`../${source}`, import.meta.url).pathname, "-o", stub);
    const child = new Deno.Command(scene.program, {
      args: ["sensors"],
      clearEnv: true,
      env: { TMPDIR: scene.tmp, [NVML_VARIABLE]: stub },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const input = child.stdin.getWriter();
    await input.write(new TextEncoder().encode(`${JSON.stringify({ op, own: [100], nowNs: 1 })}\n`));
    await input.close();
    const { code, stdout } = await child.output();
    assertEquals(code, 0);
    const answer = JSON.parse(new TextDecoder().decode(stdout));
    if (op === "sample") assertEquals([answer.gpuLoad, answer.powerWatts], [0.83, 123.456]);
    else assertEquals(answer.users.map(({ name }: { name: string }) => name), ["slam_node", "Xorg"]);
  }
});
