import { assertEquals, assertStringIncludes } from "../assert.ts";
import { settleLevels } from "../../agent/levels.ts";
import type { LoadedWork, StepReport } from "../../agent/load.ts";
import { FakeEngine } from "./fake_engine.ts";

const BOUND_NS = 30_000;

function report(kernel: string, change: Partial<StepReport> = {}): StepReport {
  return {
    kernel,
    level: "block",
    launches: 1,
    notes: [],
    blocksPerSm: 8,
    blocksPerSmUntouched: 8,
    ...change,
  };
}

/** One job with these steps, whose launches the engine answers for. */
function jobOf(engine: FakeEngine, steps: StepReport[]): LoadedWork {
  const none = {
    workers: 0,
    periodSlots: 0,
    runBlocks: 0,
    blockNs: 0,
    loopNs: 0,
    blockDrainNs: 0,
    loopDrainNs: 0,
  };
  const measured = { ...none, workers: 132, runBlocks: 2, blockDrainNs: 90_000, loopDrainNs: 8_000 };
  engine.stepInfos.set("0 0", { ...measured, level: "loop" });
  engine.stepInfos.set("0 1", { ...none, level: "slice" });
  engine.stepInfos.set("0 4", { ...measured, level: "block" });
  return { id: 0, name: "map", steps } as unknown as LoadedWork;
}

Deno.test("steps get the level that the engine chose, each by its first launch", () => {
  const engine = new FakeEngine();
  const steps = [report("wide"), report("sliced", { level: "slice", launches: 3 }), report("stuck")];
  settleLevels(engine, [jobOf(engine, steps)], BOUND_NS);
  assertEquals(steps.map(({ level, workers, runBlocks, drainNs }) => [level, workers, runBlocks, drainNs]), [
    ["loop", 132, 2, 8_000],
    ["slice", undefined, undefined, undefined],
    ["block", 132, 2, 90_000],
  ]);
});

Deno.test("of a step at level loop it is known how long its blocks last", () => {
  const engine = new FakeEngine();
  const steps = [report("wide"), report("sliced", { launches: 3 }), report("stuck")];
  settleLevels(engine, [jobOf(engine, steps)], BOUND_NS);
  assertEquals(steps.map(({ blockLastsNs }) => blockLastsNs), [90_000, undefined, undefined]);
});

Deno.test("a step that keeps the GPU longer than the mission allows says so, with the measured time and the reason", () => {
  const engine = new FakeEngine();
  const steps = [
    report("wide"),
    report("sliced", { launches: 3 }),
    report("stuck", { whyNoLoop: "it has no loop" }),
  ];
  settleLevels(engine, [jobOf(engine, steps)], BOUND_NS);
  assertEquals(steps.map(({ notes }) => notes.length), [0, 0, 1]);
  assertStringIncludes(steps[2]!.notes[0]!, "keeps the GPU 90 us after the gate has closed");
  assertStringIncludes(steps[2]!.notes[0]!, "longer than preemptionBound 30 us; it has no loop");
});
