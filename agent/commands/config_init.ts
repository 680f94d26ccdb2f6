/** `calypte config init`: writes a first mission for bundles that are there. */
import { type Bundle, inputLayout, loadBundle } from "../bundle.ts";
import { parseMission } from "../config.ts";
import { type InitWork, startingMission } from "../config_init.ts";
import { MAX_BACKGROUND } from "../config_schema.ts";
import { InputError, reasonOf } from "../errors.ts";
import { path } from "../std/mod.ts";
import { type Command, parseCommand } from "./command.ts";

const HELP = `Usage: calypte config init MISSION BUNDLE... [options]

Writes a commented mission for the bundles: the first is its critical task, the others are background jobs.
It is right as it stands; what a person has to decide is marked CHANGE. Never overwrites a file.

Options:
  --frames DIR        where the input of all of them lies; default: the critical task is fed by HTTP, each job
                      from a folder queue/NAME beside the mission, which is made
  --background-only   no critical task: all bundles are background jobs

Exit status: 0 if it was written; 2 if it is there already, or a bundle is not right.

Example:
  calypte config init mission.yaml bundles/obstacle-detector bundles/vegetation-map --frames frames
`;

export const configInitCommand: Command = {
  name: "config init",
  summary: "write a first mission for some bundles",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [file = "", ...dirs] } = parseCommand("config init", args, {
      boolean: ["background-only"],
      string: ["frames"],
      positional: ["MISSION", "BUNDLE..."],
    });
    if (dirs.length > MAX_BACKGROUND) {
      throw new InputError({ file: "", field: "BUNDLE", rule: `must be at most ${MAX_BACKGROUND}` });
    }
    const folder = path.dirname(path.resolve(file));
    const fromMission = (given: string) => {
      const relative = path.relative(folder, path.resolve(given));
      return relative === "" ? "." : relative;
    };
    const works: InitWork[] = [];
    for (const dir of dirs) works.push(workOf(await loadBundle(dir), fromMission(dir), works));
    const frames = values.frames === undefined ? undefined : fromMission(values.frames);
    const critical = flags["background-only"] ? undefined : works[0];
    const background = critical === undefined ? works : works.slice(1);
    const text = startingMission({ file, critical, background, frames });
    // What would be refused is not written.
    const mission = parseMission(text, file);
    await write(file, text);
    for (const { source } of mission.background) {
      if (source.kind === "queue") await Deno.mkdir(source.dir, { recursive: true });
    }
    terminal.out(`${file} is written; look for CHANGE in it, then: calypte config check ${file}\n`);
    return 0;
  },
};

function workOf({ manifest }: Bundle, bundle: string, before: readonly InitWork[]): InitWork {
  const same =
    before.filter(({ name }) => name === manifest.name || name.startsWith(`${manifest.name}-`)).length;
  const name = same === 0 ? manifest.name : `${manifest.name}-${same + 1}`;
  return { name, bundle, takesInput: inputLayout(manifest).sizeBytes > 0 };
}

async function write(file: string, text: string): Promise<void> {
  try {
    await Deno.writeTextFile(file, text, { createNew: true });
  } catch (error) {
    const there = error instanceof Deno.errors.AlreadyExists;
    const rule = there
      ? "is there already and is not overwritten"
      : `cannot be written: it ${reasonOf(error)}`;
    const remedy = there ? { remedy: "give another name, or remove it first" } : {};
    throw new InputError({ file, field: "", rule, ...remedy }, { cause: error });
  }
}
