/** `calypte config check|schema`: whether a mission file is right, and what may stand in one. */
import { checkModules } from "../checkpoint.ts";
import { loadMission, missionJsonSchema } from "../config.ts";
import { readMissionFiles } from "../prepare.ts";
import { formatDurationNs, formatPeriodNs } from "../quantity.ts";
import { table } from "../summary.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const CHECK_HELP = `Usage: calypte config check MISSION

Checks a mission file and everything that it names: bundles with all hashes and kernels, frames, policy.
Needs no GPU and starts nothing.

Example:
  calypte config check examples/missions/survey.yaml
`;

export const configCheckCommand: Command = {
  name: "config check",
  summary: "check a mission file and all that it names",
  help: CHECK_HELP,
  async run(args, terminal) {
    const { positional: [file = ""] } = parseCommand("config check", args, {
      boolean: [],
      string: [],
      positional: ["MISSION"],
    });
    const { mission, bundles, frames } = await readMissionFiles(await loadMission(file));
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
    terminal.out(`policy ${policyFile ?? name}, lease ${formatDurationNs(leaseNs)}\n${file} is good\n`);
    return 0;
  },
};

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
