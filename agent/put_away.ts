/**
 * How does a file leave a queue's folder?
 *
 * Into a subfolder, under a name that is free there. Where it has a reason, that is on the disk under its own name before the file
 * moves, so that a power cut at any moment leaves no file without one; a cut in between leaves the file in the queue, and the
 * next try writes the same reason again. One caller at a time for each folder.
 */
import { exists, syncFolder } from "./earlier.ts";
import { path } from "./std/mod.ts";

/** As `NAME.reason.json` has it. */
export interface Reason {
  /** The file's name in the queue. */
  file: string;
  reason: string;
  /** See `QueueUnit`; absent if its content was not looked at. */
  id?: string;
  /** How often the job's process died while it was the only one there. */
  deaths?: number;
}

const REASON = ".reason.json";
const PART = ".reason.part";
/** Of a name with REASON behind it: file systems take 255. */
const MOST_NAME_BYTES = 240;
/** UTF-16 units, at most three bytes each. */
const SHORT_NAME = 60;

/** Throws what the file system does; then the file is where it was. */
export async function putAway(dir: string, name: string, subfolder: string, why?: Reason): Promise<void> {
  const folder = path.join(dir, subfolder);
  await Deno.mkdir(folder).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  });
  const target = await freeName(folder, name, why !== undefined);
  if (why !== undefined) await writeReason(folder, `${target}${REASON}`, why);
  await Deno.rename(path.join(dir, name), path.join(folder, target));
  if (why === undefined) return;
  await syncFolder(folder);
  await syncFolder(dir);
}

async function freeName(folder: string, name: string, withReason: boolean): Promise<string> {
  const isLong = withReason && new TextEncoder().encode(name).length > MOST_NAME_BYTES;
  let target = isLong ? name.slice(0, SHORT_NAME) : name;
  for (let n = 1; await exists(path.join(folder, target)); n++) {
    target = `${n}-${name.slice(0, SHORT_NAME)}`;
  }
  return target;
}

async function writeReason(folder: string, name: string, why: Reason): Promise<void> {
  const part = path.join(folder, PART);
  {
    using file = await Deno.open(part, { write: true, create: true, truncate: true });
    const bytes = new TextEncoder().encode(`${JSON.stringify(why, null, 2)}\n`);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
  }
  await Deno.rename(part, path.join(folder, name));
  await syncFolder(folder);
}
