/** Where does what was built for arm64 lie, and if there is nothing, why? */

export const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const EMULATED = `${ROOT}/build/emulated`;

/** Why nothing can be run on arm64 here; `undefined`: it can. */
export const missing = whyMissing();

function whyMissing(): string | undefined {
  try {
    return Deno.readTextFileSync(`${EMULATED}/missing`).trim();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    Deno.statSync(`${EMULATED}/deno`);
    return undefined;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    // `make test` has always tried: there its absence is a failure, and the tests say so by not finding their programs.
    return (Deno.env.get("CI") ?? "") === "" ? "nothing was built for it; run `make test-arm64`" : undefined;
  }
}
