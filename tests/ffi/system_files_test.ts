import { CONSTANTS, EngineError, libraryPath, openLibrary, systemAccessBy } from "../../ffi/mod.ts";
import { boardFiles } from "../../jetson/board_files.ts";
import { boardWriter } from "../../jetson/power_clocks.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../assert.ts";

Deno.test("the library reads what Deno reads with leave for everything, also of a process with many open files", async () => {
  using library = openLibrary(libraryPath());
  const files = systemAccessBy(() => library);
  assertEquals(files.read("/proc/self/comm"), await Deno.readFile("/proc/self/comm"));
  const names = (await Array.fromAsync(Deno.readDir("/proc/self"))).map(({ name }) => name);
  assertEquals(files.list("/proc/self").sort(), names.sort());
  const open = await Promise.all(Array.from({ length: 900 }, () => Deno.open("/dev/null")));
  try {
    const targets = [...files.links("/proc/self/fd").values()].filter((target) => target === "/dev/null");
    assert(targets.length >= 900, `${targets.length}`);
  } finally {
    for (const file of open) file.close();
  }
});

Deno.test("nothing else can be read by it", () => {
  using library = openLibrary(libraryPath());
  const files = systemAccessBy(() => library);
  for (
    const path of [
      "/etc/passwd",
      "/sys/../etc/passwd",
      "/proc/self/root/etc/passwd",
      "/proc/self/cwd/deno.json",
    ]
  ) {
    const error = assertThrows(() => files.read(path), EngineError, path);
    assertEquals(error.code, CONSTANTS.E_INVALID);
  }
  assertEquals(
    assertThrows(() => files.write("/proc/self/comm", "x"), EngineError).code,
    CONSTANTS.E_INVALID,
  );
});

Deno.test("a board's files of /proc and /sys come from the library, the rest and folders of one's choice from Deno", async () => {
  const asked: string[] = [];
  const system = {
    read: (path: string) => (asked.push(path), new TextEncoder().encode("5\n")),
    list: (path: string) => (asked.push(path), ["zone10", "zone2"]),
    links: () => new Map<string, string>(),
    write: (path: string, text: string) => void asked.push(`${path}=${text}`),
  };
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/sys`);
    await Deno.writeTextFile(`${root}/sys/a`, "of the folder");
    for (const own of [undefined, "", "/"]) {
      const files = boardFiles(own, system);
      assertEquals(await files.text("/sys/class/a"), "5");
      assertEquals(await files.list("/proc/b"), ["zone2", "zone10"]);
      assert((await files.text("/etc/passwd"))?.includes("root:"));
      await boardWriter(own, system)("/sys/c", "7");
      assertEquals(asked.splice(0), ["/sys/class/a", "/proc/b", "/sys/c=7"]);
    }
    assertEquals(await boardFiles(root, system).text("/sys/a"), "of the folder");
    await boardWriter(root, system)("/sys/a", "new");
    assertEquals(await Deno.readTextFile(`${root}/sys/a`), "new");
    assertEquals(asked, []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a file of the kernel's that cannot be read is unknown, and one that cannot be written says so", async () => {
  using library = openLibrary(libraryPath());
  const system = systemAccessBy(() => library);
  const files = boardFiles("", system);
  assertEquals(await files.text("/sys/no-such-file"), undefined);
  assertEquals(await files.list("/sys/no-such-folder"), []);
  assertEquals(await files.text("/proc/self/root/etc/passwd"), undefined);
  await assertRejects(() => boardWriter("", system)("/sys/no-such-file", "1"), EngineError);
});
