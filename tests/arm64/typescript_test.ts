/** Does the TypeScript that reads and writes native memory do so on arm64? Its own tests, by Deno for arm64. */
import { assert, assertEquals } from "../assert.ts";
import { arm64Test, deno, ended } from "./emulation.ts";
import { ROOT } from "./place.ts";

/** The engine through the C interface, in virtual time; structures as the header lays them out; frames of the autopilot. */
const FILES = [
  "tests/ffi/engine_test.ts",
  "tests/ffi/structs_test.ts",
  "tests/ffi/histogram_test.ts",
  "tests/jetson/mavlink/frames_test.ts",
];

arm64Test("the engine's interface, structures and the autopilot's frames, in TypeScript", async () => {
  const { code, out, err } = ended(
    await deno(["test", "-A", "--no-check", "--cached-only", ...FILES], ROOT).output(),
  );
  assertEquals(code, 0, out + err);
  const [, passed, ignored] = out.match(/ok \| (\d+) passed.* \| 0 failed(?: \| (\d+) ignored)?/) ?? [];
  assertEquals(ignored, undefined, out);
  assert(Number(passed) >= 30, out);
});
