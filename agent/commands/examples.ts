/** `calypte examples`: where are example missions that run as they are? The executable holds them; this writes them out. */
import { assetPath } from "../assets/place.ts";
import { InputError, reasonOf } from "../errors.ts";
import { path } from "../std/mod.ts";
import { type Command, parseCommand } from "./command.ts";

/** What the example missions need, and policies to begin with. */
export const EXAMPLE_FOLDERS = ["bundles", "frames", "missions", "policies", "tiles"] as const;
/** Not what the bundles were made from: that takes the tree. */
export const EXAMPLE_FILES = /(?<!\bsource\.ts|\.cu)$/;

const HELP = `Usage: calypte examples DIR [--json]

Writes the example missions, with all that they need, into DIR, which must not be there yet or be empty. Each
of DIR/missions runs as it is, on the GPU or else on the simulator; results go to DIR/missions/out.

Options:
  --json  the missions' files as one JSON object

Example:
  calypte examples demo
  calypte run demo/missions/survey.yaml --for 20s
`;

export const examplesCommand: Command = {
  name: "examples",
  summary: "write example missions that run as they are",
  help: HELP,
  async run(args, terminal) {
    const { flags, positional: [dir = ""] } = parseCommand("examples", args, {
      boolean: ["json"],
      string: [],
      positional: ["DIR"],
    });
    await refuseUnlessEmpty(dir);
    for (const folder of EXAMPLE_FOLDERS) {
      await copyFolder(assetPath(`examples/${folder}`), path.join(dir, folder));
    }
    const missions: string[] = [];
    for await (const { name } of Deno.readDir(path.join(dir, "missions"))) missions.push(name);
    const files = missions.sort().map((name) => path.join(dir, "missions", name));
    if (flags.json) terminal.out(JSON.stringify({ missions: files }) + "\n");
    else for (const file of files) terminal.out(`${file}\n`);
    return 0;
  },
};

async function refuseUnlessEmpty(dir: string): Promise<void> {
  try {
    for await (const _entry of Deno.readDir(dir)) {
      throw new InputError({
        file: dir,
        field: "",
        rule: "is not empty",
        remedy: "name a folder that is not there yet",
      });
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (error instanceof InputError) throw error;
    throw new InputError({ file: dir, field: "", rule: reasonOf(error) }, { cause: error });
  }
}

/** Byte by byte: what is embedded cannot be copied by the operating system. What a run has left in a tree (`out`) stays. */
async function copyFolder(from: string, to: string): Promise<void> {
  await make(to, () => Deno.mkdir(to, { recursive: true }));
  for await (const { name, isDirectory, isFile } of Deno.readDir(from)) {
    if (isDirectory && name !== "out") await copyFolder(`${from}/${name}`, path.join(to, name));
    if (!isFile || !EXAMPLE_FILES.test(name)) continue;
    const bytes = await Deno.readFile(`${from}/${name}`);
    const file = path.join(to, name);
    await make(file, () => Deno.writeFile(file, bytes, { createNew: true }));
  }
}

async function make(file: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new InputError({ file, field: "", rule: `cannot be written: ${why}` }, { cause: error });
  }
}
