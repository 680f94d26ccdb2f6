import { assertEquals, assertStringIncludes } from "../assert.ts";
import { createCounters } from "../../agent/counters.ts";
import { summarize, summaryText, table } from "../../agent/summary.ts";
import { jobStats, snapshotOf, taskStats } from "./fake_engine.ts";

function input() {
  return {
    snapshot: snapshotOf({
      nowNs: 61e9,
      readyNs: 1e9,
      criticalBusyNs: 20e9,
      backgroundBusyNs: 30e9,
      leaseExpired: 1,
      tasks: [taskStats({ requests: 100, late: 1, dropped: 2, failed: 3, longestMissRun: 4 })],
      jobs: [
        jobStats({ units: 7, preemptions: 8, gpuNs: { whole: 10e9, slice: 0, block: 20e9, loop: 0 } }),
        jobStats(),
      ],
    }),
    counters: { ...createCounters(), outputsSkipped: 5 },
    seed: 7,
    profile: { name: "orin-nano", estimate: true },
    tasks: ["detector"],
    jobs: ["map", "idle"],
  };
}

Deno.test("the summary has the shape of DESIGN.md, with units in its keys", () => {
  assertEquals(summarize(input()), {
    backend: "sim",
    seed: 7,
    profile: { name: "orin-nano", estimate: true },
    durationS: 60,
    critical: {
      detector: {
        requests: 100,
        misses: 6,
        attainment: 0.94,
        longestMissRun: 4,
        response: { p50Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 },
      },
    },
    background: {
      map: {
        units: 7,
        preemptions: 8,
        gpuSeconds: 30,
        levelShare: { loop: 0, block: 0.6667, slice: 0, whole: 0.3333 },
      },
      idle: {
        units: 0,
        preemptions: 0,
        gpuSeconds: 0,
        levelShare: { loop: 0, block: 0, slice: 0, whole: 0 },
      },
    },
    idleFill: 0.75,
    quarantine: {},
    foreign: null,
    events: {
      leaseExpired: 1,
      safeMode: 0,
      safeModeS: 0,
      policyFaults: 0,
      outputsSkipped: 5,
      resultsLost: 0,
      poisonInputs: 0,
    },
  });
});

Deno.test("a GPU has no seed, and a run that never was has no idle time to fill", () => {
  const given = input();
  const summary = summarize({
    ...given,
    seed: undefined,
    snapshot: { ...given.snapshot, state: "loading", backend: "cuda", criticalBusyNs: 0 },
  });
  assertEquals([summary.seed, summary.durationS, summary.idleFill], [null, 0, 0]);
});

Deno.test("a virtual clock is ready at time 0", () => {
  const given = input();
  assertEquals(summarize({ ...given, snapshot: { ...given.snapshot, readyNs: 0 } }).durationS, 61);
});

Deno.test("the table for people names what went wrong, and only that", () => {
  const text = summaryText(summarize(input()));
  assertStringIncludes(text, "60 s on the simulator (seed 7, profile orin-nano, an estimate)\n");
  assertStringIncludes(text, "\nidle fill 75.0 %: ");
  assertStringIncludes(
    text,
    "\nlook into:\n  leases that ended without a new plan: 1\n  outputs not computed by the CPU references: 5\n",
  );
  assertEquals(text.includes("safe mode"), false);
});

Deno.test("a run that was in safe mode says how often, and for how long", () => {
  const given = input();
  const snapshot = { ...given.snapshot, safeMode: 2, safeModeNs: 14.5e9 };
  const summary = summarize({ ...given, snapshot });
  assertEquals([summary.events.safeMode, summary.events.safeModeS], [2, 14.5]);
  assertStringIncludes(summaryText(summary), "\n  times in safe mode, 14.5 s in all: 2\n");
});

Deno.test("a run in which nothing went wrong ends with the legend, and lines fit a terminal", () => {
  const given = input();
  const text = summaryText(summarize({
    ...given,
    counters: createCounters(),
    snapshot: { ...given.snapshot, leaseExpired: 0 },
  }));
  assertEquals(text.includes("look into"), false);
  for (const line of text.split("\n")) assertEquals(line.length <= 100, true, line);
});

Deno.test("the levels of a job add up to 100.0 %, however they round", () => {
  for (const gpuNs of [[1, 1, 1, 0], [1, 1, 1, 1], [2, 3, 1, 0], [1e9, 1, 1, 1], [6, 1, 7, 1]]) {
    const [whole = 0, slice = 0, block = 0, loop = 0] = gpuNs;
    const given = input();
    const jobs = [jobStats({ gpuNs: { whole, slice, block, loop } })];
    const text = summaryText(summarize({ ...given, snapshot: { ...given.snapshot, jobs } }));
    const row = text.split("\n").find((line) => line.startsWith("map")) ?? "";
    const shares = [...row.matchAll(/(\d+\.\d) %/g)].map(([, share]) => Number(share) * 10);
    assertEquals([shares.length, Math.round(shares.reduce((a, b) => a + b, 0))], [4, 1000], row);
  }
});

Deno.test("columns are aligned and lines carry no trailing blanks", () => {
  assertEquals(table(["name", "n"], [["a", "100"], ["longer", "1"]]), [
    "name      n",
    "a       100",
    "longer    1",
  ]);
});

Deno.test("a job in quarantine is named with its reason, and nothing is said where there is none", () => {
  const quarantined = [{ job: "map", reason: "its process was killed by SIGSEGV" }];
  const summary = summarize({ ...input(), quarantined });
  assertEquals(summary.quarantine, { map: "its process was killed by SIGSEGV" });
  assertStringIncludes(summaryText(summary), "\nin quarantine: map: its process was killed by SIGSEGV\n");
  assertEquals(summaryText(summarize(input())).includes("quarantine"), false);
});
