/** Does the doctor see what is wrong with a machine, and say what to do about it? */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../../assert.ts";
import { main } from "../../../agent/main.ts";
import { type Finding, findingLines, isGood } from "../../../agent/doctor/finding.ts";
import { lockedMemoryFinding } from "../../../agent/doctor/host.ts";
import { examine, type Machine, othersFinding } from "../../../agent/doctor/machine.ts";
import { folderAt, portState } from "../../../agent/doctor/this_machine.ts";
import { InputError } from "../../../agent/errors.ts";
import { EngineError } from "../../../ffi/mod.ts";
import type { BoardFiles } from "../../../jetson/board_files.ts";
import { emptySample } from "../../../jetson/telemetry.ts";
import { FakeEngine } from "../fake_engine.ts";

function filesOf(texts: Record<string, string>): BoardFiles {
  return {
    text: (path) => Promise.resolve(texts[path]),
    list: (folder) =>
      Promise.resolve([
        ...new Set(
          Object.keys(texts).filter((path) => path.startsWith(`${folder}/`)).map((path) =>
            path.slice(folder.length + 1).split("/")[0]!
          ),
        ),
      ]),
  };
}

const LIMITS =
  "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         unlimited  unlimited  bytes\n";

/** tuning_test.ts looks at each of them. */
const TUNED = {
  "/proc/version": "Linux version 5.15.148-tegra (builder) #1 SMP PREEMPT Mon",
  "/proc/swaps": "Filename Type Size Used Priority",
  "/proc/self/status": "Name:\tdeno\nCpus_allowed_list:\t0-5",
  "/sys/devices/system/cpu/online": "0-5",
  "/sys/devices/system/cpu/isolated": "",
};

/** One of which nothing is wrong. */
function machineOf(change: Partial<Machine> = {}): Machine {
  const engine = new FakeEngine();
  return {
    ...{ deno: "2.9.6", executable: false, library: () => "0.1.0 (cuda+sim)" },
    device: () => ({ ...engine.device(), name: "Orin", backend: "cuda" as const }),
    gpuFeatures: () => [{ name: "parked-resume", on: true, reason: "" }],
    realtime: () => ({ name: "realtime", on: true, reason: "the dispatcher runs under SCHED_FIFO" }),
    files: filesOf({
      "/proc/self/limits": LIMITS,
      "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
      ...TUNED,
    }),
    kernelConfig: () => Promise.resolve(undefined),
    criticalCore: undefined,
    board: () => Promise.resolve({ kind: "desktop", compatible: [], supported: true, because: "a GPU" }),
    sample: () => Promise.resolve(emptySample(0)),
    others: () => Promise.resolve({ users: [] }),
    folders: [{
      ...{ what: "state", dir: "/state", remedy: "name one" },
      fault: () => Promise.resolve(undefined),
      freeBytes: () => 2 ** 40,
    }],
    port: () => Promise.resolve("free"),
    ...change,
  };
}

async function findingsOf(change: Partial<Machine> = {}): Promise<Finding[]> {
  return await examine(machineOf(change));
}

Deno.test("a machine that is fit has a good line for each thing", async () => {
  const found = await findingsOf();
  assertEquals(found.filter(({ verdict }) => verdict !== "ok"), []);
  assertEquals(found.map(({ what }) => what), [
    ...["Deno", "library", "GPU", "board", "engine", "real time", "locked memory", "CPU clocks"],
    ...["kernel", "swap", "cores", "others on the GPU", "state", "port"],
  ]);
});

const NO_LIBRARY = new InputError({ file: "libcalypte.so", field: "", rule: "is not there" });
const thrown = (error: Error) => () => {
  throw error;
};
const sampleWith = (change: Record<string, unknown>) => () =>
  Promise.resolve({ ...emptySample(0), ...change });
const folderWith = (change: Partial<Machine["folders"][number]>) => [{
  ...machineOf().folders[0]!,
  ...change,
}];

