/**
 * Which file is the native library, in a source tree and in the executable?
 *
 * `CALYPTE_LIBRARY`, if it is set; in a tree, else, `build/libcalypte.so`. The executable takes the one that lies beside it, as in
 * the Debian package, or else writes the one that it holds into a folder of this user's own: the loader wants a file, and what
 * lies in a folder where others may write could be another file a moment later.
 */
import { LIBRARY_VARIABLE, libraryPath } from "../../ffi/library.ts";
import { InputError } from "../errors.ts";
import { path } from "../std/mod.ts";
import { assetPath, isExecutable } from "./place.ts";
import { privateFolder, scratchFolder } from "./private_folder.ts";

const FILE = "libcalypte.so";

/** A path that the loader can open; made if need be. Throws `InputError`. */
export function libraryFile(): string {
  const named = Deno.env.get(LIBRARY_VARIABLE) ?? "";
  if (named !== "" || !isExecutable()) return libraryPath();
  const beside = path.join(path.dirname(Deno.execPath()), FILE);
  return isFile(beside) ? beside : unpack(Deno.readFileSync(assetPath(`build/${FILE}`)), scratchFolder());
}

/**
 * Writes the library into `folder`, unless it lies there already, and returns its path. Several processes may do so at once.
 * Throws `InputError`.
 */
export function unpack(library: Uint8Array, folder: string): string {
  privateFolder(folder);
  const file = `${folder}/libcalypte-${digestHex(library)}.so`;
  if (holds(file, library)) return file;
  // Complete under its name or not there: another process may be about to open it.
  const part = `${file}.${Deno.pid}`;
  try {
    Deno.writeFileSync(part, library, { mode: 0o700 });
    Deno.renameSync(part, file);
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new InputError({
      file: folder,
      field: "",
      rule: `the native library cannot be written there: ${why}`,
      remedy: `point TMPDIR to a folder that can be written, or name the library with ${LIBRARY_VARIABLE}`,
    }, { cause: error });
  }
  return file;
}

function isFile(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

function holds(file: string, bytes: Uint8Array): boolean {
  let there: Uint8Array;
  try {
    there = Deno.readFileSync(file);
  } catch {
    return false;
  }
  if (there.length !== bytes.length) return false;
  const [a, b] = [words(there), words(bytes)];
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Tells versions apart; it guards against nothing, as the bytes are compared too. FNV-1a by words, and the length. */
function digestHex(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const word of words(bytes)) hash = Math.imul(hash ^ word, 0x01000193);
  return `${(hash >>> 0).toString(16).padStart(8, "0")}-${bytes.length.toString(16)}`;
}

/** Four bytes at a time: this is in the way of every start. */
function words(bytes: Uint8Array): Uint32Array {
  const padded = new Uint8Array((bytes.length + 3) & ~3);
  padded.set(bytes);
  return new Uint32Array(padded.buffer);
}
