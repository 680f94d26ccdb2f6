/**
 * What stands below `/proc` and `/sys`?
 *
 * Deno gives these folders only to programs that may do everything; the library reads there, and nowhere else, for one that may
 * load it. Each call holds up this thread for as long as the kernel takes: some sensors take milliseconds.
 */
import { check } from "./errors.ts";
import { cString, type Library } from "./library.ts";
import { ffi, u64 } from "./native_engine.ts";

/** An attribute of sysfs has a page; of procfs small files are read. */
const MAX_BYTES = 65_536;
/** A process may have some ten thousand files open. */
const MAX_LINK_BYTES = 1_048_576;
/** Made once: a look at all processes is some hundred calls. */
let linkRoom: Uint8Array<ArrayBuffer> | undefined;

/**
 * The bytes of a file, at most 65,535. `EngineError` E_NOT_FOUND if it cannot be read, E_DENIED if this user may not, E_INVALID
 * if it lies elsewhere or is longer.
 */
export function readSystemFile(library: Library, path: string): Uint8Array {
  const operation = `read ${JSON.stringify(path)}`;
  const room = new Uint8Array(MAX_BYTES);
  const size = library.symbols.calypte_system_read(
    cString(path, operation),
    ffi(room),
    u64(MAX_BYTES, operation, "capacity"),
  );
  return room.subarray(0, check(size, operation, library));
}

/** Names in a folder, in no order. `EngineError` as for `readSystemFile`. */
export function listSystemFolder(library: Library, path: string): string[] {
  const operation = `list ${JSON.stringify(path)}`;
  const room = new Uint8Array(MAX_BYTES);
  const size = library.symbols.calypte_system_list(
    cString(path, operation),
    ffi(room),
    u64(MAX_BYTES, operation, "capacity"),
  );
  const names = new TextDecoder().decode(room.subarray(0, check(size, operation, library)));
  return names.split("\0").slice(0, -1);
}

/** By name, what the links in a folder say; nothing is followed. `EngineError` as for `readSystemFile`. */
export function linksOfSystemFolder(library: Library, path: string): Map<string, string> {
  const operation = `read the links in ${JSON.stringify(path)}`;
  const room = linkRoom ??= new Uint8Array(MAX_LINK_BYTES);
  const size = library.symbols.calypte_system_links(
    cString(path, operation),
    ffi(room),
    u64(MAX_LINK_BYTES, operation, "capacity"),
  );
  const texts = new TextDecoder().decode(room.subarray(0, check(size, operation, library))).split("\0");
  const links = new Map<string, string>();
  for (let at = 0; at + 2 < texts.length; at += 2) links.set(texts[at]!, texts[at + 1]!);
  return links;
}

/** Writes to a file of sysfs that is there. `EngineError` as for `readSystemFile`, or if it takes no such text. */
export function writeSystemFile(library: Library, path: string, text: string): void {
  const operation = `write ${JSON.stringify(path)}`;
  check(
    library.symbols.calypte_system_write(cString(path, operation), cString(text, operation)),
    operation,
    library,
  );
}

/** All four, for those who need not know the library. Each throws if it cannot. */
export interface SystemAccess {
  read(path: string): Uint8Array;
  list(path: string): string[];
  /** What the links in a folder say, by name. */
  links(path: string): Map<string, string>;
  write(path: string, text: string): void;
}

/** `library`: asked for at each use. */
export function systemAccessBy(library: () => Library): SystemAccess {
  return {
    read: (path) => readSystemFile(library(), path),
    list: (path) => listSystemFolder(library(), path),
    links: (path) => linksOfSystemFolder(library(), path),
    write: (path, text) => writeSystemFile(library(), path, text),
  };
}
