/**
 * Does the protocol of docs/PREEMPTION.md hold in every interleaving of a small instance, and would these tests notice
 * if it did not? Each instance turns one thing up: another residency, task, lease, unit or N. A full product of
 * them all would take minutes, so what no instance combines is not checked. The model's header says what it leaves out.
 */
import { assert, assertEquals, assertGreater } from "../assert.ts";
import { check, explain, type Verdict } from "./protocol_checker.ts";
import { Model } from "./protocol_model.ts";
import { entry, type Instance, type Mistake, type Op, WHOLE } from "./protocol_state.ts";

const HOLD = 0, TASK_A = 1, TASK_B = 2;

function close(gateWord: number): Op {
  return { op: "close", gateWord };
}

/** The gate word is closed and opened, `times` times, whenever it may be. */
function closeAndOpen(gateWord: number, times = 1): Op[] {
  return Array.from({ length: times }, (): Op[] => [close(gateWord), { op: "open", gateWord }]).flat();
}

/** The dispatcher waits for a step word, and only then changes N; with `idle`, between launches. */
function changeWorkers(stepWord: number, workers: number, idle = false): Op[] {
  return [
    { op: "await", mirror: stepWord },
    { op: "store", step: 0, workers, idle },
    { op: "store", step: 1, workers, idle },
  ];
}

function enqueue(...items: number[]): Op {
  return { op: "enqueue", items };
}

// Entries: one for each unit, and one more for each closing: a closing costs at most one.
const FIRST = entry(3, 1), SECOND = entry(3, 2), FEWER = entry(2, 2);
const TASK_A_ONCE = { "task A": closeAndOpen(TASK_A) };
const BASE: Instance = {
  totals: [4, 3],
  entrySteps: [0, 1],
  units: 1,
  granted: 0,
  workers: 3,
  resident: 3,
  queue: [FIRST, FIRST],
  scripts: TASK_A_ONCE,
};
const ONE_LEAVE: Instance = { ...BASE, totals: [5, 3] };
const MANY_DRAWS: Instance = {
  ...BASE,
  totals: [7],
  entrySteps: [0],
  workers: 2,
  queue: Array(3).fill(entry(2, 1)),
  scripts: { "task A": closeAndOpen(TASK_A, 2) },
};
const SEVERAL: Instance = { ...BASE, totals: [4, 1], resident: 2, queue: [FIRST, FIRST, FIRST] };
const TWO_LEAVES: Instance = { ...SEVERAL, scripts: { "task A": closeAndOpen(TASK_A, 2) } };
const TWO_TASKS: Instance = {
  ...SEVERAL,
  scripts: { ...TASK_A_ONCE, "task B": closeAndOpen(TASK_B) },
};
const LEASE_RENEWED: Instance = {
  ...SEVERAL,
  scripts: { ...TASK_A_ONCE, lease: closeAndOpen(HOLD) },
};
const LEASE_ENDED: Instance = { ...SEVERAL, held: true, scripts: { ...TASK_A_ONCE, lease: [close(HOLD)] } };
const FEWER_WORKERS: Instance = {
  ...BASE,
  totals: [4, 2],
  units: 2,
  queue: [FIRST, FIRST, FIRST],
  scripts: { ...TASK_A_ONCE, dispatcher: [...changeWorkers(2, 2), enqueue(FEWER, FEWER)] },
};
const MORE_WORKERS: Instance = {
  ...FEWER_WORKERS,
  workers: 2,
  resident: 2,
  queue: [entry(2, 1), entry(2, 1)],
  scripts: { ...TASK_A_ONCE, dispatcher: [...changeWorkers(2, 3), enqueue(SECOND, SECOND)] },
};
const UNITS_AHEAD: Instance = { ...BASE, resident: 2, units: 2, queue: [SECOND, SECOND, SECOND] };
const ONE_STEP: Instance = {
  ...BASE,
  totals: [4],
  entrySteps: [0],
  units: 2,
  queue: [SECOND, SECOND, SECOND],
};
const ONE_STEP_SHORT: Instance = { ...ONE_STEP, resident: 2 };
const WHOLE_STEP: Instance = {
  ...BASE,
  entrySteps: [0],
  scripts: { ...TASK_A_ONCE, dispatcher: [{ op: "await", mirror: 1 }, enqueue(WHOLE)] },
};
const SURPLUS: Instance = {
  ...BASE,
  totals: [4, 2], // worker 2 has no share in step 1
  units: 2,
  queue: [FIRST, FIRST],
  scripts: { dispatcher: [{ op: "await", mirror: 2 }, enqueue(SECOND)] },
};
// A stronger enemy than the page: `granted` is raised while launches are under way, and entries do not write it. What
// is queued ahead of a grant may be used up by then, so that each grant has entries of its own behind it.
const GRANTED_ANY_TIME: Instance = {
  ...BASE,
  totals: [4, 2],
  units: 2,
  queue: [entry(3, 0), entry(3, 0)],
  scripts: {
    dispatcher: [
      { op: "grant", units: 1 },
      enqueue(entry(3, 0)),
      ...changeWorkers(2, 2, true),
      { op: "grant", units: 2 },
      enqueue(entry(2, 0)),
    ],
  },
};
// And a closing besides, so that workers of both numbers may have a part in one unit.
const GRANTED_AND_CLOSED: Instance = {
  ...GRANTED_ANY_TIME,
  totals: [4],
  entrySteps: [0],
  resident: 1,
  scripts: {
    ...TASK_A_ONCE,
    dispatcher: [
      { op: "grant", units: 1 },
      enqueue(entry(3, 0), entry(3, 0)),
      ...changeWorkers(1, 2, true),
      { op: "grant", units: 2 },
      enqueue(entry(2, 0), entry(2, 0)),
    ],
  },
};
const MORE_AND_CLOSED: Instance = {
  ...GRANTED_AND_CLOSED,
  workers: 2,
  queue: [entry(2, 0)],
  scripts: {
    ...TASK_A_ONCE,
    dispatcher: [
      { op: "grant", units: 1 },
      enqueue(entry(2, 0), entry(2, 0)),
      ...changeWorkers(1, 3, true),
      { op: "grant", units: 2 },
      enqueue(entry(3, 0), entry(3, 0)),
    ],
  },
};

