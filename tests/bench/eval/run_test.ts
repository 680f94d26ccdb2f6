/** The matrix, its order, what is kept, and the budget: on the simulator and with a runner that only counts. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../../assert.ts";
import { Archive } from "../../../bench/eval/archive.ts";
import { arrivalSeed, type Cell, cellsOf, folderOf, keyOf } from "../../../bench/eval/cells.ts";
import { energyOf, type Machine } from "../../../bench/eval/machine.ts";
import { DROPPED, match, UNFINISHED } from "../../../bench/eval/match.ts";
import { parseOptions } from "../../../bench/eval/options.ts";
import { PARTS } from "../../../bench/eval/parts.ts";
import { planOf, planText } from "../../../bench/eval/plan.ts";
import { runLimited } from "../../../bench/eval/process.ts";
import { type CellPlan, exclusiveTimes, runMatrix } from "../../../bench/eval/run.ts";
import { Budget } from "../../../bench/eval/schedule.ts";
import { FORMAT, type RawCell, Store } from "../../../bench/eval/store.ts";

const MACHINE: Machine = {
  ...{ gpu: "none", driver: "none", smMhzMax: 0, cpu: "none", cpus: 1, kernel: "none", deno: "none" },
  ...{ commit: "test", board: "0" },
};
const MATRIX = {
  systems: ["exclusive", "mps", "calypte-anticipated"] as const,
  ...{ critical: ["detector", "chain"], background: ["vegetation", "nbody"] },
  ...{ arrivals: ["periodic-100", "load-40"], rounds: 2, seed: 1 },
};

Deno.test("no cell comes twice, and exclusive is not run again for every background", () => {
  const keys = cellsOf(MATRIX).map(keyOf);
  assertEquals(keys.length, new Set(keys).size);
  assertEquals(keys.filter((key) => key.startsWith("run.detector.none.periodic-100.exclusive.")).length, 2);
  assertEquals(keys.filter((key) => key.startsWith("run.")).length, 2 * 2 * 2 * (2 * 2) + 2 * 2 * 2);
});

Deno.test("the order is the seed's: rounds are interleaved, the most telling group comes first, limits before all", () => {
  const keys = (seed: number) => cellsOf({ ...MATRIX, seed }).map(keyOf);
  assertEquals(keys(1), keys(1));
  assert(keys(1).join() !== keys(2).join());
  const cells = cellsOf(MATRIX);
  assertEquals(keyOf(cells[0]!), "calibrate.detector.none.periodic-100.exclusive.r1");
  const first = cells.filter((cell) =>
    cell.purpose === "run" && cell.critical === "detector" && cell.arrivals === "periodic-100" &&
    (cell.background === "vegetation" || cell.background === "none")
  );
  assertEquals(first.map(({ round }) => round), [1, 1, 1, 2, 2, 2]);
  assert(cells.indexOf(first.at(-1)!) < cells.findIndex(({ critical }) => critical === "chain"));
  for (const [i, { purpose, critical, arrivals }] of cells.entries()) {
    if (purpose !== "run") continue;
    const limit = cells.findIndex((one) =>
      one.purpose === "calibrate" && one.critical === critical && one.arrivals === arrivals
    );
    assert(limit >= 0 && limit < i);
  }
});

Deno.test("systems of a round get the same arrivals, the calibration others", () => {
  const cell = (change: Partial<Cell>) => ({ ...cellsOf(MATRIX)[3]!, purpose: "run" as const, ...change });
  assertEquals(
    arrivalSeed(1, cell({ system: "mps" })),
    arrivalSeed(1, cell({ system: "calypte", background: "x" })),
  );
  assert(arrivalSeed(1, cell({ round: 1 })) !== arrivalSeed(1, cell({ round: 2 })));
  assert(arrivalSeed(1, cell({})) !== arrivalSeed(1, cell({ purpose: "calibrate" })));
});

/** Takes a second per cell, on a clock of its own. */
async function play(dir: string, budget: string[], resume: boolean, fail?: string, stopAfter = Infinity) {
  const options = parseOptions([
    ...["--out", dir, "--backend", "cuda", "--systems", "exclusive,mps", "--rounds", "4", "--requests", "50"],
    ...budget,
    ...(resume ? ["--resume"] : []),
  ]);
  let nowMs = 0;
  const ran: string[] = [], said: string[] = [];
  const info = {
    format: FORMAT,
    backend: options.backend,
    seed: 1,
    matrix: options.matrix,
    requests: 50,
    machine: MACHINE,
  } as const;
  const store = await Store.open(dir, info, resume);
  const run = ({ cell, arrivalsNs }: CellPlan) => {
    ran.push(keyOf(cell));
    nowMs += 1000;
    if (cell.system === fail) return Promise.reject(new Error("no daemon"));
    const none = { why: "", checked: 1, wrong: 0 };
    return Promise.resolve({
      ...{
        launchNs: [...arrivalsNs],
        doneNs: arrivalsNs.map((at) => at + 5e5),
        busy: [],
        busyFrom: "device" as const,
      },
      ...{
        busyNs: 0,
        units: 3,
        verified: { critical: none, background: none },
        cpuS: 0,
        levelsNs: {},
        notes: [],
        windowEndNs: 0,
      },
    });
  };
  const outcome = await runMatrix({
    ...{ options, store, machine: MACHINE, run, power: undefined },
    ...{ now: () => nowMs, beginMs: 0, say: (line: string) => said.push(line) },
    isStopped: () => ran.length >= stopAfter,
  });
  return { ran, said, outcome, nowMs };
}

