/** Full disks, folders that cannot be written, two agents, what is set aside. */
import { assert, assertEquals, assertMatch, assertRejects } from "../../assert.ts";
import { readBlackBox, recent } from "../../../agent/store/black_box.ts";
import type { BoxRecord } from "../../../agent/store/log_format.ts";
import { releaseJob } from "../../../agent/store/release.ts";
import { Store, StoreTakenError } from "../../../agent/store/store.ts";
import { path } from "../../../agent/std/mod.ts";
import { CrashFiles } from "./crash_files.ts";

const text = (bytes: Uint8Array | undefined) =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);
const bytes = (value: string) => new TextEncoder().encode(value);

/** A store, and what it said. */
async function over(files: CrashFiles): Promise<{ store: Store; said: string[] }> {
  const said: string[] = [];
  const say = (line: string) => void said.push(line);
  return { store: await Store.over(files, { warn: say, note: say }), said };
}

Deno.test("on a full disk the run goes on, says so once, and keeps what was there; later everything is written", async () => {
  const files = new CrashFiles();
  const { store: { sections, writer }, said } = await over(files);
  writer.put("learned", 1, bytes("before"));
  writer.record({ timeNs: 1, kind: "a" });
  await writer.flush();
  files.capacityBytes = [...files.contents().values()].reduce((sum, each) => sum + each.length, 0) + 30;
  for (let round = 0; round < 5; round++) {
    writer.put("learned", 1, bytes(`after ${round} ${"x".repeat(100)}`));
    writer.record({ timeNs: 2 + round, kind: "b" });
    await writer.flush();
  }
  assertEquals(said.length, 1);
  assertMatch(said[0]!, /cannot be written; the run goes on.*No space left/);
  assert(writer.errors >= 5);
  assertEquals(text(await sections.read("learned", 1)), "before");
  assertEquals((await readBlackBox(files)).records.map(({ kind }) => kind)[0], "a");

  files.capacityBytes = Infinity;
  await writer.flush();
  assertMatch(said[1]!, /can be written again; 0 records/);
  assertMatch(text(await sections.read("learned", 1))!, /^after 4/);
  const { records } = await readBlackBox(files);
  assertEquals(records.map(({ n, kind }) => `${n}${kind}`), ["1a", "2b", "3b", "4b", "5b", "6b"]);
});

Deno.test("the records that wait for a full disk are bounded: the oldest go, and are counted", async () => {
  const files = new CrashFiles();
  const { store: { writer } } = await over(files);
  files.capacityBytes = 0;
  for (let n = 0; n < 2500; n++) writer.record({ timeNs: n, kind: "a" });
  await writer.flush();
  files.capacityBytes = Infinity;
  await writer.flush();
  const { records } = await readBlackBox(files);
  assertEquals([records.length, records[0]!.n, writer.recordsLost], [2000, 501, 500]);
});

Deno.test("a folder that cannot be written gives what it holds, and one warning", async () => {
  const first = new CrashFiles();
  await (await over(first)).store.sections.write("quarantine", 1, bytes("held"));
  first.readOnly = true;
  const { store, said } = await over(first);
  assertEquals(text(await store.sections.read("quarantine", 1)), "held");
  for (let round = 0; round < 3; round++) {
    store.writer.put("learned", 1, bytes("x"));
    store.writer.record({ timeNs: round, kind: "a" });
    await store.writer.flush();
  }
  assertEquals(said.length, 1, said.join("\n"));
});

Deno.test("only the latest value is written, and one that did not change is not written again", async () => {
  const files = new CrashFiles();
  const { store: { sections, writer } } = await over(files);
  writer.put("counters", 1, bytes("1"));
  writer.put("counters", 1, bytes("2"));
  await writer.flush();
  assertEquals(text(await sections.read("counters", 1)), "2");
  const { steps } = files;
  writer.put("counters", 1, bytes("2"));
  await writer.flush();
  assertEquals(files.steps, steps);
});

Deno.test("what is handed over while a flush is under way is written by the next one", async () => {
  const files = new CrashFiles();
  const { store: { sections, writer } } = await over(files);
  writer.put("counters", 1, bytes("1"));
  const first = writer.flush();
  writer.put("counters", 1, bytes("2"));
  writer.record({ timeNs: 1, kind: "a" });
  await Promise.all([first, writer.flush()]);
  assertEquals(text(await sections.read("counters", 1)), "2");
  assertEquals((await readBlackBox(files)).records.length, 1);
});

Deno.test("a section of another version, or of another name, is set aside; four are kept at most", async () => {
  const files = new CrashFiles();
  const { store: { sections }, said } = await over(files);
  for (let version = 2; version < 9; version++) {
    await sections.write("learned", version, bytes(`v${version}`));
    assertEquals(await sections.read("learned", 1), undefined);
    assertEquals(await sections.read("learned", 1), undefined);
  }
  assertEquals(said.length, 7);
  assertMatch(said[0]!, /learned counts as absent and is kept as .*corrupt-1: it has version 2/);
  assertEquals((await files.list()).sort(), [4, 5, 6, 7].map((n) => `learned.section.corrupt-${n}`));

  await sections.write("counters", 1, bytes("mine"));
  await files.rename("counters.section", "progress.section");
  assertEquals(await sections.read("progress", 1), undefined);
});