// A closing costs at most one entry, which the second one makes up for.
const TWO_UNITS_AN_ENTRY: Instance = {
  ...BASE,
  totals: [4, 2],
  resident: 2,
  units: 2,
  unitsOfEntry: 2,
  queue: [SECOND, SECOND],
};
const TWO_SHORT_UNITS: Instance = { ...TWO_UNITS_AN_ENTRY, totals: [4], entrySteps: [0] };
const BEHIND_WHOLE: Instance = {
  ...WHOLE_STEP,
  totals: [3, 2],
  units: 2,
  queue: [SECOND, SECOND],
  scripts: {
    ...TASK_A_ONCE,
    dispatcher: [
      { op: "await", mirror: 1 },
      enqueue(WHOLE, SECOND, SECOND),
      { op: "await", mirror: 3 },
      enqueue(WHOLE),
    ],
  },
};
const RUNS: Instance = { ...BASE, totals: [7, 3], workers: 2, queue: Array(2).fill(entry(2, 1)), run: 2 };
const DEALT: Instance = { ...BASE, totals: [3, 2] };
const ABANDONED: Instance = { ...BASE, totals: [4, 2], abandons: true };
const RUNS_ABANDONED: Instance = {
  ...RUNS,
  totals: [7],
  entrySteps: [0],
  queue: Array(3).fill(entry(2, 1)),
  scripts: { "task A": closeAndOpen(TASK_A), lease: closeAndOpen(HOLD) },
  abandons: true,
};
const ONE_WORKER: Instance = {
  ...RUNS_ABANDONED,
  totals: [2],
  workers: 1,
  resident: 1,
  queue: Array(3).fill(entry(1, 1)),
};
const RUNS_FEWER_WORKERS: Instance = {
  ...FEWER_WORKERS,
  resident: 2,
  totals: [5],
  entrySteps: [0],
  scripts: { ...TASK_A_ONCE, dispatcher: [...changeWorkers(1, 2), enqueue(FEWER, FEWER)] },
  run: 2,
  abandons: true,
};
const RUNS_MORE_WORKERS: Instance = {
  ...MORE_WORKERS,
  totals: [7],
  entrySteps: [0],
  scripts: { ...TASK_A_ONCE, dispatcher: [...changeWorkers(1, 3), enqueue(SECOND, SECOND)] },
  run: 2,
  abandons: true,
};

