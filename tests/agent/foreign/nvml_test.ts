import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import type { ForeignSource } from "../../../agent/foreign/foreign.ts";
import { openNvml } from "../../../agent/foreign/nvml.ts";
import { buildFolder, compile } from "../../ffi/double.ts";
import { path } from "../../../agent/std/mod.ts";

const SOURCE = path.fromFileUrl(import.meta.resolve("../../fixtures/foreign/nvml.c"));
let built = 0;

/** Path of the double, compiled with `-D` for each definition. */
function double(...definitions: string[]): string {
  const file = path.join(buildFolder(), `nvml-${built++}.so`);
  compile("-shared", "-fPIC", ...definitions.map((each) => `-D${each}`), SOURCE, "-o", file);
  return file;
}

async function open(...definitions: string[]): Promise<ForeignSource> {
  const source = await openNvml([path.join(buildFolder(), "nowhere.so"), double(...definitions)]);
  assert(typeof source !== "string", String(source));
  return source;
}

Deno.test("those on the device that shows this agent's process are foreign, by compute or graphics, each once", async () => {
  const source = await open();
  assertEquals(await source.look(new Set([100])), {
    users: [{ pid: 200, name: "slam_node" }, { pid: 300, name: "Xorg" }],
  });
  assertEquals(await source.look(new Set([100, 200, 300])), { users: [] });
  source.close();
});

Deno.test("where this agent's own process is not shown, nothing is known of others", async () => {
  const source = await open();
  const { users, blind } = await source.look(new Set([1]));
  assertEquals(users, []);
  assertStringIncludes(blind ?? "", "does not show this agent's own process");
  source.close();
});

Deno.test("a device that has once shown this agent's process is its own also while an engine starts again", async () => {
  const source = await open();
  await source.look(new Set([100]));
  const { users, blind } = await source.look(new Set([1]));
  assertEquals([users.map(({ pid }) => pid), blind], [[100, 200, 300], undefined]);
  source.close();
});

Deno.test("a device of somebody else's that lists nothing makes nothing unknown", async () => {
  const source = await open("NVML_SHY=4");
  const { users, blind } = await source.look(new Set([100]));
  assertEquals([users.length, blind], [2, undefined]);
  source.close();
});

Deno.test("a list that is longer than expected is read whole", async () => {
  const source = await open("NVML_MANY=100");
  const { users, blind } = await source.look(new Set([100]));
  assertEquals([users.length, blind, users.at(-2)], [102, undefined, { pid: 5099, name: "pid 5099" }]);
  source.close();
});

Deno.test("a device that lists no processes leaves others unknown, with its word for it", async () => {
  for (const [code, why] of [[3, "not supported"], [4, "no permission"], [999, "error 999"]] as const) {
    const source = await open(`NVML_LIST=${code}`);
    assertStringIncludes((await source.look(new Set([100]))).blind ?? "", why);
    source.close();
  }
});

Deno.test("without a library, or with one that does not start, there is no source and it says why", async () => {
  assertStringIncludes(String(await openNvml([])), "there is no libnvidia-ml.so.1");
  assertStringIncludes(String(await openNvml([double("NVML_INIT=9")])), "NVML does not start: error 9");
});

Deno.test("a source that is closed while it looks ends that look first, and is blind from then on", async () => {
  const source = await open();
  const look = source.look(new Set([100]));
  source.close();
  assertEquals((await look).users.length, 2);
  assertEquals((await source.look(new Set([100]))).blind, "NVML is closed");
});
