/** Every policy of the registry passes all of this; a policy that needs an exception lists it here, with the reason. */
import fc from "fast-check";
import { assert, assertEquals } from "../assert.ts";
import { planFault, type PolicyJob, type PolicySnapshot } from "../../policies/policy.ts";
import { findPolicy, POLICIES, POLICY_NAMES } from "../../policies/registry.ts";

const job: fc.Arbitrary<Omit<PolicyJob, "id">> = fc.record({
  name: fc.string({ maxLength: 63 }),
  weight: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 1e-3, max: 1e6, noNaN: true })),
  backlogged: fc.boolean(),
  units: fc.nat(),
  gpuNs: fc.maxSafeNat(),
  recentGpuNs: fc.nat({ max: 10_000_000_000 }),
  unitNs: fc.nat(),
});

const snapshot: fc.Arbitrary<PolicySnapshot> = fc.record({
  nowNs: fc.maxSafeNat(),
  windowNs: fc.constant(10_000_000_000),
  tasks: fc.array(
    fc.record({
      name: fc.string(),
      requests: fc.nat(),
      misses: fc.nat(),
      missRun: fc.nat(),
      nextArrivalNs: fc.maxSafeNat(),
    }),
    { maxLength: 7 },
  ),
  // Ids with gaps: jobs that may not run now are left out of a snapshot.
  jobs: fc.array(job, { maxLength: 24 }).map((jobs) =>
    jobs.map((each, index) => ({ id: index * 2 + 1, ...each }))
  ),
});

function freezeDeep<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(freezeDeep);
    Object.freeze(value);
  }
  return value;
}

for (const name of POLICY_NAMES) {
  const policy = POLICIES[name];

  Deno.test(`${name}: every plan names jobs of the snapshot once each, with weights in range`, () => {
    fc.assert(fc.property(snapshot, (given) => {
      assertEquals(planFault(policy(freezeDeep(given)), given), undefined);
    }));
  });

  Deno.test(`${name}: equal snapshots give equal plans`, () => {
    fc.assert(fc.property(snapshot, (given) => {
      const first = policy(given);
      policy({ ...given, jobs: [] });
      assertEquals(policy(structuredClone(given)), first);
    }));
  });

  Deno.test(`${name}: a deep-frozen snapshot is left as it is`, () => {
    fc.assert(fc.property(snapshot, (given) => {
      const before = structuredClone(given);
      policy(freezeDeep(given));
      assertEquals(given, before);
    }));
  });

  Deno.test(`${name}: no jobs give an empty plan`, () => {
    assertEquals(policy({ nowNs: 0, windowNs: 1, tasks: [], jobs: [] }), { entries: [] });
  });

  Deno.test(`${name}: no job that may run is starved`, () => {
    fc.assert(fc.property(snapshot, (given) => {
      assertEquals(policy(given).entries.length, given.jobs.length);
    }));
  });
}

Deno.test("the registry finds its policies and nothing that objects inherit", () => {
  assert(POLICY_NAMES.length >= 2);
  for (const name of POLICY_NAMES) assertEquals(findPolicy(name), POLICIES[name]);
  assertEquals(findPolicy("toString"), undefined);
  assertEquals(findPolicy("weighted"), undefined);
});

Deno.test("planFault refuses every kind of nonsense", () => {
  const given: PolicySnapshot = {
    nowNs: 0,
    windowNs: 1,
    tasks: [],
    jobs: [{
      id: 4,
      name: "a",
      weight: 1,
      backlogged: true,
      units: 0,
      gpuNs: 0,
      recentGpuNs: 0,
      unitNs: 0,
    }],
  };
  const good = { job: 4, weight: 1, maxUnits: 0 };
  assertEquals(planFault({ entries: [good] }, given), undefined);
  const nonsense: unknown[] = [
    undefined,
    null,
    [],
    {},
    { entries: 3 },
    { entries: [null] },
    { entries: [{}] },
    { entries: [{ ...good, job: 0 }] },
    { entries: [good, good] },
    ...[0, -1, 1.5, NaN, Infinity, 1_000_001, "1"].map((weight) => ({ entries: [{ ...good, weight }] })),
    ...[-1, 0.5, NaN, Infinity].map((maxUnits) => ({ entries: [{ ...good, maxUnits }] })),
  ];
  for (const plan of nonsense) assert(planFault(plan, given) !== undefined, JSON.stringify(plan));
});
