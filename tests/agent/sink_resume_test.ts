/** What becomes of results when the agent ends in the middle of writing them? */
import { assert, assertEquals } from "../assert.ts";
import {
  openSink,
  queueTo,
  type ResultRecord,
  type SinkOptions,
  type SinkTarget,
} from "../../agent/sinks.ts";
import { path } from "../../agent/std/mod.ts";
import { resultOf } from "./fake_engine.ts";

const FIELDS = [{ name: "boxes", offset: 0, sizeBytes: 4, dtype: "u8", shape: [4] }] as const;

function record(number: number, doneNs = 1000 + number): ResultRecord {
  const result = resultOf({ number, position: number + 1, arrivalNs: 500 + number, doneNs });
  return {
    work: "map",
    bundle: "ab".repeat(32),
    fields: FIELDS,
    result,
    payload: new Uint8Array(4).fill(number),
  };
}

/** One agent's life: opens, puts, closes. Returns what was settled and noted. */
async function life(
  target: SinkTarget,
  records: readonly ResultRecord[],
  options: Partial<SinkOptions> = {},
) {
  const settled: number[] = [];
  const notes: string[] = [];
  const losses: string[] = [];
  const sink = await openSink(target, "x", {
    onLost: (reason) => losses.push(reason),
    onSettled: (position) => settled.push(position),
    onNote: (text) => notes.push(text),
    ...options,
  });
  for (const one of records) sink.put(one);
  await sink.close();
  return { settled, notes, losses };
}

async function inFolder(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-resume-" });
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function unitsOf(file: string): Promise<number[]> {
  const text = await Deno.readTextFile(file);
  assert(text.endsWith("\n"));
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line).unit);
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));

Deno.test("resuming goes on in the same file and skips what is there; each is settled once", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    await life(target, numbers(0, 10));
    const { settled } = await life(target, numbers(4, 15), { resume: true });
    assertEquals(await unitsOf(target.file), Array.from({ length: 15 }, (_, i) => i));
    assertEquals(settled.sort((a, b) => a - b), Array.from({ length: 11 }, (_, i) => i + 5));
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["out.jsonl"]);
  }));

Deno.test("a result that comes after a younger one is no duplicate of it", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    await life(target, [record(0), record(2)]);
    await life(target, [record(2), record(1), record(3)], { resume: true });
    assertEquals(await unitsOf(target.file), [0, 2, 1, 3]);
  }));

Deno.test("another engine's result with the same number is written", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    await life(target, [record(0), record(1)]);
    await life(target, [record(1, 9999), record(2, 10_000)], { resume: true });
    assertEquals(await unitsOf(target.file), [0, 1, 1, 2]);
  }));

for (
  const [how, torn] of [
    ["half a line", '{"work":"map","kind":"background","unit":3,"fra'],
    ["zeros where the disk was never written", "\0".repeat(700)],
    ["a line that ends in zeros", `{"work":"map"${"\0".repeat(900)}\n`],
  ] as const
) {
  Deno.test(`${how} at the end is cut off, said so, and written whole`, () =>
    inFolder(async (dir) => {
      const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
      await life(target, numbers(0, 3));
      await Deno.writeTextFile(target.file, torn, { append: true });
      const { notes, losses } = await life(target, numbers(2, 5), { resume: true });
      assertEquals(await unitsOf(target.file), [0, 1, 2, 3, 4]);
      assertEquals(losses, []);
      assert(notes.length === 1 && notes[0]!.includes(`${torn.length} bytes are cut off`), notes.join());
    }));
}

Deno.test("lines longer than a look are read back whole", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    const long = numbers(0, 9).map((one) => ({
      ...one,
      fields: [{ name: "map", offset: 0, sizeBytes: 400_000, dtype: "u8" as const, shape: [400_000] }],
      payload: new Uint8Array(400_000).fill(200),
    }));
    await life(target, long.slice(0, 7));
    await life(target, long.slice(2), { resume: true });
    assertEquals(await unitsOf(target.file), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  }));

Deno.test("resuming where nothing is begins anew, and a run that does not start leaves what was there", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    await life(target, numbers(0, 2), { resume: true });
    assertEquals(await unitsOf(target.file), [0, 1]);
    const sink = await openSink(target, "x", { onLost() {}, resume: true });
    await sink.discard();
    assertEquals(await unitsOf(target.file), [0, 1]);
  }));

