/** Does an operator see which jobs are left out, and can let one back in? */
import { assertEquals, assertMatch } from "../../assert.ts";
import { main } from "../../../agent/main.ts";
import { Store } from "../../../agent/store/store.ts";

const QUIET = { warn: () => {}, note: () => {} };

async function calypte(...args: string[]): Promise<[number, string]> {
  let said = "";
  const terminal = { out: (text: string) => void (said += text), err: (text: string) => void (said += text) };
  return [await main(["quarantine", ...args], terminal), said];
}

Deno.test("a job in quarantine is listed, and released once, but not under a running agent", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const entry = { job: "map", digest: "d", reason: "it crashed", since: "2026-01-01T00:00:00Z", count: 5 };
    const store = (await Store.open(dir, QUIET))!;
    store.writer.putJson("quarantine", 1, { quarantined: [entry], failures: [] });
    await store.writer.flush();
    const [listed, text] = await calypte("list", "--dir", dir);
    assertEquals(listed, 0);
    assertMatch(text, /map +2026-01-01T00:00:00Z +5 +it crashed/);
    const [taken, why] = await calypte("release", "map", "--dir", dir);
    assertEquals(taken, 1);
    assertMatch(why, /is in use by process \d+: end it first/);
    await store.close();
    assertEquals(await calypte("release", "map", "--dir", dir), [0, "map may run again\n"]);
    assertEquals((await calypte("release", "map", "--dir", dir))[0], 1);
    assertEquals(await calypte("--dir", dir), [0, `${dir}: no job is in quarantine\n`]);
    assertEquals((await calypte("release", "--dir", dir))[0], 2);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
