/** `calypte explain`: where the time of a late request went. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { InputError } from "../errors.ts";
import type { Explanation } from "../explain/explain.ts";
import { formatDurationNs } from "../quantity.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { engineZeroMs, shownTime } from "./engine_clock.ts";

const HELP = `Usage: calypte explain [TASK/NUMBER] [options]

Says where the time of one request went: in parts that add up to its response time, by cause, the main one
first, with what would help. Without a request it lists those that missed lately, with their ids. The agent
explains what its trace still holds: the last 16384 requests and slices of background.

Causes:
  queueing  other critical requests had the GPU
  drain     background had not left yet
  deferral  it let background come to its end (yield: when-needed)
  clocks    the GPU ran at other clocks than before
  foreign   its work took longer while somebody else used the GPU
  host      the GPU was free, and the host launched late
  slow      its work took longer, and nothing that was recorded says why
  fault     it failed
  sensor    it was old when it arrived, and its deadline counts from the sensor
  work      its own work, as long as that takes anyhow

Options:
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               the whole answer as JSON

Exit status 1 if no agent answers, or if its trace has no such request.

Example:
  calypte explain obstacle-detector/1707
`;

/** What `/v1/tasks/TASK/requests/NUMBER/explanation` answers. */
interface Explained extends Omit<Explanation, "parts"> {
  text: string;
  remedy: string;
  parts: { cause: string; ns: number; text: string }[];
  foreignUnknown: string | null;
}

interface Misses {
  items: { id: string; outcome: string; doneNs: number; text: string }[];
}

export const explainCommand: Command = {
  name: "explain",
  summary: "say where the time of a late request went",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [id] } = parseCommand("explain", args, {
      boolean: ["json"],
      string: ["address"],
      positional: ["TASK/NUMBER?"],
    });
    const address = parseAddress(values.address);
    const answer = await ask<Explained | Misses>(address, id === undefined ? "/v1/misses" : pageOf(id));
    if (answer instanceof Error) {
      terminal.err(noAnswer(address, answer));
      return 1;
    }
    const text = "items" in answer ? missesText(answer, await engineZeroMs(address)) : explainedText(answer);
    terminal.out(flags.json ? JSON.stringify(answer) + "\n" : text);
    return 0;
  },
};

/** The number follows the last slash. */
function pageOf(id: string): string {
  const [, task, number] = id.match(/^(.+)\/(\d+)$/) ?? [];
  if (task === undefined || number === undefined) {
    throw new InputError({
      file: "",
      field: id,
      rule: "must be TASK/NUMBER, such as obstacle-detector/1707",
      remedy: "calypte explain lists those that missed lately",
    });
  }
  return `/v1/tasks/${encodeURIComponent(task)}/requests/${number}/explanation`;
}

function missesText({ items }: Misses, zeroMs: number | undefined): string {
  if (items.length === 0) return "no request missed lately\n";
  // The newest last, where it stands on the screen when all the others have run past.
  const rows = items.toReversed().map(({ doneNs, text }) => `${shownTime(doneNs, zeroMs)}  ${text}`);
  return lines([
    ...rows,
    `${items.length} in all; calypte explain ${items[0]?.id} has the parts of the last`,
  ]);
}

function explainedText(explained: Explained): string {
  const { text, remedy, outcome, totalNs, allowedNs, parts, foreignUnknown } = explained;
  const share = (ns: number) => `${totalNs > 0 ? Math.round(100 * ns / totalNs) : 0} %`;
  const rows = parts.map(({ cause, ns, text }) =>
    `  ${formatDurationNs(ns).padStart(8)} ${share(ns).padStart(5)}  ${cause.padEnd(8)}  ${text}`
  );
  const blind = foreignUnknown !== null && parts.some(({ cause }) => cause === "slow")
    ? [`other users of the GPU are not known: ${foreignUnknown}`]
    : [];
  return lines([
    text,
    `it had ${formatDurationNs(allowedNs)} and took ${formatDurationNs(totalNs)}:`,
    ...rows,
    ...blind,
    ...(outcome === "on-time" ? [] : [`what would help: ${remedy}`]),
  ]);
}
