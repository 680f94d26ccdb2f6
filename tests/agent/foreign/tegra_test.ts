import { assert, assertEquals } from "../../assert.ts";
import { hasTegraGpu, tegraSource } from "../../../agent/foreign/tegra.ts";
import { CONSTANTS, EngineError, libraryPath, openLibrary, systemAccessBy } from "../../../ffi/mod.ts";

const FIXTURES = new URL("../../fixtures/foreign/", import.meta.url);

function lines(name: string): string[] {
  return Deno.readTextFileSync(new URL(name, FIXTURES)).trim().split("\n");
}

const notFound = (path: string) => new EngineError(CONSTANTS.E_NOT_FOUND, `read ${path}`, "no such file");

/** The board of the fixtures. Processes `hidden` are there and cannot be looked into, `ended` have gone since they were listed. */
function board(hidden: readonly number[] = [], ended: readonly number[] = []) {
  const links = new Map<string, Map<string, string>>();
  for (const line of lines("orin-links.txt")) {
    const [, pid = "", fd = "", target = ""] = /^\/proc\/(\d+)\/fd\/(\d+) (.+)$/.exec(line) ?? [];
    links.set(pid, (links.get(pid) ?? new Map()).set(fd, target));
  }
  const names = new Map(lines("orin-comm.txt").map((line) => line.split(":", 2) as [string, string]));
  return {
    list: (path: string) => {
      assertEquals(path, "/proc");
      return ["self", "meminfo", ...[...hidden, ...ended].map(String), ...links.keys()].reverse();
    },
    links: (path: string) => {
      const [, pid = ""] = /^\/proc\/(\d+)\/fd$/.exec(path) ?? [];
      if (hidden.includes(Number(pid))) {
        throw new EngineError(CONSTANTS.E_DENIED, `list ${path}`, "this user may not");
      }
      const found = links.get(pid);
      if (found === undefined) throw notFound(path);
      return found;
    },
    read: (path: string) => {
      const name = names.get(path);
      if (name === undefined) throw notFound(path);
      return new TextEncoder().encode(`${name}\n`);
    },
  };
}

Deno.test("those with the GPU's device files open are users; video, vision and control files are not the GPU", async () => {
  assertEquals(await tegraSource(board()).look(new Set([4242])), {
    users: [
      { pid: 812, name: "Xorg" },
      { pid: 1544, name: "pid 1544" },
      { pid: 4250, name: "visual_slam_nod" },
    ],
  });
});

Deno.test("processes that cannot be looked into make the answer blind, but for those that have ended and its own", async () => {
  const { users, blind } = await tegraSource(board([1, 2, 77, 5], [3111])).look(new Set([4242, 5]));
  assertEquals(users.length, 3);
  assertEquals(blind, "3 processes cannot be looked into; it needs root or CAP_SYS_PTRACE");
});

Deno.test("where there is no list of processes, others are unknown", async () => {
  const list = () => {
    throw notFound("/proc");
  };
  const { users, blind } = await tegraSource({ ...board(), list }).look(new Set());
  assertEquals([users, blind], [[], notFound("/proc").message]);
});

Deno.test("a machine has a Tegra's GPU if its driver is there", () => {
  const asked: string[] = [];
  assert(hasTegraGpu({ list: (path) => (asked.push(path), ["refcnt"]) }));
  assertEquals(asked, ["/sys/module/nvgpu"]);
  assert(
    !hasTegraGpu({
      list: (path) => {
        throw notFound(path);
      },
    }),
  );
});

Deno.test("a real process with such a file open is found by its name", async () => {
  using library = openLibrary(libraryPath());
  const real = systemAccessBy(() => library);
  const child = new Deno.Command("sleep", { args: ["60"], stdin: "null" }).spawn();
  // What is open here stands for a device file of the GPU.
  const links = (path: string) =>
    new Map([...real.links(path)].map(([fd, to]) => [fd, to === "/dev/null" ? "/dev/nvhost-gpu" : to]));
  try {
    const { users } = await tegraSource({ ...real, links }).look(new Set());
    assertEquals(users.find(({ pid }) => pid === child.pid)?.name, "sleep");
    const { users: others } = await tegraSource({ ...real, links }).look(new Set([child.pid]));
    assert(others.every(({ pid }) => pid !== child.pid));
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
});
