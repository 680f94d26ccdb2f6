/** Do options, work and plans reach the library as calypte.h lays them out? */
import { CONSTANTS } from "../../ffi/abi.ts";
import { EngineError } from "../../ffi/errors.ts";
import { sizeOf, StructView } from "../../ffi/structs.ts";
import { assertEquals, assertThrows } from "../assert.ts";
import { SHOW, testEngine as test } from "./double.ts";
import { BACKGROUND, CRITICAL, STEP } from "./specs.ts";

test("options reach the library, with defaults", (engine) => {
  const view = new StructView("options", engine.readBuffer(SHOW.options, 0, sizeOf("options")));
  assertEquals(
    view.numbers(
      "abiVersion",
      "sizeBytes",
      "backend",
      "clock",
      "deviceIndex",
      "disableFeatures",
      "seed",
      "simSms",
    ),
    {
      abiVersion: CONSTANTS.ABI_VERSION,
      sizeBytes: sizeOf("options"),
      backend: CONSTANTS.BACKEND_SIM,
      clock: CONSTANTS.CLOCK_REAL,
      deviceIndex: 0,
      disableFeatures: 0,
      seed: 1,
      simSms: 0,
    },
  );
});

test("options reach the library as they are given", (engine) => {
  const view = new StructView("options", engine.readBuffer(SHOW.options, 0, sizeOf("options")));
  assertEquals(view.numbers("clock", "disableFeatures", "seed", "simSms", "resultsBytes"), {
    clock: CONSTANTS.CLOCK_VIRTUAL,
    disableFeatures: 1 << CONSTANTS.FEATURE_PARKED_RESUME | 1 << CONSTANTS.FEATURE_IPC,
    seed: 2 ** 40,
    simSms: 8,
    resultsBytes: 4096,
  });
}, {
  clock: "virtual",
  disableFeatures: ["parked-resume", "ipc"],
  seed: 2 ** 40,
  simSms: 8,
  resultsBytes: 4096,
});

test("a critical task reaches the library with all that lies behind it", (engine) => {
  assertEquals([engine.addWork(CRITICAL), engine.addWork(CRITICAL), engine.addWork(BACKGROUND)], [0, 1, 0]);
  engine.addWork(CRITICAL);
  const total = sizeOf("work") + 2 * sizeOf("step") + 3 * sizeOf("arg") + 3 * sizeOf("io");
  const bytes = engine.readBuffer(SHOW.work, 0, total);
  const work = new StructView("work", bytes);
  assertEquals([work.text("name"), work.bytesOf("digest")], ["obstacle-detector", CRITICAL.digest]);
  const counts = work.numbers(
    "abiVersion",
    "sizeBytes",
    "stepCount",
    "argCount",
    "inputCount",
    "outputCount",
  );
  assertEquals(Object.values(counts), [CONSTANTS.ABI_VERSION, total, 2, 3, 1, 2]);
  const { WORK_CRITICAL, SOURCE_FRAMES, QUEUE_FIFO, FROM_SENSOR, ON_MISS_DROP } = CONSTANTS;
  const rules = work.numbers(
    "kind",
    "source",
    "frames",
    "queue",
    "queueDepth",
    "from",
    "onMiss",
    "keepOutput",
  );
  assertEquals(
    Object.values(rules),
    [WORK_CRITICAL, SOURCE_FRAMES, 11, QUEUE_FIFO, 2, FROM_SENSOR, ON_MISS_DROP, 1],
  );
  assertEquals(
    work.numbers(
      "inputBytes",
      "outputBytes",
      "periodNs",
      "phaseNs",
      "deadlineNs",
      "maxBlockingNs",
      "estimateNs",
    ),
    {
      inputBytes: 256,
      outputBytes: 12,
      periodNs: 33_333_333,
      phaseNs: 4,
      deadlineNs: 15_000_000,
      maxBlockingNs: 123,
      estimateNs: 9,
    },
  );
  const step = new StructView("step", bytes, work.size);
  assertEquals([0, 1, 2].map((axis) => step.number("grid", axis)), [40, 8, 1]);
  assertEquals(step.numbers("level", "firstArg", "argCount", "workers", "estimateNs"), {
    level: CONSTANTS.LEVEL_BLOCK,
    firstArg: 0,
    argCount: 2,
    workers: 32,
    estimateNs: 5_000_000_000,
  });
  step.moveTo(work.size + step.size);
  assertEquals(step.numbers("level", "firstArg", "argCount"), {
    level: CONSTANTS.LEVEL_LOOP,
    firstArg: 2,
    argCount: 1,
  });
  const argsAt = work.size + 2 * step.size;
  const args = [0, 1, 2].map((i) => new StructView("arg", bytes, argsAt + i * sizeOf("arg")));
  assertEquals(args.map((arg) => Object.values(arg.numbers("kind", "sizeBytes", "value", "offset"))), [
    [CONSTANTS.ARG_BUFFER, 0, 7, 256],
    [CONSTANTS.ARG_SCALAR, 4, 0x04030201, 0],
    [CONSTANTS.ARG_SLOT_COUNT, 0, 0, 0],
  ]);
  const io = new StructView("io", bytes, argsAt + 3 * sizeOf("arg") + 2 * sizeOf("io"));
  assertEquals(io.numbers("buffer", "offset", "sizeBytes"), {
    buffer: 3,
    offset: 256,
    sizeBytes: 7_000_000_000,
  });
});

