/** SIGKILL on a real disk: it shows what survives the process. What survives the power is for power_cut_test.ts. */
import { assert, assertEquals } from "../../assert.ts";
import { readBlackBox } from "../../../agent/store/black_box.ts";
import { Store } from "../../../agent/store/store.ts";
import { DiskFiles } from "../../../agent/store/store_files.ts";
import { seeded } from "./crash_files.ts";

const ROUNDS = 100;
const WRITER = new URL("endless_writer.ts", import.meta.url).pathname;
const SEED = Number(Deno.env.get("CALYPTE_TEST_SEED") ?? 20_260_101);

Deno.test(`a writer that is killed ${ROUNDS} times loses nothing that it was told is kept (seed ${SEED})`, async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-kill-" });
  const random = seeded(SEED);
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      const kept = await writeAndKill(dir, round, 1 + Math.floor(random() * 4));
      const said: string[] = [];
      const warn = (text: string) => void said.push(text);
      const store = (await Store.open(dir, { warn, note() {} }))!;
      for (const name of ["counters", "learned"]) {
        const value = new TextDecoder().decode(await store.sections.read(name, 1));
        const [itsRound, count] = value.split(" ").map(Number);
        assertEquals(itsRound, round);
        assert(count! >= kept && count! <= kept + 1, `${name} holds ${count}, and ${kept} was kept`);
      }
      await store.close();
      assertEquals(said.filter((text) => !/ended in the middle/.test(text)), []);
      const { records } = await readBlackBox(new DiskFiles(dir));
      const last = records.at(-1)!;
      assertEquals(last.round, `${round}`);
      assert(Number(last.count) >= kept, `the black box ends at ${last.count}, and ${kept} was kept`);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** Kills the writer at some moment after its `rounds`-th flush; returns the last one that it told of. */
async function writeAndKill(dir: string, round: number, rounds: number): Promise<number> {
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", WRITER, dir, `${round}`],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  const decoder = new TextDecoder();
  let killed = false;
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk);
    if (killed || text.split("\n").length <= rounds) continue;
    killed = true;
    child.kill("SIGKILL");
  }
  await child.status;
  assert(!text.includes("bad"), text);
  return Number(text.trimEnd().split("\n").at(-1));
}
