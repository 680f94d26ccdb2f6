/** `calypte version`: which agent, which library, which Deno. */
import { InputError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { isExecutable } from "../assets/place.ts";
import { PERMISSIONS } from "../assets/permissions.ts";
import { type Command, lines, parseCommand } from "./command.ts";
import { theLibrary } from "./engines.ts";

const HELP = `Usage: calypte version [--permissions] [--json]

Options:
  --json         one JSON object
  --permissions  what Deno lets this program do instead, and why; in the executable that is built in

Example:
  calypte version --permissions
`;

export const versionCommand: Command = {
  name: "version",
  summary: "print the versions of agent, library and Deno, or its permissions",
  help: HELP,
  run(args, terminal) {
    const { flags } = parseCommand("version", args, {
      boolean: ["json", "permissions"],
      string: [],
      positional: [],
    });
    if (flags.permissions) {
      const all = { executable: isExecutable(), permissions: PERMISSIONS };
      terminal.out(flags.json ? JSON.stringify(all) + "\n" : permissionText());
      return 0;
    }
    if (flags.json) {
      const versions = { calypte: VERSION, library: libraryVersion(), deno: Deno.version.deno };
      terminal.out(JSON.stringify(versions) + "\n");
      return 0;
    }
    terminal.out(`calypte ${VERSION}\nlibrary ${libraryVersion()}\ndeno ${Deno.version.deno}\n`);
    return 0;
  },
};

/** The agent has a version whether or not its library can be opened. */
function libraryVersion(): string {
  try {
    return theLibrary().version();
  } catch (error) {
    if (error instanceof InputError) return `none: ${error.message}`;
    throw error;
  }
}

function permissionText(): string {
  const rows = PERMISSIONS.map(({ flag, why }) => `  ${flag}\n      ${why}`);
  const where = isExecutable()
    ? "Built into this executable; nothing else is allowed, and nothing is asked for:"
    : "This is a source tree: ./calypte says what is allowed here. In an executable of it (make compile) is built in:";
  return lines([where, ...rows]);
}