Deno.test("a folder goes on: what is there stays, half-written files go, a binary without a sidecar is written again", () =>
  inFolder(async (dir) => {
    const target = { kind: "dir", dir } as const;
    await life(target, numbers(0, 4));
    await Deno.remove(path.join(dir, "00000002.json"));
    await Deno.writeTextFile(path.join(dir, "00000002.bin"), "x");
    await Deno.writeTextFile(path.join(dir, ".00000004.bin.part"), "x");
    const before = (await Deno.stat(path.join(dir, "00000003.bin"))).ino;
    const { settled, losses } = await life(target, numbers(1, 6), { resume: true });
    const names = Array.from({ length: 6 }, (_, i) => [`0000000${i}.bin`, `0000000${i}.json`]).flat();
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), names);
    assertEquals(await Deno.readFile(path.join(dir, "00000002.bin")), new Uint8Array(4).fill(2));
    assertEquals((await Deno.stat(path.join(dir, "00000003.bin"))).ino, before);
    assertEquals([settled.length, losses], [5, []]);
  }));

Deno.test("another result with the number of one in the folder sets that aside", () =>
  inFolder(async (dir) => {
    const target = { kind: "dir", dir } as const;
    await life(target, numbers(0, 3));
    const { notes } = await life(target, [record(1, 77), record(2, 78)], { resume: true });
    const doneOf = async (...at: string[]) =>
      JSON.parse(await Deno.readTextFile(path.join(dir, ...at))).doneNs;
    assertEquals(await doneOf("00000001.json"), 77);
    assertEquals(await doneOf("earlier-1", "00000001.json"), 1001);
    assertEquals(await doneOf("earlier-1", "00000002.json"), 1002);
    assertEquals(notes.length, 2);
  }));

Deno.test("nothing is settled before it is durable: not when it is put, and when the write fails only as lost", () =>
  inFolder(async (dir) => {
    const target = { kind: "dir", dir: path.join(dir, "out") } as const;
    const seen: string[] = [];
    const sink = await openSink(target, "x", {
      onLost: (reason) => seen.push(reason),
      onSettled: (position) => {
        const there = Deno.readTextFileSync(path.join(target.dir, `0000000${position - 1}.json`)) !== "";
        seen.push(`${position} ${there}`);
      },
    });
    sink.put(record(0));
    assertEquals(seen, []);
    await sink.flush();
    assertEquals(seen, ["1 true"]);
    await sink.close();
  }));

Deno.test("no sidecar gets its name before the binaries have theirs, and are on the disk", () =>
  inFolder(async (dir) => {
    const target = path.join(dir, "out");
    const steps: string[] = [];
    const { open, rename } = Deno;
    Deno.rename = (from, to) => (steps.push(path.extname(String(to))), rename(from, to));
    Deno.open = (file, options) => {
      if (file === target) steps.push("folder");
      return open(file, options);
    };
    try {
      await life({ kind: "dir", dir: target }, numbers(0, 2));
    } finally {
      [Deno.open, Deno.rename] = [open, rename];
    }
    assertEquals(steps, [".bin", ".bin", "folder", ".json", ".json", "folder"]);
  }));

for (const kind of ["jsonl", "dir"] as const) {
  Deno.test(`an input whose result may not have reached the disk is not held (${kind})`, () =>
    inFolder(async (dir) => {
      const target = kind === "jsonl" ? { kind, file: path.join(dir, "out.jsonl") } : { kind, dir };
      const input = { name: "a", id: "0123456789abcdef".repeat(2) };
      const settled: boolean[] = [];
      const options = {
        queue: true,
        onLost() {},
        onSettled: (_: number, safe: boolean) => settled.push(safe),
      };
      const sink = await openSink(target, "x", options);
      const { syncData, sync } = Deno.FsFile.prototype;
      const fails = () => Promise.reject(new Error("input/output error"));
      const held = () => sink.holdsInput(input).catch(() => false);
      [Deno.FsFile.prototype.syncData, Deno.FsFile.prototype.sync] = [
        kind === "jsonl" ? fails : syncData,
        fails,
      ];
      try {
        sink.put({ ...record(0), input });
        await sink.flush();
        assertEquals([settled, await held()], [[false], false]);
      } finally {
        [Deno.FsFile.prototype.syncData, Deno.FsFile.prototype.sync] = [syncData, sync];
      }
      sink.put({ ...record(1), input });
      await sink.flush();
      assertEquals([settled, await held()], [[false, true], true]);
      await sink.close();
    }));
}

Deno.test("a line that is written is settled only when the disk has it, and one sync serves many", async () => {
  const settled: number[] = [];
  const lost: [string, number][] = [];
  const syncs: PromiseWithResolvers<void>[] = [];
  const sink = queueTo({
    holds: () => Promise.resolve(false),
    holdsInput: () => Promise.resolve(false),
    forget() {},
    write: () => Promise.resolve(),
    sync() {
      syncs.push(Promise.withResolvers());
      return syncs.at(-1)!.promise;
    },
    end() {},
    undo: () => Promise.resolve(),
  }, { onLost: (...what) => lost.push(what), onSettled: (position) => settled.push(position) });
  const turns = () => new Promise((done) => setTimeout(done, 0));
  sink.put(record(0));
  sink.put(record(1));
  const flushed = sink.flush();
  await turns();
  sink.put(record(2));
  await turns();
  assertEquals([settled, syncs.length], [[], 1]);
  syncs[0]!.resolve();
  await turns();
  assertEquals([settled, syncs.length], [[1, 2], 2]);
  syncs[1]!.reject(new Error("input/output error"));
  await flushed;
  assertEquals(settled, [1, 2, 3]);
  assertEquals(lost.map(([, results]) => results), [1]);
  await sink.close();
});

