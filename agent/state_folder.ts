/**
 * Where is a mission's state kept?
 *
 * Where the mission says; else in a folder of its own below the user's state folder. What the simulator leaves lies apart,
 * so that nothing simulated is ever taken for measured.
 */
import { createHash } from "node:crypto";
import type { Mission } from "./config.ts";
import { path } from "./std/mod.ts";

type Environment = (name: string) => string | undefined;

/** The folder that holds the states of all missions that name none. `undefined`: there is no place, or it is off. */
export function stateHome(env: Environment): string | undefined {
  const given = env("CALYPTE_STATE");
  if (given === "off") return undefined;
  if (given !== undefined && given !== "") return given;
  const xdg = env("XDG_STATE_HOME");
  // The specification has relative paths ignored.
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, "calypte");
  const home = env("HOME");
  return home === undefined || home === "" ? undefined : path.join(home, ".local", "state", "calypte");
}

/** `realFile`: the mission file's absolute path; two missions of one name in two folders are two. */
export function stateFolder(
  { state }: Pick<Mission, "state">,
  realFile: string,
  backend: "cuda" | "sim",
  env: Environment,
): string | undefined {
  if (state.kind === "off") return undefined;
  const home = state.kind === "dir" ? undefined : stateHome(env);
  if (state.kind === "default" && home === undefined) return undefined;
  const dir = state.kind === "dir" ? state.dir : path.join(home!, missionName(realFile));
  return backend === "sim" ? path.join(dir, "sim") : dir;
}

function missionName(realFile: string): string {
  const digest = createHash("sha256").update(realFile).digest("hex").slice(0, 8);
  return `${path.basename(realFile).replace(/\.ya?ml$/i, "")}-${digest}`;
}
