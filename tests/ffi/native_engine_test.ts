/** Does each method of NativeEngine pass on what it is given, and return what the library answers? */
import { CONSTANTS } from "../../ffi/abi.ts";
import { EngineError } from "../../ffi/errors.ts";
import { openLibrary } from "../../ffi/library.ts";
import {
  linksOfSystemFolder,
  listSystemFolder,
  NativeEngine,
  notify,
  probe,
  readSystemFile,
  writeSystemFile,
} from "../../ffi/mod.ts";
import { sizeOf } from "../../ffi/structs.ts";
import type { TraceRecord } from "../../ffi/trace.ts";
import { assertEquals, assertThrows } from "../assert.ts";
import { double, SHOW, testEngine as test } from "./double.ts";
import { BACKGROUND, CRITICAL } from "./specs.ts";

Deno.test("an engine that the library refuses is an EngineError with its text", () => {
  using library = openLibrary(double());
  for (const open of [() => NativeEngine.open(library, { backend: "cuda" }), () => probe(library, "cuda")]) {
    const error = assertThrows(open, EngineError, "no CUDA driver");
    assertEquals(error.code, CONSTANTS.E_NO_DEVICE);
  }
});

test("device and features come back in the interface's words", (engine) => {
  const device = engine.device();
  assertEquals(device, {
    name: "Doppelgänger",
    driver: "CUDA 13.0",
    backend: "sim",
    sms: 16,
    computeMajor: 8,
    computeMinor: 7,
    memoryBytes: 2 ** 36,
    memoryFreeBytes: 2 ** 36 - 1,
    threadsPerSm: 1536,
    sharedPerBlockOptinBytes: 101_376,
    clockKhz: 918_000,
    copyEngines: 1,
    ptxVersion: 85,
  });
  using library = openLibrary(double());
  assertEquals(probe(library, "sim", 0), device);
  const features = engine.features();
  assertEquals(features.length, CONSTANTS.FEATURES);
  assertEquals(features[0], { name: "stream-memops", on: false, reason: "reason 0" });
  assertEquals(features[7], { name: "realtime", on: true, reason: "" });
});

test("modules, kernels, buffers and frames are loaded", (engine) => {
  const module = engine.loadModule(".version 8.0 // ä");
  assertEquals(new TextDecoder().decode(engine.readBuffer(SHOW.module, 0, 18)), ".version 8.0 // ä");
  assertEquals(engine.kernel(module, "copy"), 5);
  assertEquals(engine.kernelInfo(5, 128, 48).paramCount, 4);
  assertEquals(engine.kernelInfo(6, 128, 48), {
    registers: 6,
    localBytes: 48,
    staticSharedBytes: 3,
    maxThreadsPerBlock: 1024,
    blocksPerSm: 12,
    paramCount: undefined,
  });
  assertEquals(engine.createBuffer(2 ** 40), 40);
  engine.writeBuffer(7, 3, Uint8Array.of(9, 8, 7));
  assertEquals(engine.readBuffer(7, 2, 4), Uint8Array.of(0, 9, 8, 7));
  assertEquals(engine.addFrames(Uint8Array.of(1, 2, 3, 4, 5, 6), 3, 2), 6);
});

test("frames that do not fill their size never reach the library", (engine) => {
  const error = assertThrows(
    () => engine.addFrames(new Uint8Array(5), 3, 2),
    EngineError,
    "take 6 bytes, not 5",
  );
  assertEquals(error.code, CONSTANTS.E_INVALID);
});

test("runOnce returns output and duration", (engine) => {
  engine.addWork(CRITICAL);
  const { output, durationNs } = engine.runOnce("critical", 0, Uint8Array.of(10, 20, 30));
  assertEquals(output, Uint8Array.of(11, 21, 31, 11, 21, 31, 11, 21, 31, 11, 21, 31));
  assertEquals(durationNs, 5_000_000_000);
});

