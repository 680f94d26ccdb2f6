/** Which engine does a command get? The GPU if there is one and it was not asked otherwise, else the simulator. */
import {
  type Backend,
  type Engine,
  EngineError,
  type Library,
  libraryPath,
  NativeEngine,
  openLibrary,
  type OpenOptions,
  probe,
} from "../../ffi/mod.ts";
import { InputError, showValue } from "../errors.ts";

export type WantedBackend = "auto" | Backend;

export interface BackendChoice {
  backend: Backend;
  /** Why it is not the GPU, though that would have been taken. */
  reason: string | undefined;
}

let opened: Library | undefined;

/** The library, opened once for the process. Throws `EngineError`. */
export function theLibrary(): Library {
  opened ??= openLibrary(libraryPath());
  return opened;
}

/** For the end of the process; the next use opens it again. */
export function closeLibrary(): void {
  opened?.close();
  opened = undefined;
}

/** `--backend`; `undefined`: not given. */
export function parseBackend(text: string | undefined): WantedBackend | undefined {
  if (text === undefined || text === "auto" || text === "cuda" || text === "sim") return text;
  throw new InputError({
    file: "",
    field: "--backend",
    rule: `must be auto, cuda or sim, not ${showValue(text)}`,
  });
}

/** Throws `InputError` if the GPU was asked for and there is none. */
export function chooseBackend(wanted: WantedBackend): BackendChoice {
  if (wanted === "sim") return { backend: "sim", reason: undefined };
  try {
    probe(theLibrary(), "cuda");
    return { backend: "cuda", reason: undefined };
  } catch (error) {
    // Without the library the simulator will not run either: that is not for lack of a GPU.
    if (!(error instanceof EngineError) || opened === undefined) throw error;
    const reason = opened.lastError() || error.message;
    if (wanted === "auto") return { backend: "sim", reason };
    throw new InputError({
      file: "",
      field: "--backend cuda",
      rule: `needs a GPU, and none was found: ${reason}`,
      remedy: "take --backend sim to simulate",
    }, { cause: error });
  }
}

export function openEngine(options: OpenOptions): Engine {
  return NativeEngine.open(theLibrary(), options);
}

/** The first line of a run that is not what it might be taken for. */
export function simulatedNotice(reason: string): string {
  return `no GPU found (${reason}): simulating; timing is simulated, outputs are computed by the bundles' ` +
    "CPU references\n";
}
