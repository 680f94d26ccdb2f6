import { assert, assertEquals, assertRejects } from "../assert.ts";
import { InputError } from "../../agent/errors.ts";
import { openSink, type ResultRecord, type SinkOptions } from "../../agent/sinks.ts";
import { path } from "../../agent/std/mod.ts";
import { resultOf } from "./fake_engine.ts";

const FIELDS = [{ name: "boxes", offset: 0, sizeBytes: 4, dtype: "u8", shape: [2, 2] }] as const;

function record(change: Parameters<typeof resultOf>[0] = {}, payload?: Uint8Array): ResultRecord {
  return { work: "map", bundle: "ab".repeat(32), fields: FIELDS, result: resultOf(change), payload };
}

function lossesOf(): { losses: [string, number][]; options: SinkOptions } {
  const losses: [string, number][] = [];
  return { losses, options: { onLost: (reason, results) => losses.push([reason, results]) } };
}

async function inFolder(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-sinks-" });
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function linesOf(file: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(file);
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

Deno.test("a background result says where it came from, in one JSON line", () =>
  inFolder(async (dir) => {
    const file = path.join(dir, "new", "out.jsonl");
    const { losses, options } = lossesOf();
    const sink = await openSink({ kind: "jsonl", file }, "x", options);
    sink.put(
      record(
        { number: 7, frameSeq: 9, sensorNs: 1, arrivalNs: 2, doneNs: 3, digest: 255n },
        Uint8Array.of(1, 2, 3, 4),
      ),
    );
    await sink.close();
    assertEquals(await linesOf(file), [{
      work: "map",
      kind: "background",
      unit: 7,
      frameSeq: 9,
      sensorNs: 1,
      arrivalNs: 2,
      doneNs: 3,
      complete: true,
      simulated: false,
      bundle: "ab".repeat(32),
      digest: "00000000000000ff",
      values: { boxes: [[1, 2], [3, 4]] },
    }]);
    assertEquals(losses, []);
  }));

Deno.test("a critical result says how it ended; without an output it is not complete", () =>
  inFolder(async (dir) => {
    const file = path.join(dir, "out.jsonl");
    const sink = await openSink({ kind: "jsonl", file }, "x", lossesOf().options);
    sink.put(record({ kind: "critical", late: true, deadlineNs: 5 }, new Uint8Array(4)));
    sink.put(record({ kind: "critical", number: 1, dropped: true, complete: false }));
    sink.put(record({ kind: "critical", number: 2, simulated: true }));
    await sink.close();
    const shown = (await linesOf(file)).map(({ number, late, dropped, complete, values }) => [
      number,
      late,
      dropped,
      complete,
      values === null,
    ]);
    assertEquals(shown, [[0, true, false, true, false], [1, false, true, false, true], [
      2,
      false,
      false,
      false,
      true,
    ]]);
  }));

Deno.test("lines stay in the order in which results came", () =>
  inFolder(async (dir) => {
    const file = path.join(dir, "out.jsonl");
    const sink = await openSink({ kind: "jsonl", file }, "x", lossesOf().options);
    for (let number = 0; number < 1000; number++) {
      sink.put(record({ number }, new Uint8Array(4)));
      if (number % 300 === 0) await sink.flush();
    }
    await sink.close();
    assertEquals((await linesOf(file)).map(({ unit }) => unit), Array.from({ length: 1000 }, (_, i) => i));
  }));

Deno.test("what an earlier run left is set aside, not overwritten", () =>
  inFolder(async (dir) => {
    const file = path.join(dir, "out.jsonl");
    for (let run = 0; run < 3; run++) {
      const sink = await openSink({ kind: "jsonl", file }, "x", lossesOf().options);
      sink.put(record({ number: run }, new Uint8Array(4)));
      await sink.close();
    }
    const names = ["out.1.jsonl", "out.2.jsonl", "out.jsonl"];
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), names);
    const units = await Promise.all(
      names.map(async (name) => (await linesOf(path.join(dir, name)))[0]?.unit),
    );
    assertEquals(units, [0, 1, 2]);
  }));