test("a background job has none of a task's rules", (engine) => {
  engine.addWork(BACKGROUND);
  const work = new StructView("work", engine.readBuffer(SHOW.work, 0, sizeOf("work")));
  assertEquals(work.numbers("kind", "source", "queue", "queueDepth", "deadlineNs", "periodNs", "phaseNs"), {
    kind: CONSTANTS.WORK_BACKGROUND,
    source: CONSTANTS.SOURCE_NONE,
    periodNs: 66,
    phaseNs: 5,
    queue: 0,
    queueDepth: 0,
    deadlineNs: 0,
  });
});

test("scalars of 1 to 8 bytes keep all their bits, others are refused", (engine) => {
  const add = (bytes: Uint8Array) =>
    engine.addWork({ ...BACKGROUND, steps: [{ ...STEP, args: [{ kind: "scalar", bytes }] }] });
  add(new Uint8Array(8).fill(0xff));
  const bytes = engine.readBuffer(SHOW.work, sizeOf("work") + sizeOf("step"), sizeOf("arg"));
  assertEquals(new StructView("arg", bytes).bigint("value"), 2n ** 64n - 1n);
  for (const length of [0, 9]) {
    assertThrows(() => add(new Uint8Array(length)), EngineError, `1 to 8 bytes, not ${length}`);
  }
});

test("a plan reaches the library, and leaves nothing behind for the next", (engine) => {
  const entry = (job: number) => ({ job, weight: 3, maxUnits: 2 ** 33 });
  engine.setPlan({ id: 2 ** 34, leaseNs: 500_000_000, entries: [entry(4), entry(1)] });
  engine.setPlan({ id: 2 ** 34 + 1, leaseNs: 5, entries: [entry(2)] });
  const plan = new StructView("plan", engine.readBuffer(SHOW.plan, 0, sizeOf("plan")));
  assertEquals(plan.numbers("sizeBytes", "id", "leaseNs", "entryCount"), {
    sizeBytes: sizeOf("plan"),
    id: 2 ** 34 + 1,
    leaseNs: 5,
    entryCount: 1,
  });
  const entries = [0, 1].map((i) => plan.struct("entries", i).numbers("job", "weight", "maxUnits"));
  assertEquals(entries, [entry(2), { job: 0, weight: 0, maxUnits: 0 }]);
});

test("a plan that breaks a rule is refused here or there", (engine) => {
  const plan = { id: 2 ** 35, leaseNs: 5, entries: [] };
  engine.setPlan(plan);
  assertThrows(() => engine.setPlan(plan), EngineError, "Cannot set plan 34359738368: plan.id must grow");
  const entries = Array.from({ length: 25 }, (_, job) => ({ job, weight: 1, maxUnits: 0 }));
  const error = assertThrows(
    () => engine.setPlan({ ...plan, entries }),
    EngineError,
    "at most 24 entries, not 25",
  );
  assertEquals(error.code, CONSTANTS.E_LIMIT);
  assertThrows(() => engine.setPlan({ ...plan, leaseNs: 0.5 }), EngineError, "leaseNs must be an integer");
});

test("channels reach the library with the source and output that they are", (engine) => {
  const read = () => new StructView("work", engine.readBuffer(SHOW.work, 0, sizeOf("work")));
  const fields = ["source", "channel", "outputChannel", "periodNs"] as const;
  engine.addWork({ ...CRITICAL, source: { kind: "ring", channel: 4, periodNs: 5 }, outputChannel: 6 });
  assertEquals(read().numbers(...fields), {
    source: CONSTANTS.SOURCE_RING,
    channel: 4,
    outputChannel: 6,
    periodNs: 5,
  });
  engine.addWork({ ...CRITICAL, source: { kind: "socket", channel: 3, periodNs: 0 } });
  assertEquals(read().numbers(...fields), {
    source: CONSTANTS.SOURCE_SOCKET,
    channel: 3,
    outputChannel: 0,
    periodNs: 0,
  });
});
