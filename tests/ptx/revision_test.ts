/** Has the compiler changed without a new revision? Kernels on disk that an older one rewrote would be loaded then. */

import { assertEquals } from "../assert.ts";
import { FIXTURES_SHA256, REVISION } from "../../ptx/revision.ts";
import { fixturesSha256 } from "../../tools/revision.ts";

Deno.test("what the compiler makes of the fixtures is what its revision says", () => {
  assertEquals(
    fixturesSha256(),
    FIXTURES_SHA256,
    `What the compiler makes of the fixtures has changed since revision ${REVISION}: ` +
      "run `.tools/deno run -A tools/revision.ts`, which raises it, and commit ptx/revision.ts",
  );
});
