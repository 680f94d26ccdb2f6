import { type Demand, type ResponseTime, responseTimes, utilizationOf } from "../../agent/response_times.ts";
import { assert, assertEquals } from "../assert.ts";
import { arrivalsOf, longestResponses, randomOf } from "./edf_simulation.ts";

const SEEDS = 400;
/** Longer than any busy time of these sets. */
const HORIZON_NS = 3000;

/** Two to four tasks with small numbers, so that many coincidences come about. */
function randomTasks(random: () => number, sameBlocking: boolean): Demand[] {
  const upTo = (most: number) => 1 + Math.floor(random() * most);
  const common = upTo(4) - 1;
  return Array.from({ length: 1 + upTo(3) }, () => {
    const periodNs = 3 + upTo(20);
    return {
      costNs: upTo(5),
      periodNs,
      deadlineNs: random() < 0.3 ? periodNs + upTo(15) : upTo(periodNs),
      blockingNs: sameBlocking ? common : upTo(6) - 1,
    };
  });
}

/** Sets that do not ask for all time, with their bounds; the seed names one that fails. */
function* bounded(
  sameBlocking: boolean,
): Generator<[string, Demand[], readonly ResponseTime[], () => number]> {
  let sets = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = randomOf(seed);
    const tasks = randomTasks(random, sameBlocking);
    const bounds = responseTimes(tasks);
    if (typeof bounds === "string") continue;
    sets++;
    yield [`seed ${seed}: ${JSON.stringify(tasks)}`, tasks, bounds, random];
  }
  assert(sets > SEEDS / 3, `only ${sets} sets had a bound`);
}

Deno.test("no arrivals and no blocking make a response longer than its bound", () => {
  for (const [what, tasks, bounds, random] of bounded(false)) {
    for (let round = 0; round < 20; round++) {
      const lazy = round % 2 === 0 ? 0 : random();
      const arrivals = tasks.flatMap((task, index) =>
        arrivalsOf(
          index,
          task,
          Math.floor(random() * task.periodNs),
          HORIZON_NS / 10,
          () => random() < lazy ? Math.floor(random() * 8) : 0,
        )
      );
      const release = (fromNs: number, longestNs: number) =>
        random() < 0.6 ? longestNs : fromNs + Math.floor(random() * (longestNs - fromNs + 1));
      const loser = Math.floor(random() * tasks.length);
      const longest = longestResponses(tasks, arrivals, { release, loser });
      for (const [index, ns] of longest.entries()) {
        assert(ns <= bounds[index]!.responseNs, `task ${index} took ${ns}; ${what}`);
      }
    }
  }
});

Deno.test("each bound is reached by some arrivals, so that a set is never refused without need", () => {
  let reached = 0;
  for (const [what, tasks, bounds] of bounded(true)) {
    for (const [own, { responseNs, blocker, arrivalNs }] of bounds.entries()) {
      const dueNs = arrivalNs + tasks[own]!.deadlineNs;
      const beginNs = typeof blocker === "number" ? 1 : 0;
      const arrivals = tasks.flatMap((task, index) => {
        if (index === blocker) return [{ task: index, atNs: 0 }];
        if (task.deadlineNs > dueNs) return [];
        const fromNs = beginNs + (index === own ? arrivalNs % task.periodNs : 0);
        return arrivalsOf(index, task, fromNs, beginNs + arrivalNs + HORIZON_NS / 10);
      });
      const release = (fromNs: number, longestNs: number) =>
        blocker === "other" && fromNs === 0 ? longestNs : fromNs;
      const ns = longestResponses(tasks, arrivals, { release, loser: own })[own]!;
      assertEquals(ns, responseNs, `task ${own}; ${what}`);
      reached++;
    }
  }
  assert(reached > SEEDS);
});

Deno.test("a set that asks for more than all time has no bound", () => {
  let overloaded = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const tasks = randomTasks(randomOf(seed), false);
    if (utilizationOf(tasks) <= 1) continue;
    overloaded++;
    assertEquals(responseTimes(tasks), "overload", `seed ${seed}`);
    // Over a long time the longest response grows with it.
    const arrivals = tasks.flatMap((task, index) => arrivalsOf(index, task, 0, HORIZON_NS));
    const most = Math.max(...longestResponses(tasks, arrivals));
    assert(most > Math.max(...tasks.map(({ deadlineNs }) => deadlineNs)), `seed ${seed}: ${most}`);
  }
  assert(overloaded > 20);
});

const task = (costNs: number, periodNs: number, deadlineNs = periodNs, blockingNs = 0): Demand => ({
  costNs,
  periodNs,
  deadlineNs,
  blockingNs,
});

const responses = (tasks: Demand[]) => {
  const bounds = responseTimes(tasks);
  return typeof bounds === "string" ? bounds : bounds.map(({ responseNs }) => responseNs);
};

Deno.test("by hand, a request waits for the longest that is due later, and for all that are due earlier", () => {
  assertEquals(responses([task(3, 10)]), [3]);
  assertEquals(responses([task(3, 10, 10, 4)]), [7]);
  assertEquals(responses([task(2, 10, 5), task(6, 40)]), [7, 8]);
  assertEquals(responses([task(2, 10, 5), task(3, 40), task(6, 50)]), [7, 10, 11]);
});

Deno.test("all of the time may be used", () => {
  assertEquals(responses([task(5, 10), task(10, 20)]), [14, 15]);
});

Deno.test("a search that would take too long is given up, and says so", () => {
  const tasks = [task(500, 1000), task(5005, 10_010, 10_010, 1)];
  assertEquals(responseTimes(tasks, 1000), "too-long");
  assertEquals(responseTimes([...tasks, task(1, 7)]), "overload");
});
