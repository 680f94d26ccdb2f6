/**
 * A whole run on the simulator in real time whose agent is killed again and again while the engine goes on. Needs
 * build/libcalypte.so: without it this is left out, except in CI, where it fails. CALYPTE_TEST_KILLS: how often.
 */
import { assert, assertEquals } from "../assert.ts";
import { libraryPath } from "../../ffi/mod.ts";
import { path } from "../../agent/std/mod.ts";
import { realTimers } from "../../agent/timers.ts";
import { writeMission } from "./mission_fixture.ts";

const CALYPTE = path.fromFileUrl(import.meta.resolve("../../calypte"));
const KILLS = Number(Deno.env.get("CALYPTE_TEST_KILLS") ?? 5);

function libraryExists(): boolean {
  try {
    return Deno.statSync(libraryPath()).isFile;
  } catch {
    return false;
  }
}

/** One agent; killed so long after it took over, or ended in order. Returns what it said. */
async function agent(file: string, env: Record<string, string>, killAfterMs: number | undefined) {
  const child = new Deno.Command(CALYPTE, {
    args: ["run", file, "--backend", "sim", ...(killAfterMs === undefined ? ["--for", "300ms"] : [])],
    env,
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let text = "";
  let ready = false;
  let ended = false;
  // Not to its end: the engine has it too, and goes on.
  const reader = child.stderr.getReader();
  const status = child.status;
  const listening = (async () => {
    const decoder = new TextDecoder();
    for (let got = await reader.read(); !got.done; got = await reader.read()) {
      text += decoder.decode(got.value, { stream: true });
      if (killAfterMs !== undefined && !ready && text.includes("Ctrl-C ends it")) {
        ready = true;
        realTimers.pause(killAfterMs).then(() => ended || child.kill("SIGKILL"));
      }
    }
  })().catch(() => {});
  const { signal, code } = await status;
  ended = true;
  await reader.cancel();
  await listening;
  return { text, signal, code };
}

function assertAll(numbers: readonly number[], what: string): void {
  const sorted = numbers.toSorted((a, b) => a - b);
  assertEquals(sorted, Array.from({ length: numbers.length }, (_, i) => i), what);
  assert(numbers.length > 10, what);
}

Deno.test({
  name: "an agent killed at random and started again leaves every result once, in one file and one folder",
  ignore: !libraryExists() && (Deno.env.get("CI") ?? "") === "",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using fixture = await writeMission();
    const { dir, file } = fixture;
    await Deno.mkdir(path.join(dir, "run"));
    const env = { CALYPTE_RUN_DIR: path.join(dir, "run"), CALYPTE_CACHE: path.join(dir, "cache") };
    let random = 99;
    for (let kill = 0; kill < KILLS; kill++) {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      const { text, signal } = await agent(file, env, random % 400);
      assertEquals([signal, text.includes("taking over the engine")], ["SIGKILL", kill > 0], text);
    }
    const { text, code } = await agent(file, env, undefined);
    assertEquals([code, text.includes("taking over the engine")], [0, true], text);

    const out = path.join(dir, "out");
    assertEquals([...Deno.readDirSync(out)].map(({ name }) => name).sort(), ["detections.jsonl", "map"]);
    const lines = (await Deno.readTextFile(path.join(out, "detections.jsonl"))).split("\n");
    assertEquals(lines.pop(), "");
    assertAll(lines.map((line) => JSON.parse(line).number), "requests");
    const names = [...Deno.readDirSync(path.join(out, "map"))].map(({ name }) => name);
    for (const extension of ["bin", "json"]) {
      const units = names.filter((name) => name.endsWith(`.${extension}`)).map((name) => parseInt(name));
      assertAll(units, `units, ${extension}`);
    }
    assertEquals(names.filter((name) => !/^\d{8}\.(bin|json)$/.test(name)), []);
  },
});