const FAULTS: readonly [string, Partial<Machine>, string, Finding["verdict"], RegExp, RegExp][] = [
  ["Deno is too old", { deno: "2.3.9" }, "Deno", "fail", /older than 2\.4/, /setup\.sh/],
  [
    "Deno is newer than anybody has tried",
    { deno: "3.0.0" },
    "Deno",
    "warn",
    /nobody has tried/,
    /setup\.sh/,
  ],
  [
    "there is no library",
    { library: thrown(NO_LIBRARY) },
    "library",
    "fail",
    /libcalypte\.so: is not there/,
    /make build/,
  ],
  [
    "there is no driver",
    { device: thrown(new EngineError(-4, "probe", "no CUDA driver")) },
    "GPU",
    "fail",
    /no CUDA driver/,
    /install NVIDIA's driver/,
  ],
  [
    "the board is not supported",
    {
      board: () => Promise.resolve({ kind: "jetson", compatible: [], supported: false, because: "too old" }),
    },
    "board",
    "fail",
    /too old/,
    /JETSON\.md/,
  ],
  [
    "a self-test failed",
    { gpuFeatures: () => [{ name: "parked-resume", on: false, reason: "it deadlocks" }] },
    "engine",
    "warn",
    /parked-resume is off: it deadlocks/,
    /it works without/,
  ],
  [
    "real-time priority is refused",
    { realtime: () => ({ name: "realtime", on: false, reason: "SCHED_FIFO: Operation not permitted" }) },
    "real time",
    "warn",
    /Operation not permitted/,
    /LimitRTPRIO/,
  ],
  [
    "little memory may be locked",
    { files: filesOf({ "/proc/self/limits": LIMITS.replaceAll("unlimited", "8388608") }) },
    "locked memory",
    "warn",
    /only 8 MiB/,
    /LimitMEMLOCK/,
  ],
  [
    "a governor lowers the CPU's clocks",
    { files: filesOf({ "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil" }) },
    "CPU clocks",
    "warn",
    /schedutil/,
    /cpupower/,
  ],
  [
    "a governor lowers the GPU's clocks",
    {
      files: filesOf({
        "/sys/class/devfreq/17000000.gpu/min_freq": "306000000",
        "/sys/class/devfreq/17000000.gpu/max_freq": "1300500000",
        "/sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu",
      }),
    },
    "GPU clocks",
    "warn",
    /from 1301 to 306 MHz/,
    /jetson_clocks/,
  ],
  [
    "the board slows itself down",
    { sample: sampleWith({ temperaturesCelsius: { gpu: 99 }, tripPointsCelsius: { gpu: 95 } }) },
    "temperature",
    "fail",
    /gpu 99/,
    /cool the board/,
  ],
  [
    "the supply is weak",
    { sample: sampleWith({ overCurrentEvents: 3 }) },
    "power supply",
    "warn",
    /3 over-current/,
    /supply/,
  ],
  [
    "somebody else uses the GPU",
    { others: () => Promise.resolve({ users: [{ pid: 7, name: "gnome-shell" }] }) },
    "others on the GPU",
    "warn",
    /gnome-shell \(7\) uses it too/,
    /device\.foreign/,
  ],
  [
    "others cannot be seen",
    { others: () => Promise.resolve({ users: [], blind: "there is no NVML" }) },
    "others on the GPU",
    "warn",
    /there is no NVML/,
    /device\.foreign/,
  ],
  [
    "a folder cannot be written",
    { folders: folderWith({ fault: () => Promise.resolve("cannot be written") }) },
    "state",
    "fail",
    /cannot be written/,
    /name one/,
  ],
  [
    "the disk is nearly full",
    { folders: folderWith({ freeBytes: () => 5e6 }) },
    "state",
    "fail",
    /4\.77 MiB free/,
    /make room/,
  ],
  [
    "the disk is filling up",
    { folders: folderWith({ freeBytes: () => 5e8 }) },
    "state",
    "warn",
    /477 MiB free/,
    /make room/,
  ],
  [
    "no state is kept",
    { folders: folderWith({ dir: undefined }) },
    "state",
    "warn",
    /nothing is kept/,
    /name one/,
  ],
  [
    "the port is taken",
    { port: () => Promise.resolve("127.0.0.1:8717 is taken by another program") },
    "port",
    "warn",
    /is taken/,
    /http\.listen/,
  ],
];

