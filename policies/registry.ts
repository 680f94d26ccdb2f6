/** Which policies are there? The one place where a policy gets the name that a mission calls it by. */
import type { Policy } from "./policy.ts";
import { roundRobin } from "./round_robin.ts";
import { weightedFair } from "./weighted_fair.ts";

export const POLICIES = {
  "round-robin": roundRobin,
  "weighted-fair": weightedFair,
} as const satisfies Record<string, Policy>;

export type PolicyName = keyof typeof POLICIES;

export const POLICY_NAMES = Object.keys(POLICIES) as PolicyName[];

/** `undefined`: no policy has this name. */
export function findPolicy(name: string): Policy | undefined {
  return Object.hasOwn(POLICIES, name) ? POLICIES[name as PolicyName] : undefined;
}
