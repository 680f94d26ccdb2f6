/** Who wakes the agent's loops? Injected, so that tests need no clock. */

export interface Timers {
  /** Calls `tick` every `periodMs`; returns how to end that. */
  every(periodMs: number, tick: () => void): () => void;
  pause(ms: number): Promise<void>;
}

export const realTimers: Timers = {
  every(periodMs, tick) {
    const id = setInterval(tick, periodMs);
    return () => clearInterval(id);
  },
  pause: (ms) => new Promise((done) => setTimeout(done, ms)),
};