Deno.test("a folder gets one binary with a sidecar for each result, and no temporary file stays", () =>
  inFolder(async (dir) => {
    const sink = await openSink({ kind: "dir", dir }, "x", lossesOf().options);
    sink.put(record({ number: 3 }, Uint8Array.of(9, 8, 7, 6)));
    sink.put(record({ number: 4, complete: false }));
    await sink.close();
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [
      "00000003.bin",
      "00000003.json",
    ]);
    assertEquals(await Deno.readFile(path.join(dir, "00000003.bin")), Uint8Array.of(9, 8, 7, 6));
    const sidecar = JSON.parse(await Deno.readTextFile(path.join(dir, "00000003.json")));
    assertEquals([sidecar.unit, sidecar.complete, sidecar.file], [3, true, "00000003.bin"]);
    assertEquals(sidecar.buffers, [{ name: "boxes", offset: 0, bytes: 4, dtype: "u8", shape: [2, 2] }]);
  }));

Deno.test("a folder's earlier results are moved into a subfolder, and other people's files stay", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(path.join(dir, "notes.txt"), "mine");
    await Deno.writeTextFile(path.join(dir, "00000000.bin"), "old");
    const sink = await openSink({ kind: "dir", dir }, "x", lossesOf().options);
    sink.put(record({}, new Uint8Array(4)));
    await sink.close();
    assertEquals(await Deno.readTextFile(path.join(dir, "earlier-1", "00000000.bin")), "old");
    assertEquals(await Deno.readTextFile(path.join(dir, "notes.txt")), "mine");
    assertEquals((await Deno.readFile(path.join(dir, "00000000.bin"))).length, 4);
  }));

Deno.test("a write that fails is reported with its loss, and later results are tried again", () =>
  inFolder(async (dir) => {
    const target = path.join(dir, "out");
    const { losses, options } = lossesOf();
    const sink = await openSink({ kind: "dir", dir: target }, "x", options);
    await Deno.remove(target, { recursive: true });
    sink.put(record({ number: 0 }, new Uint8Array(4)));
    await sink.flush();
    assertEquals(losses, [["does not exist", 1]]);
    await Deno.mkdir(target);
    sink.put(record({ number: 1 }, new Uint8Array(4)));
    await sink.close();
    assert((await Deno.stat(path.join(target, "00000001.bin"))).isFile);
    assertEquals(losses.length, 1);
  }));

Deno.test("a folder is no place for JSON lines", () =>
  inFolder(async (dir) => {
    const file = path.join(dir, "folder");
    await Deno.mkdir(file);
    const error = await assertRejects(
      () => openSink({ kind: "jsonl", file }, "critical.a.output", lossesOf().options),
      InputError,
    );
    assertEquals(error.rule, "must be a file for results, or absent");
  }));

Deno.test("too much waiting loses the newest results and says how many", () =>
  inFolder(async (dir) => {
    const { losses, options } = lossesOf();
    const file = path.join(dir, "out.jsonl");
    const sink = await openSink({ kind: "jsonl", file }, "x", { ...options, maxWaitingBytes: 1000 });
    for (let number = 0; number < 5; number++) sink.put(record({ number }, new Uint8Array(4)));
    await sink.close();
    assertEquals((await linesOf(file)).map(({ unit }) => unit), [0, 1]);
    assertEquals(losses.reduce((sum, [, results]) => sum + results, 0), 3);
  }));

Deno.test("a place that cannot be written is an InputError that names file and field", () =>
  inFolder(async (dir) => {
    const inTheWay = path.join(dir, "file");
    await Deno.writeTextFile(inTheWay, "x");
    const error = await assertRejects(
      () =>
        openSink(
          { kind: "dir", dir: path.join(inTheWay, "out") },
          "background.map.output",
          lossesOf().options,
        ),
      InputError,
    );
    assertEquals(error.field, "background.map.output");
  }));

Deno.test("drop takes anything and keeps nothing", async () => {
  const { losses, options } = lossesOf();
  const sink = await openSink({ kind: "drop" }, "x", options);
  sink.put(record());
  await sink.close();
  assertEquals(losses, []);
});
