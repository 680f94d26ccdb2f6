import { deadline } from "../../policies/deadline.ts";
import { assert, assertAlmostEquals, assertEquals } from "../assert.ts";
import { jobOf, sharesOf, snapshotOf } from "./snapshots.ts";

const NOW_NS = 100e9;
const due = (id: number, inNs: number, change = {}) =>
  jobOf(id, { deadlineNs: 10e9, dueNs: NOW_NS + inNs, unitNs: 1e9, ...change });
const shares = (jobs: ReturnType<typeof jobOf>[], change = {}) =>
  sharesOf(deadline(snapshotOf(jobs, { nowNs: NOW_NS, ...change })));

Deno.test("deadline: without deadlines the shares are the mission's weights", () => {
  assertEquals(sharesOf(deadline(snapshotOf([jobOf(0, { weight: 3 }), jobOf(1)]))), { 0: 0.75, 1: 0.25 });
});

Deno.test("deadline: the unit that is due sooner comes first, and lateness goes on to count", () => {
  const { 0: soon = 0, 1: later = 0, 2: late = 0 } = shares([due(0, 2e9), due(1, 9e9), due(2, -4e9)]);
  assert(late > 3 * soon && soon > 3 * later, `${late} ${soon} ${later}`);
});

Deno.test("deadline: at the same due time, more left to compute is more urgent", () => {
  const { 0: begun = 0, 1: fresh = 0 } = shares([
    due(0, 5e9, { unitNs: 4e9, unitProgress: 0.9 }),
    due(1, 5e9, { unitNs: 4e9 }),
  ]);
  assert(fresh > 2 * begun);
});

Deno.test("deadline: a busy GPU makes what is left take longer", () => {
  const jobs = [due(0, 5e9, { unitNs: 1e9 }), jobOf(1)];
  assert(shares(jobs, { idleShare: 0.2 })[0]! > shares(jobs)[0]!);
  // Where critical work left nothing at all, the least that is assumed keeps it finite.
  assertEquals(shares(jobs, { idleShare: 0 })[0], shares(jobs, { idleShare: 0.05 })[0]);
});

Deno.test("deadline: jobs without a deadline keep the floor beside one that is hopelessly late", () => {
  assertAlmostEquals(shares([due(0, -1e12), jobOf(1)])[1]!, 0.05 / 2 + 0.95 / 257, 1e-4);
  assertAlmostEquals(
    shares([due(0, -1e12), jobOf(1)], { options: { floor: 0.5 } })[1]!,
    0.25 + 0.5 / 257,
    1e-4,
  );
});

/** A model of a GPU that shares by the plan's weights: returns the latest lateness per job in s. */
function lateness(policy: typeof deadline): number[] {
  const units = [{ left: 0, due: 0, deadline: 4e9, gpu: 1e9 }, { left: 0, due: 0, deadline: 20e9, gpu: 4e9 }];
  const late = [0, 0];
  for (let nowNs = 0; nowNs < 400e9; nowNs += 0.1e9) {
    const jobs = units.map((unit, id) => {
      if (unit.left <= 0) {
        if (unit.due > 0) late[id] = Math.max(late[id]!, (nowNs - unit.due) / 1e9);
        unit.left = unit.gpu;
        unit.due = nowNs + unit.deadline;
      }
      return jobOf(id, {
        deadlineNs: unit.deadline,
        dueNs: unit.due,
        unitNs: unit.gpu,
        unitProgress: 1 - unit.left / unit.gpu,
      });
    });
    // A third job that always wants more.
    const given = sharesOf(policy(snapshotOf([...jobs, jobOf(2, { weight: 8 })], { nowNs })));
    units.forEach((unit, id) => unit.left -= given[id]! * 0.1e9);
  }
  return late;
}

Deno.test("deadline: deadlines that plain weights miss by far are kept, or nearly", () => {
  const kept = lateness(deadline);
  const plain = lateness((snapshot) => deadline({ ...snapshot, options: { floor: 1 } }));
  assert(plain[0]! > 4 && plain[1]! > 15, `plain weights: ${plain}`);
  assert(kept[0]! < 0.5 && kept[1]! < 0.5, `by slack: ${kept}`);
});
