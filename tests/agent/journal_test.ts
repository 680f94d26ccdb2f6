import { assertEquals, assertRejects } from "../assert.ts";
import { LoadJournal } from "../../agent/containment/journal.ts";
import type { NativeEngine } from "../../ffi/mod.ts";

const MS = 1e6;

/** An engine whose calls take their time, and a clock that only they move. */
function setUp(callsMs: readonly number[]) {
  const journal = new LoadJournal();
  for (const size of callsMs) journal.createBuffer(size);
  const told: (number | "turn")[] = [];
  let nowNs = 0;
  const engine = {
    createBuffer(size: number) {
      nowNs += size * MS;
      return told.push(size) - 1 - told.filter((each) => each === "turn").length;
    },
  } as unknown as NativeEngine;
  const world = {
    nowNs: () => nowNs,
    pause(ms: number) {
      assertEquals(ms, 0);
      told.push("turn");
      return Promise.resolve();
    },
  };
  return { journal, engine, world, told };
}

Deno.test("what was loaded is loaded again in its order, and timers get a turn behind long calls", async () => {
  const { journal, engine, world, told } = setUp([3, 3, 3, 3, 200, 1, 1]);
  await journal.replay(engine, world);
  assertEquals(told, [3, 3, 3, 3, "turn", 200, "turn", 1, 1]);
});

Deno.test("an engine that gives another id than the one before is not gone on with", async () => {
  const { journal, world, told } = setUp([1, 2]);
  const wrong = { createBuffer: (size: number) => (told.push(size), 7) } as unknown as NativeEngine;
  await assertRejects(() => journal.replay(wrong, world), Error, "id 7 where 0 was to come");
  assertEquals(told, [1]);
});
