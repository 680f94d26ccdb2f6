import { assert, assertAlmostEquals, assertEquals } from "../assert.ts";
import type { PolicyJob } from "../../policies/policy.ts";
import { weightedFair } from "../../policies/weighted_fair.ts";
import { jobOf, snapshotOf } from "./snapshots.ts";

function job(id: number, weight: number, recentMs: number, backlogged = true): PolicyJob {
  return jobOf(id, { weight, backlogged, recentGpuNs: recentMs * 1e6 });
}

function weights(...jobs: PolicyJob[]): number[] {
  return weightedFair(snapshotOf(jobs)).entries.map((entry) => entry.weight);
}

Deno.test("weighted-fair: before anything is measured, weights are the mission's", () => {
  assertEquals(weights(job(0, 3, 0), job(1, 1, 0)), [100_000, 33_333]);
  assertEquals(weights(job(0, 3, 0.01), job(1, 1, 40)), [100_000, 33_333]);
});

Deno.test("weighted-fair: a job that fell behind its share is given more, one ahead of it less", () => {
  const [behind, ahead] = weights(job(0, 1, 40), job(1, 1, 60)) as [number, number];
  assertEquals([behind, ahead], [156_250, 69_444]);
});

Deno.test("weighted-fair: shares that already follow the weights are left alone", () => {
  assertEquals(weights(job(0, 3, 300), job(1, 1, 100)), [100_000, 33_333]);
});

Deno.test("weighted-fair: the correction is bounded by 4 either way", () => {
  assertEquals(weights(job(0, 1, 0), job(1, 1, 1000)), [400_000, 25_000]);
});

Deno.test("weighted-fair: a job that had nothing to do builds up no claim, and takes none from others", () => {
  assertEquals(weights(job(0, 8, 0, false), job(1, 3, 300), job(2, 1, 100)), [100_000, 37_500, 12_500]);
});

Deno.test("weighted-fair: long-run shares follow the weights when one job is charged twice its time", () => {
  // A model of stride with a flaw: job 0 really uses twice what its weight gives it.
  const used = [0, 0, 0];
  const mission = [2, 1, 1];
  for (let round = 0; round < 2000; round++) {
    const plan = weights(...used.map((ms, id) => job(id, mission[id]!, ms)));
    const pull = plan.map((weight, id) => weight * (id === 0 ? 2 : 1));
    const total = pull.reduce((a, b) => a + b, 0);
    pull.forEach((each, id) => used[id]! += 10 * each / total);
  }
  const total = used.reduce((a, b) => a + b, 0);
  assertAlmostEquals(used[0]! / total, 0.5, 0.06);
  assert(used[0]! / total < 2 / 3 - 0.1, "better than uncorrected stride, which would give 2/3");
});
