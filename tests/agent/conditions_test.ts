import {
  FileConditions,
  fixedConditions,
  parseConditions,
  readConditionsFile,
} from "../../agent/conditions.ts";
import { InputError } from "../../agent/errors.ts";
import type { Logger } from "../../agent/log.ts";
import { path } from "../../agent/std/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";

const MAX_AGE_NS = 2e9;

/** A file that the test writes by assignment; each assignment counts as a write. */
function setUp(text?: string) {
  const said: string[] = [];
  const keep = (message: string) => void said.push(message);
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep };
  let writes = 0;
  let reads = 0;
  const source = new FileConditions({
    file: "now.json",
    maxAgeNs: MAX_AGE_NS,
    log,
    read: () => {
      reads++;
      if (text === undefined) {
        return Promise.reject(new InputError({ file: "now.json", field: "", rule: "does not exist" }));
      }
      return Promise.resolve({ text, stamp: `${writes}` });
    },
  });
  return {
    said,
    source,
    get reads() {
      return reads;
    },
    write(change: string | undefined) {
      text = change;
      writes++;
    },
    /** Asks, lets the read end, asks again at the same time. */
    async at(nowNs: number) {
      source.current(nowNs);
      await source.settled();
      return source.current(nowNs);
    },
  };
}

const CRUISING = JSON.stringify({
  phase: "cruising",
  batteryPercent: 71.5,
  temperatureC: 60,
  powerW: 18,
  clockKey: 3,
});

Deno.test("what the file says is known once it was seen to be rewritten", async () => {
  const { at, write } = setUp(CRUISING);
  assertEquals(await at(0), { phase: "unknown" }, "it may lie there from the flight before");
  write(CRUISING);
  assertEquals(await at(1e9), JSON.parse(CRUISING));
});

Deno.test("a file that appears later is believed at once", async () => {
  const { at, write, said } = setUp();
  await at(0);
  assertStringIncludes(said[0]!, "does not exist");
  write(`{"phase":"landing"}`);
  assertEquals(await at(1e9), { phase: "landing" });
  assertEquals(said.length, 2);
  assertStringIncludes(said[1]!, "are known again");
});

Deno.test("asking never waits: the answer is the last one that was read", async () => {
  const scene = setUp();
  await scene.at(0);
  scene.write(`{"phase":"landing"}`);
  assertEquals(scene.source.current(1), { phase: "unknown" });
  const { reads } = scene;
  scene.source.current(2);
  assertEquals(scene.reads, reads, "one read at a time");
  await scene.source.settled();
  assertEquals(scene.source.current(3), { phase: "landing" });
});

Deno.test("what is not rewritten grows too old, which is said once; the same text written again is fresh", async () => {
  const { at, write, said } = setUp();
  await at(0);
  write(CRUISING);
  await at(1e9);
  assertEquals((await at(1e9 + MAX_AGE_NS)).phase, "cruising");
  assertEquals((await at(1e9 + MAX_AGE_NS + 1)).phase, "unknown");
  assertEquals((await at(9e9)).phase, "unknown");
  assertEquals(said.filter((text) => text.includes("not rewritten for 2 s")).length, 1);
  write(CRUISING);
  assertEquals((await at(10e9)).phase, "cruising");
});

Deno.test("a file that turns wrong or goes away is not known any more, at once, and each reason is said once", async () => {
  const { at, write, said } = setUp();
  await at(0);
  write(CRUISING);
  await at(1e9);
  said.length = 0;
  write(CRUISING.slice(0, 20));
  assertEquals([(await at(1.1e9)).phase, (await at(1.2e9)).phase], ["unknown", "unknown"]);
  assertEquals(said, ["conditions are not known: now.json: now.json: must be JSON"]);
  write(undefined);
  assertEquals((await at(1.3e9)).phase, "unknown");
  write(CRUISING);
  assertEquals((await at(1.4e9)).phase, "cruising");
  assertEquals(said.length, 3);
});

Deno.test("the file is read strictly", () => {
  assertEquals(parseConditions(`{"phase":"emergency"}`, "f"), { phase: "emergency" });
  for (
    const [text, said] of [
      ["{}", "phase: must be given"],
      [`{"phase":"flying"}`, "phase: must be one of unknown, disarmed"],
      [`{"phase":"landing","batteryPercent":101}`, "batteryPercent: must be at most 100"],
      [`{"phase":"landing","temperatureC":"70"}`, "temperatureC: must be a number"],
      [`{"phase":"landing","clockKey":1.5}`, "clockKey: must be a whole number"],
      [`{"phase":"landing","tempratureC":70}`, "did you mean `temperatureC`?"],
    ] as const
  ) {
    assertStringIncludes(assertThrows(() => parseConditions(text, "f"), InputError).message, said);
  }
});

Deno.test("a real file is read with a stamp that tells its writes apart, and in virtual time once for all", async () => {
  const dir = await Deno.makeTempDir();
  const file = path.join(dir, "now.json");
  await assertRejects(() => fixedConditions(file), InputError, "does not exist");
  await Deno.writeTextFile(`${file}.new`, CRUISING);
  await Deno.rename(`${file}.new`, file);
  const first = await readConditionsFile(file);
  assertEquals(first.text, CRUISING);
  await Deno.writeTextFile(`${file}.new`, CRUISING);
  await Deno.rename(`${file}.new`, file);
  assert((await readConditionsFile(file)).stamp !== first.stamp);
  const fixed = await fixedConditions(file);
  assertEquals([fixed.current(0), fixed.current(1e15)], [JSON.parse(CRUISING), JSON.parse(CRUISING)]);
  await Deno.writeFile(file, new Uint8Array(5000));
  await assertRejects(() => readConditionsFile(file), InputError, "at most 4096 bytes");
  await assertRejects(() => readConditionsFile(dir), InputError, "must be a plain file");
  await Deno.remove(dir, { recursive: true });
});
