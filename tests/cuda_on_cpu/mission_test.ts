/**
 * Whole missions on the CUDA driver on the CPU: agent, engine and worker are processes as they always are, and share memory
 * as CUDA shares it. Every output's digest is compared. Nothing here says anything about time.
 */
import { assert, assertEquals } from "../assert.ts";
import { fnv1a } from "../../bench/session.ts";
import { Scene, until } from "../../bench/faults/scene.ts";
import {
  CRITICAL_WORDS,
  mixed,
  scaled,
  writeBackgroundBundle,
  writeCriticalBundle,
  writeTrappingBundle,
} from "./bundles.ts";
import { cudaTest, DRIVER } from "./driver.ts";

const FRAMES = 4;
const PATIENCE_MS = 60_000;

const digestOf = (bytes: Uint8Array) => fnv1a(bytes).toString(16).padStart(16, "0");

function frame(number: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from({ length: CRITICAL_WORDS }, (_, i) => number * 1000 + i).buffer);
}

interface Line {
  digest?: string;
}

async function digests(file: string): Promise<string[]> {
  const text = await Deno.readTextFile(file).catch(() => "");
  const lines = text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Line);
  return lines.flatMap(({ digest }) => digest === undefined ? [] : [digest]);
}

interface Flight {
  isolation: "process" | "shared";
  env?: Record<string, string>;
  traps?: boolean;
}

/** A mission that is ready; `body` sees to the rest. */
async function fly(
  { isolation, env = {}, traps = false }: Flight,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const scene = await Scene.open({
    // Few SMs, so that a worker has more than one block.
    env: { LD_LIBRARY_PATH: DRIVER, CUDA_ON_CPU_SMS: "2", ...env },
    ...{ name: "cuda-on-cpu", backend: "cuda", seed: 1 },
    mission: {
      device: { backend: "cuda" },
      http: { listen: "127.0.0.1:0" },
      state: { dir: "state" },
      overcommit: true,
      safeMode: "off", // an interpreter misses every deadline
      critical: {
        scale: {
          ...{ bundle: "scale", source: { frames: "frames", rate: "10Hz" }, deadline: "100ms" },
          output: { jsonl: "out/scale.jsonl" },
        },
      },
      background: {
        mix: {
          ...{ bundle: "mix", isolation, output: { jsonl: "out/mix.jsonl" } },
          ...(traps ? { source: { frames: "words" } } : {}),
        },
      },
    },
  });
  try {
    await writeCriticalBundle(scene.path("scale"));
    await (traps ? writeTrappingBundle : writeBackgroundBundle)(scene.path("mix"));
    await Deno.mkdir(scene.path("frames"));
    for (let i = 0; i < FRAMES; i++) await Deno.writeFile(scene.path("frames", `${i}.raw`), frame(i));
    await Deno.mkdir(scene.path("words"));
    for (let i = 0; i < FRAMES; i++) {
      await Deno.writeFile(
        scene.path("words", `${i}.raw`),
        new Uint8Array([i === FRAMES - 1 ? 1 : 0, 0, 0, 0]),
      );
    }
    scene.start();
    assertEquals(await scene.ready(PATIENCE_MS), undefined);
    await body(scene);
  } finally {
    await scene.close();
  }
}

const unitsOf = (scene: Scene) => digests(scene.path("out/mix.jsonl"));
const requestsOf = (scene: Scene) => digests(scene.path("out/scale.jsonl"));

async function assertRight(scene: Scene): Promise<void> {
  assertEquals(new Set(await unitsOf(scene)), new Set([digestOf(mixed())]));
  const expected = new Set(Array.from({ length: FRAMES }, (_, i) => digestOf(scaled(frame(i)))));
  assertEquals(new Set(await requestsOf(scene)), expected);
}

/** Until so many units and requests have come, all with the outputs that they must have. */
async function compare(scene: Scene, units = 12): Promise<void> {
  const enough = async () =>
    (await unitsOf(scene)).length >= units && (await requestsOf(scene)).length >= units;
  assert(await until(enough, PATIENCE_MS, 100), scene.said().slice(-2000));
  await assertRight(scene);
}

cudaTest("a job in the engine's own process computes what it must beside critical work", async () => {
  await fly({ isolation: "shared" }, compare);
});

cudaTest("a job in a process of its own does too: it reads the engine's gate through CUDA IPC", async () => {
  await fly({ isolation: "process" }, compare);
});

cudaTest("... without CUDA IPC its process passes the gate on", async () => {
  await fly({ isolation: "process", env: { CUDA_ON_CPU_WITHOUT: "ipc" } }, compare);
});

cudaTest("... and where CPU and GPU share memory it reads the gate there", async () => {
  await fly(
    { isolation: "process", env: { CUDA_ON_CPU_WITHOUT: "ipc", CUDA_ON_CPU_INTEGRATED: "1" } },
    compare,
  );
});

cudaTest("... with a driver of CUDA 11.4", async () => {
  await fly({ isolation: "process", env: { CUDA_ON_CPU_DRIVER_VERSION: "11040" } }, compare);
});

cudaTest("a kernel that traps in a process of its own costs critical work nothing", async () => {
  await fly({ isolation: "process", traps: true }, async (scene) => {
    const [engine] = scene.pids("engine");
    const [worker] = scene.pids("worker");
    const another = () => scene.pids("worker").some((pid) => pid !== worker);
    assert(await until(another, PATIENCE_MS, 50), scene.said().slice(-2000));
    const before = (await requestsOf(scene)).length;
    const goesOn = async () => (await requestsOf(scene)).length >= before + FRAMES;
    assert(await until(goesOn, PATIENCE_MS, 100), scene.said().slice(-2000));
    assertEquals(scene.pids("engine"), [engine]);
    await assertRight(scene);
  });
});

cudaTest(
  "a kernel that traps in the engine's own process ends that, and the next engine goes on",
  async () => {
    await fly({ isolation: "shared", traps: true }, async (scene) => {
      const [first] = scene.pids("engine");
      const another = () => scene.pids("engine").some((pid) => pid !== first);
      assert(await until(another, PATIENCE_MS, 50), scene.said().slice(-2000));
      const before = (await requestsOf(scene)).length;
      const goesOn = async () => (await requestsOf(scene)).length >= before + FRAMES;
      assert(await until(goesOn, PATIENCE_MS, 100), scene.said().slice(-2000));
      await assertRight(scene);
    });
  },
);