for (const [what, change, line, verdict, text, remedy] of FAULTS) {
  Deno.test(`${what}: ${verdict}, with what to do about it`, async () => {
    const found = (await findingsOf(change)).find((each) => each.what === line);
    assertEquals(found?.verdict, verdict, found?.text);
    assertMatch(found?.text ?? "", text);
    assertMatch(found?.remedy ?? "", remedy);
  });
}

Deno.test("only a failure makes a machine unfit", async () => {
  assert(isGood(await findingsOf({ deno: "3.0.0" })));
  assert(!isGood(await findingsOf({ deno: "2.0.0" })));
});

Deno.test("whoever may lock all memory has no limit", async () => {
  const files = filesOf({ "/proc/self/status": "Name:\tx\nCapEff:\t0000000000004000\n" });
  assertEquals((await lockedMemoryFinding(files)).verdict, "ok");
  const none = filesOf({ "/proc/self/status": "CapEff:\t0000000000000000" });
  assertMatch((await lockedMemoryFinding(none)).text, /cannot be read/);
});

Deno.test("who else uses the GPU is a failure for a mission that does not name them", () => {
  const seen = { users: [{ pid: 7, name: "gnome-shell" }] };
  assertEquals(othersFinding(seen, []).verdict, "fail");
  assertEquals(othersFinding(seen, ["gnome-shell"]).verdict, "ok");
  assertEquals(othersFinding({ users: [], blind: "no NVML" }, []).verdict, "ok");
});

Deno.test("a line has its verdict and text, and its remedy below it unless all is well", () => {
  const findings: Finding[] = [
    { what: "GPU", verdict: "fail", text: "none", remedy: "buy one" },
    { what: "port", verdict: "ok", text: "free", remedy: "-" },
  ];
  assertEquals(findingLines(findings, (_, text) => text), [
    "fail  GPU   none",
    "            buy one",
    "ok    port  free",
  ]);
});

Deno.test("a folder that is not there yet is tried where it would be made, and nothing is left", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const folder = folderAt("state", `${dir}/a/b`, "");
    assertEquals(await folder.fault(), undefined);
    assertEquals([...Deno.readDirSync(dir)], []);
    assert((folder.freeBytes() ?? 0) > 0);
    await Deno.writeTextFile(`${dir}/file`, "");
    assertMatch(await folderAt("state", `${dir}/file`, "").fault() ?? "", /cannot be written/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a port is free, an agent's, or another program's", async () => {
  const answer = { status: 200, body: "hello" };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response(answer.body, { status: answer.status }),
  );
  const address = `127.0.0.1:${server.addr.port}`;
  assertMatch(await portState(address), /is taken by another program/);
  answer.body = '{"version":"1.2.3"}';
  assertEquals(await portState(address), "agent");
  await server.shutdown();
  assertEquals(await portState(address), "free");
});

Deno.test("calypte doctor examines the machine that it runs on, and leaves the colours to terminals", async () => {
  const run = async (args: string[], color: boolean) => {
    let out = "";
    const screen = { color, draws: color, progress: false, columns: () => 80, rows: () => 24 };
    const code = await main(args, { out: (text) => void (out += text), err: () => {}, screen });
    return { code, out };
  };
  const { code, out } = await run(["doctor", "--json"], true);
  const { good, findings } = JSON.parse(out);
  assertEquals(code, good ? 0 : 1);
  assertEquals(findings[0], { what: "Deno", verdict: "ok", text: Deno.version.deno });
  assertStringIncludes((await run(["doctor"], true)).out, "\x1b[32mok  \x1b[0m  Deno");
  assert(!(await run(["doctor"], false)).out.includes("\x1b"));
});
