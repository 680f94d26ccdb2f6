/** When does the engine hold background by itself, and what does it say of that? See calypte_safe_mode in calypte.h. */

/** Why safe mode stands: requests missed, `hold("safe-mode")`, or leases that ended without a new plan. */
export type SafeModeReason = "misses" | "caller" | "planner";

/** When background is held by itself. */
export interface SafeModeRule {
  /** So many requests that did not deliver in time, within `windowNs`; 0..64, 0: never. */
  misses: number;
  /** So many leases that ended without a new plan, within `windowNs`; 0..64, 0: never. */
  staleLeases: number;
  /** Up to an hour. */
  windowNs: number;
  /** It is left so long after the last miss, or lease that ended; up to an hour. */
  clearAfterNs: number;
}

/** As it is now. */
export interface SafeModeState {
  /** How often safe mode was entered. */
  safeMode: number;
  /** Empty: it does not stand. */
  safeModeReasons: SafeModeReason[];
  /** Misses in the rule's window, now; at most 64. */
  safeModeMisses: number;
  /** 0: it does not stand. */
  safeModeSinceNs: number;
  /** It stood for this long, in all. */
  safeModeNs: number;
  /** When it is left if nothing more happens; 0: it does not stand, or not by itself. */
  safeModeUntilNs: number;
}
