/** `calypte simulate`: a mission on the simulator, in virtual time. */
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission } from "../config.ts";
import { NO_FAULTS, parseFaults } from "../faults.ts";
import { stderrLogger } from "../log.ts";
import { InputError } from "../errors.ts";
import { readMissionFiles } from "../prepare.ts";
import { BUILT_IN, readProfile } from "../profile.ts";
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
  --profile NAME  the device to simulate: h200 (measured), orin-agx or orin-nano (estimates), or a file of the same
                  shape; default: an H200's times on 16 SMs, with timers that are never late
  --faults SPEC   what goes wrong, by the seed: late-timers=0.01x2ms, slow-kernels=0.01x10, lost-completions=0.0001,
                  late-entries=0.01x1ms, throttle=10s..20s@0.5, stalled-planner=10s..12s; several between commas
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
      string: ["for", "seed", "profile", "faults"],
      positional: ["MISSION"],
    });
    if (values.for === undefined) {
      throw new InputError({ file: "", field: "--for", rule: "must be given", remedy: "such as --for 60s" });
    }
    const durationNs = parseDurationNs(values.for, { where: { file: "", field: "--for" } });
    const seed = parseSeed(values.seed);
    const profile = values.profile === undefined ? undefined : await readProfile(values.profile);
    const faults = values.faults === undefined ? NO_FAULTS : parseFaults(values.faults);
    const files = await readMissionFiles(await loadMission(file));
    let virtualNs = 0;
    const summary = await simulate({
      engine: openEngine({
        backend: "sim",
        clock: "virtual",
        seed,
        simFaults: faults.engine,
        ...(profile === undefined ? {} : { simProfile: profile }),
      }),
      profile: profile === undefined ? BUILT_IN : { name: profile.name, estimate: profile.estimate },
      faults,
      checkpoint: checkpointCompiler,
      files,
      log: stderrLogger(() => `${(virtualNs / 1e9).toFixed(3)}s`, "warn"),
      seed,
      durationNs,
      output: flags.output,
      onTime: (nowNs) => virtualNs = nowNs,
    });
    terminal.out(flags.json ? JSON.stringify(summary) + "\n" : summaryText(summary));
    return 0;
  },
};
