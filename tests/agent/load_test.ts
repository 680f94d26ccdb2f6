import { assert, assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { builtinPtx } from "../../agent/builtin.ts";
import { type Bundle, type KernelStep, loadBundle } from "../../agent/bundle.ts";
import {
  type CheckpointCompiler,
  checkpointCompiler,
  type Pin,
  type RewriteRequest,
} from "../../agent/checkpoint.ts";
import { InputError } from "../../agent/errors.ts";
import type { Frames } from "../../agent/frames.ts";
import { Loader, type LoaderOptions, type WorkSettings } from "../../agent/load.ts";
import { CONSTANTS } from "../../ffi/abi.ts";
import { EngineError } from "../../ffi/errors.ts";
import { CALYPTE_SLICE_PARAMS, type Level } from "../../ptx/mod.ts";
import { FakeEngine } from "./fake_engine.ts";
import { FRAME_BYTES, FRAMES, writeBundle } from "./mission_fixture.ts";

const frames: Frames = {
  dir: "frames",
  width: 0,
  height: 0,
  channels: 0,
  frameBytes: FRAME_BYTES,
  count: FRAMES,
  data: new Uint8Array(FRAME_BYTES * FRAMES),
  names: [],
};

const background: WorkSettings = {
  kind: "background",
  name: "map",
  source: { kind: "frames", periodNs: 0 },
  keepOutput: true,
};
const critical: WorkSettings = {
  kind: "critical",
  name: "detector",
  source: { kind: "frames", periodNs: 10e6 },
  keepOutput: false,
  deadlineNs: 5e6,
  from: "sensor",
  queue: "fifo",
  queueDepth: 2,
  onMiss: "drop",
  maxBlockingNs: 7,
  yield: "when-needed",
  anticipate: true,
};

async function fixture(change: (bundle: Bundle) => Bundle = (bundle) => bundle): Promise<Bundle> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-load-" });
  try {
    await writeBundle(dir, "adder");
    return change(await loadBundle(dir));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function setUp(
  checkpoint: CheckpointCompiler = checkpointCompiler,
  preemptionBoundNs = 1e6,
  prefer: LoaderOptions["prefer"] = "measured",
) {
  const engine = new FakeEngine();
  return { engine, loader: new Loader({ engine, checkpoint, preemptionBoundNs, prefer }) };
}

/** With all of its kernel steps changed. */
function withKernelSteps(bundle: Bundle, change: Partial<KernelStep>): Bundle {
  const steps = bundle.manifest.steps.map((step) => step.kind === "kernel" ? { ...step, ...change } : step);
  return { ...bundle, manifest: { ...bundle.manifest, steps } };
}

/** Rewrites nothing for real: says what it is told to say, of `loop` what `atLoop` says. */
function compilerThatSays(level: Level, reasons: string[] = [], atLoop: Level = level) {
  const pins: ReadonlyMap<string, Pin>[] = [];
  const requests: RewriteRequest[] = [];
  const compiler: CheckpointCompiler = {
    params: checkpointCompiler.params,
    forDriver: checkpointCompiler.forDriver,
    rewrite: (request) => {
      const { ptx, kernels } = request;
      pins.push(request.pins);
      requests.push(request);
      const given = request.level === "loop" ? atLoop : level;
      return {
        text: `// rewritten to ${request.level}\n${ptx}`,
        kernels: new Map(kernels.map((name) => [name, { level: given, reasons }])),
      };
    },
  };
  return { compiler, pins, requests };
}

Deno.test("a background unit is uploads, steps, downloads, all at level block", async () => {
  const { engine, loader } = setUp();
  const work = loader.add(background, await fixture(), frames);
  assertEquals(work.steps.map(({ kernel, level, notes }) => [kernel, level, notes]), [
    ["calypte_upload", "block", []],
    ["add_one", "block", []],
    ["calypte_download", "block", []],
  ]);
  const spec = engine.works[0]!;
  assertEquals(spec.steps.map(({ level, grid, workers }) => [level, grid, workers]), [
    ["block", [1, 1, 1], 0],
    ["block", [4, 1, 1], 0],
    ["block", [1, 1, 1], 0],
  ]);
  assertEquals(spec.steps.map(({ args }) => args.map(({ kind }) => kind)), [
    ["buffer", "input-slots", "scalar", "scalar", "control", "slot-count"],
    ["buffer", "buffer"],
    ["buffer", "output-slots", "scalar", "scalar", "control", "slot-count"],
  ]);
  assertEquals([spec.inputBytes, spec.outputBytes, spec.inputs.length, spec.outputs.length], [
    512,
    512,
    1,
    1,
  ]);
  assertEquals(spec.source, { kind: "frames", frames: 0, periodNs: 0, phaseNs: 0 });
});

Deno.test("background kernels are launched from the rewritten module, critical ones from the untouched", async () => {
  const { engine, loader } = setUp();
  const bundle = await fixture();
  loader.add(background, bundle, frames);
  loader.add(critical, bundle, frames);
  const moduleOf = (work: number, step: number) => {
    const { module, name } = engine.kernels[engine.works[work]!.steps[step]!.kernel]!;
    return [name, /calypte\d*_control/.test(engine.modules[module]!)];
  };
  assertEquals(moduleOf(0, 0), ["calypte_upload", true]);
  assertEquals(moduleOf(0, 1), ["add_one", true]);
  assertEquals(moduleOf(1, 0), ["add_one", false]);
});

Deno.test("the engine itself moves critical inputs and outputs, and gets the mission's numbers", async () => {
  const { engine, loader } = setUp();
  const work = loader.add(critical, await fixture(), frames);
  assertEquals(work.steps.map(({ kernel, level }) => [kernel, level]), [["add_one", "whole"]]);
  const spec = engine.works[0]!;
  assert(spec.kind === "critical");
  const { deadlineNs, from, queue, queueDepth, onMiss, maxBlockingNs, keepOutput } = spec;
  assertEquals({ deadlineNs, from, queue, queueDepth, onMiss, maxBlockingNs, keepOutput }, {
    deadlineNs: 5e6,
    from: "sensor",
    queue: "fifo",
    queueDepth: 2,
    onMiss: "drop",
    maxBlockingNs: 7,
    keepOutput: false,
  });
  assertEquals(spec.steps[0]?.estimateNs, 200_000);
  assertEquals(spec.steps[0]?.blockEstimateNs, 10_000);
});

Deno.test("memsets and copies become kernels, critical ones included", async () => {
  const bundle = await fixture((bundle) => ({
    ...bundle,
    manifest: {
      ...bundle.manifest,
      steps: [
        { kind: "memset", buffer: "answer", offsetBytes: 8, sizeBytes: 100, value: 171 },
        {
          kind: "copy",
          from: { buffer: "frame", offsetBytes: 16 },
          to: { buffer: "answer", offsetBytes: 32 },
          sizeBytes: 400,
        },
      ],
    },
  }));
  const { engine, loader } = setUp();
  assertEquals(loader.add(critical, bundle, frames).steps.map(({ kernel, level }) => [kernel, level]), [
    ["calypte_fill", "whole"],
    ["calypte_copy", "whole"],
  ]);
  const [fill, copy] = engine.works[0]!.steps;
  assertEquals(fill?.args, [
    { kind: "buffer", buffer: 1, offset: 8 },
    { kind: "scalar", bytes: Uint8Array.of(171, 0, 0, 0) },
    { kind: "scalar", bytes: Uint8Array.of(100, 0, 0, 0, 0, 0, 0, 0) },
  ]);
  assertEquals(copy?.args, [
    { kind: "buffer", buffer: 1, offset: 32 },
    { kind: "buffer", buffer: 0, offset: 16 },
    { kind: "scalar", bytes: Uint8Array.of(144, 1, 0, 0, 0, 0, 0, 0) },
  ]);
});

Deno.test("a kernel that is not proven safe stays whole, with the reason", async () => {
  const { compiler } = compilerThatSays("whole", ["it waits for other blocks (line 3)"]);
  const { loader } = setUp(compiler);
  const step = loader.add(background, await fixture(), frames).steps[1];
  assertEquals([step?.level, step?.notes], ["whole", ["it waits for other blocks (line 3)"]]);
});

Deno.test("on a GPU the rewritten kernel is pinned to the untouched one's occupancy, and a loss is noted", async () => {
  const { compiler, pins } = compilerThatSays("block");
  const { engine, loader } = setUp(compiler);
  engine.backend = "cuda";
  // Kernel ids in the order of loading: 0 untouched, 1 rewritten.
  engine.blocksPerSm.set(0, 12).set(1, 9);
  const step = loader.add(background, await fixture(), frames).steps[1];
  assertEquals([...pins[0] ?? []], [["add_one", { minBlocksPerSm: 12, maxThreads: 128 }]]);
  assertEquals([step?.level, step?.blocksPerSm, step?.blocksPerSmUntouched], ["block", 9, 12]);
  assertEquals(step?.notes, ["rewriting cost occupancy: 9 instead of 12 resident blocks per SM"]);
});

Deno.test("a rewritten kernel that no longer fits falls back to whole", async () => {
  const { engine, loader } = setUp(compilerThatSays("block").compiler);
  engine.blocksPerSm.set(1, 0);
  const step = loader.add(background, await fixture(), frames).steps[1];
  assertEquals([step?.level, step?.notes], ["whole", ["rewritten, a block of it no longer fits an SM"]]);
});

Deno.test("a kernel that fits no SM is refused before anything runs", async () => {
  const { engine, loader } = setUp();
  engine.blocksPerSm.set(0, 0);
  const bundle = await fixture();
  const error = assertThrows(() => loader.add(critical, bundle, frames), InputError, "must fit the device");
  assertEquals(error.field, "steps[0]");
  assertEquals(engine.works, []);
});

Deno.test("a block that is declared longer than the preemption bound is noted, and why it has no loop level", async () => {
  const { loader } = setUp(checkpointCompiler, 9_000);
  const notes = loader.add(background, await fixture(), frames).steps[1]?.notes ?? [];
  assertEquals(notes, [
    "one block is declared to take 10 us, longer than preemptionBound 9 us; it cannot be left within one: " +
    "it has no loop (line 5)",
  ]);
});

Deno.test("where loops may have checkpoints both forms are loaded, and the engine chooses", async () => {
  const { engine, loader } = setUp(compilerThatSays("block", [], "loop").compiler, 9_000);
  const step = loader.add(background, await fixture(), frames).steps[1];
  assertEquals([step?.level, step?.notes], ["block", []]);
  const spec = engine.works[0]!.steps[1]!;
  const textOf = (kernel: number | undefined) => engine.modules[engine.kernels[kernel ?? -1]!.module]!;
  assert(spec.loopKernel !== undefined && spec.loopKernel !== spec.kernel);
  assertStringIncludes(textOf(spec.kernel), "rewritten to block");
  assertStringIncludes(textOf(spec.loopKernel), "rewritten to loop");
});

Deno.test("for a benchmark one of the two forms is taken as it is", async () => {
  for (const prefer of ["loop", "block"] as const) {
    const { engine, loader } = setUp(compilerThatSays("block", [], "loop").compiler, 1e6, prefer);
    const step = loader.add(background, await fixture(), frames).steps[1];
    const spec = engine.works[0]!.steps[1]!;
    assertEquals([step?.level, spec.level, spec.loopKernel], [prefer, prefer, undefined]);
  }
});

Deno.test("a kernel does without checkpoints in loops where blocks are too narrow or too few fit", async () => {
  const narrow = setUp(compilerThatSays("block", [], "loop").compiler, 9_000);
  const bundle = withKernelSteps(await fixture(), { block: [4, 32, 1] });
  const notes = narrow.loader.add(background, bundle, frames).steps[1]?.notes.join();
  assertStringIncludes(notes ?? "", "a block has fewer than 8 threads along x");
  assertEquals(narrow.engine.works[0]!.steps[1]!.loopKernel, undefined);

  const { engine, loader } = setUp(compilerThatSays("block", [], "loop").compiler, 9_000);
  // Kernel ids in the order of loading: 0 untouched, 1 at level block, 2 at level loop.
  engine.blocksPerSm.set(0, 8).set(1, 8).set(2, 6);
  const text = loader.add(background, await fixture(), frames).steps[1]?.notes.join() ?? "";
  assertStringIncludes(text, "that leaves 6 instead of 8 resident blocks per SM");
});

Deno.test("the compiler is told which parameters lead to the same buffer", async () => {
  const told = async (answer: string) => {
    const { compiler, requests } = compilerThatSays("block");
    const bundle = await fixture();
    const args = [
      { kind: "buffer", buffer: "frame", offsetBytes: 0 },
      { kind: "buffer", buffer: answer, offsetBytes: 64 },
    ] as const;
    setUp(compiler).loader.add(background, withKernelSteps(bundle, { args: [...args] }), frames);
    return requests[0]?.overlaps.get("add_one");
  };
  assertEquals(await told("answer"), [[0, 0], [1, 1]]);
  assertEquals(await told("frame"), [[0, 0], [0, 1], [1, 0], [1, 1]]);
});

Deno.test("a step at level slice is several launches, which cover its grid once, in order", async () => {
  const { engine, loader } = setUp(
    compilerThatSays("slice", ["it copies in bulk (line 7)"]).compiler,
    50_000,
  );
  engine.blocksPerSm.set(0, 1).set(1, 1); // on each of 4 SMs
  const grid = [5, 3, 2] as const;
  const bundle = withKernelSteps(await fixture(), { grid: [...grid], estimateNs: 200_000 });
  const work = loader.add(background, bundle, frames);
  const step = work.steps[1];
  // A quarter of the step fits the bound: 7 of its 30 blocks.
  assertEquals([step?.level, step?.launches, step?.notes], ["slice", 5, ["it copies in bulk (line 7)"]]);
  const launches = engine.works[0]!.steps.filter(({ level }) => level === "slice");
  assertEquals(work.steps.filter(({ level }) => level === "slice").length, 3, "upload and download too");
  let next = 0;
  for (const { grid: [x, y, z], args, estimateNs } of launches.slice(1, 6)) {
    assertEquals([y, z, args.length], [1, 1, 2 + CALYPTE_SLICE_PARAMS.length]);
    const own = args.slice(2).map((arg) =>
      arg.kind === "scalar" ? new DataView(arg.bytes.buffer).getUint32(0, true) : -1
    );
    assertEquals(own.slice(0, 5), [next, ...grid, 30]);
    assertEquals(estimateNs, Math.ceil(200_000 * x / 30));
    next += x;
  }
  assertEquals(next, 30);
});

Deno.test("a slice is never smaller than what is resident at a time", async () => {
  const { loader } = setUp(compilerThatSays("slice").compiler, 1);
  const bundle = withKernelSteps(await fixture(), { grid: [100, 1, 1] });
  // 8 resident blocks on each of 4 SMs.
  assertEquals(loader.add(background, bundle, frames).steps[1]?.launches, 4);
});

Deno.test("arguments that do not fit the kernel are refused with both sides named", async () => {
  const bundle = await fixture((bundle) => ({
    ...bundle,
    manifest: {
      ...bundle.manifest,
      steps: bundle.manifest.steps.map((step) =>
        step.kind === "kernel" ? { ...step, args: step.args.slice(1) } : step
      ),
    },
  }));
  const { loader } = setUp();
  assertThrows(() => loader.add(critical, bundle, frames), InputError, "must be 2 for add_one, not 1");
});

Deno.test("PTX that is none is the bundle's fault, with file and line", async () => {
  const bundle = await fixture((bundle) => ({
    ...bundle,
    modules: bundle.modules.map((module) => ({ ...module, text: "this is not PTX" })),
  }));
  const { loader } = setUp();
  const error = assertThrows(() => loader.add(critical, bundle, frames), InputError);
  assertStringIncludes(error.field, "line 1");
});

Deno.test("more steps than the engine takes are refused, uploads and downloads included", async () => {
  const bundle = await fixture((bundle) => ({
    ...bundle,
    manifest: { ...bundle.manifest, steps: Array(1023).fill(bundle.manifest.steps[0]) },
  }));
  const { loader } = setUp();
  loader.add(critical, bundle, frames);
  assertThrows(() => loader.add(background, bundle, frames), InputError, "1025");
});

Deno.test("works that share a bundle share modules and frames, not buffers", async () => {
  const { engine, loader } = setUp();
  const bundle = await fixture();
  loader.add(background, bundle, frames);
  const [modules, buffers] = [engine.modules.length, engine.buffers.length];
  loader.add({ ...background, name: "again" }, bundle, frames);
  assertEquals([engine.modules.length, engine.frames.length], [modules, 1]);
  assertEquals(engine.buffers.length, 2 * buffers);
});

Deno.test("every built-in kernel reaches level block", () => {
  const names = ["calypte_copy", "calypte_fill", "calypte_upload", "calypte_download"];
  const { kernels } = checkpointCompiler.rewrite({
    ptx: builtinPtx(),
    file: "builtin.ptx",
    kernels: names,
    pins: new Map(),
    level: "block",
    overlaps: new Map(),
  });
  assertEquals([...kernels].map(([name, { level }]) => [name, level]), names.map((name) => [name, "block"]));
});

Deno.test("sockets and rings are opened for the work that they belong to, and one that is refused names its field", async () => {
  const { engine, loader } = setUp();
  const bundle = await fixture();
  const outputRing = { file: "/dev/shm/out", slots: 3, expiryNs: 5e8 };
  const source = { kind: "ring", path: "/dev/shm/cam", periodNs: 7 } as const;
  loader.add({ ...critical, source, outputRing }, bundle, undefined);
  loader.add({ ...critical, name: "b", source: { ...source, kind: "socket" } }, bundle, undefined);
  const { outputBytes } = engine.works[0]!;
  assertEquals(engine.channels, [
    "/dev/shm/cam",
    { path: "/dev/shm/out", slots: 3, slotBytes: outputBytes, expiryNs: 5e8 },
    "/dev/shm/cam",
  ]);
  assertEquals(engine.works.map((work) => [work.source, work.outputChannel]), [
    [{ kind: "ring", channel: 1, periodNs: 7 }, 2],
    [{ kind: "socket", channel: 3, periodNs: 7 }, undefined],
  ]);
  engine.failures.socket = new EngineError(
    CONSTANTS.E_INVALID,
    "open socket",
    "another process listens there",
  );
  const error = assertThrows(
    () => loader.add({ ...critical, name: "c", source: { ...source, kind: "socket" } }, bundle, undefined),
    InputError,
  );
  assertStringIncludes(error.message, "/dev/shm/cam: critical.c.source");
  assertStringIncludes(error.message, "another process listens there");
});

Deno.test("critical kernels, which nothing rewrites, are given to the driver in a version that it takes", async () => {
  const { engine, loader } = setUp();
  const newer = (bundle: Bundle): Bundle => ({
    ...bundle,
    modules: bundle.modules.map((module) => ({
      ...module,
      text: module.text.replace(/\.version [0-9.]+/, ".version 9.0"),
    })),
  });
  loader.add(critical, await fixture(newer), frames);
  for (const text of engine.modules) {
    const [version] = text.match(/(?<=\.version )[0-9.]+/) ?? [];
    assert(Number(version) <= 8.5, version);
  }
});
