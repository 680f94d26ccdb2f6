import { assertEquals } from "../assert.ts";
import { criticalsOf, judge, lostNumbers, recoveries, resultsOf } from "../../bench/faults/judge.ts";
import { growthsOf, type Sample } from "../../bench/faults/growth.ts";
import { type Ledger, type Line, readFolder, readLines } from "../../bench/faults/ledger.ts";

const MS = 1e6;
const PERIOD = 10 * MS;

/** Requests 1..n at 100 Hz, answered after 1 ms; without those that are named. */
function lines(
  count: number,
  without: readonly number[] = [],
  change: Record<number, Partial<Line>> = {},
): Line[] {
  return Array.from({ length: count }, (_, i) => i + 1)
    .filter((number) => !without.includes(number))
    .map((number) => ({
      number,
      arrivalNs: number * PERIOD,
      doneNs: number * PERIOD + MS,
      ...{ late: false, dropped: false, failed: false },
      ...change[number],
    }));
}

function ledger(all: Line[]): Ledger {
  return { lines: all, duplicates: 0, torn: 0, tornWhere: [], files: 1 };
}

Deno.test("a number that no file holds is lost, unless the engine was away", () => {
  assertEquals(lostNumbers(lines(20), []), 0);
  assertEquals(lostNumbers(lines(20, [7, 8]), []), 2);
  assertEquals(lostNumbers(lines(20, [7, 8]), [{ beginNs: 65 * MS, endNs: 85 * MS }]), 0);
  assertEquals(lostNumbers(lines(20, [7, 8, 15]), [{ beginNs: 65 * MS, endNs: 85 * MS }]), 1);
});

Deno.test("what the engine counted and no file holds is lost, unless it was given up loudly", () => {
  assertEquals(resultsOf(ledger(lines(20)), 21, [], 0).lost, 1);
  assertEquals(resultsOf(ledger(lines(20)), 21, [], 1).lost, 0);
  assertEquals(resultsOf(ledger(lines(20, [5])), 19, [], 0).lost, 1);
  assertEquals(resultsOf(ledger(lines(20)), 20, [], 0).lost, 0);
});

Deno.test("misses are counted by how they came, and the longest run goes over all of them", () => {
  const some = lines(20, [10, 11], { 9: { late: true }, 12: { dropped: true }, 15: { failed: true } });
  assertEquals(criticalsOf(some, 0, 200 * MS, PERIOD), {
    ...{ requests: 20, late: 1, dropped: 1, failed: 1, unanswered: 2, longestRun: 4 },
  });
  assertEquals(criticalsOf(some, 130 * MS, 200 * MS, PERIOD).longestRun, 1);
});

Deno.test("back is the first answer in time to a request that came after the fault", () => {
  const some = lines(20, [], { 11: { late: true } });
  const fault = { atNs: 101.5 * MS, recoveredNs: 150 * MS, engineLost: false, what: "" };
  assertEquals(recoveries(some, [fault, { ...fault, atNs: 500 * MS }]), [19.5, null]);
  const input = { kind: "k", faults: [fault], beginNs: 50 * MS, endNs: 200 * MS, jobs: {}, periodNs: PERIOD };
  const row = judge({ ...input, critical: ledger(some) });
  assertEquals([row.faults, row.notRecovered, row.midRequest, row.criticalBackMs.p50], [1, 0, 0, 19.5]);
  assertEquals(
    judge({ ...input, faults: [{ ...fault, atNs: 100.5 * MS }], critical: ledger(some) }).midRequest,
    1,
  );
});

Deno.test("torn lines, doubles and binaries that are not whole are found, also in what was set aside", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const line = (number: number) =>
      JSON.stringify({ kind: "critical", number, arrivalNs: number * PERIOD, doneNs: number * PERIOD + 1 });
    await Deno.writeTextFile(`${dir}/a.jsonl`, `${line(3)}\n${line(4)}\n{"kind":`);
    await Deno.writeTextFile(`${dir}/a.1.jsonl`, `${line(1)}\nnothing\n${line(2)}\n${line(3)}\n`);
    await Deno.writeTextFile(`${dir}/ab.jsonl`, `${line(9)}\n`);
    const read = readLines(dir, "a");
    assertEquals(read.lines.map(({ number }) => number), [1, 2, 3, 4]);
    assertEquals([read.duplicates, read.torn, read.files], [1, 2, 2]);
    await Deno.mkdir(`${dir}/earlier-1`);
    const sidecar = (unit: number) =>
      JSON.stringify({ kind: "background", unit, doneNs: unit, file: `0000000${unit}.bin` });
    for (const [folder, unit, size] of [["", 1, 8], ["earlier-1/", 2, 8], ["", 3, 7]] as const) {
      await Deno.writeFile(`${dir}/${folder}0000000${unit}.bin`, new Uint8Array(size));
      await Deno.writeTextFile(`${dir}/${folder}0000000${unit}.json`, sidecar(unit));
    }
    await Deno.writeTextFile(`${dir}/00000004.json`, sidecar(4));
    const folder = readFolder(dir, 8);
    assertEquals(folder.lines.map(({ number }) => number), [1, 2]);
    assertEquals(folder.torn, 2);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a process that grows is found, one with single peaks is not, and few samples say nothing", () => {
  const samples = (rss: (i: number) => number, files: (i: number) => number, count = 40): Sample[] =>
    Array.from({ length: count }, (_, i) => ({
      ...{ who: "agent 1", atS: 5 * i, rssBytes: rss(i) * 2 ** 20, files: files(i), threads: 9 },
    }));
  const grew = (all: Sample[]) => growthsOf(all)[0]!.grew.length;
  assertEquals(grew(samples((i) => 100 + (i % 7 === 0 ? 50 : 0), () => 30)), 0);
  assertEquals(grew(samples((i) => 100 + i, () => 30)), 1);
  assertEquals(grew(samples((i) => i < 8 ? 60 + 5 * i : 100, () => 30)), 0);
  assertEquals(grew(samples(() => 100, (i) => 30 + Math.floor(i / 5))), 1);
  assertEquals(grew(samples(() => 100, () => 30, 6)), 1);
});
