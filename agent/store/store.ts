/**
 * What does a restart of the agent find of the time before?
 *
 * Sections, black box and their one writer, in one folder, for one agent. Opening it never fails for what it holds: what is
 * corrupt is set aside, and what cannot be read counts as absent. It knows no engine and no mission.
 */
import { BlackBox, type BoxLimits } from "./black_box.ts";
import { FolderLock } from "./lock.ts";
import { messageOf, removeUnfinished, Sections, type Warn } from "./sections.ts";
import { DiskFiles, type StoreFiles } from "./store_files.ts";
import { StoreWriter } from "./writer.ts";

export interface StoreOptions {
  warn: Warn;
  note: (text: string) => void;
  limits?: BoxLimits;
}

export class Store {
  readonly sections: Sections;
  readonly box: BlackBox;
  readonly writer: StoreWriter;
  #lock: FolderLock | undefined;

  private constructor(files: StoreFiles, options: StoreOptions) {
    const { warn, note, limits } = options;
    this.sections = new Sections(files, warn);
    this.box = new BlackBox(files, warn, limits);
    this.writer = new StoreWriter({ sections: this.sections, box: this.box, warn, note });
  }

  /** Never rejects. */
  static async over(files: StoreFiles, options: StoreOptions): Promise<Store> {
    const store = new Store(files, options);
    try {
      await removeUnfinished(files);
    } catch (error) {
      options.warn(`state: what is left of the last run cannot be tidied up: ${messageOf(error)}`);
    }
    await store.box.open();
    return store;
  }

  /**
   * Makes the folder if need be. `undefined`, with a warning: there can be no store there. Rejects with
   * `StoreTakenError`, and nothing else, if another agent has it.
   */
  static async open(dir: string, options: StoreOptions): Promise<Store | undefined> {
    let lock: FolderLock;
    try {
      await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
      const outcome = await FolderLock.take(dir);
      if (outcome.kind === "taken") throw new StoreTakenError(dir, outcome.pid);
      lock = outcome.lock;
    } catch (error) {
      if (error instanceof StoreTakenError) throw error;
      options.warn(`state: nothing is kept over restarts: ${dir} cannot be used: ${messageOf(error)}`);
      return undefined;
    }
    const store = await Store.over(new DiskFiles(dir), options);
    store.#lock = lock;
    return store;
  }

  /** Writes what waits and gives the folder back. Never rejects. */
  async close(): Promise<void> {
    await this.writer.close();
    this.#lock?.[Symbol.dispose]();
  }
}

/** Another agent has the folder. */
export class StoreTakenError extends Error {
  override readonly name = "StoreTakenError";
  readonly dir: string;
  readonly pid: number | undefined;

  constructor(dir: string, pid: number | undefined) {
    super(`${dir} is in use by ${pid === undefined ? "another process" : `process ${pid}`}`);
    this.dir = dir;
    this.pid = pid;
  }
}
