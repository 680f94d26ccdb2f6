/** The program's commands, all of them; how a command line is answered stands in command_line.ts. */
import { answer, start } from "./command_line.ts";
import { blackboxCommand } from "./commands/blackbox.ts";
import { boardCommand } from "./commands/board.ts";
import { bundleBenchCommand } from "./commands/bundle_bench.ts";
import { bundleInspectCommand, bundleVerifyCommand } from "./commands/bundle.ts";
import type { Command, Terminal } from "./commands/command.ts";
import { completionsCommand } from "./commands/completions.ts";
import { configCheckCommand, configSchemaCommand } from "./commands/config.ts";
import { configInitCommand } from "./commands/config_init.ts";
import { examplesCommand } from "./commands/examples.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { eventsCommand } from "./commands/events.ts";
import { explainCommand } from "./commands/explain.ts";
import { jobsCommand } from "./commands/jobs.ts";
import { policySetCommand, policyShowCommand } from "./commands/policy_live.ts";
import { policyBenchCommand, policyCheckCommand, policyListCommand } from "./commands/policy.ts";
import { preflightCommand } from "./commands/preflight.ts";
import { ptxReportCommand, ptxRewriteCommand } from "./commands/ptx.ts";
import { quarantineCommand } from "./commands/quarantine.ts";
import { runCommand } from "./commands/run.ts";
import { safeModeCommand } from "./commands/safe_mode.ts";
import { simulateCommand } from "./commands/simulate.ts";
import { statusCommand } from "./commands/status.ts";
import { topCommand } from "./commands/top.ts";
import { traceCommand } from "./commands/trace.ts";
import { versionCommand } from "./commands/version.ts";

export const COMMANDS: readonly Command[] = [
  runCommand,
  preflightCommand,
  simulateCommand,
  configCheckCommand,
  configSchemaCommand,
  configInitCommand,
  bundleInspectCommand,
  bundleVerifyCommand,
  bundleBenchCommand,
  ptxReportCommand,
  ptxRewriteCommand,
  policyListCommand,
  policyCheckCommand,
  policyBenchCommand,
  boardCommand,
  doctorCommand,
  statusCommand,
  topCommand,
  explainCommand,
  eventsCommand,
  jobsCommand,
  policyShowCommand,
  policySetCommand,
  traceCommand,
  safeModeCommand,
  quarantineCommand,
  blackboxCommand,
  examplesCommand,
  completionsCommand(() => COMMANDS),
  versionCommand,
];

/** Runs one command line. Never throws; returns the exit status. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  return await answer(COMMANDS, args, terminal);
}

if (import.meta.main) await start(COMMANDS);
