import { mission } from "../../policies/mission.ts";
import { PHASES } from "../../policies/policy.ts";
import { weightedFair } from "../../policies/weighted_fair.ts";
import { assertEquals } from "../assert.ts";
import { inPhase, jobOf, snapshotOf } from "./snapshots.ts";

Deno.test("mission: jobs without a list of phases run on the ground and while cruising, and nowhere else", () => {
  const jobs = [jobOf(0), jobOf(1)];
  const running = PHASES.filter((phase) =>
    mission(snapshotOf(jobs, { conditions: inPhase(phase) })).entries.length > 0
  );
  assertEquals(running, ["disarmed", "cruising"]);
});

Deno.test("mission: a job with a list of its own runs where that says, also while landing", () => {
  const jobs = [jobOf(0), jobOf(1, { when: ["landing"] }), jobOf(2, { when: ["cruising", "emergency"] })];
  const run = (phase: typeof PHASES[number]) =>
    mission(snapshotOf(jobs, { conditions: inPhase(phase) })).entries.map(({ job }) => job);
  assertEquals(PHASES.map(run), [[], [0], [], [0, 2], [1], [2], []]);
});

Deno.test("mission: within a phase it shares like weighted-fair", () => {
  const snapshot = snapshotOf(
    [jobOf(0, { weight: 3, recentGpuNs: 1e9 }), jobOf(1, { recentGpuNs: 1e9 })],
    { conditions: inPhase("cruising") },
  );
  assertEquals(mission(snapshot), weightedFair(snapshot));
});
