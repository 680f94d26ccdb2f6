/**
 * What does the mission file say about who of the background runs when?
 *
 * Shapes and rules of `policy`, `conditions`, `stopBackgroundAbove`, and of a job's `when` and `deadline`. Whether a
 * policy of that name exists is for those who know policies.
 */
import { z } from "zod";
import { type Phase, PHASES } from "../policies/policy.ts";
import { DEFAULT_POLICY } from "../policies/registry.ts";
import type { Problem } from "./errors.ts";
import { isPolicyPath, POLICY_FILE_RULE } from "./policy_sandbox.ts";
import type { PolicyOptions } from "./policy_snapshot.ts";
import {
  durationSchema,
  nameSchema,
  pathSchema as filePath,
  percentSchema,
  powerSchema,
  strictObject,
  temperatureSchema,
} from "./schema.ts";
import type { StopLimits } from "./stop_limits.ts";

export interface MissionPolicy {
  /** Built in; with a `file`, what takes over where that fails. */
  name: string;
  /** A user's policy. */
  file: string | undefined;
  leaseNs: number;
  options: PolicyOptions;
}

export interface MissionConditions {
  file: string;
  maxAgeNs: number;
}

const MIN_LEASE_NS = 10e6;
const MAX_LEASE_NS = 60e9;
const MAX_OPTIONS = 32;

const OPTION_RULE = "must be a number, a text or true or false";
const lease = durationSchema({ min: MIN_LEASE_NS, max: MAX_LEASE_NS });
const policyFile = filePath.refine(isPolicyPath, POLICY_FILE_RULE);
const options = z.record(
  z.string(),
  z.union([z.number(), z.string().max(1000), z.boolean()], { error: OPTION_RULE }),
).refine((all) => Object.keys(all).length <= MAX_OPTIONS, `must have at most ${MAX_OPTIONS} keys`);

const TEXT_RULE =
  "must be the name of a policy such as weighted-fair, or a path that ends in .js, .mjs or .ts";
const shorthand = z.string().transform((text, context) => {
  if (isPolicyPath(text)) return { file: text };
  if (nameSchema.safeParse(text).success) return { name: text };
  context.addIssue({ code: "custom", message: TEXT_RULE });
  return z.NEVER;
});

const MAP_RULE = "must be a name, a path, or {name or file, lease, options}";
const whole = strictObject({
  name: nameSchema.optional(),
  file: policyFile.optional(),
  lease: lease.prefault("500ms"),
  options: options.default({}),
}).refine(
  ({ name, file }) => name === undefined || file === undefined,
  "must have a name or a file, not both",
);

export const policySchema = z.union([shorthand, whole], { error: MAP_RULE }).prefault({});

export const conditionsSchema = strictObject({
  file: filePath,
  maxAge: durationSchema({ min: 10e6, max: 3600e9 }).prefault("2s"),
});

export const stopSchema = strictObject({
  temperature: temperatureSchema().optional(),
  power: powerSchema().optional(),
  batteryBelow: percentSchema().optional(),
});

const FLYING = PHASES.filter((phase) => phase !== "unknown");
export const whenSchema = z.array(z.enum(FLYING, { error: `must be one of ${FLYING.join(", ")}` })).min(1);

const DEFAULT_LEASE_NS = 500e6;

export function policyOf(
  raw: z.infer<typeof policySchema>,
  resolve: (path: string) => string,
): MissionPolicy {
  const full = { lease: DEFAULT_LEASE_NS, options: {}, name: undefined, file: undefined, ...raw };
  return {
    name: full.name ?? DEFAULT_POLICY,
    file: full.file === undefined ? undefined : resolve(full.file),
    leaseNs: full.lease,
    options: full.options,
  };
}

export function stopLimitsOf(raw: z.infer<typeof stopSchema>): StopLimits {
  const { temperature, power, batteryBelow } = raw;
  return {
    ...(temperature === undefined ? {} : { temperatureC: temperature }),
    ...(power === undefined ? {} : { powerW: power }),
    ...(batteryBelow === undefined ? {} : { batteryPercent: batteryBelow }),
  };
}

/** What the rules need to know of a mission. */
interface Conditional {
  file: string;
  background: readonly { name: string; when: readonly Phase[] }[];
  policy: MissionPolicy;
  conditions: MissionConditions | undefined;
  flight: unknown;
  stopBackgroundAbove: StopLimits;
}

/** What depends on conditions needs a source of them. */
export function checkConditional(mission: Conditional): Problem[] {
  const { file, background, policy, conditions, flight, stopBackgroundAbove } = mission;
  if (conditions !== undefined || flight !== undefined) return [];
  // The vehicle knows its phase and battery; temperature and power are known from the board's own sensors too.
  const fields = background.filter(({ when }) => when.length > 0).map(({ name }) =>
    `background.${name}.when`
  );
  if (policy.name === "mission") fields.push("policy");
  if (stopBackgroundAbove.batteryPercent !== undefined) fields.push("stopBackgroundAbove.batteryBelow");
  return fields.map((field) => ({
    file,
    field,
    rule: "needs `conditions`, without which it would keep background off for ever",
    remedy: "add `conditions: { file: PATH }`, or for phase and battery `flight: { mavlink: ADDRESS }`",
  }));
}
