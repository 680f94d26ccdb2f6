import { throughput } from "../../policies/throughput.ts";
import { assert, assertAlmostEquals, assertEquals } from "../assert.ts";
import { jobOf, sharesOf, snapshotOf, taskOf } from "./snapshots.ts";

const at100Hz = taskOf({ periodNs: 10e6, executionP50Ns: 3e6, marginNs: 1e6 });

Deno.test("throughput: short units come first, and long ones keep the floor", () => {
  const shares = sharesOf(throughput(snapshotOf([jobOf(0, { unitNs: 1e6 }), jobOf(1, { unitNs: 1e9 })])));
  assertAlmostEquals(shares[1]!, 0.05 + 0.9 / 1001, 1e-4);
});

Deno.test("throughput: a unit that fits the predicted window goes before one that is a little too long", () => {
  const jobs = [jobOf(0, { unitNs: 6e6 }), jobOf(1, { unitNs: 7e6 })];
  const ratio = (tasks: ReturnType<typeof taskOf>[]) => {
    const shares = sharesOf(throughput(snapshotOf(jobs, { tasks })));
    return shares[0]! / shares[1]!;
  };
  assert(ratio([at100Hz]) > 1.1 * ratio([]));
  assertEquals(ratio([taskOf()]), ratio([]), "an irregular task predicts no window");
});

Deno.test("throughput: a unit near its end fits, and is finished first", () => {
  const shares = sharesOf(throughput(snapshotOf(
    [jobOf(0, { unitNs: 20e6, unitProgress: 0.8 }), jobOf(1, { unitNs: 20e6 })],
    { tasks: [at100Hz] },
  )));
  assert(shares[0]! > 4 * shares[1]!);
});

Deno.test("throughput: the mission's weight says what a result is worth", () => {
  const shares = sharesOf(throughput(snapshotOf([
    jobOf(0, { unitNs: 1e6 }),
    jobOf(1, { unitNs: 4e6, weight: 4 }),
  ])));
  assertAlmostEquals(shares[0]!, 0.1 * 0.2 + 0.45, 1e-3);
});

Deno.test("throughput: more units are completed than by weights, and nobody starves", () => {
  const gpuNs = [2e6, 30e6, 400e6];
  const units = (floor: number) => {
    const shares = sharesOf(throughput(snapshotOf(
      gpuNs.map((unitNs, id) => jobOf(id, { unitNs })),
      { options: { floor } },
    )));
    return gpuNs.map((each, id) => shares[id]! * 60e9 / each);
  };
  const total = (all: number[]) => all.reduce((a, b) => a + b);
  assert(total(units(0.1)) > 2 * total(units(1)));
  for (const each of units(0.1)) assert(each > 1, `${units(0.1)}`);
});

Deno.test("throughput: an unknown unit time counts as a middling one, and who has nothing to do wishes for nothing", () => {
  const shares = sharesOf(throughput(snapshotOf([
    jobOf(0, { unitNs: 1e6 }),
    jobOf(1),
    jobOf(2, { unitNs: 3e6 }),
    jobOf(3, { unitNs: 1, backlogged: false }),
  ])));
  assert(
    shares[0]! > shares[1]! && shares[1]! > shares[2]! && shares[2]! > shares[3]!,
    JSON.stringify(shares),
  );
});
