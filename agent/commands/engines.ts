/** Which engine does a command get? The GPU if there is one and it was not asked otherwise, else the simulator. */
import {
  type Backend,
  CONSTANTS,
  type Engine,
  EngineError,
  type Library,
  LIBRARY_VARIABLE,
  NativeEngine,
  openLibrary,
  type OpenOptions,
  probe,
  systemAccessBy,
} from "../../ffi/mod.ts";
import { libraryFile } from "../assets/library.ts";
import { keepToLibrary } from "../assets/permissions.ts";
import { runsBehindAnother } from "../assets/place.ts";
import type { HostWorld } from "../containment/connect.ts";
import { EngineHost } from "../containment/engine_host.ts";
import type { HostOptions } from "../containment/host_options.ts";
import { engineSocket, spawnEngine } from "../containment/engine_process.ts";
import type { SystemAccess } from "../../jetson/board_files.ts";
import { InputError, showValue, type Where } from "../errors.ts";
import { needsMemory } from "../memory.ts";
import { realTimers } from "../timers.ts";

export type EnginePlace = "process" | "in-process";

/** Without an agent an engine goes on for this long: a crashed one is back in seconds, one that never is has been given up. */
const KEEP_NS = 600_000_000_000;
/** Of an engine that nobody is to take over: it ends with its agent, whatever ends that. */
export const ENDS_WITH_AGENT_NS = 1_000_000;
/** Behind an emulator. */
const SLOW_START_NS = 200_000_000_000;

export type WantedBackend = "auto" | Backend;

export interface BackendChoice {
  backend: Backend;
  /** Why it is not the GPU, though that would have been taken. */
  reason: string | undefined;
}

let opened: Library | undefined;

/** The library, opened once for the process. Throws `InputError` if there is none, or not the one that is needed. */
export function theLibrary(): Library {
  if (opened === undefined) {
    opened = openOrExplain(libraryFile());
    keepToLibrary();
  }
  return opened;
}

/** Opens the library when it is first used. */
export function systemAccess(): SystemAccess {
  return systemAccessBy(theLibrary);
}

function openOrExplain(path: string): Library {
  try {
    return openLibrary(path);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    // The reason ends with its remedy, most often `make build`.
    const named = (Deno.env.get(LIBRARY_VARIABLE) ?? "") === "" ? "" : LIBRARY_VARIABLE;
    throw new InputError({ file: path, field: named, rule: error.reason }, { cause: error });
  }
}

/** For the end of the process. In a source tree the next use opens it again. */
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

/**
 * Throws `InputError` if the GPU was asked for and there is none, or if there is no library. `where` is what asks;
 * default: the command line.
 */
export function chooseBackend(
  wanted: WantedBackend,
  where: Where = { file: "", field: "--backend cuda" },
): BackendChoice {
  if (wanted === "sim") return { backend: "sim", reason: undefined };
  try {
    probe(theLibrary(), "cuda");
    return { backend: "cuda", reason: undefined };
  } catch (error) {
    if (!(error instanceof EngineError) || opened === undefined) throw error;
    const reason = opened.lastError() || error.message;
    if (wanted === "auto") return { backend: "sim", reason };
    throw new InputError({
      ...where,
      rule: `needs a GPU, and none was found: ${reason}`,
      remedy: "take --backend sim to simulate",
    }, { cause: error });
  }
}

/** Throws `InputError` if the device has no memory left for an engine, `EngineError` for the rest. */
export function openEngine(options: OpenOptions): Engine {
  const where = { file: "", field: "" };
  return needsMemory(
    where,
    `an engine on ${options.backend}`,
    () => NativeEngine.open(theLibrary(), options),
  );
}

/** Where engines of a run are served, and what stands between two of them. */
export interface RunPlaces {
  /** Of the engine, or of the job's process. `keepNs`: how long it goes on without an agent. Default: ten minutes. */
  world(job?: string, keepNs?: number): HostWorld;
  page(job: string): string;
  /** Ids of all processes that were started here, also of those that have ended. */
  spawned: ReadonlySet<number>;
}

/** `key` stands for the mission, whatever version of it: one engine each. Throws `InputError`. */
export async function runPlaces(key: string): Promise<RunPlaces> {
  const library = theLibrary();
  const base = (await engineSocket(key)).replace(/\.sock$/, "");
  const place = (job?: string) => job === undefined ? base : `${base}-${job}`;
  const spawned = new Set<number>();
  return {
    spawned,
    page: (job) => `${place(job)}.page`,
    world(job, keepNs = KEEP_NS) {
      const socket = `${place(job)}.sock`;
      return {
        servedWithinNs: runsBehindAnother() ? SLOW_START_NS : undefined,
        spawn() {
          const process = spawnEngine({ socket, library: library.path, keepNs });
          spawned.add(process.processId);
          return process;
        },
        attach: (open) =>
          NativeEngine.attach(library, { path: socket, ...(open === undefined ? {} : { open }) }),
        nowNs: () => library.nowNs(),
        pause: realTimers.pause,
      };
    },
  };
}

/**
 * The engine of a run, in a process of its own: the one that an agent before this one left if it is of the same mission and
 * program. Throws `InputError` as `openEngine`, and if another agent has it.
 */
export async function openRunEngine(options: HostOptions): Promise<EngineHost> {
  try {
    return await EngineHost.adopt(options) ?? await EngineHost.start(options);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== CONSTANTS.E_BUSY) {
      return explainMemory(error, options.open);
    }
    throw new InputError({
      file: "",
      field: "",
      rule: `another agent runs this mission: ${error.reason}`,
      remedy: "stop that one first",
    }, { cause: error });
  }
}

function explainMemory(error: unknown, { backend }: OpenOptions): never {
  return needsMemory({ file: "", field: "" }, `an engine on ${backend}`, () => {
    throw error;
  });
}

/** `--engine`; default: a process of its own. */
export function parseEnginePlace(text: string | undefined): EnginePlace {
  if (text === undefined) return "process";
  if (text === "process" || text === "in-process") return text;
  throw new InputError({
    file: "",
    field: "--engine",
    rule: `must be process or in-process, not ${showValue(text)}`,
  });
}

/** The first line of a run that is not what it might be taken for. `reason`: why there is no GPU, if one was looked for. */
export function simulatedLine(reason: string | undefined): string {
  const why = reason === undefined ? "" : `no GPU found (${reason}): `;
  return `${why}simulating; timing is simulated, outputs are computed by the bundles' CPU references\n`;
}