Deno.test("several units in one entry, and an entry behind a whole step: each block runs once, wherever the gate closes", () => {
  assertHolds(TWO_UNITS_AN_ENTRY, 20_000);
  assertHolds(TWO_SHORT_UNITS, 5_000);
  assertHolds(BEHIND_WHOLE, 5_000);
});

/** Checks the protocol as it is meant to be, and that the check was not an empty one. */
function assertHolds(instance: Instance, minStates: number, ...mistakes: Mistake[]): Verdict {
  const verdict = check(new Model(instance, ...mistakes));
  console.log(`${verdict.states} states, ${verdict.ends} ends`);
  assertEquals(verdict.violation, "", explain(verdict));
  assertGreater(verdict.states, minStates);
  assertGreater(verdict.completeEnds, 0, "no way leads to the end of all units");
  return verdict;
}

Deno.test("three workers and two steps get done exactly once, wherever a critical task closes the gate", () => {
  const { actions } = assertHolds(ONE_LEAVE, 200_000);
  for (const worker of [0, 1, 2]) {
    for (const leave of ["EnterLeft", "Left"]) {
      assert(actions.has(`worker ${worker}: ${leave}`), `${worker} ${leave}`);
    }
  }
});

Deno.test("seven virtual blocks get drawn by two workers, kept over two leaves, and run exactly once", () => {
  assertHolds(MANY_DRAWS, 100_000);
});

Deno.test("nothing changes if two workers at most are resident together and the gate closes twice", () => {
  assertHolds(TWO_LEAVES, 200_000);
});

Deno.test("two critical tasks with a gate word each do not open each other's", () => {
  assertHolds(TWO_TASKS, 400_000);
});

Deno.test("a lease that ends beside a critical task holds background until it is renewed", () => {
  assertHolds(LEASE_RENEWED, 400_000);
});

Deno.test("a lease that ends for good ends every launch, and no virtual block starts behind it", () => {
  const { ends, completeEnds } = assertHolds(LEASE_ENDED, 200_000);
  assertGreater(ends, completeEnds, "the lease never ended ahead of the unit");
});

Deno.test("a unit with fewer workers starts while entries with the old number are queued and under way", () => {
  assertHolds(FEWER_WORKERS, 400_000);
});

Deno.test("a unit with more workers starts while entries with the old number are queued and under way", () => {
  assertHolds(MORE_WORKERS, 40_000);
});

Deno.test("two units that are granted together get done one behind the other", () => {
  assertHolds(UNITS_AHEAD, 100_000);
});

Deno.test("no worker of a job with one step goes on to its next unit within a launch", () => {
  assertHolds(ONE_STEP, 200_000);
});

Deno.test("a whole step that is queued once the mirror says so runs exactly once, in its turn", () => {
  assertHolds(WHOLE_STEP, 100_000);
});

Deno.test("surplus entries do nothing", () => {
  assertHolds(SURPLUS, 10_000);
});

