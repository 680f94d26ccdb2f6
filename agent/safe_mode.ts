/**
 * How does safe mode look from outside?
 *
 * The engine decides by itself when misses enter safe mode and when they leave it; the agent gives it the mission's
 * rule, shows it, and passes on the operator's word.
 */
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { SafeModeReason, SafeModeRule } from "../ffi/safe_mode.ts";
import { SAFE_MODE_BITS, wordsOf } from "../ffi/words.ts";

/** Plain JSON; times of the engine's clock. */
export interface SafeModeStatus {
  on: boolean;
  /** Words for `SafeModeReason`. */
  reasons: string[];
  /** `null`: it does not stand. */
  sinceNs: number | null;
  /** When it ends if nothing more happens; `null`: it does not stand, or does not end by itself. */
  untilNs: number | null;
  nowNs: number;
  /** In the rule's window. */
  misses: number;
  entered: number;
  /** For so long, in all. */
  totalNs: number;
  /** `null`: off. */
  rule: SafeModeRule | null;
}

const WORDS: Record<SafeModeReason, string> = {
  misses: "requests missed",
  caller: "forced",
  planner: "the planner was silent",
};

export function safeModeStatus(snapshot: EngineSnapshot, rule: SafeModeRule | undefined): SafeModeStatus {
  const on = snapshot.safeModeReasons.length > 0;
  return {
    on,
    reasons: snapshot.safeModeReasons.map((reason) => WORDS[reason]),
    sinceNs: on ? snapshot.safeModeSinceNs : null,
    untilNs: on && snapshot.safeModeUntilNs > 0 ? snapshot.safeModeUntilNs : null,
    nowNs: snapshot.nowNs,
    misses: snapshot.safeModeMisses,
    entered: snapshot.safeMode,
    totalNs: snapshot.safeModeNs,
    rule: rule ?? null,
  };
}

/** The reasons of a `safe-mode` event as words for the log. */
export function safeModeWords(bits: number): string {
  return wordsOf(SAFE_MODE_BITS, bits, "event.a").map((reason) => WORDS[reason]).join(", ");
}