Deno.test("JSON that its reader does not take is set aside, too", async () => {
  const { store: { sections }, said } = await over(new CrashFiles());
  const fussy = () => {
    throw new TypeError("not mine");
  };
  await sections.write("counters", 1, bytes("{}"));
  assertEquals(await sections.readJson("counters", 1, fussy), undefined);
  assertEquals(await sections.readJson("counters", 1, fussy), undefined);
  assertMatch(said.join("\n"), /^state: counters counts as absent .*: not mine$/);
});

Deno.test("a torn tail is cut at the next start, which says so once; what comes then stands behind it", async () => {
  const files = new CrashFiles();
  const first = await over(files);
  await first.store.box.append([1, 2].map((timeNs) => first.store.box.number({ timeNs, kind: "a" })));
  await files.append("box-00000001.log", bytes("1234abcd 99 {"));
  assertEquals((await readBlackBox(files)).lostBytes, 13);
  const second = await over(files);
  assertMatch(
    second.said.join("\n"),
    /^state: box-00000001.log ended in the middle of a record: its last 13 bytes/,
  );
  await second.store.box.append([second.store.box.number({ timeNs: 1, kind: "b" })]);
  const { records, lostBytes } = await readBlackBox(files);
  assertEquals([records.map(({ n, run }) => [n, run]), lostBytes], [[[1, 1], [2, 1], [3, 2]], 0]);
  assertEquals((await over(files)).said, []);
  assertEquals((await files.list()).length, 1, "starts in a row share a file");
});

Deno.test("the last minutes are counted in flight time, over restarts and reboots", () => {
  const at = (run: number, timeS: number): BoxRecord => ({ n: 0, run, timeNs: timeS * 1e9, kind: "a" });
  // The clock of the second run begins anew.
  const records = [at(1, 1000), at(1, 1010), at(1, 1020), at(2, 3), at(2, 8)];
  assertEquals(recent(records, 5e9).length, 3, "both of the second run, and the moment of the cut");
  assertEquals(recent(records, 14e9).length, 3);
  assertEquals(recent(records, 15e9).length, 4);
  assertEquals(recent(records, Infinity).length, 5);
  assertEquals(recent(records, 1e9).length, 1);
});

Deno.test("the oldest of the black box goes by age as well", async () => {
  const files = new CrashFiles();
  const limits = { maxBytes: 1e9, maxAgeNs: 80e9, segmentBytes: 1e9 };
  const store = await Store.over(files, { warn() {}, note() {}, limits });
  for (let timeS = 0; timeS < 200; timeS++) {
    await store.box.append([store.box.number({ timeNs: timeS * 1e9, kind: "a" })]);
  }
  const first = (await readBlackBox(files)).records[0]!.timeNs / 1e9;
  assert(first > 80 && first < 120, `the first is of second ${first}`);
});

async function onDisk(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-store-" });
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const QUIET = { warn() {}, note() {} };

Deno.test("one agent at a time has a folder; the other hears who it is", () =>
  onDisk(async (dir) => {
    const first = await Store.open(dir, QUIET);
    const error = await assertRejects(() => Store.open(dir, QUIET), StoreTakenError);
    assertEquals([error.pid, error.message], [Deno.pid, `${dir} is in use by process ${Deno.pid}`]);
    await first!.close();
    await (await Store.open(dir, QUIET))!.close();
  }));

Deno.test("where there can be no folder there is no store, and a warning", () =>
  onDisk(async (dir) => {
    await Deno.writeTextFile(path.join(dir, "file"), "");
    const said: string[] = [];
    const warn = (line: string) => void said.push(line);
    assertEquals(await Store.open(path.join(dir, "file", "state"), { warn, note: warn }), undefined);
    assertMatch(said.join("\n"), /^state: nothing is kept over restarts: .* cannot be used/);
  }));

Deno.test("a job is released from quarantine while no agent runs, and only then", () =>
  onDisk(async (dir) => {
    const entry = { job: "map", digest: "d", reason: "r", since: "s", count: 5 };
    const store = (await Store.open(dir, QUIET))!;
    store.writer.putJson("quarantine", 1, { quarantined: [entry], failures: [] });
    await store.writer.flush();
    await assertRejects(() => releaseJob(dir, "map", QUIET), StoreTakenError);
    await store.close();
    assertEquals(await releaseJob(dir, "other", QUIET), false);
    assertEquals(await releaseJob(dir, "map", QUIET), true);
    assertEquals(await releaseJob(dir, "map", QUIET), false);
  }));
