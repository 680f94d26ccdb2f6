import { assert, assertEquals, assertStringIncludes } from "../../assert.ts";
import { attainmentOf, ForeignAccounts } from "../../../agent/foreign/accounts.ts";
import { blindSource } from "../../../agent/foreign/foreign.ts";
import { type Logger, SILENT } from "../../../agent/log.ts";

const XORG = { pid: 7, name: "Xorg" };
const SLAM = { pid: 8, name: "visual_slam_nod" };

function accounts(declared?: string[], log: Logger = SILENT): ForeignAccounts {
  return new ForeignAccounts(declared, log);
}

Deno.test("misses between two looks are somebody's who was there at either, and nobody's before the first look", () => {
  const all = accounts(["Xorg"]);
  all.take({ users: [] }, 5);
  all.take({ users: [XORG] }, 7);
  all.take({ users: [] }, 10);
  all.take({ users: [] }, 100);
  const { missesMeanwhile, byName, users, withheld } = all.report();
  assertEquals([missesMeanwhile, byName, users], [5, { Xorg: { declared: true, missesMeanwhile: 5 } }, []]);
  assertEquals(withheld, null);
});

Deno.test("of two at a time both have the misses, and the sum has them once", () => {
  const all = accounts(["Xorg", "visual_slam_node"]);
  all.take({ users: [XORG, SLAM, { ...XORG, pid: 9 }] }, 0);
  all.take({ users: [SLAM] }, 3);
  all.settle(4);
  const { missesMeanwhile, byName, users } = all.report();
  assertEquals(missesMeanwhile, 4);
  assertEquals([byName.Xorg?.missesMeanwhile, byName.visual_slam_nod?.missesMeanwhile], [3, 4]);
  assertEquals(users, [{ ...SLAM, declared: true }]);
});

Deno.test("counts that begin again, as those of a new engine, are no negative misses", () => {
  const all = accounts(["Xorg"]);
  all.take({ users: [XORG] }, 9);
  all.take({ users: [XORG] }, 2);
  all.take({ users: [XORG] }, 3);
  assertEquals(all.report().missesMeanwhile, 1);
});

Deno.test("one that the mission does not name withholds attainment for the rest of the run", () => {
  for (const declared of [undefined, [], ["Xorg"]]) {
    const all = accounts(declared);
    all.take({ users: [XORG, SLAM] }, 0);
    all.take({ users: [] }, 0);
    const { withheld } = all.report();
    assertStringIncludes(
      withheld ?? "",
      "visual_slam_nod used the GPU too, which device.foreign does not name",
    );
    assertEquals(withheld?.includes("Xorg"), declared?.includes("Xorg") !== true);
  }
});

Deno.test("where others cannot be seen attainment is withheld, unless the mission declares them", () => {
  const blind = { users: [], blind: "no permission" };
  const silent = accounts();
  silent.take(blind, 0);
  silent.take({ users: [] }, 0);
  assertStringIncludes(silent.report().withheld ?? "", "other users of the GPU are not known: no permission");
  assertEquals(silent.report().unknown, null);
  for (const declared of [[], ["Xorg"]]) {
    const all = accounts(declared);
    all.take(blind, 0);
    assertEquals([all.report().withheld, all.report().unknown], [null, "no permission"]);
  }
});

Deno.test("before anybody has looked nothing is claimed", () => {
  const all = accounts();
  assertStringIncludes(all.report().withheld ?? "", "nobody has looked yet");
  all.settle(3);
  assertStringIncludes(all.report().withheld ?? "", "nobody has looked yet");
  all.take({ users: [] }, 3);
  assertEquals(all.report().withheld, null);
});

Deno.test("who comes and goes is said once each", () => {
  const said: string[] = [];
  const say = (text: string) => void said.push(text);
  const all = accounts(["Xorg"], { debug: say, info: say, warn: say, error: say });
  for (const users of [[], [XORG], [XORG], [SLAM, XORG], []]) all.take({ users }, 0);
  assertEquals(said, [
    "the GPU is also used by Xorg",
    "the GPU is also used by Xorg, visual_slam_nod (not declared)",
    "nobody else uses the GPU any more",
  ]);
});

Deno.test("attainment is a share of requests, and null where there were none or it is withheld", () => {
  const task = { requests: 1000, late: 1, dropped: 2, failed: 3 };
  const all = accounts();
  all.take({ users: [] }, 0);
  assertEquals(attainmentOf(task, undefined), 0.994);
  assertEquals(attainmentOf(task, all.report()), 0.994);
  assertEquals(attainmentOf({ ...task, requests: 0 }, undefined), null);
  all.take({ users: [SLAM] }, 0);
  assertEquals(attainmentOf(task, all.report()), null);
});

Deno.test("a source that sees nothing says why", async () => {
  const source = blindSource("no driver");
  assertEquals(await source.look(new Set()), { users: [], blind: "no driver" });
  assert(source.everyMs > 0);
});
