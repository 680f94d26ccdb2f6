import { assertEquals, assertRejects } from "../../assert.ts";
import { randomOf } from "../../../bench/statistics.ts";
import type { Cell } from "../../../bench/eval/cells.ts";
import { FORMAT, gzip, type RawCell, Store } from "../../../bench/eval/store.ts";
import type { Span } from "../../../bench/eval/statistics.ts";

const SEED = 20;

const CELL: Cell = {
  purpose: "run",
  system: "exclusive",
  critical: "detector",
  background: "none",
  arrivals: "periodic-100",
  round: 1,
};

function raw(busy: Span[], round: number): RawCell {
  const checked = { why: "", checked: 1, wrong: 0 };
  return {
    format: FORMAT,
    cell: { ...CELL, round },
    backend: "sim",
    machine: {
      ...{ gpu: "made up by a test", driver: "0", smMhzMax: 0, cpu: "none", cpus: 1, kernel: "0", deno: "0" },
      ...{ commit: "0", board: "0" },
    },
    seeds: { run: SEED, arrivals: 1 },
    begunAt: "2026-01-01T00:00:00Z",
    windowNs: 1e9,
    arrivalsNs: [0, 10e6],
    launchNs: [5, -1],
    doneNs: [200_000, -1],
    busy,
    ...{ busyFrom: "device", busyNs: 0, units: 0, tookMs: 0, cpuS: 0.5, energyJ: null, smMhz: [1000, 1100] },
    ...{ verified: { critical: checked, background: checked }, levelsNs: { loop: 3 }, notes: ["one"] },
  };
}

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-test-" });
  try {
    await Deno.mkdir(`${dir}/raw`);
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("a cell is read as it was written, spans that overlap, touch or begin ahead of the window included", async () => {
  const random = randomOf(SEED);
  const many = Array.from({ length: 1000 }, (): Span => {
    const from = Math.floor(random() * 1e9) - 1000;
    return [from, from + Math.floor(random() * 1e6)];
  });
  const cells = [raw([], 1), raw([[-5, 7]], 2), raw([[0, 10], [5, 20], [20, 20], [1, 2]], 3), raw(many, 4)];
  await inFolder(async (dir) => {
    const store = new Store(dir);
    for (const cell of cells) await store.write(cell);
    const read = await Store.all(dir);
    assertEquals(read.sort((a, b) => a.cell.round - b.cell.round), cells, `seed ${SEED}`);
    assertEquals(await store.has({ ...CELL, round: 4 }), true);
    assertEquals(await store.has({ ...CELL, round: 5 }), false);
  });
});

Deno.test("a cell of another format is refused by its file's name", async () => {
  await inFolder(async (dir) => {
    await Deno.writeFile(
      `${dir}/raw/old.json.gz`,
      await gzip(JSON.stringify({ ...raw([], 1), format: "calypte-eval/2" })),
    );
    await assertRejects(() => Store.all(dir), Error, "old.json.gz: its format is calypte-eval/2");
  });
});
