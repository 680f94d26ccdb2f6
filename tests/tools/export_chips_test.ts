/** Is a kernel refused that a chip could not launch? Needs Python; without it this is skipped. */
import { assertEquals } from "../assert.ts";

const FOLDER = new URL("../../tools/export", import.meta.url).pathname;

async function tooMuch(shared: Record<string, number>, archs: number[]): Promise<string[]> {
  const program = "import json, sys; from chips import too_much_shared; " +
    "json.dump(too_much_shared(*json.loads(sys.argv[1])), sys.stdout)";
  const { code, stdout, stderr } = await new Deno.Command("python3", {
    args: ["-c", program, JSON.stringify([shared, archs])],
    cwd: FOLDER,
    env: { PYTHONDONTWRITEBYTECODE: "1" },
  }).output();
  const text = new TextDecoder();
  assertEquals([code, text.decode(stderr)], [0, ""]);
  return JSON.parse(text.decode(stdout));
}

const there = await new Deno.Command("python3", { args: ["--version"], stdout: "null" }).output().catch(() =>
  undefined
);
if (there === undefined) console.log("no Python here: tools/export is not tried");

Deno.test({
  name: "a kernel that takes more shared memory than one of the chips has is refused by its name",
  ignore: there === undefined,
  async fn() {
    const kib = 1024;
    assertEquals(await tooMuch({ k0: 163 * kib, k1: 0 }, [90, 87]), []);
    assertEquals(await tooMuch({ k0: 200 * kib, k1: 99 * kib }, [90, 87, 110]), [
      "k0: a block takes 200 KiB of shared memory, and sm_87 has 163",
    ]);
    assertEquals((await tooMuch({ k0: 100 * kib }, [86, 89, 120])).length, 3);
    // A chip that nobody knows yet is asked at the first load.
    assertEquals(await tooMuch({ k0: 1e9 }, [999]), []);
  },
});