test("a request that finds no slot is undefined, another fault an error", (engine) => {
  assertEquals(engine.submit("critical", 0, new Uint8Array(3), 4), 7);
  assertEquals(engine.submit("critical", 0, new Uint8Array(3), 0), undefined);
  assertThrows(() => engine.submit("background", 0, new Uint8Array(3), 4), EngineError, "no such work");
});

test("results carry flags, digest and a payload of their own", (engine) => {
  engine.advance(6);
  const results = engine.takeResults();
  assertEquals(results.length, 6);
  assertEquals(results[2], {
    kind: "critical",
    work: 0,
    number: 2,
    frameSeq: 102,
    frameIndex: 2,
    sensorNs: 5_000_000_000,
    arrivalNs: 5_000_000_001,
    startNs: 5_000_000_002,
    doneNs: 5_000_000_003,
    deadlineNs: 5_000_000_004,
    digest: 0xfedcba9876543210n,
    complete: false,
    late: false,
    dropped: true,
    failed: false,
    simulated: false,
    payload: Uint8Array.of(2, 2),
    position: 5_000_000_005,
  });
  assertEquals(
    results.slice(0, 5).map((r) => [r.complete, r.late, r.dropped, r.simulated, r.failed].indexOf(true)),
    [
      0,
      1,
      2,
      3,
      4,
    ],
  );
  engine.advance(6);
  engine.takeResults();
  assertEquals(results[5]?.payload, new Uint8Array(5).fill(5));
  assertEquals(engine.takeResults(), []);
});

test("takeResults takes as many as fit, and one at least of any work that was added", (engine) => {
  engine.advance(20);
  assertEquals(engine.takeResults(2 * sizeOf("result") + 8).map((r) => r.number), [0, 1]);
  engine.addWork({ ...BACKGROUND, outputBytes: 20 });
  const numbers: number[] = [];
  for (let taken = engine.takeResults(0); taken.length > 0; taken = engine.takeResults(0)) {
    numbers.push(...taken.map((r) => r.number));
  }
  assertEquals(numbers, Array.from({ length: 18 }, (_, i) => i + 2));
});

test("all events are taken, however many", (engine) => {
  engine.advance(600);
  const events = engine.takeEvents();
  assertEquals(events.map((e) => e.sequence), Array.from({ length: 600 }, (_, i) => i + 1));
  assertEquals(events.slice(0, 2), [
    { sequence: 1, timeNs: 6_000_000_000, kind: "miss", source: 2, a: -1, b: 2 ** 40, text: "missed" },
    {
      sequence: 2,
      timeNs: 6_000_000_000,
      kind: "miss",
      source: undefined,
      a: -2,
      b: 2 ** 40,
      text: "missed",
    },
  ]);
  assertEquals(engine.takeEvents(), []);
});

test("a trace tells of requests and slices under their names", (engine) => {
  const { records, next, lost } = engine.takeTrace(1);
  assertEquals({ next, lost }, { next: 2, lost: 1 });
  assertEquals(records, [
    {
      ...{ kind: "request", task: 3, number: 7, outcome: "late", arrivalNs: 10, sensorNs: 5, deadlineNs: 80 },
      ...{ launchNs: 40, doneNs: 90, queuedNs: 11, deferredNs: 12, drainNs: 13, drainJob: -1, usualNs: 14 },
      clockKey: 15,
    } as TraceRecord,
    {
      ...{ kind: "slice", job: 2, unit: 9, step: 4, beginNs: 20, endNs: 30, busyNs: 8 },
      ...{ level: "loop", preempted: true },
    } as TraceRecord,
  ]);
  assertEquals(engine.takeTrace(2), { records: [], next: 2, lost: 0 });
});