/** A process that plays engine and agent: results from FIRST on, put as fast as they are settled, names what is settled. */
const CHILD = `
import { openSink } from ${JSON.stringify(import.meta.resolve("../../agent/sinks.ts"))};
const [target, first] = [JSON.parse(Deno.args[0]), Number(Deno.args[1])];
const encoder = new TextEncoder();
let waiting = 0;
const sink = await openSink(target, "x", {
  resume: true,
  onLost: (why) => { Deno.stdout.writeSync(encoder.encode("lost " + why + "\\n")); },
  onSettled: (position) => { waiting--; Deno.stdout.writeSync(encoder.encode((position - 1) + "\\n")); },
});
Deno.stdout.writeSync(encoder.encode("open\\n"));
const fields = [{ name: "boxes", offset: 0, sizeBytes: 64, dtype: "u8", shape: [64] }];
for (let number = first;; number++) {
  const result = { kind: "background", work: 0, number, frameSeq: number, frameIndex: 0, sensorNs: 0,
    arrivalNs: 500 + number, startNs: 0, doneNs: 1000 + number, deadlineNs: 0, digest: 1n, complete: true, late: false,
    dropped: false, failed: false, simulated: false, payload: new Uint8Array(), position: number + 1 };
  sink.put({ work: "map", bundle: "ab", fields, result, payload: new Uint8Array(64).fill(number % 251) });
  for (waiting++; waiting > 300;) await new Promise((done) => setTimeout(done, 0));
  if (number % 16 === 0) await new Promise((done) => setTimeout(done, 0));
}
`;

const CONFIG = path.fromFileUrl(import.meta.resolve("../../deno.json"));

/** Results that are not covered by a release come again: the ledger's rule, from what the process said. */
class Played {
  readonly settled = new Set<number>();
  lost = 0;
  next = 0;
  highest = -1;

  hear(line: string): void {
    if (line.startsWith("lost")) this.lost++;
    if (!/^\d+$/.test(line)) return;
    this.settled.add(Number(line));
    this.highest = Math.max(this.highest, Number(line));
    while (this.settled.has(this.next)) this.next++;
  }
}

async function killedAtRandom(target: SinkTarget, kills: number): Promise<Played> {
  const played = new Played();
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, CHILD);
    let random = 12_345;
    for (let kill = 0; kill < kills; kill++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--quiet",
          "-A",
          "--no-check",
          "--config",
          CONFIG,
          file,
          JSON.stringify(target),
          String(played.next),
        ],
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      const wanted = random % 400;
      let heard = 0;
      let rest = "";
      const decoder = new TextDecoder();
      for await (const bytes of child.stdout) {
        const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) played.hear(line);
        heard += lines.length;
        if (heard <= wanted) continue;
        try {
          child.kill("SIGKILL");
        } catch { /* it has ended */ }
      }
      assertEquals((await child.status).signal, "SIGKILL");
    }
  } finally {
    await Deno.remove(file);
  }
  return played;
}

Deno.test("an agent killed 24 times at random tears no line, loses no line that was settled and writes none twice", () =>
  inFolder(async (dir) => {
    const target = { kind: "jsonl", file: path.join(dir, "out.jsonl") } as const;
    const played = await killedAtRandom(target, 24);
    await life(target, [], { resume: true });
    const units = await unitsOf(target.file);
    assertEquals(units, Array.from({ length: units.length }, (_, i) => i));
    assert(played.lost === 0 && played.highest < units.length && played.next > 500, `${played.next}`);
  }));

Deno.test("an agent killed 24 times at random leaves no half a file and loses none that was settled", () =>
  inFolder(async (dir) => {
    const target = { kind: "dir", dir } as const;
    const played = await killedAtRandom(target, 24);
    await life(target, [], { resume: true });
    const names = new Set([...Deno.readDirSync(dir)].map(({ name }) => name));
    assert(played.lost === 0 && played.next > 500, `${played.next}`);
    for (const number of played.settled) {
      assert(names.has(`${String(number).padStart(8, "0")}.json`), `${number}`);
    }
    for (const name of names) {
      assert(/^\d{8}\.(bin|json)$/.test(name), name);
      const number = Number(name.slice(0, 8));
      if (name.endsWith(".json")) {
        assertEquals(JSON.parse(await Deno.readTextFile(path.join(dir, name))).unit, number);
        assert(names.has(name.replace(".json", ".bin")));
      } else assertEquals(await Deno.readFile(path.join(dir, name)), new Uint8Array(64).fill(number % 251));
    }
  }));
