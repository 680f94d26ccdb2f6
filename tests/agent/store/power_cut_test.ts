/** What is found after the power went, at any step of a store's life. */
import { assert, assertEquals } from "../../assert.ts";
import { readBlackBox } from "../../../agent/store/black_box.ts";
import { CrashFiles, seeded } from "./crash_files.ts";
import { checkAfterCut, LIMITS, live, NAMES, open, script } from "./history.ts";

const SEED = Number(Deno.env.get("CALYPTE_TEST_SEED") ?? 20_260_101);

/** Says how to see a failure again. */
async function withSeed(seed: number, where: string, test: () => Promise<void>): Promise<void> {
  try {
    await test();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${where}; again with CALYPTE_TEST_SEED=${seed}: ${why}`, { cause: error });
  }
}

Deno.test("a cut at every step of fifty operations, and in the middle of each write, loses nothing that was promised", async () => {
  const operations = script(seeded(SEED), 50);
  const whole = new CrashFiles();
  assert((await live(whole, operations)).whole);
  assert(whole.steps > 2000, "the script writes next to nothing");
  for (let cut = 0; cut < whole.steps; cut++) {
    await withSeed(SEED, `cut at step ${cut} of ${whole.steps}`, async () => {
      const files = new CrashFiles();
      files.stepsLeft = cut;
      const life = await live(files, operations);
      assertEquals(life.whole, false);
      await checkAfterCut(files.afterKill(), life);
      await checkAfterCut(files.afterHardCut(), life);
      await checkAfterCut(files.afterCut(seeded(SEED + cut)), life);
    });
  }
});

Deno.test("a second cut while the store recovers from the first loses nothing either", async () => {
  const operations = script(seeded(SEED + 1), 20);
  const whole = new CrashFiles();
  await live(whole, operations);
  for (let cut = 0; cut < whole.steps; cut += 7) {
    await withSeed(SEED, `cut at step ${cut} of ${whole.steps}`, async () => {
      const files = new CrashFiles();
      files.stepsLeft = cut;
      const life = await live(files, operations);
      const random = seeded(SEED + cut);
      for (let second = 0; second < 40; second++) {
        const left = files.afterCut(seeded(cut));
        left.stepsLeft = second;
        await open(left);
        for (const name of NAMES) await (await open(left)).sections.read(name, 1);
        left.stepsLeft = Infinity;
        await checkAfterCut(left.afterCut(random), life);
      }
    });
  }
});

Deno.test("whatever bytes rot, the store opens, and gives what was written or nothing", async () => {
  for (let round = 0; round < 2000; round++) {
    const seed = SEED + round;
    await withSeed(SEED, `round ${round}`, async () => {
      const random = seeded(seed);
      const files = new CrashFiles();
      const life = await live(files, script(random, 15));
      const rotten = files.contents();
      const names = [...rotten.keys()];
      const pick = () => names[Math.floor(random() * names.length)] ?? "counters.section";
      for (let damage = 0; damage < 1 + random() * 3; damage++) {
        const bytes = rotten.get(pick())?.slice() ?? new Uint8Array();
        const at = Math.floor(random() * bytes.length);
        const how = random();
        if (how < 0.4 && bytes.length > 0) bytes[at]! ^= 1 << Math.floor(random() * 8);
        else if (how < 0.6) bytes.fill(Math.floor(random() * 256), at, at + 20);
        const to = how > 0.8
          ? pick()
          : names.find((name) => rotten.get(name)?.length === bytes.length) ?? pick();
        rotten.set(to, how < 0.6 ? bytes : bytes.slice(0, how < 0.8 ? at : bytes.length));
      }
      const after = CrashFiles.of(rotten);
      const store = await open(after);
      for (const name of NAMES) {
        const found = await store.sections.read(name, 1);
        const written = life.promised.get(name);
        if (found !== undefined) assertEquals(found, written);
      }
      const given = new Map(life.records.map((record) => [record.n, record]));
      const { records } = await readBlackBox(after);
      for (const record of records) assertEquals(record, given.get(record.n));
      assertEquals(records.map(({ n }) => n), records.map(({ n }) => n).sort((a, b) => a - b));
      // And it can be lived with: what is written now stays.
      await store.sections.write("learned", 1, new Uint8Array([7]));
      const fresh = store.box.number({ timeNs: 0, kind: "after" });
      await store.box.append([fresh]);
      assertEquals((await readBlackBox(after)).records.at(-1), fresh);
    });
  }
});

Deno.test("the black box stays within its size", async () => {
  const files = new CrashFiles();
  const life = await live(files, script(seeded(SEED), 300));
  assert(life.whole);
  const bytes = [...files.contents()].filter(([name]) => name.startsWith("box-"))
    .reduce((sum, [, data]) => sum + data.length, 0);
  assert(bytes <= LIMITS.maxBytes + LIMITS.segmentBytes, `${bytes} bytes`);
});
