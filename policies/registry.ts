/** Which policies are there? The one place where a policy gets the name that a mission calls it by. */
import { deadline } from "./deadline.ts";
import { energy } from "./energy.ts";
import { mission } from "./mission.ts";
import type { Policy } from "./policy.ts";
import { roundRobin } from "./round_robin.ts";
import { throughput } from "./throughput.ts";
import { weightedFair } from "./weighted_fair.ts";

export const POLICIES = {
  "round-robin": roundRobin,
  "weighted-fair": weightedFair,
  "deadline": deadline,
  "throughput": throughput,
  "energy": energy,
  "mission": mission,
} as const satisfies Record<string, Policy>;

export type PolicyName = keyof typeof POLICIES;

export const POLICY_NAMES = Object.keys(POLICIES) as PolicyName[];

/** Takes over where a user's policy fails. */
export const DEFAULT_POLICY: PolicyName = "weighted-fair";

/** For people: one line each. */
export const POLICY_SUMMARIES: Readonly<Record<PolicyName, string>> = {
  "round-robin": "every job the same share, whatever its weight",
  "weighted-fair": "shares by weight, corrected by what was really used; the default",
  "deadline": "units that are due soon first, by slack; jobs without a deadline keep a floor",
  "throughput": "most completed units: short ones and those that fit the idle windows first",
  "energy": "most results per joule; less of all as battery, temperature or power near their limits",
  "mission": "nothing while taking off, landing or in an emergency; else as weighted-fair",
};

/** Names of the options that a built-in policy reads. */
export const POLICY_OPTIONS: Readonly<Record<PolicyName, readonly string[]>> = {
  "round-robin": [],
  "weighted-fair": [],
  "deadline": ["floor"],
  "throughput": ["floor"],
  "energy": ["floor"],
  "mission": [],
};

/** `undefined`: no policy has this name. */
export function findPolicy(name: string): Policy | undefined {
  return Object.hasOwn(POLICIES, name) ? POLICIES[name as PolicyName] : undefined;
}
