/** Do the profiles hold what the library takes, and do guesses say that they are guesses? */
import { InputError } from "../../agent/errors.ts";
import { parseProfile, PROFILE_NAMES, readProfile } from "../../agent/profile.ts";
import { encodeSimProfile } from "../../ffi/encode.ts";
import { sizeOf } from "../../ffi/structs.ts";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../assert.ts";

const file = (name: string) => new URL(`../../agent/profiles/${name}.json`, import.meta.url);

Deno.test("every profile that comes with Calypte is read, fits the library's struct, and only h200 was measured", async () => {
  for (const name of PROFILE_NAMES) {
    const profile = await readProfile(name);
    assertEquals([profile.name, profile.estimate], [name, name !== "h200"]);
    assertEquals(encodeSimProfile(profile).length, sizeOf("sim_profile"));
  }
});

Deno.test("every guess says where it comes from", async () => {
  for (const name of PROFILE_NAMES) {
    const { notes } = JSON.parse(await Deno.readTextFile(file(name)));
    assertEquals(Object.keys(notes).length >= 5, true, name);
  }
});

Deno.test("a profile that breaks a rule is refused with the field", async () => {
  const good = JSON.parse(await Deno.readTextFile(file("h200")));
  const refused = (change: Record<string, unknown>) =>
    assertThrows(() => parseProfile(JSON.stringify({ ...good, ...change }), "mine.json"), InputError).message;
  assertStringIncludes(refused({ launchNs: -1 }), "launchNs");
  assertStringIncludes(refused({ lunchNs: 1 }), "launchNs");
  assertStringIncludes(refused({ timerP50Ns: 5, timerP99Ns: 4 }), "must be at least timerP50Ns");
  assertStringIncludes(assertThrows(() => parseProfile("{", "mine.json"), InputError).message, "is not JSON");
});

Deno.test("a name that is none is refused with the nearest one, a file that is none with the reason", async () => {
  assertStringIncludes((await assertRejects(() => readProfile("orin-agy"), InputError)).message, "orin-agx?");
  assertStringIncludes(
    (await assertRejects(() => readProfile("./no.json"), InputError)).message,
    "cannot be read",
  );
});
