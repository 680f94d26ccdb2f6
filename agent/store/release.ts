/** How is a job taken out of quarantine while no agent runs? */
import { parseQuarantine, released } from "./quarantine.ts";
import { Store, type StoreOptions } from "./store.ts";

export const QUARANTINE = "quarantine";
export const QUARANTINE_VERSION = 1;

/**
 * False: it was not in quarantine, or there is no store. Rejects with `StoreTakenError` if an agent has the folder, and with
 * the disk's error if it cannot be written.
 */
export async function releaseJob(dir: string, job: string, options: StoreOptions): Promise<boolean> {
  const store = await Store.open(dir, options);
  if (store === undefined) return false;
  try {
    const { sections } = store;
    const state = await sections.readJson(QUARANTINE, QUARANTINE_VERSION, parseQuarantine);
    const next = state === undefined ? undefined : released(state, job);
    if (next === undefined) return false;
    await sections.write(QUARANTINE, QUARANTINE_VERSION, new TextEncoder().encode(JSON.stringify(next)));
    return true;
  } finally {
    await store.close();
  }
}
