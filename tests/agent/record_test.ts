/** Is a flight kept as it was, and is another one compared with it by what it did? */
import { InputError } from "../../agent/errors.ts";
import { readRecord, Recorder, type RecordHeader } from "../../agent/record.ts";
import {
  BUILT_IN_LAUNCH,
  compareFlights,
  comparisonText,
  executions,
  FlightWatcher,
  recordedFigures,
  unitTimes,
} from "../../agent/replay.ts";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";
import { jobStats, resultOf, snapshotOf } from "./fake_engine.ts";

const HEADER: RecordHeader = {
  format: "calypte-record/1",
  version: "0",
  mission: "m.yaml",
  missionDigest: "",
  device: "a GPU",
  backend: "cuda",
  profile: null,
  seed: null,
  tasks: [{
    name: "detector",
    bundle: "",
    source: "api",
    deadlineNs: 1e6,
    outputBytes: 1000,
    aloneP50Ns: 107_850,
    runs: 20,
  }],
  jobs: [{ name: "map", bundle: "", levels: ["block"] }],
};

const READY = 5_000_000;
const request = (number: number, execution: number, change = {}) =>
  resultOf({
    kind: "critical",
    number,
    arrivalNs: READY + number * 1e6,
    startNs: READY + number * 1e6 + 100,
    doneNs: READY + number * 1e6 + 100 + execution,
    ...change,
  });
const look = (nowNs: number, units: number, gpuNs: number) =>
  snapshotOf({
    nowNs: READY + nowNs,
    jobs: [jobStats({ units, gpuNs: { whole: 0, slice: 0, block: gpuNs, loop: 0 } })],
  });

async function withRecord(test: (file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(`${folder}/flight.jsonl`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function write(file: string): void {
  const recorder = Recorder.open(file);
  recorder.begin(HEADER, READY);
  recorder.snapshot(look(0, 0, 0));
  recorder.result(request(0, 110_000));
  recorder.result(request(1, 0, { dropped: true, complete: false, startNs: 0, doneNs: 0 }));
  recorder.result(request(2, 112_000, { late: true }));
  recorder.result(resultOf({ kind: "background", number: 7 }));
  recorder.event({ sequence: 1, timeNs: READY + 5, kind: "miss", source: 0, a: 2, b: 3, text: "" });
  recorder.snapshot(look(1e6, 4, 400_000));
  recorder.result(request(3, 111_000));
  recorder.snapshot(look(4e6, 6, 1_000_000));
  recorder.close();
}

Deno.test("what is recorded is read again: requests by task, looks by time, times since ready", async () => {
  await withRecord(async (file) => {
    write(file);
    const { header, requests, looks } = await readRecord(file);
    assertEquals(header, HEADER);
    assertEquals(
      requests[0]?.map(({ number, arrivalNs, doneNs, late }) => [number, arrivalNs, doneNs, late]),
      [
        [0, 0, 110_100, false],
        [1, 1e6, 0, true],
        [2, 2e6, 2_112_100, true],
        [3, 3e6, 3_111_100, false],
      ],
    );
    assertEquals(looks.map(({ atNs, jobs }) => [atNs, jobs[0]?.units]), [[0, 0], [1e6, 4], [4e6, 6]]);
  });
});

Deno.test("executions keep their spread, and their median becomes that of the task alone", async () => {
  await withRecord(async (file) => {
    write(file);
    const { header, requests } = await readRecord(file);
    // 107.85 us alone, of which launch 4.75 us and the copy 2.1 us: 101 us on the GPU.
    assertEquals(
      executions(header.tasks[0]!, requests[0]!, BUILT_IN_LAUNCH),
      BigUint64Array.of(100_000n, 0n, 102_000n, 101_000n),
    );
  });
});

Deno.test("units between two looks take the same time each, and all of it together", async () => {
  await withRecord(async (file) => {
    write(file);
    const times = unitTimes(await readRecord(file), 0);
    assertEquals(times, BigUint64Array.of(100_000n, 100_000n, 100_000n, 100_000n, 300_000n, 300_000n));
  });
});

Deno.test("the comparison holds every figure of both flights, with its deviation", async () => {
  await withRecord(async (file) => {
    write(file);
    const record = await readRecord(file);
    const watcher = new FlightWatcher(1);
    for (const number of [0, 1, 2, 3]) {
      watcher.result({
        ...request(number, 121_000),
        arrivalNs: number * 1e6,
        startNs: 0,
        doneNs: number * 1e6 + 121_000,
      });
    }
    watcher.snapshot(look(4e6, 3, 1));
    const rows = compareFlights(record.header, recordedFigures(record), watcher.figures());
    assertEquals(rows.map(({ what, recorded, predicted }) => [what, recorded, predicted]), [
      ["detector requests", 4, 4],
      ["detector misses", 2, 0],
      ["detector p50 ns", 111_100, 121_000],
      ["detector p99 ns", 112_100, 121_000],
      ["map units", 6, 3],
    ]);
    assertEquals(rows.map(({ deviationPercent }) => deviationPercent), [0, -100, 8.91, 7.94, -50]);
    assertStringIncludes(comparisonText(rows), "map units               6          3    -50.0 %");
  });
});

Deno.test("a record is never written over another, and one that is none, or broken, is refused with the line", async () => {
  await withRecord(async (file) => {
    write(file);
    assertThrows(() => Recorder.open(file), InputError, "name a file that is not there yet");
    const text = await Deno.readTextFile(file);
    const refused = async (changed: string) => {
      await Deno.writeTextFile(file, changed);
      return (await assertRejects(() => readRecord(file), InputError)).message;
    };
    assertStringIncludes(await refused(text.slice(0, -5)), "line 8: is not JSON");
    assertStringIncludes(await refused('{"format":"other"}\n'), "line 1: must be the header");
    assertStringIncludes(await refused(""), "line 1: must be the header");
    assertStringIncludes(await refused(text.replace('"r":[0,2', '"r":[1,2')), "line 5: is no request");
    assertStringIncludes(await refused(text.split("\n").slice(0, 2).join("\n")), "too short");
  });
});
