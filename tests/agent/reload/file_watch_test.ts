import { assertEquals } from "../../assert.ts";
import type { Logger } from "../../../agent/log.ts";
import { armedIn, FileWatch } from "../../../agent/reload/file_watch.ts";
import { PHASES } from "../../../policies/policy.ts";

function watching(first: string | undefined, armed?: () => boolean | undefined) {
  const said: string[] = [];
  const log: Logger = { debug() {}, info: (text) => void said.push(text), warn() {}, error() {} };
  let stamp: string | undefined = first;
  let taken = 0;
  const watch = new FileWatch({
    stamp: () => Promise.resolve(stamp),
    first,
    armed,
    changed: () => taken++,
    log,
  });
  const look = async (next: string | undefined) => {
    stamp = next;
    await watch.look();
    return taken;
  };
  return { look, said };
}

Deno.test("a file that stays as it is is not read again", async () => {
  const { look } = watching("a");
  for (let i = 0; i < 3; i++) assertEquals(await look("a"), 0);
});

Deno.test("a change is taken up once it has stood for two looks, and only once", async () => {
  const { look } = watching("a");
  assertEquals([await look("b"), await look("c"), await look("c"), await look("c")], [0, 0, 1, 1]);
});

Deno.test("a file that is away for a moment, as while it is replaced, is no change", async () => {
  const { look } = watching("a");
  const counts = [await look(undefined), await look(undefined), await look("b"), await look(undefined)];
  assertEquals(counts, [0, 0, 0, 0]);
  assertEquals([await look("b"), await look("b")], [0, 1]);
});

for (const state of [true, undefined]) {
  Deno.test(`while it is ${state === true ? "armed" : "not known whether it is armed"} a change waits, and is said once`, async () => {
    let armed: boolean | undefined = state;
    const { look, said } = watching("a", () => armed);
    for (let i = 0; i < 5; i++) assertEquals(await look("b"), 0);
    assertEquals(said.length, 1);
    armed = false;
    assertEquals([await look("b"), await look("b")], [1, 1]);
  });
}

Deno.test("a vehicle counts as disarmed in one phase only", () => {
  assertEquals(PHASES.filter((phase) => armedIn(phase) === false), ["disarmed"]);
  assertEquals(PHASES.filter((phase) => armedIn(phase) === undefined), ["unknown"]);
});
