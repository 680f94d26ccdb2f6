/**
 * What becomes of preemption where the GPU lacks what a Tegra lacks?
 *
 * ```sh
 * make gpu-test PROFILE=tegra                         # or: deno run -A bench/tegra.ts --out DIR [--only SHAPE,SHAPE]
 * deno run -A bench/tegra.ts --backend sim            # to see that it runs; proves nothing about a GPU
 * ```
 *
 * Runs the checks of `bench/gpu_test.ts`, the micro-benchmark, the timing of gate transports and the cost of isolation on a
 * driver from which things were taken away (`bench/tegra/driver_shape.cc`), one by one and together. What is not judged, as no
 * promise is made for it, is shown: the degraded figures. Judged is that everything is still computed bit for bit, and that the
 * shape was in force. Writes DIR/tegra.json. It is no Tegra: see docs/JETSON.md.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import type { CheckResult } from "./gpu_checks.ts";
import type { MicroReport } from "./micro.ts";

interface Shape {
  name: string;
  /** Of `CALYPTE_SHAPE`. */
  words: string[];
  /** Isolated jobs are run, too. */
  isolation: boolean;
}

const COPIES = "copies=262144";
const SHAPES: readonly Shape[] = [
  { name: "as it is", words: [], isolation: true },
  { name: "no CUDA IPC", words: ["no-ipc"], isolation: true },
  { name: "no memory operations", words: ["no-memops"], isolation: true },
  { name: "16 SMs", words: ["sms=16"], isolation: false },
  { name: "8 SMs", words: ["sms=8"], isolation: false },
  { name: "busy copy engines", words: [COPIES], isolation: false },
  { name: "integrated", words: ["integrated"], isolation: true },
  { name: "Tegra, 16 SMs", words: ["no-ipc", "no-memops", "sms=16", "integrated", COPIES], isolation: true },
  { name: "Tegra, 8 SMs", words: ["no-ipc", "no-memops", "sms=8", "integrated", COPIES], isolation: true },
];

interface Transports {
  sms: number;
  memoryOperations: boolean;
  /** Why shared memory could not be registered; empty: it could. */
  sharedMemory: string;
  rows: {
    way: string;
    blocks: number;
    seenP50Us: number;
    seenP99Us: number;
    leftP50Us: number;
    leftP99Us: number;
    pollNs: number;
    unseen: number;
  }[];
}

interface GpuTest {
  device: { name: string; sms: number; copyEngines: number };
  checks: CheckResult[];
}

interface Isolation {
  rows: {
    hz: number;
    background: boolean;
    anticipate: boolean;
    runs: { p50Us: number; p99Us: number; misses: number }[];
  }[];
}

interface Outcome {
  shape: string;
  words: string[];
  transports?: Transports;
  gpuTest?: GpuTest;
  micro?: MicroReport;
  isolation?: Isolation;
  /** What could not be run, or was not kept; empty: all is well. */
  faults: string[];
}

const ROOT = path.dirname(import.meta.dirname!);
const MOST_MS = 150_000;
const args = parseArgs(Deno.args, { string: ["out", "backend", "only", "commit"] });
const backend = args["backend"] === "sim" ? "sim" : "cuda";
const only = typeof args["only"] === "string" ? args["only"].split(",") : undefined;
const out = typeof args["out"] === "string" ? args["out"] : undefined;
const commit = typeof args["commit"] === "string" ? args["commit"] : undefined;

/** Where the real driver is. The loader's cache knows, or one of the folders that containers mount it to. */
async function driverPath(): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", "PATH=$PATH:/sbin:/usr/sbin ldconfig -p"],
  })
    .output();
  const cached = new TextDecoder().decode(stdout).match(/libcuda\.so\.1 .*=> (\S+)/)?.[1];
  const folders = [
    ...(Deno.env.get("LD_LIBRARY_PATH") ?? "").split(":").filter((folder) => folder !== ""),
    ...["/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"],
  ];
  for (const file of [...(cached ? [cached] : []), ...folders.map((folder) => `${folder}/libcuda.so.1`)]) {
    if (await Deno.stat(file).then((about) => about.isFile, () => false)) return file;
  }
  throw new Error("no libcuda.so.1 on this machine: install the NVIDIA driver, or take --backend sim");
}

/** Standard output of a program in a shape; throws with its last words. */
async function shaped(shape: Shape, driver: string, command: string[], mayFail = false): Promise<string> {
  const [program, ...rest] = command;
  const environment = backend === "sim" ? {} : {
    LD_LIBRARY_PATH: [`${ROOT}/build/tegra`, Deno.env.get("LD_LIBRARY_PATH") ?? ""].filter(Boolean).join(":"),
    CALYPTE_SHAPE: shape.words.join(","),
    CALYPTE_SHAPE_DRIVER: driver,
    CALYPTE_CACHE: "off", // what was measured in one shape holds for no other
  };
  const { code, stdout, stderr } = await new Deno.Command(program!, {
    args: rest,
    cwd: ROOT,
    env: environment,
    signal: AbortSignal.timeout(MOST_MS),
  }).output();
  const text = new TextDecoder();
  if (code !== 0 && !mayFail) {
    throw new Error(
      `${path.basename(command.at(-1)!)} ended with ${code}: ${text.decode(stderr).trim().slice(-500)}`,
    );
  }
  return text.decode(stdout);
}

const deno = (...rest: string[]) => [Deno.execPath(), "run", "-A", "--quiet", "--cached-only", ...rest];
const readJson = async <T>(file: string): Promise<T> => JSON.parse(await Deno.readTextFile(file));

