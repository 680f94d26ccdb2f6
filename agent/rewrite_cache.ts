/**
 * Has this kernel been rewritten before?
 *
 * A checkpoint compiler around another, which keeps results on disk: a file for each, named for a hash of all that goes in.
 * It is never in the way: what cannot be read, or is not what was written, is made anew, and a folder that cannot be written
 * costs a note. It judges no kernel, and nothing depends on it but time.
 */
import { createHash } from "node:crypto";
import { REVISION } from "../ptx/revision.ts";
import type { CheckpointCompiler, RewriteRequest, RewriteResult } from "./checkpoint.ts";
import { reasonOf } from "./errors.ts";
import { path } from "./std/mod.ts";

export interface CacheOptions {
  /** Made when it is needed; absent: nothing is kept. */
  folder: string | undefined;
  /** Takes what people should know, in words. At most once. */
  note: (text: string) => void;
  /** What the entries may take together. Default 64 MiB. */
  maxBytes?: number;
}

const MAX_BYTES = 64 * 2 ** 20;
const LEVELS: ReadonlySet<unknown> = new Set(["loop", "block", "slice", "whole"]);
/** Entries, and what a process that died left of one. Nothing else in the folder is touched. */
const OURS = /^[0-9a-f]{64}\.json(\.[0-9]+\.new)?$/;

/** As the environment asks: `CALYPTE_CACHE` ("off" or empty: none), else below the user's folder for caches. */
export function cacheFolder(env: (name: string) => string | undefined): string | undefined {
  const own = env("CALYPTE_CACHE");
  if (own !== undefined) return own === "" || own === "off" ? undefined : own;
  // A relative path there is to be ignored; XDG Base Directory Specification.
  const [caches, home] = [env("XDG_CACHE_HOME") ?? "", env("HOME") ?? ""];
  if (path.isAbsolute(caches)) return path.join(caches, "calypte");
  return path.isAbsolute(home) ? path.join(home, ".cache", "calypte") : undefined;
}

/** `inner`, with what it rewrites kept in a folder. */
export function cachedCompiler(inner: CheckpointCompiler, options: CacheOptions): CheckpointCompiler {
  const { folder, note, maxBytes = MAX_BYTES } = options;
  if (folder === undefined) return inner;
  let isNoted = false;
  return {
    params: (ptx, file) => inner.params(ptx, file),
    forDriver: (ptx, file, newest) => inner.forDriver(ptx, file, newest),
    rewrite: (request) => {
      const key = keyOf(request);
      const file = path.join(folder, `${key}.json`);
      const known = read(file, key);
      if (known !== undefined) return known;
      const result = inner.rewrite(request);
      try {
        write(folder, file, encode(key, result));
        prune(folder, maxBytes);
      } catch (error) {
        const why = reasonOf(error).replace("be read", "be written");
        if (!isNoted) note(`rewritten kernels are not kept for the next run: ${folder} ${why}`);
        isNoted = true;
      }
      return result;
    },
  };
}

/** Of all that the result depends on; the name of the file is for messages only. */
function keyOf({ ptx, kernels, pins, level, overlaps }: RewriteRequest): string {
  const byName = <T>(entries: Iterable<readonly [string, T]>) =>
    [...entries].sort(([a], [b]) => a < b ? -1 : 1);
  const pinned = byName(pins).map(([name, pin]) => [name, pin.minBlocksPerSm, pin.maxThreads]);
  const overlapping = byName(overlaps).map(([name, pairs]) => [name, ...pairs.map(String).sort()]);
  return hash(JSON.stringify([REVISION, ptx, level, pinned, overlapping, [...kernels].sort()]));
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** With a hash of its own: half a kernel that looks like a whole one must never be loaded. */
function encode(key: string, { text, kernels }: RewriteResult): string {
  const value = [text, [...kernels]];
  return JSON.stringify({ key, hash: hash(JSON.stringify(value)), value });
}

/** Undefined for whatever is not what `encode` wrote. */
function read(file: string, key: string): RewriteResult | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(Deno.readTextFileSync(file));
  } catch {
    return undefined; // for whatever reason: it is made anew
  }
  if (
    typeof entry !== "object" || entry === null || !("key" in entry && "hash" in entry && "value" in entry)
  ) {
    return undefined;
  }
  const isIntact = entry.key === key && entry.hash === hash(JSON.stringify(entry.value));
  return isIntact ? decode(entry.value) : undefined;
}

function decode(value: unknown): RewriteResult | undefined {
  if (!Array.isArray(value)) return undefined;
  const [text, kernels] = value;
  if (typeof text !== "string" || !Array.isArray(kernels)) return undefined;
  const isKernel = (entry: unknown) => {
    if (!Array.isArray(entry) || typeof entry[0] !== "string") return false;
    const { level, reasons } = entry[1] ?? {};
    return LEVELS.has(level) && Array.isArray(reasons) && reasons.every((r) => typeof r === "string");
  };
  return kernels.every(isKernel) ? { text, kernels: new Map(kernels) } : undefined;
}

/** All or nothing: two processes may write the same entry, and any may die half-way. */
function write(folder: string, file: string, text: string): void {
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = `${file}.${Deno.pid}.new`;
  try {
    Deno.writeTextFileSync(fresh, text);
    Deno.renameSync(fresh, file);
  } catch (error) {
    remove(fresh);
    throw error;
  }
}

/** Removes the oldest entries until the others fit. */
function prune(folder: string, maxBytes: number): void {
  const entries = [];
  for (const { name, isFile } of Deno.readDirSync(folder)) {
    if (!isFile || !OURS.test(name)) continue;
    const file = path.join(folder, name);
    const info = stat(file);
    if (info !== undefined) entries.push({ file, bytes: info.size, written: info.mtime?.getTime() ?? 0 });
  }
  let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { file, bytes } of entries.sort((a, b) => a.written - b.written)) {
    if (total <= maxBytes) return;
    remove(file);
    total -= bytes;
  }
}

/** Undefined where another process has removed it. */
function stat(file: string): Deno.FileInfo | undefined {
  return unlessGone(() => Deno.statSync(file));
}

function remove(file: string): void {
  unlessGone(() => Deno.removeSync(file));
}

function unlessGone<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
