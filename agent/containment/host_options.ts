/** What may differ from one engine in another process to the next: of the mission, or of one of its jobs? */
import type { NativeEngine, OpenOptions } from "../../ffi/mod.ts";
import type { Logger } from "../log.ts";
import type { HostWorld } from "./connect.ts";

export interface HostOptions {
  world: HostWorld;
  open: OpenOptions;
  log: Logger;
  /** What tells this mission and its program from others: an engine with another key is not taken over. */
  key: string;
  /** What it is, for messages. Default: the engine. */
  what?: string;
  /** Makes a loaded engine serve. Default: `ready()`. */
  begin?: (native: NativeEngine) => void;
  /**
   * How long to wait before the next start, after so many that did not last; `undefined`: no more. Default: at once at
   * first, then longer and longer, eight times.
   */
  pauseMs?: (restarts: number, reason: string) => number | undefined;
  /** The next one numbers units where this one left off; what it counts is nobody's. Default: each counts from 0. */
  continues?: boolean;
  /** Resolves when it makes sense to start again. Default: now. */
  whenPossible?: () => Promise<void>;
  /** Jobs that get nothing, whatever a plan says. */
  suspended?: (job: number) => boolean;
  /** The engine has stopped by itself; background jobs that were at work then, by id. */
  onSuspects?: (jobs: readonly number[], reason: string) => void;
}

/** Restarts in a row of engines that did not live long: then the machine needs somebody else's help. */
const MOST_RESTARTS = 8;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/** At once at first, then longer and longer; `undefined`: no more. */
export function usualPauseMs(restarts: number): number | undefined {
  if (restarts > MOST_RESTARTS) return undefined;
  return restarts === 1 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (restarts - 2), LONGEST_PAUSE_MS);
}