Deno.test("nothing runs wrongly even if granted is raised while launches are under way", () => {
  assertHolds(GRANTED_ANY_TIME, 20_000);
  assertHolds({ ...GRANTED_AND_CLOSED, resident: 2 }, 400_000);
  assertHolds({ ...MORE_AND_CLOSED, resident: 2 }, 60_000);
});

Deno.test("runs of two blocks get drawn and run exactly once, a last one of one block too", () => {
  assertHolds(RUNS, 10_000);
});

Deno.test("a block that is abandoned is run again and counted once, however the gate stands by then", () => {
  const { actions } = assertHolds(ABANDONED, 100_000);
  for (const worker of [0, 1, 2]) {
    assert(actions.has(`worker ${worker}: abandons its block`));
    assert(actions.has(`worker ${worker}: abandons its block behind an open gate`));
  }
});

Deno.test("a run that is abandoned in its second block goes on with that one, over two leaves", () => {
  assertHolds(RUNS_ABANDONED, 200_000);
});

Deno.test("runs of three workers and two steps get done, wherever they are abandoned", () => {
  assertHolds({ ...ABANDONED, totals: [7, 5], run: 2 }, 100_000);
});

Deno.test("a unit with fewer workers starts behind one in which runs were abandoned", () => {
  assertHolds(RUNS_FEWER_WORKERS, 100_000);
});

Deno.test("a unit with more workers starts behind one in which runs were abandoned", () => {
  assertHolds(RUNS_MORE_WORKERS, 100_000);
});

/** Small, and enough to be left and gone on with. */
const LEFT_ONCE: Instance = { ...BASE, resident: 2 };
const LEFT_ONCE_LONG: Instance = { ...LEFT_ONCE, totals: [5, 4] };

const TWICE = "virtual block 0 of step 0 runs twice";
const NOT_DONE = "the entries are used up, and a granted unit is not complete";
const GOES_ON = "a worker goes on although another had left the entry";
const BEHIND_GATE = "a virtual block starts behind a closed gate";
const NEXT_UNIT = "a worker goes on to the next unit within an entry";

const MISTAKES: readonly [Mistake, Instance, string][] = [
  ["one gate word for all writers", LEASE_RENEWED, BEHIND_GATE],
  ["no step check", LEFT_ONCE, TWICE],
  ["no granted check", SURPLUS, "a unit runs that nobody asked for"],
  ["records reset, no generations", SURPLUS, "virtual block 0 of step 1 runs twice"],
  ["records start as zeros", SURPLUS, TWICE],
  ["finished workers counted", LEFT_ONCE, "step 0 is said to be done, and is not"],
  // Drawing begins at an N that nobody has confirmed: with fewer workers in truth, a block is drawn under both numbers.
  ["no check of the stored workers", GRANTED_AND_CLOSED, "virtual block 3 of step 0 runs twice"],
  // With more workers in truth, the last one's first block is drawn by another.
  ["no check of the stored workers", MORE_AND_CLOSED, "virtual block 2 of step 0 runs twice"],
  ["leaving does not stick", ONE_LEAVE, GOES_ON],
  ["left is not cleared between the units of an entry", TWO_UNITS_AN_ENTRY, NOT_DONE],
  ["completed never reset", SURPLUS, "more is counted as completed than there is"],
  ["ticket never reset", LEFT_ONCE_LONG, NOT_DONE],
  ["worker 0 moves the step on", SURPLUS, "step 0 is said to be done, and is not"],
  ["gate read before the whole block has ended", ONE_LEAVE, BEHIND_GATE],
  ["the end of a unit does not stick", ONE_STEP_SHORT, NEXT_UNIT],
  ["left is not read again behind the step word", ONE_STEP_SHORT, NEXT_UNIT],
  ["the end of a unit sticks behind the step word", ONE_STEP_SHORT, NEXT_UNIT],
  ["drawing begins at 0", LEFT_ONCE, TWICE],
  ["a worker that comes back draws", LEFT_ONCE, NOT_DONE],
  ["a drawn block is dropped on leaving", LEFT_ONCE, NOT_DONE],
  ["a draw is stored only by who goes on", LEFT_ONCE, TWICE],
  [
    "a draw is stored behind the verdict's barrier",
    LEFT_ONCE,
    "the threads of a block disagree about its next virtual block",
  ],
  ["the step word is not stored on beginning", LEFT_ONCE, TWICE],
  ["what a leaving worker completed is not counted", LEFT_ONCE, NOT_DONE],
  ["runs are drawn without their length", RUNS, "virtual block 2 of step 0 runs twice"],
  ["first blocks do not lie a run apart", RUNS, "virtual block 1 of step 0 runs twice"],
  ["a run goes on beyond the total", RUNS, "virtual block 7 of step 0 does not exist"],
  ["who was dealt the rest does not store it", DEALT, TWICE],
  ["an abandoned block is counted", ABANDONED, "a worker that leaves completes the step"],
  // In the place of the block that it lost, a worker runs the next one, which is another's.
  ["an abandoned block is taken for done", ABANDONED, "virtual block 3 of step 0 runs twice"],
  ["an abandoned block is taken for done", ONE_WORKER, NOT_DONE],
  // Of its run, a worker that comes back runs again what it had completed and counted.
  ["an abandoned block is not stored", ONE_WORKER, TWICE],
  ["what was completed ahead of an abandoned block is not counted", ONE_WORKER, NOT_DONE],
];

