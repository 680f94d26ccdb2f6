/** `calypte config check|schema`: whether a mission file is right, and what may stand in one. */
import { checkModules } from "../checkpoint.ts";
import { loadMission, missionJsonSchema } from "../config.ts";
import { blaming, overridesOf } from "../config_overrides.ts";
import { readMissionFiles } from "../prepare.ts";
import { formatDurationNs, formatPeriodNs } from "../quantity.ts";
import { table } from "../summary.ts";
import { InputError } from "../errors.ts";
import { type Command, lines, parseCommand, type Terminal } from "./command.ts";

const CHECK_HELP = `Usage: calypte config check MISSION [--json]

Checks a mission file and everything that it names: bundles with all hashes and kernels, frames, policy.
Needs no GPU and starts nothing. What CALYPTE_BACKEND, CALYPTE_LISTEN, CALYPTE_POLICY and
CALYPTE_PREEMPTION_BOUND set is checked with it, as calypte run would take it.

Options:
  --json  one JSON object: good, and each problem with its file, field, rule and remedy

Exit status: 0 if it is good, 2 if not.

Example:
  calypte config check examples/missions/survey.yaml
`;

export const configCheckCommand: Command = {
  name: "config check",
  summary: "check a mission file and all that it names",
  help: CHECK_HELP,
  async run(args, terminal) {
    const { flags, positional: [file = ""] } = parseCommand("config check", args, {
      boolean: ["json"],
      string: [],
      positional: ["MISSION"],
    });
    if (!flags.json) return await check(file, terminal);
    try {
      await check(file, { out: () => {}, err: terminal.err });
      terminal.out(JSON.stringify({ good: true, mission: file, problems: [] }) + "\n");
      return 0;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      terminal.out(JSON.stringify({ good: false, mission: file, problems: error.problems }) + "\n");
      return error.exitCode;
    }
  },
};

/** Throws `InputError`. */
async function check(file: string, terminal: Terminal): Promise<number> {
  const overrides = overridesOf({}, (name) => Deno.env.get(name));
  const { mission, bundles, frames } = await blaming(
    overrides,
    async () => readMissionFiles(await loadMission(file, overrides)),
  );
  for (const bundle of new Set(bundles.values())) checkModules(bundle);
  const source = (name: string, periodNs: number | undefined) => {
    const count = frames.get(name)?.count;
    return count === undefined || periodNs === undefined
      ? ""
      : `${count} frames, ${formatPeriodNs(periodNs)}`;
  };
  if (mission.critical.length > 0) {
    const rows = mission.critical.map(({ name, deadlineNs, from, source: from_, queue, queueDepth }) => [
      name,
      `${formatDurationNs(deadlineNs)} from ${from}`,
      from_.kind === "api" ? "HTTP" : source(name, from_.periodNs),
      queue === "latest" ? queue : `${queue}:${queueDepth}`,
    ]);
    terminal.out(lines(table(["critical", "deadline", "source", "queue"], rows)) + "\n");
  }
  if (mission.background.length > 0) {
    const rows = mission.background.map(({ name, weight, source: from }) => [
      name,
      `${weight}`,
      from.kind === "none"
        ? "none"
        : from.kind === "queue"
        ? `files of ${from.dir}`
        : source(name, from.periodNs),
    ]);
    terminal.out(lines(table(["background", "weight", "source"], rows)) + "\n");
  }
  const { name, file: policyFile, leaseNs } = mission.policy;
  for (const { key, text, from } of overrides) terminal.out(`${key} is ${text}, by ${from}\n`);
  terminal.out(`policy ${policyFile ?? name}, lease ${formatDurationNs(leaseNs)}\n${file} is good\n`);
  return 0;
}

const SCHEMA_HELP = `Usage: calypte config schema

Prints the JSON Schema of a mission file, for editors.

Example:
  calypte config schema > mission.schema.json
`;

export const configSchemaCommand: Command = {
  name: "config schema",
  summary: "print the JSON Schema of a mission file",
  help: SCHEMA_HELP,
  run(args, terminal) {
    parseCommand("config schema", args, { boolean: [], string: [], positional: [] });
    terminal.out(JSON.stringify(missionJsonSchema(), null, 2) + "\n");
    return 0;
  },
};
