/** `calypte simulate`: a mission on the simulator, in virtual time. */
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission } from "../config.ts";
import { stderrLogger } from "../log.ts";
import { InputError } from "../errors.ts";
import { readMissionFiles } from "../prepare.ts";
import { parseDurationNs } from "../quantity.ts";
import { simulate } from "../simulation.ts";
import { summaryText } from "../summary.ts";
import { type Command, parseCommand, parseSeed } from "./command.ts";
import { openEngine } from "./engines.ts";

const HELP = `Usage: calypte simulate MISSION --for DURATION [options]

Runs the mission on the simulator in virtual time, as fast as the machine can: the same scheduler, a virtual
GPU. The same mission and seed give the same bytes on standard output, on any machine. Results are dropped
unless --output is given.

Options:
  --for DURATION  virtual time to run for, such as 60s
  --seed N        seed of all randomness; default 1
  --output        compute the outputs with the bundles' CPU references and write them as the mission says
  --json          end with one JSON object instead of a table

Example:
  calypte simulate examples/missions/survey.yaml --for 60s --seed 7 --json
`;

export const simulateCommand: Command = {
  name: "simulate",
  summary: "run a mission on the simulator, in virtual time",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [file = ""] } = parseCommand("simulate", args, {
      boolean: ["json", "output"],
      string: ["for", "seed"],
      positional: ["MISSION"],
    });
    if (values.for === undefined) {
      throw new InputError({ file: "", field: "--for", rule: "must be given", remedy: "such as --for 60s" });
    }
    const durationNs = parseDurationNs(values.for, { where: { file: "", field: "--for" } });
    const seed = parseSeed(values.seed);
    const files = await readMissionFiles(await loadMission(file));
    let virtualNs = 0;
    const summary = await simulate({
      engine: openEngine({ backend: "sim", clock: "virtual", seed }),
      checkpoint: checkpointCompiler,
      files,
      log: stderrLogger(() => `${(virtualNs / 1e9).toFixed(3)}s`, "warn"),
      seed,
      durationNs,
      output: flags.output,
      onAdmitted: (lines) => lines.forEach((line) => terminal.err(`${line}\n`)),
      onTime: (nowNs) => virtualNs = nowNs,
    });
    terminal.out(flags.json ? JSON.stringify(summary) + "\n" : summaryText(summary));
    return 0;
  },
};
