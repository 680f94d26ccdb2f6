/**
 * What are the bytes of a file that a bundle names, and are they the right ones?
 *
 * Reads each file of one bundle once. A file must lie inside the bundle's folder, also by way of links; must be
 * a plain file of the size that is expected; and must have the SHA-256 that the manifest gives.
 */
import { InputError, reasonOf, type Where } from "./errors.ts";
import { formatBytes } from "./quantity.ts";
import { path } from "./std/mod.ts";

export interface Expected {
  /** Lower-case hexadecimal. */
  sha256?: string;
  /** The exact size. */
  sizeBytes?: number;
  minBytes?: number;
  maxBytes?: number;
  /** What the size comes from, for the message. */
  because?: string;
}

interface Located {
  path: string;
  sizeBytes: number;
}

export class BundleReader {
  readonly #dir: string;
  readonly #root: string;
  readonly #contents = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  readonly #hashes = new Map<string, Promise<string>>();

  private constructor(dir: string, root: string) {
    this.#dir = dir;
    this.#root = root;
  }

  /** `where` is what named the folder. Throws `InputError` if there is none. */
  static async open(dir: string, where: Where): Promise<BundleReader> {
    let info: Deno.FileInfo;
    let root: string;
    try {
      root = await Deno.realPath(dir);
      info = await Deno.stat(root);
    } catch (error) {
      throw new InputError({ ...where, rule: `must be a bundle's folder, but ${reasonOf(error)}` }, {
        cause: error,
      });
    }
    if (!info.isDirectory) {
      throw new InputError({ ...where, rule: "must be a bundle's folder, but is a file" });
    }
    return new BundleReader(dir, root);
  }

  /** The path and size of a plain file inside the bundle. */
  async locate(name: string, where: Where): Promise<Located> {
    const joined = path.join(this.#dir, name);
    let real: string;
    let info: Deno.FileInfo;
    try {
      real = await Deno.realPath(joined);
      info = await Deno.stat(real);
    } catch (error) {
      throw new InputError({ ...where, rule: `${name} ${reasonOf(error)}` }, { cause: error });
    }
    const inside = path.relative(this.#root, real);
    if (inside === ".." || inside.startsWith(`..${SEPARATOR}`) || path.isAbsolute(inside)) {
      throw new InputError({
        ...where,
        rule: `${name} must lie inside the bundle, but is a link that leads out of it`,
      });
    }
    if (!info.isFile) throw new InputError({ ...where, rule: `${name} must be a plain file` });
    return { path: joined, sizeBytes: info.size };
  }

  /** All of a file, from memory the second time. Callers share the bytes: do not write. */
  async read(name: string, where: Where, expected: Expected = {}): Promise<Uint8Array<ArrayBuffer>> {
    const located = await this.locate(name, where);
    checkSize(name, located.sizeBytes, where, expected);
    const data = await this.#content(name, located.path, where);
    // The file may have changed in between.
    checkSize(name, data.length, where, expected);
    if (expected.sha256 !== undefined) await this.#checkHash(name, data, where, expected.sha256);
    return data;
  }

  #content(name: string, file: string, where: Where): Promise<Uint8Array<ArrayBuffer>> {
    const known = this.#contents.get(name);
    if (known !== undefined) return known;
    const content = Deno.readFile(file).catch((error) => {
      throw new InputError({ ...where, rule: `${name} ${reasonOf(error)}` }, { cause: error });
    });
    this.#contents.set(name, content);
    return content;
  }

  async #checkHash(name: string, data: Uint8Array<ArrayBuffer>, where: Where, sha256: string): Promise<void> {
    const hash = this.#hashes.get(name) ?? sha256Of(data).then(hexOf);
    this.#hashes.set(name, hash);
    const got = await hash;
    if (got === sha256) return;
    throw new InputError({
      ...where,
      rule: `${name} must have SHA-256 ${sha256.slice(0, 12)}…, but has ${got.slice(0, 12)}…`,
      remedy: "the file is damaged or was changed; export the bundle again",
    });
  }
}

const SEPARATOR = path.join("a", "b")[1];

function checkSize(name: string, sizeBytes: number, where: Where, expected: Expected): void {
  const { sizeBytes: exact, minBytes, maxBytes, because } = expected;
  const reason = because === undefined ? "" : ` (${because})`;
  const fail = (rule: string): never => {
    throw new InputError({ ...where, rule: `${name} ${rule}${reason}, not ${sizeBytes}` });
  };
  if (exact !== undefined && sizeBytes !== exact) fail(`must have ${exact} bytes`);
  if (minBytes !== undefined && sizeBytes < minBytes) fail(`must have at least ${minBytes} bytes`);
  if (maxBytes !== undefined && sizeBytes > maxBytes) fail(`must have at most ${formatBytes(maxBytes)}`);
}

/** UTF-8 text without NUL. */
export function decodeText(bytes: Uint8Array, where: Where): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new InputError({ ...where, rule: "must be UTF-8 text" }, { cause: error });
  }
  if (text.includes("\0")) {
    throw new InputError({ ...where, rule: "must be text, but holds a NUL character" });
  }
  return text;
}

export async function sha256Of(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** Lower case, two digits a byte. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** JSON without white space, keys of each object in code-unit order: equal values give equal texts. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(",")}}`;
}
