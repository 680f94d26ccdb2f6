/**
 * Where is the native library, and does it fit this program?
 *
 * Opening it is a call, never an effect of an import, and needs `--allow-ffi=<path>` only. A library of another
 * ABI is refused before any other call. After `close()` every use throws; none reaches the unmapped code, which
 * would end the process.
 */
import { CONSTANTS, STRUCTS, SYMBOLS } from "./abi.ts";
import { EngineError } from "./errors.ts";

/** Names another library than `build/libcalypte.so`. */
export const LIBRARY_VARIABLE = "CALYPTE_LIBRARY";

/** The native functions, by their names in calypte.h. Each throws `EngineError` once the library is closed. */
export type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** What is asked before the rest is bound: an older library may lack the rest. */
const IDENTITY_SYMBOLS = {
  calypte_abi_version: SYMBOLS.calypte_abi_version,
  calypte_layout: SYMBOLS.calypte_layout,
} as const;

/** All that are mapped: collected as garbage, one could be unmapped under an engine's threads. */
const mapped = new Set<Deno.DynamicLibrary<typeof SYMBOLS>>();

const TEXT_BYTES = 16 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Text as `const char *`. A NUL within it is an `EngineError`, because C would cut the text there. */
export function cString(text: string, operation: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new EngineError(CONSTANTS.E_INVALID, operation, `${JSON.stringify(text)} must not hold a NUL`);
  }
  return new Uint8Array(encoder.encode(`${text}\0`));
}

/**
 * Path of the library: the environment variable `CALYPTE_LIBRARY` if it is set and not empty, else
 * `build/libcalypte.so` of this tree. Needs `--allow-env=CALYPTE_LIBRARY`.
 */
export function libraryPath(): string {
  const named = Deno.env.get(LIBRARY_VARIABLE);
  if (named !== undefined && named !== "") return named;
  if (import.meta.dirname === undefined) {
    throw new EngineError(
      CONSTANTS.E_NOT_FOUND,
      "find libcalypte.so",
      `this program was not loaded from a file system; name the library with ${LIBRARY_VARIABLE}`,
    );
  }
  return `${import.meta.dirname}/../build/libcalypte.so`;
}

/** Opens the library at `path`. `EngineError` if there is none, or if it is not the one that this program needs. */
export function openLibrary(path: string): Library {
  const operation = `open library '${path}'`;
  const identity = dlopen(path, IDENTITY_SYMBOLS, operation);
  try {
    checkIdentity(identity.symbols, operation);
  } finally {
    identity.close();
  }
  return new Library(path, dlopen(path, SYMBOLS, operation));
}

function dlopen<S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
  operation: string,
): Deno.DynamicLibrary<S> {
  try {
    return Deno.dlopen(path, symbols);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof Deno.errors.NotCapable) {
      const reason = `Deno was started without the permission; add --allow-ffi=${path}`;
      throw new EngineError(CONSTANTS.E_INVALID, operation, reason, { cause });
    }
    // Asking the file system would take a read permission, so the loader's words must do.
    if (text.includes(`${path}: cannot open shared object file: No such file`)) {
      const reason = `there is no such file; run \`make build\`, or name another with ${LIBRARY_VARIABLE}`;
      throw new EngineError(CONSTANTS.E_NOT_FOUND, operation, reason, { cause });
    }
    const reason = `${text}; run \`make build\` on this machine`;
    throw new EngineError(CONSTANTS.E_INVALID, operation, reason, { cause });
  }
}

function checkIdentity(
  symbols: Deno.DynamicLibrary<typeof IDENTITY_SYMBOLS>["symbols"],
  operation: string,
): void {
  const version = symbols.calypte_abi_version();
  if (version !== CONSTANTS.ABI_VERSION) {
    throw new EngineError(
      CONSTANTS.E_INVALID,
      operation,
      `library of another ABI version: it has ${version}, this program needs ${CONSTANTS.ABI_VERSION}; ` +
        "rebuild it with `make build`",
    );
  }
  for (const [name, { size }] of Object.entries(STRUCTS)) {
    const there = symbols.calypte_layout(cString(name, operation));
    if (there === size) continue;
    const what = there < 0 ? "does not exist there" : `has ${there} bytes there`;
    throw new EngineError(
      CONSTANTS.E_INVALID,
      operation,
      `struct calypte_${name} ${what}, ${size} bytes here; ` +
        "run `deno run --allow-read --allow-write tools/gen_abi.ts`, then `make build`",
    );
  }
}

/** An open library; made by `openLibrary`. Closing it closes the engines that are open in it. */
export class Library implements Disposable {
  readonly path: string;
  readonly symbols: Symbols;
  readonly #native: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #engines = new Set<{ close(): void }>();
  readonly #text = new Uint8Array(TEXT_BYTES);
  #closed = false;

  /** @internal Call `openLibrary`, which checks the ABI first. */
  constructor(path: string, native: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.path = path;
    this.#native = native;
    mapped.add(native);
    this.symbols = this.#guard(native.symbols);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Such as `0.1.0 (cuda+sim)`. */
  version(): string {
    return this.#readText(this.symbols.calypte_version);
  }

  /** Text that goes with the last negative code; "" if there is none. */
  lastError(): string {
    return this.#readText(this.symbols.calypte_last_error);
  }

  /** Monotonic time, the clock of every engine that is not virtual. */
  nowNs(): number {
    return Number(this.symbols.calypte_now_ns());
  }

  /** @internal An engine is open: its threads run in this library's code. */
  attach(engine: { close(): void }): void {
    this.#engines.add(engine);
  }

  /** @internal An engine was closed. */
  detach(engine: { close(): void }): void {
    this.#engines.delete(engine);
  }

  /** May be called twice. */
  close(): void {
    if (this.#closed) return;
    const faults: unknown[] = [];
    for (const engine of [...this.#engines]) {
      try {
        engine.close();
      } catch (fault) {
        faults.push(fault);
      }
    }
    this.#closed = true;
    // An engine that would not close, now or before, may still run threads in this code, which then stays mapped.
    if (faults.length > 0) throw faults[0];
    if (this.#engines.size > 0) return;
    this.#native.close();
    mapped.delete(this.#native);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Whoever keeps one of the functions past `close()` must get an error, not a crash. */
  #guard(symbols: Symbols): Symbols {
    const guarded: Record<string, (...args: unknown[]) => unknown> = {};
    for (const [name, symbol] of Object.entries(symbols)) {
      const call = symbol as (...args: unknown[]) => unknown;
      guarded[name] = (...args) => {
        if (this.#closed) {
          throw new EngineError(CONSTANTS.E_CLOSED, `call ${name}`, `library '${this.path}' is closed`);
        }
        return call(...args);
      };
    }
    return guarded as Symbols;
  }

  #readText(read: (text: Uint8Array<ArrayBuffer>, capacity: number) => number): string {
    const length = read(this.#text, this.#text.length);
    if (length <= 0) return "";
    return decoder.decode(this.#text.subarray(0, Math.min(length, this.#text.length - 1))).trimEnd();
  }
}
