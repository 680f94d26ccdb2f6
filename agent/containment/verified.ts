/**
 * Which bundles have passed `verify` on this machine? One small file; without it, or with one that cannot be read, none have,
 * which costs a second each.
 */
import type { Logger } from "../log.ts";
import type { VerifiedBundles } from "./isolation.ts";

const MOST_KEYS = 1000;

/** `folder` undefined: nothing is kept. */
export async function openVerified(folder: string | undefined, log: Logger): Promise<VerifiedBundles> {
  const file = `${folder}/verified.json`;
  const keys = folder === undefined ? new Set<string>() : await readKeys(file);
  return {
    has: (key) => keys.has(key),
    async add(key) {
      keys.add(key);
      if (folder === undefined) return;
      try {
        await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
        const next = `${file}.new`;
        await Deno.writeTextFile(next, JSON.stringify([...keys].slice(-MOST_KEYS)), { mode: 0o600 });
        await Deno.rename(next, file);
      } catch (error) {
        log.warn(`cannot keep what was verified: ${error instanceof Error ? error.message : String(error)}`);
      }
    },
  };
}

async function readKeys(file: string): Promise<Set<string>> {
  try {
    const keys: unknown = JSON.parse(await Deno.readTextFile(file));
    return new Set(Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : []);
  } catch {
    return new Set();
  }
}
