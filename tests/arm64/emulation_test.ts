/** Whose failure is it, the program's or the emulator's? */
import { assertEquals } from "../assert.ts";
import { ownFailure } from "./emulation.ts";

const assertion = "ERROR:../../accel/tcg/cpu-exec.c:954:cpu_exec: assertion failed: (cpu == current_cpu)";

Deno.test("an assertion of the emulator's own sources is its failure, not that of the program it runs", () => {
  const err = `[doctest] version\n**\nBail out! ${assertion}\nBail out! ${assertion}\n`;
  assertEquals(ownFailure({ code: 134, out: "", err }), assertion);
});

Deno.test("a program that fails by itself, even by such an assertion of its own, is not run again", () => {
  assertEquals(ownFailure({ code: 1, out: "CHECK( a == b ) is NOT correct!", err: "" }), undefined);
  assertEquals(
    ownFailure({ code: 139, out: "", err: "qemu: uncaught target signal 11 (Segmentation fault)\n" }),
    undefined,
  );
  assertEquals(
    ownFailure({ code: 134, out: "", err: "Bail out! ERROR:client.c:12:main: assertion failed\n" }),
    undefined,
  );
});

Deno.test("a program that ended well has not failed, whatever it printed", () => {
  assertEquals(ownFailure({ code: 0, out: "", err: `Bail out! ${assertion}\n` }), undefined);
});
