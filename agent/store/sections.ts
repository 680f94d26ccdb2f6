/**
 * How is a value kept so that a power cut leaves the old one or the new one?
 *
 * Named values, each one file that is replaced as a whole, with a head that says what it is: name, version, length and a
 * CRC over all of it. What is not that is set aside and counts as absent. It knows no value's meaning.
 */
import { crc32Hex } from "./crc32.ts";
import { FRESH, replaceFile, type StoreFiles } from "./store_files.ts";

/** Says, in words, what people should know. */
export type Warn = (text: string) => void;

const MAGIC = "calypte-section/1";
const END = ".section";
const ASIDE = /^[a-z]+\.section\.corrupt-(\d+)$/;
/** Of files that were set aside, over all sections: enough to look into, too few to fill a disk. */
const MAX_ASIDE = 4;
const MAX_HEAD_BYTES = 200;
const encoder = new TextEncoder();

export class Sections {
  readonly #files: StoreFiles;
  readonly #warn: Warn;

  constructor(files: StoreFiles, warn: Warn) {
    this.#files = files;
    this.#warn = warn;
  }

  /** Never rejects. `undefined`: there is none, or none that is whole and of this version. */
  async read(name: string, version: number): Promise<Uint8Array | undefined> {
    let file: Uint8Array | undefined;
    try {
      file = await this.#files.read(name + END);
    } catch (error) {
      this.#warn(`state: ${name} cannot be read and counts as absent: ${messageOf(error)}`);
      return undefined;
    }
    if (file === undefined) return undefined;
    const found = decode(file, name, version);
    if (typeof found !== "string") return found;
    await this.setAside(name, found);
    return undefined;
  }

  /** As `read`, for JSON. `parse` throws if the value is not of its kind; then it is set aside, too. */
  async readJson<T>(name: string, version: number, parse: (value: unknown) => T): Promise<T | undefined> {
    const bytes = await this.read(name, version);
    if (bytes === undefined) return undefined;
    try {
      return parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    } catch (error) {
      await this.setAside(name, messageOf(error));
      return undefined;
    }
  }

  /** Once it resolves, the value stays. If it rejects, the one before is there, or this one. */
  async write(name: string, version: number, value: Uint8Array): Promise<void> {
    await replaceFile(this.#files, name + END, encode(name, version, value));
  }

  /** Never rejects. For a value that is whole and yet makes no sense to whoever reads it. */
  async setAside(name: string, why: string): Promise<void> {
    const from = name + END;
    try {
      const kept = (await this.#files.list()).flatMap((each) => {
        const number = Number(ASIDE.exec(each)?.[1] ?? 0);
        return number > 0 ? [{ each, number }] : [];
      }).sort((a, b) => a.number - b.number);
      const to = `${from}.corrupt-${(kept.at(-1)?.number ?? 0) + 1}`;
      await this.#files.rename(from, to);
      for (const { each } of kept.slice(0, Math.max(0, kept.length + 1 - MAX_ASIDE))) {
        await this.#files.remove(each);
      }
      await this.#files.syncFolder();
      this.#warn(`state: ${name} counts as absent and is kept as ${to}: ${why}`);
    } catch (error) {
      this.#warn(
        `state: ${name} counts as absent: ${why}; and it could not be set aside: ${messageOf(error)}`,
      );
    }
  }
}

/** Removes what a power cut left half-way. */
export async function removeUnfinished(files: StoreFiles): Promise<void> {
  for (const name of await files.list()) if (name.endsWith(FRESH)) await files.remove(name);
}

function encode(name: string, version: number, value: Uint8Array): Uint8Array {
  const about = `${MAGIC} ${name} ${version} ${value.length}`;
  const head = encoder.encode(`${about} ${crc32Hex(encoder.encode(about), value)}\n`);
  const file = new Uint8Array(head.length + value.length);
  file.set(head);
  file.set(value, head.length);
  return file;
}

/** The value, or why there is none. */
function decode(file: Uint8Array, name: string, version: number): Uint8Array | string {
  const end = file.subarray(0, MAX_HEAD_BYTES).indexOf(0x0a);
  if (end < 0) return "it has no head";
  const head = new TextDecoder().decode(file.subarray(0, end));
  const [magic, itsName, itsVersion, length, crc] = head.split(" ");
  if (magic !== MAGIC) return `it is not of the format ${MAGIC}`;
  const value = file.slice(end + 1);
  if (Number(length) !== value.length) return `it has ${value.length} bytes of ${length}`;
  const about = head.slice(0, head.lastIndexOf(" "));
  if (crc32Hex(encoder.encode(about), value) !== crc) return "its checksum does not match";
  if (itsName !== name) return `it is of another section, ${itsName}`;
  if (itsVersion !== `${version}`) return `it has version ${itsVersion}, and this program reads ${version}`;
  return value;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0]! : String(error);
}
