/**
 * Which keys of a mission can be set from outside, and what wins?
 *
 * A flag, else a variable of the environment, else the mission, else the default. What is given outside is put into the
 * mission's text before it is checked, so that it is held to the same rules; a message about it names where it came from.
 */
import { InputError, type Problem } from "./errors.ts";
import { isPolicyPath } from "./policy_sandbox.ts";
import { path } from "./std/mod.ts";

export interface Overridable {
  /** Of the mission. */
  key: string;
  flag: string;
  variable: string;
  /** For people. */
  value: string;
}

export const OVERRIDABLE = [
  { key: "device.backend", flag: "backend", variable: "CALYPTE_BACKEND", value: "auto, cuda or sim" },
  { key: "http.listen", flag: "listen", variable: "CALYPTE_LISTEN", value: "HOST:PORT, or off" },
  {
    key: "policy",
    flag: "policy",
    variable: "CALYPTE_POLICY",
    value:
      "a name, or a path relative to where the agent was started; the mission's options go with its own policy",
  },
  {
    key: "preemptionBound",
    flag: "preemption-bound",
    variable: "CALYPTE_PREEMPTION_BOUND",
    value: "a duration such as 30us",
  },
] as const satisfies readonly Overridable[];

export type OverrideFlag = typeof OVERRIDABLE[number]["flag"];

export interface Override {
  key: typeof OVERRIDABLE[number]["key"];
  text: string;
  /** Where it was given, such as `--listen` or `CALYPTE_LISTEN`. */
  from: string;
}

/** What is given by flags, and by variables where there is no flag. A variable that is empty is not given. */
export function overridesOf(
  flags: Readonly<Partial<Record<OverrideFlag, string | undefined>>>,
  env: (name: string) => string | undefined,
): Override[] {
  return OVERRIDABLE.flatMap(({ key, flag, variable }): Override[] => {
    const given = flags[flag];
    if (given !== undefined) return [{ key, text: given, from: `--${flag}` }];
    const text = env(variable);
    return text === undefined || text === "" ? [] : [{ key, text, from: variable }];
  });
}

type Map = Record<string, unknown>;

/** The text of a mission, as parsed and not yet checked, with the overrides put in. Anything but a map is left as it is. */
export function override(data: unknown, overrides: readonly Override[]): unknown {
  if (!isMap(data)) return data;
  let all = data;
  for (const { key, text } of overrides) {
    switch (key) {
      case "device.backend":
        all = { ...all, device: { ...mapOf(all.device), backend: text } };
        break;
      case "http.listen":
        all = { ...all, http: { ...mapOf(all.http), listen: text === "off" ? false : text } };
        break;
      case "policy":
        all = { ...all, policy: policyFrom(mapOf(all.policy), text) };
        break;
      case "preemptionBound":
        all = { ...all, preemptionBound: text };
    }
  }
  return all;
}

/** Of the mission's own policy the lease stays: it belongs to the run. */
function policyFrom({ lease }: Map, text: string): Map {
  return {
    ...(lease === undefined ? {} : { lease }),
    ...(isPolicyPath(text) ? { file: path.resolve(text) } : { name: text }),
  };
}

function mapOf(value: unknown): Map {
  return isMap(value) ? value : {};
}

function isMap(value: unknown): value is Map {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Does `read`; where it fails for what was given outside, the error says where. */
export async function blaming<T>(
  overrides: readonly Override[],
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(error.problems.map((problem) => blamed(problem, overrides)), { cause: error });
  }
}

function blamed(problem: Problem, overrides: readonly Override[]): Problem {
  const { field } = problem;
  const from = overrides.find(({ key }) => field === key || field.startsWith(`${key}.`))?.from;
  return from === undefined ? problem : { ...problem, file: "", field: from };
}
