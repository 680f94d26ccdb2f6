/**
 * Has the mission's file changed, and is this the moment to take that up?
 *
 * Only when asked for. Never while the vehicle is armed, nor while a source of that is there and does not know: the
 * change waits and is taken up once it is disarmed. A file is taken up after two equal looks in a row, so that a half-written one
 * is not read. Reads no clock: who calls `look` decides how often.
 */
import type { Phase } from "../../policies/policy.ts";
import type { Logger } from "../log.ts";

export interface FileWatchOptions {
  /** Another text for another content; `undefined`: it is not there just now. */
  stamp: () => Promise<string | undefined>;
  /** What was read at the start. */
  first: string | undefined;
  /** `undefined`: not known. Absent: nothing here is ever armed. */
  armed?: (() => boolean | undefined) | undefined;
  /** Called once for each change that is taken up. */
  changed: () => void;
  log: Logger;
}

/** How often somebody should look. */
export const WATCH_MS = 1000;

export class FileWatch {
  readonly #options: FileWatchOptions;
  #taken: string | undefined;
  #seen: string | undefined;
  #looking = false;
  #said: string | undefined;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#taken = options.first;
  }

  /** One look. A look that comes while another is at work does nothing. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.#judge(await this.#options.stamp());
    } finally {
      this.#looking = false;
    }
  }

  #judge(stamp: string | undefined): void {
    const { armed, changed, log } = this.#options;
    const settled = stamp !== undefined && stamp === this.#seen;
    this.#seen = stamp;
    if (!settled || stamp === this.#taken) return;
    const state = armed === undefined ? false : armed();
    if (state !== false) {
      if (this.#said === stamp) return;
      this.#said = stamp;
      const why = state === undefined
        ? "it is not known whether the vehicle is armed"
        : "the vehicle is armed";
      log.info(`the mission's file has changed; it waits, as ${why}; SIGHUP takes it up at once`, {
        event: "reload",
      });
      return;
    }
    this.#taken = stamp;
    changed();
  }
}

/** Whether a vehicle in this phase is armed; `undefined`: the phase is not known. */
export function armedIn(phase: Phase): boolean | undefined {
  return phase === "unknown" ? undefined : phase !== "disarmed";
}

/** A stamp over several files: inode, size and time of each. `undefined`: one of them is not there. */
export async function stampOf(files: readonly string[]): Promise<string | undefined> {
  try {
    const infos = await Promise.all(files.map((file) => Deno.stat(file)));
    return infos.map(({ ino, size, mtime }) => `${ino} ${size} ${mtime?.getTime()}`).join("\n");
  } catch {
    return undefined;
  }
}
