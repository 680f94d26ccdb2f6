/** `calypte doctor`: whether this machine is fit, line by line, with what to do about it. */
import { findingLines, isGood } from "../doctor/finding.ts";
import { examine } from "../doctor/machine.ts";
import { thisMachine } from "../doctor/this_machine.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { painter, progress } from "./paint.ts";

const HELP = `Usage: calypte doctor [--json]

Looks at this machine, and at nothing else: Deno, the native library, driver and GPU with the engine's
self-tests, the board, real-time priority and locked memory, clocks, sensors, who else uses the GPU, folders
with their free space, the port. Each line is ok, warn or fail, with what to do about it. It changes nothing.

Limits are those of the shell that it runs in; a service has its own: try
sudo -u calypte calypte doctor, or systemctl show calypte -p LimitRTPRIO -p LimitMEMLOCK.

Options:
  --json  one JSON object: good, and findings

Exit status: 0 if nothing failed, 1 otherwise.

Example:
  calypte doctor
`;

/** Of the looks that examine takes, for the bar. */
const LOOKS = 16;

export const doctorCommand: Command = {
  name: "doctor",
  summary: "look whether this machine is fit",
  help: HELP,
  async run(args, terminal) {
    const { flags } = parseCommand("doctor", args, { boolean: ["json"], string: [], positional: [] });
    using bar = progress(terminal);
    let looks = 0;
    const findings = await examine(thisMachine(), (what) => bar.at(looks++ / LOOKS, what));
    bar[Symbol.dispose]();
    const good = isGood(findings);
    if (flags.json) terminal.out(JSON.stringify({ good, findings }) + "\n");
    else terminal.out(lines(findingLines(findings, painter(terminal))));
    return good ? 0 : 1;
  },
};
