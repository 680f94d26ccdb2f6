/** Every policy of the registry passes all of this; a policy that needs an exception lists it here, with the reason. */
import { planText, randomSnapshot } from "../../agent/policy_cases.ts";
import { planFault, type PolicySnapshot } from "../../policies/policy.ts";
import {
  findPolicy,
  POLICIES,
  POLICY_NAMES,
  POLICY_OPTIONS,
  POLICY_SUMMARIES,
} from "../../policies/registry.ts";
import { assert, assertEquals } from "../assert.ts";
import { jobOf, snapshotOf } from "./snapshots.ts";

/** Which jobs of a snapshot a policy may pause, and why. */
const PAUSES: Record<string, (snapshot: PolicySnapshot) => boolean> = {
  // Pausing by phase is what it is for.
  mission: () => true,
};

const CASES = 500;
/** Of what its weight alone would give a job. */
const LEAST = 0.03;

function freezeDeep<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(freezeDeep);
    Object.freeze(value);
  }
  return value;
}

/** The seed of a case is its number, from 1. */
function forAll(check: (given: PolicySnapshot) => void): void {
  for (let seed = 1; seed <= CASES; seed++) {
    try {
      check(randomSnapshot(seed));
    } catch (error) {
      throw new Error(`randomSnapshot(${seed}): ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
}

for (const name of POLICY_NAMES) {
  const policy = POLICIES[name];

  Deno.test(`${name}: every plan names jobs of the snapshot once each, with weights and a duty in range`, () => {
    forAll((given) => assertEquals(planFault(policy(freezeDeep(given)), given), undefined));
  });

  Deno.test(`${name}: equal snapshots give equal plans`, () => {
    forAll((given) => {
      const first = planText(policy(given));
      policy({ ...given, jobs: [] });
      assertEquals(planText(policy(structuredClone(given))), first);
    });
  });

  Deno.test(`${name}: no jobs give no entries`, () => {
    forAll((given) => assertEquals(policy({ ...given, jobs: [] }).entries, []));
    assertEquals(policy(snapshotOf([])), { entries: [] });
  });

  Deno.test(`${name}: no job that may run is starved`, () => {
    forAll((given) => {
      if (PAUSES[name]?.(given)) return;
      const { entries } = policy({ ...given, options: {} });
      assertEquals(entries.length, given.jobs.length);
      const total = entries.reduce((sum, { weight }) => sum + weight, 0);
      const weights = given.jobs.reduce((sum, { weight }) => sum + weight, 0);
      for (const { id, weight } of given.jobs) {
        const share = entries.find(({ job }) => job === id)!.weight / total;
        assert(
          share >= LEAST * weight / weights,
          `job ${id} gets ${share} where ${weight / weights} is fair`,
        );
      }
    });
  });

  Deno.test(`${name}: where all are alike, all get alike`, () => {
    const jobs = [0, 1, 2].map((id) =>
      jobOf(id, { weight: 5, recentGpuNs: 1e9, unitNs: 3e6, deadlineNs: 1e9, dueNs: 1.5e9 })
    );
    const plan = policy(snapshotOf(jobs, { conditions: { phase: "cruising", limits: {} } }));
    assertEquals(new Set(plan.entries.map(({ weight }) => weight)).size, 1);
  });
}

Deno.test("the registry finds its policies and nothing that objects inherit", () => {
  for (const name of POLICY_NAMES) assertEquals(findPolicy(name), POLICIES[name]);
  assertEquals(findPolicy("toString"), undefined);
  assertEquals(findPolicy("weighted"), undefined);
  assertEquals(Object.keys(POLICY_SUMMARIES), POLICY_NAMES);
  assertEquals(Object.keys(POLICY_OPTIONS), POLICY_NAMES);
});

Deno.test("random snapshots repeat by seed and differ between seeds", () => {
  assertEquals(randomSnapshot(7), randomSnapshot(7));
  assert(JSON.stringify(randomSnapshot(7)) !== JSON.stringify(randomSnapshot(8)));
  assertEquals([1, 24].map((jobs) => randomSnapshot(3, jobs).jobs.length), [1, 24]);
});

Deno.test("planFault refuses every kind of nonsense", () => {
  const given = snapshotOf([jobOf(4)]);
  const good = { job: 4, weight: 1, maxUnits: 0 };
  for (const duty of [undefined, 0, 0.5, 1]) {
    assertEquals(planFault({ entries: [good], duty }, given), undefined);
  }
  const nonsense: unknown[] = [
    undefined,
    null,
    [],
    {},
    { entries: 3 },
    { entries: [null] },
    { entries: [{}] },
    { entries: [{ ...good, job: 0 }] },
    { entries: [{ ...good, job: { toString: () => "4" } }] },
    { entries: [good, good] },
    ...[0, -1, 1.5, NaN, Infinity, 1_000_001, "1", Symbol()].map((weight) => ({
      entries: [{ ...good, weight }],
    })),
    ...[-1, 0.5, NaN, Infinity, {}].map((maxUnits) => ({ entries: [{ ...good, maxUnits }] })),
    ...[-0.1, 1.1, NaN, Infinity, "1", null].map((duty) => ({ entries: [good], duty })),
  ];
  for (const [index, plan] of nonsense.entries()) {
    assert(planFault(plan, given) !== undefined, `number ${index}`);
  }
});
