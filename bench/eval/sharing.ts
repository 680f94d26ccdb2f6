/**
 * Which baselines were found to share as their name says? Kept in `sharing.json` of a run, so that a resumed one does not ask
 * again; a baseline that failed is asked again the next time, and has no cells until it passes.
 */
import { path } from "../../agent/std/mod.ts";
import type { System } from "./cells.ts";
import type { SharingTest } from "./self_test.ts";

const FILE = "sharing.json";
/** Those whose sharing can be seen by probes. */
export const PROBED: readonly System[] = ["streams", "priorities", "green", "timeslice", "mps"];

/** Empty: none was tested. */
export async function sharingOf(dir: string): Promise<SharingTest[]> {
  try {
    return JSON.parse(await Deno.readTextFile(path.join(dir, FILE)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Tests those of `systems` that have not passed before. Gives all results so far. */
export async function testAll(
  dir: string,
  systems: readonly System[],
  test: (system: System) => Promise<SharingTest>,
  say: (line: string) => void,
): Promise<SharingTest[]> {
  let known = await sharingOf(dir);
  for (const system of systems) {
    if (!PROBED.includes(system) || known.some((one) => one.system === system && one.passed)) continue;
    let found: SharingTest;
    try {
      found = await test(system);
    } catch (error) {
      found = { system, passed: false, text: error instanceof Error ? error.message : String(error) };
    }
    say(`self-test ${system}: ${found.passed ? "shares" : "DOES NOT SHARE"}: ${found.text}`);
    known = [...known.filter((one) => one.system !== system), found];
    await Deno.writeTextFile(path.join(dir, FILE), JSON.stringify(known, undefined, 1) + "\n");
  }
  return known;
}
