/** Where do the sockets of engines lie, and the token of the status server? */
import { scratchFolder } from "./assets/private_folder.ts";
import { path } from "./std/mod.ts";

/** Names another folder. */
export const RUN_VARIABLE = "CALYPTE_RUN_DIR";

/**
 * $CALYPTE_RUN_DIR, else `calypte` below $XDG_RUNTIME_DIR, else a folder of this user's below $TMPDIR or /tmp. It may not be there
 * yet.
 */
export function runFolder(): string {
  const named = Deno.env.get(RUN_VARIABLE);
  if (named !== undefined && named !== "") return path.resolve(named);
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  if (runtime !== undefined && runtime !== "") return `${runtime}/calypte`;
  return scratchFolder();
}
