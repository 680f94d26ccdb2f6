/** What does the library do without an engine of this process? Asks for devices, and holds an engine for another process. */
import { CONSTANTS } from "./abi.ts";
import { decodeDevice } from "./decode.ts";
import type { Backend, DeviceInfo } from "./engine.ts";
import { check } from "./errors.ts";
import { cString, type Library } from "./library.ts";
import { ffi, u64 } from "./native_engine.ts";
import { checkInteger, StructView } from "./structs.ts";
import { BACKENDS, numberOf } from "./words.ts";

/** What the device of a backend is, without opening an engine. `EngineError` -4 if there is none. */
export function probe(library: Library, backend: Backend, deviceIndex = 0): DeviceInfo {
  const operation = `probe ${backend} device ${deviceIndex}`;
  const index = checkInteger(deviceIndex, "u32", operation, "deviceIndex");
  const view = new StructView("device");
  const number = numberOf(BACKENDS, backend, "backend", operation);
  check(library.symbols.calypte_probe(number, index, ffi(view.bytes)), operation, library);
  return decodeDevice(view);
}

/**
 * Tells this process's service manager, such as `READY=1` or `WATCHDOG=1` (systemd's sd_notify). False: nobody asked to be
 * told ($NOTIFY_SOCKET is not set). `EngineError` E_INVALID if the socket cannot be reached.
 */
export function notify(library: Library, state: string): boolean {
  const operation = `notify the service manager of ${JSON.stringify(state)}`;
  return check(library.symbols.calypte_notify(cString(state, operation)), operation, library) > 0;
}

/**
 * Holds one engine for the agent, in a process that is there for nothing else: blocks this thread until the agent has closed
 * it, nobody has been attached for `keepNs`, or SIGTERM comes. `EngineError` E_FAULT if the engine has stopped by itself;
 * the process should end then, too.
 */
export function serve(library: Library, path: string, keepNs: number): void {
  const operation = `serve an engine at ${JSON.stringify(path)}`;
  const text = cString(path, operation);
  const keep = u64(keepNs, operation, "keepNs");
  check(library.symbols.calypte_serve(text, keep, CONSTANTS.SERVE_OWN_PROCESS), operation, library);
}
