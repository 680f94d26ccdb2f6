import { assertEquals, assertStringIncludes } from "../../assert.ts";
import { blindSource, findForeign, openForeign, type OthersAnswer } from "../../../agent/foreign/foreign.ts";
import { type Logger, SILENT } from "../../../agent/log.ts";

Deno.test("what another process sees is told on, with the agent's own ids given to it", async () => {
  const asked: (readonly number[])[] = [];
  const answer: OthersAnswer = { everyMs: 1000, users: [{ pid: 7, name: "slam" }], blind: "may be more" };
  const source = await openForeign({ others: (own) => (asked.push(own), Promise.resolve(answer)) }, SILENT);
  assertEquals(source.everyMs, 1000);
  assertEquals(await source.look(new Set([3, 4])), {
    users: [{ pid: 7, name: "slam" }],
    blind: "may be more",
  });
  assertEquals(asked, [[], [3, 4]]);
});

Deno.test("while that process does not answer, others are unknown, never nobody", async () => {
  const answers: (OthersAnswer | undefined)[] = [undefined, undefined, { everyMs: 1000, users: [] }];
  const source = await openForeign({ others: () => Promise.resolve(answers.shift()) }, SILENT);
  assertStringIncludes((await source.look(new Set())).blind ?? "", "does not answer");
  assertEquals(await source.look(new Set()), { users: [], blind: undefined });
});

Deno.test("a machine on which nobody can ever be seen is said to be one, once", async () => {
  const { everyMs, never } = blindSource("there is no NVML");
  const lines: string[] = [];
  const log: Logger = { ...SILENT, info: (text) => lines.push(text) };
  const others = () => Promise.resolve({ everyMs, never, users: [], blind: never });
  const source = await openForeign({ others }, log);
  await source.look(new Set());
  assertEquals(lines, [
    "other users of the GPU cannot be seen: there is no NVML",
  ]);
});

Deno.test("a machine with Tegra's driver is looked at through /proc", async () => {
  const files = {
    list: (path: string) => path === "/proc" ? ["9"] : [],
    links: () => new Map([["3", "/dev/nvgpu/igpu0/channel"]]),
    read: () => new TextEncoder().encode("rviz2\n"),
    write: () => {},
  };
  const source = await findForeign(files);
  assertEquals(await source.look(new Set()), { users: [{ pid: 9, name: "rviz2" }] });
});
