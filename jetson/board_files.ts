/**
 * What stands in a file of the system, if it can be read at all?
 *
 * `/sys` and `/proc` below a folder of one's choice, so that a fixture reads like a board; on the machine itself by the native
 * library, where there is one, as Deno gives them to no program that may not do everything. On a board files are absent, come
 * late, vanish, answer EAGAIN or hold nonsense: whatever cannot be read is `undefined`, and nothing here throws. Links are
 * followed, as `/sys/class` consists of them.
 */

import type { SystemAccess } from "../ffi/system_files.ts";

export type { SystemAccess };

/** Paths are absolute, as on the board. */
export interface BoardFiles {
  /** Without the white space and zero bytes around it; `undefined`: not to be read, or too long. */
  text(path: string): Promise<string | undefined>;
  /** Names in a folder, in natural order (`thermal_zone2` before `thermal_zone10`); empty if it cannot be read. */
  list(path: string): Promise<string[]>;
}

/** Attributes of sysfs have a page at most; of procfs only small files are read. */
const MAX_CHARS = 65_536;
const MAX_NAMES = 4096;

/** Whether `path` is the system's, of the machine itself. */
export function isSystemPath(base: string, path: string): boolean {
  return base === "" && /^\/(proc|sys)\//.test(path);
}

/** Files below `root`; "" or "/" is the machine itself. */
export function boardFiles(root = "", system?: SystemAccess): BoardFiles {
  const base = root.replace(/\/+$/, "");
  const ofSystem = (path: string) => isSystemPath(base, path) ? system : undefined;
  return {
    async text(path) {
      try {
        const bytes = ofSystem(path)?.read(path);
        const text = bytes === undefined
          ? await Deno.readTextFile(base + path)
          : new TextDecoder().decode(bytes);
        return text.length > MAX_CHARS ? undefined : trimmed(text);
      } catch {
        return undefined;
      }
    },
    async list(path) {
      const names: string[] = [];
      try {
        const listed = ofSystem(path)?.list(path);
        if (listed !== undefined) return listed.slice(0, MAX_NAMES).sort(naturally);
        for await (const { name } of Deno.readDir(base + path)) {
          if (names.length < MAX_NAMES) names.push(name);
        }
      } catch {
        // A folder that vanishes while it is read is as good as one that was never there.
        return [];
      }
      return names.sort(naturally);
    },
  };
}

/** A decimal integer, such as sysfs writes; `undefined` for anything else, so that garbage is never a reading. */
export function integerOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^-?\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** An integer of a file, scaled; `undefined` beyond `min` and `max`, which are in the unit of the result. */
export async function readNumber(
  files: BoardFiles,
  path: string,
  { scale = 1, min = 0, max = Number.MAX_SAFE_INTEGER }: { scale?: number; min?: number; max?: number } = {},
): Promise<number | undefined> {
  const raw = integerOf(await files.text(path));
  if (raw === undefined) return undefined;
  const value = raw * scale;
  return value >= min && value <= max ? value : undefined;
}

/** Of a name from a file: what may be shown on a terminal. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "").trim().slice(0, 200);
}

function trimmed(text: string): string {
  return text.replace(/^[\s\0]+|[\s\0]+$/g, "");
}

function naturally(a: string, b: string): number {
  const [, headA = "", numberA = ""] = /^(.*?)(\d*)$/.exec(a) ?? [];
  const [, headB = "", numberB = ""] = /^(.*?)(\d*)$/.exec(b) ?? [];
  if (headA !== headB || numberA === "" || numberB === "") return a < b ? -1 : a > b ? 1 : 0;
  return Number(numberA) - Number(numberB);
}
