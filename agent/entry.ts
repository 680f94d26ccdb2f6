/**
 * The program: `calypte COMMAND`, or one of its processes: the one that holds the engine, the one that reads sensors.
 *
 * The first loads the library and as little else as possible: it has to be there quickly when an engine was lost, and what
 * is not in it cannot go wrong in it. Commands that people wait for come without the others, whose modules take longer to load than
 * most of them take to answer.
 */
import type { Command } from "./commands/command.ts";

const ALONE: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import("./commands/run.ts")).runCommand,
  simulate: async () => (await import("./commands/simulate.ts")).simulateCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  top: async () => (await import("./commands/top.ts")).topCommand,
  events: async () => (await import("./commands/events.ts")).eventsCommand,
  jobs: async () => (await import("./commands/jobs.ts")).jobsCommand,
  version: async () => (await import("./commands/version.ts")).versionCommand,
};

const [first = ""] = Deno.args;
if (first === "engine") {
  const { holdEngine } = await import("./commands/hold_engine.ts");
  Deno.exit(holdEngine(Deno.args.slice(1)));
} else if (first === "sensors") {
  const { answerForSensors } = await import("./commands/sensors.ts");
  Deno.exit(await answerForSensors(Deno.args.slice(1)));
} else {
  const { start } = await import("./command_line.ts");
  const alone = Object.hasOwn(ALONE, first) ? ALONE[first] : undefined;
  await start(alone === undefined ? (await import("./main.ts")).COMMANDS : [await alone()]);
}
