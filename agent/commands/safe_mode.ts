/** `calypte safe-mode`: keeps the background of a running agent away, or lets it back. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";
import { formatDurationNs } from "../quantity.ts";
import type { SafeModeStatus } from "../safe_mode.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, parseCommand } from "./command.ts";

const HELP = `Usage: calypte safe-mode on|off|status [options]

on     no background runs until \`off\`, whatever the policy plans; critical work goes on. Like an order to a
       job it holds over a crash, until the run ends in order
off    takes back what \`on\` asked for; safe mode goes on while requests miss or the planner is silent
status says whether it stands, since when and why

Talks to the running agent over HTTP. Exit status 1 if none answers.

Options:
  --address HOST:PORT  where it listens; default ${DEFAULT_LISTEN}
  --json               its whole answer as JSON

Example:
  calypte safe-mode on --address 127.0.0.1:8717
`;

export const safeModeCommand: Command = {
  name: "safe-mode",
  summary: "keep background away, or let it back",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [what = ""] } = parseCommand("safe-mode", args, {
      boolean: ["json"],
      string: ["address"],
      positional: ["on|off|status"],
    });
    if (what !== "on" && what !== "off" && what !== "status") {
      throw new InputError({ file: "", field: what, rule: "must be on, off or status" });
    }
    const address = parseAddress(values.address);
    const answer = await ask<SafeModeStatus>(
      address,
      "/v1/safe-mode",
      what === "status" ? {} : {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ on: what === "on" }),
      },
    );
    if (answer instanceof Error) {
      terminal.err(noAnswer(address, answer));
      return 1;
    }
    terminal.out(flags.json ? JSON.stringify(answer) + "\n" : safeModeText(answer) + "\n");
    return 0;
  },
};

/** One line without its end. */
export function safeModeText({ on, reasons, sinceNs, untilNs, nowNs }: SafeModeStatus): string {
  if (!on) return "safe mode is off";
  const left = untilNs === null
    ? ""
    : `; ends in ${formatDurationNs(Math.max(0, untilNs - nowNs))} at the earliest`;
  return `safe mode for ${formatDurationNs(nowNs - (sinceNs ?? nowNs))}: ${reasons.join(", ")}${left}`;
}
