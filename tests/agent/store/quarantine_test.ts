import { assertEquals, assertThrows } from "../../assert.ts";
import { parseQuarantine, Quarantine, released } from "../../../agent/store/quarantine.ts";

const S = 1e9;
const DIGESTS = new Map([["map", "d1"], ["thumbs", "d2"]]);
const OPTIONS = { stamp: () => "today" };

function fresh(): Quarantine {
  return new Quarantine(DIGESTS, undefined, 0, OPTIONS);
}

/** What is kept, as JSON brings it back. */
function again(quarantine: Quarantine, savedNs: number, startNs: number, digests = DIGESTS): Quarantine {
  const state = parseQuarantine(JSON.parse(JSON.stringify(quarantine.state(savedNs))));
  return new Quarantine(digests, state, startNs, OPTIONS);
}

function pauses(quarantine: Quarantine, job: string, timesS: readonly number[]): (number | string)[] {
  return timesS.map((timeS) => {
    const verdict = quarantine.failed(job, "it crashed", timeS * S);
    return verdict.kind === "restart" ? verdict.restartAfterNs / S : verdict.kind;
  });
}

Deno.test("pauses double up to the longest, and the fifth failure in ten minutes is the last", () => {
  assertEquals(pauses(fresh(), "map", [0, 2, 5, 10, 20, 30]), [1, 2, 4, 8, "quarantined", "quarantined"]);
  const patient = new Quarantine(DIGESTS, undefined, 0, { ...OPTIONS, maxFailures: 100 });
  assertEquals(pauses(patient, "map", [0, 1, 2, 3, 4, 5, 6, 7]), [1, 2, 4, 8, 16, 32, 60, 60]);
});

Deno.test("failures that lie further apart than the window never add up", () => {
  assertEquals(pauses(fresh(), "map", [0, 151, 302, 453, 604, 755, 906, 1057]), Array(8).fill(1));
});

Deno.test("pauses begin anew after a good time, counted from the restart; the window is not forgotten", () => {
  // The second restart comes at 12 s, so that 131 s are not yet good and 132 s are.
  assertEquals(pauses(fresh(), "map", [0, 10, 131]), [1, 2, 4]);
  assertEquals(pauses(fresh(), "map", [0, 10, 132, 133, 140]), [1, 2, 1, 2, "quarantined"]);
});

Deno.test("jobs do not answer for each other", () => {
  const quarantine = fresh();
  pauses(quarantine, "map", [0, 1, 2, 3, 4]);
  assertEquals([quarantine.of("map")?.count, quarantine.of("thumbs")], [5, undefined]);
  assertEquals(pauses(quarantine, "thumbs", [5]), [1]);
  assertThrows(() => quarantine.failed("nobody", "", 0), RangeError);
});

Deno.test("quarantine and failures outlive the agent and a reboot, which sets the clock back", () => {
  const quarantine = fresh();
  pauses(quarantine, "map", [1000, 1001, 1002, 1003, 1004]);
  pauses(quarantine, "thumbs", [1000, 1001, 1002]);
  const after = again(quarantine, 1010 * S, 5 * S);
  assertEquals(after.all(), [{ job: "map", digest: "d1", reason: "it crashed", since: "today", count: 5 }]);
  assertEquals(pauses(after, "thumbs", [6, 7]), [8, "quarantined"]);
});

Deno.test("failures that had grown old before the restart are not kept", () => {
  const quarantine = fresh();
  pauses(quarantine, "map", [0, 1, 2, 3]);
  assertEquals(quarantine.state(700 * S), { quarantined: [], failures: [] });
});

Deno.test("a changed bundle is not quarantined, nor blamed for what the old one did", () => {
  const quarantine = fresh();
  pauses(quarantine, "map", [0, 1, 2, 3, 4]);
  pauses(quarantine, "thumbs", [0, 1, 2, 3]);
  const after = again(quarantine, 5 * S, 0, new Map([["map", "new"], ["thumbs", "new"]]));
  assertEquals([after.all(), pauses(after, "thumbs", [1])], [[], [1]]);
});

Deno.test("a released job starts without a history, in a run and between runs", () => {
  const quarantine = fresh();
  pauses(quarantine, "map", [0, 1, 2, 3, 4]);
  const state = quarantine.state(5 * S);
  assertEquals(released(state, "map"), { quarantined: [], failures: [] });
  assertEquals(released(state, "thumbs"), undefined);
  assertEquals([quarantine.release("map"), quarantine.release("map")], [true, false]);
  assertEquals(pauses(quarantine, "map", [6]), [1]);
});

Deno.test("what is no quarantine list is not taken for one", () => {
  for (
    const value of [null, 1, {}, { quarantined: [], failures: [{ job: "a" }] }, {
      quarantined: [1],
      failures: [],
    }]
  ) {
    assertThrows(() => parseQuarantine(value), TypeError);
  }
});
