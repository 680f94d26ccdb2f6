/**
 * What does SIGHUP mean: that the mission shall be read again, or that the terminal is gone?
 *
 * The latter, if there was a terminal at the start and is none now: then the run ends in order. What asks before anybody
 * listens is kept: a reload asked for while bundles load is done once the mission runs.
 */
export interface HangupOptions {
  /** Whether there is a terminal now. */
  terminal: () => boolean;
  /** Called once the terminal is gone. */
  gone: () => void;
}

export class Hangup {
  readonly #options: HangupOptions;
  readonly #had: boolean;
  #now: ((why: string) => void) | undefined;
  #asked = false;

  constructor(options: HangupOptions) {
    this.#options = options;
    this.#had = options.terminal();
  }

  receive(): void {
    const { terminal, gone } = this.#options;
    if (this.#had && !terminal()) gone();
    else if (this.#now === undefined) this.#asked = true;
    else this.#now("SIGHUP");
  }

  /** Returns how to end that. */
  subscribe(now: (why: string) => void): () => void {
    this.#now = now;
    if (this.#asked) now("SIGHUP");
    this.#asked = false;
    return () => this.#now = undefined;
  }
}
