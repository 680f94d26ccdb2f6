/** `calypte simulate`: a mission on the simulator, in virtual time. */
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission } from "../config.ts";
import { blaming, overridesOf } from "../config_overrides.ts";
import { NO_FAULTS, parseFaults } from "../faults.ts";
import { stderrLogger } from "../log.ts";
import { InputError } from "../errors.ts";
import { type PreparedMission, readMissionFiles } from "../prepare.ts";
import { BUILT_IN, readProfile } from "../profile.ts";
import { parseDurationNs } from "../quantity.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { readRecord } from "../record.ts";
import {
  BUILT_IN_LAUNCH,
  compareFlights,
  comparisonText,
  FlightWatcher,
  prepareReplay,
  recordedFigures,
} from "../replay.ts";
import { simulate } from "../simulation.ts";
import { summaryText } from "../summary.ts";
import { type Command, parseCommand, parseSeed } from "./command.ts";
import { openEngine } from "./engines.ts";
import { progress } from "./paint.ts";

const HELP = `Usage: calypte simulate MISSION --for DURATION [options]
       calypte simulate MISSION --replay FILE [options]

Runs the mission on the simulator in virtual time, as fast as the machine can: the same scheduler, a virtual
GPU. The same mission and seed give the same bytes on standard output, on any machine. Results are dropped
unless --output is given.

Options:
  --for DURATION  virtual time to run for, such as 60s
  --policy NAME|FILE, --preemption-bound TIME
                  instead of the mission's, as for calypte run
  --seed N        seed of all randomness; default 1
  --output        compute the outputs with the bundles' CPU references and write them as the mission says
  --profile NAME  the device to simulate: h200 (measured), orin-agx or orin-nano (estimates), or a file
                  of the same shape; default: an H200's times on 16 SMs, with timers that are never late
  --faults SPEC   what goes wrong, by the seed, several between commas: late-timers=0.01x2ms,
                  slow-kernels=0.01x10, lost-completions=0.0001, late-entries=0.01x1ms,
                  throttle=10s..20s@0.5, stalled-planner=10s..12s
  --replay FILE   fly what run --record has kept, for as long as it lasted, and compare: the recorded
                  arrivals, executions and unit times, everything else foretold; see docs/RECORD.md
  --json          end with one JSON object instead of a table

Rewritten kernels are kept for the next time, as by calypte run.

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
      string: ["for", "policy", "preemption-bound", "seed", "profile", "faults", "replay"],
      positional: ["MISSION"],
    });
    const record = values.replay === undefined ? undefined : await readRecord(values.replay);
    if (values.for === undefined && record === undefined) {
      throw new InputError({ file: "", field: "--for", rule: "must be given", remedy: "such as --for 60s" });
    }
    const durationNs = values.for === undefined
      ? record?.looks.at(-1)?.atNs ?? 0
      : parseDurationNs(values.for, { where: { file: "", field: "--for" } });
    const seed = parseSeed(values.seed);
    const profile = values.profile === undefined ? undefined : await readProfile(values.profile);
    const faults = values.faults === undefined ? NO_FAULTS : parseFaults(values.faults);
    const overrides = overridesOf(values, (name) => Deno.env.get(name));
    const files = await blaming(
      overrides,
      async () => readMissionFiles(await loadMission(file, overrides)),
    );
    let virtualNs = 0;
    const engine = openEngine({
      backend: "sim",
      clock: "virtual",
      seed,
      reserveSms: files.mission.reserveSms,
      simFaults: faults.engine,
      ...(profile === undefined ? {} : { simProfile: profile }),
    });
    const log = stderrLogger(() => `${(virtualNs / 1e9).toFixed(3)}s`, "warn");
    const folder = cacheFolder((name) => Deno.env.get(name));
    const watcher = record === undefined ? undefined : new FlightWatcher(record.header.tasks.length);
    using bar = progress(terminal);
    const summary = await simulate({
      engine,
      tap: watcher,
      ...(record === undefined ? {} : {
        replay: (prepared: PreparedMission) =>
          prepareReplay(engine, prepared, record, {
            file: values.replay ?? "",
            times: profile ?? BUILT_IN_LAUNCH,
          }),
      }),
      profile: profile === undefined ? BUILT_IN : { name: profile.name, estimate: profile.estimate },
      faults,
      checkpoint: cachedCompiler(checkpointCompiler, { folder, note: (text) => log.info(text) }),
      files,
      log,
      seed,
      durationNs,
      output: flags.output,
      onAdmitted: (lines) => lines.forEach((line) => terminal.err(`${line}\n`)),
      onTime: (nowNs) => {
        virtualNs = nowNs;
        bar.at(nowNs / durationNs, `${Math.floor(nowNs / 1e9)} s of virtual time`);
      },
    });
    bar[Symbol.dispose]();
    const comparison = record === undefined || watcher === undefined
      ? undefined
      : compareFlights(record.header, recordedFigures(record), watcher.figures());
    if (flags.json) {
      terminal.out(JSON.stringify(comparison === undefined ? summary : { ...summary, comparison }) + "\n");
      return 0;
    }
    terminal.out(summaryText(summary));
    if (comparison !== undefined) terminal.out("\n" + comparisonText(comparison));
    return 0;
  },
};
