/**
 * What is the service manager told of a run? That it is ready, that it still plans, that it is stopping.
 *
 * systemd ends a service that has not said for `WatchdogSec` that it is alive. Alive is who plans: an agent whose loop stands still, or whose
 * engine gives no snapshot, is better started again, as its engine goes on meanwhile.
 */
import type { Logger } from "./log.ts";

export interface ServiceManagerOptions {
  /** As ffi's `notify`. */
  notify: (state: string) => boolean;
  log: Logger;
}

/** A tenth of the unit's `WatchdogSec`. */
export const HEARTBEAT_NS = 1_000_000_000;

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  #heartbeatNs = -Infinity;
  #ready = false;
  /** Nobody asked to be told, or it cannot be reached. */
  #silent = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
  }

  /** All critical tasks are warm. */
  ready(): void {
    this.#ready = true;
    this.#say("READY=1");
  }

  /** A plan was made from a snapshot of the engine. */
  planned(nowNs: number): void {
    if (!this.#ready || nowNs - this.#heartbeatNs < HEARTBEAT_NS) return;
    this.#heartbeatNs = nowNs;
    this.#say("WATCHDOG=1");
  }

  stopping(): void {
    this.#ready = false;
    this.#say("STOPPING=1");
  }

  /** A run does not end because nobody hears of it. */
  #say(state: string): void {
    if (this.#silent) return;
    try {
      this.#silent = !this.#options.notify(state);
    } catch (error) {
      this.#silent = true;
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.warn(`the service manager is not told any more how it goes: ${why}`);
    }
  }
}
