/**
 * How does a fault of the engine reach TypeScript? As one class that keeps the library's code.
 *
 * Faults of the user's files are `InputError` (agent/errors.ts), not this.
 */
import { CONSTANTS } from "./abi.ts";

/** CALYPTE_E_*, without `CALYPTE_E_`. */
type CodeKey = Extract<keyof typeof CONSTANTS, `E_${string}`>;
/** A negative code's name as in calypte.h without `CALYPTE_`, such as `E_CLOSED`. */
export type ErrorCodeName = CodeKey | "E_UNKNOWN";

const CODE_NAMES: ReadonlyMap<number, CodeKey> = new Map(
  Object.entries(CONSTANTS)
    .filter((entry): entry is [CodeKey, (typeof CONSTANTS)[CodeKey]] => entry[0].startsWith("E_"))
    .map(([name, code]) => [code, name]),
);

/** The name of a negative code; `E_UNKNOWN` if calypte.h has none. */
export function codeName(code: number): ErrorCodeName {
  return CODE_NAMES.get(code) ?? "E_UNKNOWN";
}

/**
 * A call on the engine or on its library failed.
 *
 * `code` is one of calypte.h's `CALYPTE_E_*`, whether the library or this side found the fault; compare it with
 * `CONSTANTS.E_*`. `operation` says what was asked for, such as `load module`.
 */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: number;
  readonly codeName: ErrorCodeName;
  readonly operation: string;
  readonly reason: string;

  /** `reason` states the rule, the value and the remedy, without a final period. */
  constructor(code: number, operation: string, reason: string, options?: ErrorOptions) {
    const name = codeName(code);
    super(`Cannot ${operation}: ${reason} (${name}, ${code})`, options);
    this.code = code;
    this.codeName = name;
    this.operation = operation;
    this.reason = reason;
  }
}

/** Who knows the text that goes with the last negative code; a `Library` does. */
export interface ErrorText {
  lastError(): string;
}

/** Returns `code` if it is a value (>= 0), else throws the `EngineError` that goes with it. */
export function check(code: number, operation: string, lib: ErrorText): number {
  if (code >= 0) return code;
  throw new EngineError(code, operation, lib.lastError() || "the library gives no reason");
}
