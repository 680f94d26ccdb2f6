/** `calypte version`: which agent, which library, which Deno. */
import { InputError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { type Command, parseCommand } from "./command.ts";
import { theLibrary } from "./engines.ts";

export const versionCommand: Command = {
  name: "version",
  summary: "print the versions of agent, library and Deno",
  help: "Usage: calypte version\n\nExample:\n  calypte version\n",
  run(args, terminal) {
    parseCommand("version", args, { boolean: [], string: [], positional: [] });
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