for (const [mistake, instance, expected] of MISTAKES) {
  const again = MISTAKES.find(([m]) => m === mistake)?.[1] !== instance;
  const name = instance === MORE_AND_CLOSED
    ? `${mistake}, a unit with more workers`
    : again
    ? `${mistake}, with a worker alone`
    : mistake;
  Deno.test(`the check notices the mistake: ${name}`, () => {
    assertFails(new Model(instance, mistake), expected);
  });
}

// Locks behind a lock: while the end of a unit sticks, nobody in the same launch can be at work in the next unit. So
// each of these is harmless alone, and noticed where workers do go on. (Even there, drawing too early gives no wrong result:
// it draws nothing, and leaves the whole rest to whoever resets the counter.)
const SECOND_LOCKS: readonly [Mistake, string][] = [
  ["completed reset behind the step word", "more is counted as completed than there is"],
  ["ticket reset behind the step word", "a worker draws from a counter that is about to be reset"],
];

for (const [mistake, expected] of SECOND_LOCKS) {
  Deno.test(`harmless while the end of a unit sticks, and noticed if it does not: ${mistake}`, () => {
    assertHolds(ONE_STEP_SHORT, 20_000, mistake);
    const model = new Model(
      { ...ONE_STEP_SHORT, unitsRunOn: true },
      mistake,
      "the end of a unit does not stick",
    );
    assertFails(model, expected);
  });
}

Deno.test("the check notices the mistake: a whole step is queued behind an entry, ahead of reading the mirror", () => {
  const ahead: Instance = {
    ...WHOLE_STEP,
    queue: [FIRST, WHOLE, FIRST],
    scripts: { "task A": closeAndOpen(TASK_A) },
  };
  assertFails(new Model(ahead), "step 1 runs before step 0 is done");
});

Deno.test("the check notices the mistake: granted is raised, and no entry is queued behind that", () => {
  const burnt: Instance = {
    ...GRANTED_ANY_TIME,
    units: 1,
    scripts: { dispatcher: [{ op: "grant", units: 1 }] },
  };
  assertFails(new Model(burnt), NOT_DONE);
});

function assertFails(model: Model, expected: string): void {
  const verdict = check(model);
  const story = explain(verdict);
  assertEquals(verdict.violation, expected, story);
  assertGreater(verdict.trace.length, 5, story);
}
