/**
 * What of an earlier run lies where results are to go?
 *
 * Set aside under the first free name, never overwritten, and put back if the run does not start. Each step returns how to
 * undo it.
 */
import { InputError } from "./errors.ts";
import { path } from "./std/mod.ts";

export type Undo = () => Promise<void>;

const NOTHING_TO_UNDO: Undo = () => Promise.resolve();

/** Makes a folder and those above it. Returns how to remove those that were not there, as far as they are empty. */
export async function makeFolder(dir: string): Promise<Undo> {
  const made: string[] = [];
  for (let at = path.resolve(dir); !await exists(at); at = path.dirname(at)) made.push(at);
  await Deno.mkdir(dir, { recursive: true });
  // A result in a folder that a power failure takes away is not durable.
  for (const folder of made) await syncFolder(path.dirname(folder));
  return async () => {
    for (const folder of made) {
      // Another work's results may lie there: what is not empty stays, with all above it.
      if (await isEmpty(folder)) await Deno.remove(folder);
    }
  };
}

/** Makes the names in a folder durable. */
export async function syncFolder(dir: string): Promise<void> {
  using folder = await Deno.open(dir);
  await folder.sync();
}

export async function exists(file: string): Promise<boolean> {
  try {
    await Deno.lstat(file);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function isEmpty(dir: string): Promise<boolean> {
  for await (const _ of Deno.readDir(dir)) return false;
  return true;
}

/** Bytes of a file for results; `undefined`: absent. Throws `InputError` if it is anything but a file. */
export async function sizeOf(file: string): Promise<number | undefined> {
  try {
    const found = await Deno.lstat(file);
    if (found.isFile) return found.size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  throw new InputError({ file, field: "", rule: "must be a file for results, or absent" });
}

/** Renames `out.jsonl` of an earlier run to the first free `out.N.jsonl`; an empty one is removed. */
export async function setAside(file: string): Promise<Undo> {
  const sizeBytes = await sizeOf(file);
  if (sizeBytes === undefined) return NOTHING_TO_UNDO;
  if (sizeBytes === 0) {
    await Deno.remove(file);
    return NOTHING_TO_UNDO;
  }
  const extension = path.extname(file);
  const stem = file.slice(0, file.length - extension.length);
  const aside = await firstFree((n) => `${stem}.${n}${extension}`);
  await Deno.rename(file, aside);
  return () => Deno.rename(aside, file);
}

/** Moves the results of an earlier run, and nothing else, to the first free subfolder `earlier-N`. */
export async function setFolderAside(dir: string): Promise<Undo> {
  const earlier: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (isFile && /^\d{8,}\.(bin|png|geojson|json)$/.test(name)) earlier.push(name);
  }
  if (earlier.length === 0) return NOTHING_TO_UNDO;
  const target = await makeAside(dir);
  await moveTo(dir, target, earlier);
  return async () => {
    for (const name of earlier) await Deno.rename(path.join(target, name), path.join(dir, name));
    await Deno.remove(target);
  };
}

/** Makes the first free subfolder `earlier-N`. */
export async function makeAside(dir: string): Promise<string> {
  const target = await firstFree((n) => path.join(dir, `earlier-${n}`));
  await Deno.mkdir(target);
  return target;
}

/** Moves these files of `dir`, those that are there. */
export async function moveTo(dir: string, target: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (await exists(path.join(dir, name))) await Deno.rename(path.join(dir, name), path.join(target, name));
  }
}

async function firstFree(nameOf: (n: number) => string): Promise<string> {
  for (let n = 1;; n++) {
    const name = nameOf(n);
    if (!await exists(name)) return name;
  }
}
