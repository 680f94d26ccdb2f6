/**
 * What if the device has no memory left for a mission?
 *
 * Then the mission asks for more than this device has, which is the user's to mend: an `InputError` that names the work,
 * the thing and its size. What can be reckoned beforehand, memory_budget.ts has refused by then; this is for the rest.
 */
import { CONSTANTS } from "../ffi/abi.ts";
import { EngineError } from "../ffi/errors.ts";
import { InputError, type Where } from "./errors.ts";

/** Runs `ask`; `what` is what it needs memory for, such as "buffer arena of work vegetation-map (4096 bytes)". */
export function needsMemory<T>(where: Where, what: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== CONSTANTS.E_NO_MEMORY) throw error;
    throw new InputError({
      ...where,
      rule: `must fit the device's memory, and ${what} does not: ${error.reason}`,
      remedy: "use less, or end what else takes memory of this device",
    }, { cause: error });
  }
}
