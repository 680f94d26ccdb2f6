/** Is a bug planted at its one place, and is a place that is gone, or is no longer the only one, found out? */
import { MUTATIONS } from "../native/mutations.ts";
import { plant } from "../../tools/mutations.ts";
import { assertEquals, assertStringIncludes } from "../assert.ts";

Deno.test("a bug is planted at its one place, and nowhere else", () => {
  assertEquals(plant("a b c", { old: "b", new: "" }), "a  c");
  assertStringIncludes(String(plant("a c", { old: "b", new: "" })), "is gone");
  assertStringIncludes(String(plant("a b b", { old: "b", new: "" })), "more than once");
});

Deno.test("every bug has its place in the core as it is", async () => {
  for (const mutation of MUTATIONS) {
    const text = await Deno.readTextFile(
      new URL(`../../ffi/native/core/${mutation.file}`, import.meta.url),
    );
    const planted = plant(text, mutation);
    assertEquals(typeof planted, "string", `${mutation.bug}: ${planted}`);
  }
});
