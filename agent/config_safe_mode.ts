/**
 * What does the mission file say about safe mode?
 *
 * Its shape, its defaults, and the rule that the engine is given.
 */
import { z } from "zod";
import type { SafeModeRule } from "../ffi/safe_mode.ts";
import { durationSchema, strictObject } from "./schema.ts";

/** CALYPTE_MAX_SAFE_MODE_COUNT in calypte.h. */
const MOST = 64;
const LONGEST_NS = 3600e9;

export const safeModeSchema = z.union([
  z.literal(["off", false]),
  strictObject({
    misses: z.int().min(1).max(MOST).default(3),
    within: durationSchema({ max: LONGEST_NS }).prefault("10s"),
    clearAfter: durationSchema({ max: LONGEST_NS }).prefault("10s"),
    staleLeases: z.int().min(0).max(MOST).default(0),
  }),
], { error: "must be off or {misses, within, clearAfter, staleLeases}" }).prefault({});

/** `undefined`: off; only people enter safe mode then. */
export function safeModeOf(raw: z.infer<typeof safeModeSchema>): SafeModeRule | undefined {
  if (raw === "off" || raw === false) return undefined;
  const { misses, within, clearAfter, staleLeases } = raw;
  return { misses, windowNs: within, clearAfterNs: clearAfter, staleLeases };
}
