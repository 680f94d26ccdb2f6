/** How does the agent come to an engine in another process, and how does it get rid of one that is not its own? */
import {
  CONSTANTS,
  EngineError,
  type EngineSnapshot,
  type NativeEngine,
  type OpenOptions,
} from "../../ffi/mod.ts";
import type { Logger } from "../log.ts";
import type { EngineProcess } from "./engine_process.ts";
import { Totals } from "./totals.ts";

/** What the host needs of its surroundings, so that tests can be without processes. */
export interface HostWorld {
  /** Starts a process that will serve at the socket. */
  spawn(): EngineProcess;
  /** Connects; with `open` as `NativeEngine.attach`. Throws `EngineError` E_NOT_FOUND as long as nobody serves. */
  attach(open: OpenOptions | undefined): NativeEngine;
  nowNs(): number;
  /** How long a process that was started may take to serve. Default: 20 s. */
  servedWithinNs?: number | undefined;
  pause(ms: number): Promise<void>;
}

/** A process that is started serves within this, or is given up. */
const SERVED_WITHIN_NS = 20_000_000_000;
const CONNECT_PAUSE_MS = 5;
/** Connects to a process that was just started. */
export async function connect(
  world: HostWorld,
  open: OpenOptions,
  process: EngineProcess,
): Promise<NativeEngine> {
  const giveUpNs = world.nowNs() + (world.servedWithinNs ?? SERVED_WITHIN_NS);
  let ended: string | undefined;
  process.exited.then((how) => ended = how);
  for (;;) {
    try {
      return world.attach(open);
    } catch (error) {
      const nobody = error instanceof EngineError && error.code === CONSTANTS.E_NOT_FOUND;
      if (!nobody) throw error;
      if (ended !== undefined || world.nowNs() > giveUpNs) {
        const why = ended ?? "it does not serve";
        throw new EngineError(
          CONSTANTS.E_LOST,
          "start the engine's process",
          `${why}; see the messages before`,
        );
      }
      await world.pause(CONNECT_PAUSE_MS);
    }
  }
}

/** Ends an engine that another agent left, and waits until its place is free. */
export async function endForeign(native: NativeEngine, world: HostWorld): Promise<void> {
  try {
    native.close();
  } catch {
    // Then it has ended already.
  }
  const giveUpNs = world.nowNs() + SERVED_WITHIN_NS;
  while (world.nowNs() < giveUpNs) {
    try {
      world.attach(undefined).detach();
    } catch (error) {
      if (error instanceof EngineError && error.code === CONSTANTS.E_NOT_FOUND) return;
    }
    await world.pause(CONNECT_PAUSE_MS);
  }
}

/** What a lost engine last said of itself; `undefined`: nothing. */
export function lastOf(native: NativeEngine): EngineSnapshot | undefined {
  try {
    const last = native.snapshot();
    return last.nowNs > 0 ? last : undefined;
  } catch {
    return undefined;
  }
}

/** What an agent leaves with its engine for the one that comes next. */
export interface Note {
  key: string;
  totals: Totals;
}

export function writeNote({ key, totals }: Note): string {
  return JSON.stringify({ key, totals: totals.toJson() });
}

/** `undefined`: nobody left one, or something else. */
export function readNote(text: string): Note | undefined {
  try {
    const { key, totals } = JSON.parse(text);
    return { key, totals: Totals.fromJson(totals) };
  } catch {
    return undefined;
  }
}

/** Gives an engine what one before it had learned, if it has a use for that. */
export function teach(native: NativeEngine, learned: Uint8Array | undefined, log: Logger): void {
  if (learned === undefined || learned.length === 0) return;
  try {
    native.giveLearned(learned);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    log.warn(`what was learned is of no use to the next engine: ${error.message}`);
  }
}
