/** Which results reach the sink, and which does the CPU reference compute? */
import { assertEquals } from "../assert.ts";
import { loadBundle } from "../../agent/bundle.ts";
import { DirectoryQueue } from "../../agent/directory_queue.ts";
import { createCounters } from "../../agent/counters.ts";
import { SILENT } from "../../agent/log.ts";
import { Route } from "../../agent/outputs.ts";
import { type Reference, Turns } from "../../agent/reference.ts";
import type { ResultRecord } from "../../agent/sinks.ts";
import { resultOf } from "./fake_engine.ts";
import { FRAME_BYTES, writeBundle } from "./mission_fixture.ts";

const UNITS = 7;

/** Sends seven results of seven frames through a route; each output's first byte counts the reference's runs. */
async function sevenResults(
  { every, stateful = false, simulated = true, reference = true, queue }: {
    every: number;
    stateful?: boolean;
    simulated?: boolean;
    reference?: boolean;
    queue?: DirectoryQueue;
  },
) {
  const dir = await Deno.makeTempDir({ prefix: "calypte-outputs-" });
  try {
    await writeBundle(dir, "map", { stateful });
    const bundle = await loadBundle(dir);
    const frames = {
      dir,
      width: 0,
      height: 0,
      channels: 0,
      frameBytes: FRAME_BYTES,
      count: UNITS,
      data: new Uint8Array(UNITS * FRAME_BYTES),
      names: [],
    };
    let runs = 0;
    const counting: Reference = { run: () => new Uint8Array(FRAME_BYTES).fill(++runs) };
    const records: ResultRecord[] = [];
    const settled: number[] = [];
    const counters = createCounters();
    const route = new Route({
      work: {
        kind: "background",
        id: 0,
        name: "map",
        bundle,
        frames,
        steps: [],
        inputBytes: FRAME_BYTES,
        outputBytes: FRAME_BYTES,
      },
      sink: {
        put: (record) => void records.push(record),
        holdsInput: () => Promise.resolve(false),
        flush: () => Promise.resolve(),
        close: () => Promise.resolve(),
        discard: () => Promise.resolve(),
      },
      every,
      reference: reference ? counting : undefined,
      computes: simulated,
      keepsOutput: true,
      queue,
      turns: new Turns(() => Promise.resolve()),
      counters,
      log: SILENT,
      settled: (position) => void settled.push(position),
    });
    for (let number = 0; number < UNITS; number++) {
      const payload = new Uint8Array(FRAME_BYTES).fill(100 + number);
      route.take(resultOf({ number, frameIndex: number, simulated, payload, position: number }));
    }
    await route.close();
    const written = records.map(({ result, payload }) => [result.number, payload?.[0]]);
    return { written, runs, skipped: counters.outputsSkipped, settled };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("every: 1 writes all results", async () => {
  const { written, runs } = await sevenResults({ every: 1 });
  assertEquals([written.length, runs], [UNITS, UNITS]);
});

Deno.test("every: 3 writes results 0, 3 and 6 and computes no other of a stateless bundle", async () => {
  assertEquals(await sevenResults({ every: 3 }), {
    written: [[0, 1], [3, 2], [6, 3]],
    runs: 3,
    skipped: 0,
    settled: [1, 2, 4, 5],
  });
});

Deno.test("every: 3 computes all results of a stateful bundle, in order, and writes 0, 3 and 6", async () => {
  const { written, runs, settled } = await sevenResults({ every: 3, stateful: true });
  assertEquals([written, runs, settled], [[[0, 1], [3, 4], [6, 7]], UNITS, [1, 2, 4, 5]]);
});

for (const stateful of [false, true]) {
  const kind = stateful ? "stateful" : "stateless";
  Deno.test(`every: 3 writes 0, 3 and 6 of a GPU's results of a ${kind} bundle, as they came`, async () => {
    const { written, runs } = await sevenResults({ every: 3, stateful, simulated: false });
    assertEquals([written, runs], [[[0, 100], [3, 103], [6, 106]], 0]);
  });

  Deno.test(`only missing outputs that were wanted count as skipped (${kind})`, async () => {
    const { written, skipped } = await sevenResults({ every: 3, stateful, reference: false });
    assertEquals([written, skipped], [[[0, undefined], [3, undefined], [6, undefined]], 3]);
  });
}

Deno.test("what was only simulated and not computed says nothing against a queue's file: it is not put away", async () => {
  const ends: string[] = [];
  class Ends extends DirectoryQueue {
    override arrived = () => true;
    override input = () => new Uint8Array(FRAME_BYTES);
    override claim = (number: number) => ({ name: `${number}`, id: "", input: new Uint8Array() });
    override end = (_: unknown, how: string) => void ends.push(how);
  }
  const queue = () =>
    new Ends({
      ...{ dir: "", keep: "done", inputBytes: FRAME_BYTES, log: SILENT },
      ...{ submit: () => 0, holds: () => Promise.resolve(false), nowNs: () => 0 },
    });
  const { written, settled } = await sevenResults({ every: 1, reference: false, queue: queue() });
  assertEquals([written, settled.length, ends], [[], UNITS, Array(UNITS).fill("lost")]);
  assertEquals((await sevenResults({ every: 1, queue: queue() })).written.length, UNITS);
  assertEquals(ends.length, UNITS);
});