async function runShape(shape: Shape, driver: string): Promise<Outcome> {
  const outcome: Outcome = { shape: shape.name, words: shape.words, faults: [] };
  const attempt = async (what: string, run: () => Promise<void>) => {
    await run().catch((error) => outcome.faults.push(`${what}: ${error.message}`));
  };
  const dir = await Deno.makeTempDir();
  try {
    if (backend === "cuda") {
      await attempt("transports", async () => {
        outcome.transports = JSON.parse(
          await shaped(shape, driver, [`${ROOT}/build/tegra/transports`, "200"]),
        );
      });
    }
    await attempt("gpu_test", async () => {
      const options = [
        "--quick",
        "--without-suite",
        "--rounds",
        "3",
        "--stretch-ms",
        "150",
        "--backend",
        backend,
      ];
      await shaped(shape, driver, deno("bench/gpu_test.ts", ...options, "--out", dir), true);
      outcome.gpuTest = await readJson(`${dir}/gpu-test.json`);
      outcome.micro = await readJson(`${dir}/micro.json`);
    });
    if (shape.isolation) {
      await attempt("isolation", async () => {
        const options = ["--backend", backend, "--for", "3", "--rounds", "1", "--hz", "100", "--out", dir];
        await shaped(shape, driver, deno("bench/isolation.ts", ...options));
        outcome.isolation = await readJson(`${dir}/isolation.json`);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  outcome.faults.push(...faultsOf(shape, outcome));
  return outcome;
}

/** Promises that were not kept, and whether the shape was in force at all. */
function faultsOf({ words }: Shape, { gpuTest, micro }: Outcome): string[] {
  // The simulator computes nothing that could be compared, and has no shape.
  if (backend === "sim") return [];
  const faults = (gpuTest?.checks ?? []).filter(({ ok, figure }) => !ok && figure !== true).map(({ name }) =>
    name
  );
  if (gpuTest === undefined || micro === undefined) return faults;
  const isOn = (feature: string) => micro.features.some(({ name, on }) => name === feature && on);
  const expect = (holds: boolean, what: string) => holds ? [] : [`the shape is not in force: ${what}`];
  const sms = Number(words.find((word) => word.startsWith("sms="))?.slice(4) ?? gpuTest.device.sms);
  return [
    ...faults,
    ...expect(isOn("ipc") !== words.includes("no-ipc"), "CUDA IPC"),
    ...expect(isOn("stream-memops") !== words.includes("no-memops"), "stream memory operations"),
    ...expect(isOn("integrated") === words.includes("integrated"), "integrated"),
    ...expect(gpuTest.device.sms === sms, `SMs: ${gpuTest.device.sms}`),
    ...expect(!words.includes(COPIES) || gpuTest.device.copyEngines === 1, "copy engines"),
  ];
}

function tableOf(outcome: Outcome): string {
  const lines = [`-- ${outcome.shape}: ${outcome.faults.length === 0 ? "ok" : outcome.faults.join("; ")}`];
  const f = (n: number) => n.toFixed(1);
  for (
    const { way, blocks, seenP50Us, seenP99Us, leftP50Us, pollNs, unseen } of outcome.transports?.rows ?? []
  ) {
    lines.push(
      `   gate by ${way}, ${blocks} blocks: seen ${f(seenP50Us)} (p99 ${f(seenP99Us)}) us, left ${
        f(leftP50Us)
      } us, ` +
        `one poll ${pollNs} ns${unseen > 0 ? `, UNSEEN ${unseen} times` : ""}`,
    );
  }
  for (
    const { critical, level, blockUs, aloneUs, addedP50Us, addedP99Us, ratioP50 } of outcome.micro?.latency ??
      []
  ) {
    lines.push(
      `   ${critical} beside ${level} blocks of ${blockUs} us: alone ${f(aloneUs.p50)}, added ${
        f(addedP50Us)
      } ` +
        `(p99 ${f(addedP99Us)}) us, x ${ratioP50.toFixed(3)}`,
    );
  }
  for (const { hz, background, anticipate, runs } of outcome.isolation?.rows ?? []) {
    const what = background ? `isolated, ${anticipate ? "" : "not "}anticipated` : "alone";
    const each = runs.map(({ p50Us, p99Us, misses }) => `p50 ${p50Us} p99 ${p99Us} us, misses ${misses}`)
      .join(" | ");
    lines.push(`   ${hz} Hz ${what}: ${each}`);
  }
  return lines.join("\n");
}

const driver = backend === "sim" ? "" : await driverPath();
const outcomes: Outcome[] = [];
for (const shape of SHAPES) {
  if (only !== undefined && !only.includes(shape.name)) continue;
  const outcome = await runShape(shape, driver);
  outcomes.push(outcome);
  console.log(tableOf(outcome));
  if (out === undefined) continue;
  // After each: a run that is cut off keeps what it has seen.
  await Deno.mkdir(out, { recursive: true });
  await Deno.writeTextFile(
    `${out}/tegra.json`,
    JSON.stringify({ backend, commit: commit ?? "unknown", outcomes }) + "\n",
  );
}
const failed = outcomes.filter(({ faults }) => faults.length > 0).length;
console.log(
  `\n${outcomes.length - failed} passed, ${failed} failed (${
    backend === "cuda"
      ? "on a GPU shaped like a Tegra, which is no Tegra"
      : "SIMULATED: says nothing about a GPU"
  })`,
);
Deno.exit(failed === 0 && outcomes.length > 0 ? 0 : 1);
