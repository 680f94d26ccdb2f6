/** The small pure parts of containment: tickets of results, probation of jobs, and where jobs live. */
import { assertEquals } from "../assert.ts";
import { Probation } from "../../agent/containment/probation.ts";
import { resolveIsolation } from "../../agent/containment/isolation.ts";
import { Tickets } from "../../agent/containment/tickets.ts";
import { loadMission } from "../../agent/config.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { Quarantine } from "../../agent/store/quarantine.ts";
import { resultOf } from "./fake_engine.ts";
import { writeMission } from "./mission_fixture.ts";

function storeOf() {
  const released: number[] = [];
  return { released, releaseResults: (position: number) => void released.push(position) };
}

Deno.test("results of several stores get one order, and a release in it goes to each store once", () => {
  const [one, other] = [storeOf(), storeOf()];
  const tickets = new Tickets();
  const handed = [
    ...tickets.hand([resultOf({ position: 100 }), resultOf({ position: 200 })], one),
    ...tickets.hand([resultOf({ position: 64 })], other),
    ...tickets.hand([resultOf({ position: 300 })], one),
  ].map(({ position }) => position);
  assertEquals(handed, [1, 2, 3, 4]);
  tickets.release(3);
  assertEquals([one.released, other.released], [[200], [64]]);
  tickets.release(3);
  assertEquals([one.released, other.released], [[200], [64]]);
  tickets.release(4);
  assertEquals([one.released, other.released], [[200, 300], [64]]);
});

Deno.test("a store that is gone is told nothing any more, and the others lose nothing over it", () => {
  const [gone, stays] = [storeOf(), storeOf()];
  const tickets = new Tickets();
  tickets.hand([resultOf({ position: 8 })], gone);
  const [last] = tickets.hand([resultOf({ position: 16 })], stays);
  tickets.forget(gone);
  tickets.release(last!.position);
  assertEquals([gone.released, stays.released], [[], [16]]);
});

Deno.test("a job waits twice as long after each failure, and after too many for ever", () => {
  const probation = new Probation(new Quarantine(new Map([["map", "d"]]), undefined, 0));
  let nowNs = 0;
  const pauses: (number | undefined)[] = [];
  for (let i = 0; i < 5; i++) {
    const pauseNs = probation.failed("map", "it crashed", nowNs);
    pauses.push(pauseNs);
    assertEquals(probation.suspended("map", nowNs), true);
    if (pauseNs === undefined) break;
    nowNs += pauseNs;
    assertEquals(probation.suspended("map", nowNs), false);
  }
  assertEquals(pauses, [1e9, 2e9, 4e9, 8e9, undefined]);
  assertEquals(probation.suspended("map", nowNs + 1e18), true);
  assertEquals(probation.suspended("other", nowNs), false);
});

Deno.test("without a GPU a job shares the engine's process unless the mission says otherwise; those apart come last", async () => {
  await using fixture = await writeMission();
  const files = await readMissionFiles(await loadMission(fixture.file));
  const [job] = files.mission.background;
  const background = [
    { ...job!, isolation: "process" as const },
    { ...job!, name: "second", isolation: "auto" as const },
    { ...job!, name: "third", isolation: "shared" as const },
  ];
  const { mission } = await resolveIsolation(
    { ...files, mission: { ...files.mission, background } },
    undefined,
  );
  assertEquals(mission.background.map(({ name, isolation }) => [name, isolation]), [
    ["second", "shared"],
    ["third", "shared"],
    [job!.name, "process"],
  ]);
});
