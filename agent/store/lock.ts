/**
 * Is this agent the only one in the folder?
 *
 * A lock on a file, which the kernel takes back when the process ends, however it ends. The file holds the process id of
 * whoever had it last: for messages only.
 */
import { path } from "../std/mod.ts";

export type LockOutcome =
  | { kind: "locked"; lock: FolderLock }
  /** `pid`: of the holder, as it wrote it; `undefined`: not known. */
  | { kind: "taken"; pid: number | undefined };

const FILE = "lock";
/** Deno before 2.5 can only wait for a lock: this long. */
const LOCK_WITHIN_MS = 250;

export class FolderLock implements Disposable {
  #file: Deno.FsFile | undefined;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** Rejects if the file can be neither made nor opened. In a folder that cannot be written the lock holds, without its pid. */
  static async take(dir: string): Promise<LockOutcome> {
    const name = path.join(dir, FILE);
    const file = await openLockFile(name);
    if (!await tryLock(file)) {
      const pid = Number.parseInt(await Deno.readTextFile(name).catch(() => ""));
      return { kind: "taken", pid: Number.isInteger(pid) && pid > 0 ? pid : undefined };
    }
    try {
      await file.truncate();
      await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
    } catch {
      // Opened for reading only, or the disk is full: the lock holds all the same.
    }
    return { kind: "locked", lock: new FolderLock(file) };
  }

  /** May be called twice. */
  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

async function openLockFile(name: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(name, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    try {
      return await Deno.open(name, { read: true });
    } catch {
      throw error;
    }
  }
}

/** Closes the file if somebody else has the lock. */
async function tryLock(file: Deno.FsFile): Promise<boolean> {
  const newer = file as Deno.FsFile & { tryLock?: (exclusive: boolean) => Promise<boolean> };
  if (newer.tryLock !== undefined) {
    const got = await newer.tryLock(true);
    if (!got) file.close();
    return got;
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((done) => timer = setTimeout(() => done(false), LOCK_WITHIN_MS));
  const locked = file.lock(true).then(() => true);
  const got = await Promise.race([locked, late]);
  clearTimeout(timer);
  // It may still come: then it goes back at once.
  if (!got) locked.then(() => file.close(), () => {});
  return got;
}
