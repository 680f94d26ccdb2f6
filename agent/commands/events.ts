/** `calypte events`: what happened lately, and what happens. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import type { PastEvent } from "../http/history.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, parseCommand } from "./command.ts";
import { engineZeroMs, shownTime } from "./engine_clock.ts";
import { follow } from "./follow.ts";
import { printable } from "./top_frame.ts";
import { interrupted } from "./interrupt.ts";

const HELP = `Usage: calypte events [--follow] [options]

Shows the last thousand events of the running agent: misses, faults, leases that ended, safe mode, orders.
Times are those of this machine's clock, in its zone; with --json, of the engine's.

Options:
  --follow             go on with what happens, until Ctrl-C, across restarts of the agent
  --kind KIND          only those of this kind, such as miss; several between commas
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               one JSON object per line

Exit status 1 if no agent answers.

Example:
  calypte events --follow --kind miss,safe-mode
`;

export const eventsCommand: Command = {
  name: "events",
  summary: "show what happened lately, and what happens",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("events", args, {
      boolean: ["json", "follow"],
      string: ["address", "kind"],
      positional: [],
    });
    const address = parseAddress(values.address);
    const kinds = values.kind?.split(",");
    const zeroMs = flags.json ? undefined : await engineZeroMs(address);
    const show = (event: PastEvent) => {
      if (kinds?.includes(event.kind) === false) return;
      terminal.out(flags.json ? JSON.stringify(event) + "\n" : eventText(event, zeroMs) + "\n");
    };
    if (!flags.follow) {
      const answer = await ask<{ items: PastEvent[] }>(address, "/v1/events", {
        headers: { accept: "application/json" },
      });
      if (answer instanceof Error) {
        terminal.err(noAnswer(address, answer));
        return 1;
      }
      answer.items.forEach(show);
      return 0;
    }
    using stop = interrupted();
    const away = (why: string) => terminal.err(`${why.trimEnd()}; waiting for it\n`);
    const stream = follow({ address, page: "/v1/events", signal: stop.signal, away });
    for (;;) {
      const { done, value } = await stream.next();
      if (done === true) {
        if (value !== undefined) terminal.err(noAnswer(address, value));
        return value === undefined ? 0 : 1;
      }
      show(JSON.parse(value.data));
    }
  },
};

/** One line without its end. */
export function eventText({ timeNs, kind, source, text }: PastEvent, zeroMs: number | undefined): string {
  return printable(
    `${shownTime(timeNs, zeroMs)}  ${kind.padEnd(13)}  ${source ?? "-"}: ${text}`,
  );
}
