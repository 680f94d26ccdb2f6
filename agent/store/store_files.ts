/**
 * What does the store need of a file system?
 *
 * One flat folder, eight calls. Behind an interface, so that a test can stop the power at each of them and in the middle.
 * The rules that the store relies on: what was synced stays; a rename is all or nothing, and stays once the folder was
 * synced; anything else may be lost or half there.
 */
import { path } from "../std/mod.ts";

/** Names are plain file names within the store's folder. All calls reject with an `Error` if they fail. */
export interface StoreFiles {
  /** Names of the plain files, in no order. */
  list(): Promise<string[]>;
  /** `undefined`: there is no such file. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** Makes the file, or makes it empty first. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Makes the file if it is not there. A failure may leave a part of `bytes`. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** What the file holds now stays. Not its name: that is the folder's. */
  sync(name: string): Promise<void>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  /** No error if it is not there. */
  remove(name: string): Promise<void>;
  /** What names the folder has now stays. */
  syncFolder(): Promise<void>;
}

export class DiskFiles implements StoreFiles {
  readonly #dir: string;

  /** The folder must be there. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  async list(): Promise<string[]> {
    const names: string[] = [];
    for await (const entry of Deno.readDir(this.#dir)) if (entry.isFile) names.push(entry.name);
    return names;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await Deno.readFile(this.#at(name));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    await this.#with(name, { write: true, create: true, truncate: true, mode: 0o600 }, bytes);
  }

  async append(name: string, bytes: Uint8Array): Promise<void> {
    await this.#with(name, { append: true, create: true, mode: 0o600 }, bytes);
  }

  async sync(name: string): Promise<void> {
    using file = await Deno.open(this.#at(name), { read: true });
    await file.sync();
  }

  async rename(from: string, to: string): Promise<void> {
    await Deno.rename(this.#at(from), this.#at(to));
  }

  async remove(name: string): Promise<void> {
    try {
      await Deno.remove(this.#at(name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async syncFolder(): Promise<void> {
    using folder = await Deno.open(this.#dir, { read: true });
    await folder.sync();
  }

  async #with(name: string, options: Deno.OpenOptions, bytes: Uint8Array): Promise<void> {
    using file = await Deno.open(this.#at(name), options);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }

  #at(name: string): string {
    return path.join(this.#dir, name);
  }
}

/** The whole file or nothing, whenever the power goes: what is read later is the bytes before or these. */
export async function replaceFile(files: StoreFiles, name: string, bytes: Uint8Array): Promise<void> {
  const fresh = name + FRESH;
  await files.write(fresh, bytes);
  await files.sync(fresh);
  await files.rename(fresh, name);
  await files.syncFolder();
}

/** Ends the name of a file that is not whole yet. */
export const FRESH = ".new";