Deno.test("a run that its budget ended is gone on with, and no cell is repeated", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const first = await play(dir, ["--budget", "10s"], false);
    assert(first.outcome.left > 0 && first.outcome.done > 0, JSON.stringify(first.outcome));
    assert(first.nowMs <= 10_000, "the budget is kept");
    await assertRejects(() => play(dir, [], false), Error, "--resume");
    const second = await play(dir, [], true);
    assertEquals(second.outcome.already, first.outcome.done);
    assertEquals(second.outcome.left, 0);
    assertEquals(
      [...first.ran, ...second.ran].toSorted(),
      [...new Set([...first.ran, ...second.ran])].toSorted(),
    );
    const cells = await Store.all(dir);
    assertEquals(cells.length, first.outcome.done + second.outcome.done);
    assertEquals(cells[0]!.machine.commit, "test");
    assertEquals((await play(dir, [], true)).ran, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a system that fails twice in a row is left out, told and kept on record; the others go on", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const { outcome, said } = await play(dir, [], false, "mps");
    assertEquals([outcome.failed.length, outcome.skipped, outcome.done > 0], [2, 2, true]);
    assertStringIncludes(said.join("\n"), "FAILED: no daemon");
    assertStringIncludes(said.join("\n"), "its other cells are left out");
    assertEquals((await play(dir, [], true)).ran.length, 4);
    // Also when they are done in the end: what was tried is not hidden.
    assertEquals((await Store.failures(dir)).map(({ why }) => why), ["no daemon", "no daemon"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a folder of another seed, backend, board or commit is not mixed with this run", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const info = {
      format: FORMAT,
      backend: "sim",
      seed: 1,
      matrix: MATRIX,
      requests: 10,
      machine: MACHINE,
    } as const;
    await Store.open(dir, info, false);
    await assertRejects(
      () => Store.open(dir, { ...info, backend: "cuda" }, true),
      Error,
      "its backend is sim, not cuda",
    );
    await assertRejects(() => Store.open(dir, { ...info, seed: 2 }, true), Error, "seed");
    const elsewhere = { ...info, machine: { ...MACHINE, board: "1" } };
    await assertRejects(() => Store.open(dir, elsewhere, true), Error, "its board is 0, not 1");
    const changed = { ...info, machine: { ...MACHINE, commit: "new" } };
    await assertRejects(() => Store.open(dir, changed, true), Error, "commit");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("without exclusive there is nothing to compare with: no more of the GPU's time is spent", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const { outcome, said } = await play(dir, [], false, "exclusive");
    assertEquals(outcome.failed.length, 2);
    assert(outcome.done <= 3 && outcome.left > 0, JSON.stringify(outcome));
    assertStringIncludes(said.join("\n"), "the run ends");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a run that was told to stop ends behind the cell that is under way", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const { outcome } = await play(dir, [], false, undefined, 3);
    assertEquals(outcome.done, 3);
    assert(outcome.left > 0 && outcome.failed.length === 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a resumed run with other windows is refused before it costs a cell", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await play(dir, ["--budget", "30s"], false);
    await assertRejects(() => play(dir, ["--requests", "900"], true), Error, "Give the same --requests");
    const others = await play(dir, ["--requests", "900", "--rounds", "11-12"], true).catch((error) => error);
    assert(String(others).includes("calibrate"), "the calibration's window is another too");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("limits are set within the rounds, not all on a GPU that is not warm yet", () => {
  const cells = cellsOf({ ...MATRIX, rounds: 5, critical: ["detector"], arrivals: ["periodic-100"] });
  const at = cells.flatMap(({ purpose }, i) => purpose === "calibrate" ? [i] : []);
  assertEquals(at.map((i) => cells[i]!.round), [1, 2, 3]);
  assert(at[1]! > 3 && at[2]! > at[1]! + 3);
});

Deno.test("rounds that are measured later have their own exclusive, arrivals and background alone", () => {
  const cells = cellsOf({ ...MATRIX, firstRound: 6, rounds: 8 });
  assertEquals(
    new Set(cells.filter(({ purpose }) => purpose !== "calibrate").map(({ round }) => round)),
    new Set([6, 7, 8]),
  );
  assert(
    cells.some(({ purpose, system, round }) => purpose === "run" && system === "exclusive" && round === 6),
  );
});

Deno.test("the rate of a load follows from one calibration only, so that a resumed run has the same arrivals", () => {
  const raw = (arrivals: string, round: number, ns: number) => ({
    cell: { ...cellsOf(MATRIX)[0]!, arrivals, round },
    ...{ arrivalsNs: [0], launchNs: [0], doneNs: [ns] },
  } as unknown as RawCell);
  const cells = [raw("load-40", 1, 9e6), raw("periodic-100", 1, 2e6), raw("periodic-100", 2, 7e6)];
  assertEquals(exclusiveTimes(cells).get("detector"), 2e6);
  assertEquals(exclusiveTimes(cells.toReversed()).get("detector"), 2e6);
});

Deno.test("each part is a run of its own rounds that its budget holds, and options beside it count more", () => {
  const seen = new Map<string, number>();
  for (const number of PARTS.keys()) {
    const options = parseOptions(["--out", "x", "--part", String(number + 1)]);
    assert(options.budgetMs! <= 9.5 * 60_000, "a command has ten minutes");
    for (const cell of cellsOf(options.matrix)) {
      // What is not shared by meaning, as calibrations are, is measured in one part only.
      if (cell.purpose !== "run") continue;
      assertEquals(seen.get(keyOf(cell)) ?? number, number, keyOf(cell));
      seen.set(keyOf(cell), number);
    }
  }
  const decides = parseOptions(["--out", "x", "--part", "1"]);
  const plan = planOf(decides, []);
  assert(plan.totalMs < decides.budgetMs! && plan.cells.every(({ fits }) => fits));
  assertEquals([decides.requests, decides.matrix.rounds], [1000, 5]);
  const changed = parseOptions(["--part", "1", "--out", "x", "--rounds", "2", "--budget=1m"]);
  assertEquals([changed.matrix.rounds, changed.budgetMs], [2, 60_000]);
  assert(planText(planOf(changed, []), changed, false).join("\n").includes("BEYOND THE BUDGET"));
  const simulated = parseOptions(["--out", "x", "--part", "1", "--backend", "sim"]);
  assertEquals(simulated.matrix.systems, ["calypte-anticipated", "calypte-alone"]);
  assertThrows(() => parseOptions(["--out", "x", "--part", "99"]), Error, "There is no part 99");
});

Deno.test("an archive holds every cell whole after each, in files of a bounded size", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/run/raw`, { recursive: true });
    await Deno.writeTextFile(`${dir}/run/run.json`, "{}");
    const archive = await Archive.open(`${dir}/run`, `${dir}/back`, 25_000);
    for (const name of ["a", "b", "c", "d", "e"]) {
      await Deno.writeFile(`${dir}/run/raw/${name}`, new Uint8Array(10_000).fill(name.charCodeAt(0)));
      await archive.add(`raw/${name}`);
    }
    const files = [...Deno.readDirSync(`${dir}/back`)].map(({ name }) => name).sort();
    assertEquals(files, ["cells-1.tar", "cells-2.tar", "cells-3.tar", "run.tar"]);
    await Deno.mkdir(`${dir}/here`);
    for (const file of files) {
      const args = ["-C", `${dir}/here`, "-xf", `${dir}/back/${file}`];
      assert((await new Deno.Command("tar", { args }).output()).success);
    }
    assertEquals([...Deno.readDirSync(`${dir}/here/raw`)].length, 5);
    assertEquals((await Deno.readFile(`${dir}/here/raw/e`))[9999], 101);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a program that hangs is killed, one that fails is told with its words", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      "console.error('broken here'); if (Deno.args[0]) for (;;); Deno.exit(3)",
    );
    const args = ["run", "--quiet", script];
    await assertRejects(() => runLimited("it", args, 60_000), Error, "broken here");
    await assertRejects(() => runLimited("it", [...args, "x"], 3000), Error, "it did not end within 3 s");
  } finally {
    await Deno.remove(script);
  }
});

Deno.test("a budget goes by the longest that a system's cells took", () => {
  const budget = new Budget("cuda", 30_000, 0);
  budget.took("mps", 2e9, 12_000);
  budget.took("mps", 2e9, 4000);
  assertEquals(budget.expectedMs("mps", 5e9), 15_000);
  assert(budget.fits("mps", 5e9, 15_000));
  assert(!budget.fits("mps", 5e9, 15_001));
});

Deno.test("answers find their arrivals: late, dropped, missing and strange ones", () => {
  const answer = (atNs: number, doneNs: number, dropped = false) => ({
    atNs,
    launchNs: atNs + 1,
    doneNs,
    dropped,
  });
  const { launchNs, doneNs, unmatched } = match(
    [100, 200, 300, 400],
    [answer(-50, 3), answer(101, 500), answer(200, 0, true), answer(250, 7), answer(399, 600)],
    10,
  );
  assertEquals(doneNs, [500, DROPPED, UNFINISHED, 600]);
  assertEquals(launchNs, [102, -1, -1, 400]);
  assertEquals(unmatched, 1);
});

Deno.test("energy is power over time, and nothing is said of it without samples", () => {
  const samples = [0, 100, 200, 300].map((atMs) => ({ atMs, watts: 50, smMhz: 1000 + atMs }));
  assertEquals(energyOf(samples, 50, 350), { joules: 15, smMhz: [1100, 1300] });
  assertEquals(energyOf(samples, 120, 180), undefined);
});

Deno.test("options that are none, and systems that the simulator cannot run, are refused", () => {
  assertThrows(() => parseOptions(["--out", "x", "--sytems", "mps"]), Error, "--sytems");
  assertThrows(() => parseOptions(["--out", "x", "--systems", "mpx"]), Error, "exclusive");
  assertThrows(
    () => parseOptions(["--out", "x", "--backend", "sim", "--systems", "mps,calypte"]),
    Error,
    "mps",
  );
  assertThrows(() => parseOptions([]), Error, "--out");
  assertThrows(() => parseOptions(["--out", "x", "--budget", "8"]), Error, "8m");
  assertThrows(() => parseOptions(["--out", "x", "--bundle", "nbody=x"]), Error, "new name");
  assertThrows(() => parseOptions(["--out", "x", "--background", "resnet"]), Error, "resnet");
  const { matrix, extra } = parseOptions([
    "--out",
    "x",
    "--bundle",
    "resnet=m/r18",
    "--background",
    "nbody,resnet",
  ]);
  assertEquals([matrix.background, folderOf("resnet", extra)], [["nbody", "resnet"], "m/r18"]);
  assertEquals(parseOptions(["--out", "x", "--budget", "8m"]).budgetMs, 480_000);
  assert(!parseOptions(["--out", "x", "--backend", "sim"]).matrix.systems.includes("mps"));
});