test("a snapshot holds as many tasks and jobs as there are", (engine) => {
  engine.advance(8_000_000_000);
  engine.hold("safe-mode", true);
  engine.setSafeMode({ misses: 3, staleLeases: 2, windowNs: 10e9, clearAfterNs: 5e9 });
  const { tasks, jobs, ...rest } = engine.snapshot();
  assertEquals(rest, {
    nowNs: 8_000_000_000,
    readyNs: 1,
    state: "ready",
    backend: "sim",
    planId: 0,
    leaseEndNs: 9_000_000_000,
    holds: ["lease", "safe-mode"],
    entriesAhead: 3,
    leaseExpired: 0,
    safeMode: 5,
    safeModeReasons: ["misses", "planner"],
    safeModeMisses: 3,
    safeModeSinceNs: 10e9,
    safeModeNs: 91,
    safeModeUntilNs: 5e9 + 2,
    criticalBusyNs: 0,
    backgroundBusyNs: 0,
    aheadNs: 0,
    clockKey: 0,
    windowEndNs: 0,
    eventsLost: 0,
    dispatcherSteps: 0,
    dispatcherWorstNs: 77,
  });
  assertEquals([tasks.length, jobs.length], [2, 1]);
  assertEquals([tasks[1]?.requests, tasks[1]?.worstExecutionNs], [2 ** 33, 12_345]);
  const { count, sumNs, minNs, maxNs, buckets } = tasks[1]?.response ?? { count: 0 };
  assertEquals([count, sumNs, minNs, maxNs, buckets?.[31], buckets?.[63]], [2, 3000, 1000, 2000, 1, 1]);
  assertEquals(jobs[0]?.gpuNs, { whole: 0, slice: 0, block: 222, loop: 333 });
  assertEquals([jobs[0]?.units, jobs[0]?.unitNs], [4, 55]);
});

test("what was learned is taken whole, also when it grows meanwhile", (engine) => {
  assertEquals(engine.giveLearned(Uint8Array.of(1, 2, 3)), 2);
  assertEquals(engine.takeLearned(), Uint8Array.of(1, 2, 3, 0));
  assertThrows(() => engine.giveLearned(new Uint8Array(65)), EngineError, "not what take_learned gave");
});

test("a snapshot does not change when the next is taken", (engine) => {
  engine.advance(1);
  const first = engine.snapshot();
  const copy = structuredClone(first);
  engine.advance(2);
  assertEquals(engine.snapshot().nowNs, 2);
  assertEquals(first, copy);
});

test("a time beyond 2^53 ns and a hold without a name are errors", (engine) => {
  assertThrows(() => engine.advance(2 ** 53), EngineError, "untilNs must be an integer");
  engine.hold("caller", true);
  assertEquals(engine.snapshot().holds, ["lease", "caller"]);
  engine.hold("caller", false);
  assertEquals(engine.snapshot().holds, ["lease"]);
});

test("shared memory is refused before the library sees it", (engine) => {
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  assertThrows(() => engine.writeBuffer(7, 0, shared), EngineError, "SharedArrayBuffer");
});

test("sockets and rings become channels", (engine) => {
  assertEquals(engine.socket("abc"), 3);
  assertEquals(engine.ringInput("abc"), 103);
  assertEquals(engine.external("abc"), 303);
  const ring = { path: "abcd", slots: 8, slotBytes: 1000, expiryNs: 20_000_000 };
  assertEquals(engine.ringOutput(ring), 4 + 8 + 1000 + 20);
  assertThrows(() => engine.ringOutput({ ...ring, slots: 1 }), EngineError, "slots must be 2..65536");
});

Deno.test("the service manager is told through the library", () => {
  using library = openLibrary(double());
  assertEquals(notify(library, "READY=1"), true);
});

Deno.test("files of the system are read and written through the library", () => {
  using library = openLibrary(double());
  assertEquals(new TextDecoder().decode(readSystemFile(library, "/proc/x")), "/proc/x");
  assertEquals(listSystemFolder(library, "/sys/x"), ["a", "b"]);
  assertEquals([...linksOfSystemFolder(library, "/proc/7/fd")], [["7", "/dev/null"]]);
  assertEquals(
    assertThrows(() => linksOfSystemFolder(library, "/proc/1/fd"), EngineError).codeName,
    "E_DENIED",
  );
  writeSystemFile(library, "/sys/x", "1");
  assertThrows(() => writeSystemFile(library, "/sys/x", ""), EngineError, 'write "/sys/x"');
  assertThrows(() => readSystemFile(library, "/sys/\0"), EngineError);
});
