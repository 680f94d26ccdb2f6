/** `calypte quarantine`: which jobs are kept from running for their failures, and how one comes back. */
import { InputError } from "../errors.ts";
import { DiskFiles } from "../store/store_files.ts";
import { parseQuarantine, type Quarantined } from "../store/quarantine.ts";
import { QUARANTINE, QUARANTINE_VERSION, releaseJob } from "../store/release.ts";
import { Sections } from "../store/sections.ts";
import { StoreTakenError } from "../store/store.ts";
import { table } from "../summary.ts";
import { findFolder } from "./blackbox.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const HELP = `Usage: calypte quarantine [list] [options]
       calypte quarantine release JOB [options]

list     the jobs of a mission that failed too often and are left out, with the reason
release  lets one of them run again from the next start on; not while an agent runs on that state folder

A job whose bundle is another one than then comes back by itself.

Options:
  --mission FILE     of this mission; default: of the one that ran last, in the default state folder
  --dir DIR          of this state folder
  --backend cuda|sim with --mission: of flights on a GPU, the default, or on the simulator
  --json             as JSON

Exit status 1 if there is nothing to release, or an agent runs there.

Example:
  calypte quarantine release vegetation-map --mission examples/missions/survey.yaml
`;

export const quarantineCommand: Command = {
  name: "quarantine",
  summary: "list jobs that failed too often; let one run again",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [order = "list", job] } = parseCommand("quarantine", args, {
      boolean: ["json"],
      string: ["mission", "dir", "backend"],
      positional: ["ORDER?", "JOB?"],
    });
    const needsJob = order === "release";
    if ((order !== "list" && !needsJob) || needsJob !== (job !== undefined)) {
      throw new InputError({
        file: "",
        field: order,
        rule: "must be list, or release and the name of a job",
      });
    }
    const dir = await findFolder(values);
    if (job !== undefined) {
      let released: boolean;
      try {
        const warn = (text: string) => terminal.err(`${text}\n`);
        released = await releaseJob(dir, job, { warn, note: warn });
      } catch (error) {
        if (!(error instanceof StoreTakenError)) throw error;
        terminal.err(`${error.message}: end it first\n`);
        return 1;
      }
      const text = released ? `${job} may run again` : `${job} is not in quarantine in ${dir}`;
      terminal.out(flags.json ? JSON.stringify({ job, released }) + "\n" : `${text}\n`);
      return released ? 0 : 1;
    }
    const found = await quarantinedIn(dir);
    if (flags.json) terminal.out(JSON.stringify({ dir, quarantined: found }) + "\n");
    else terminal.out(found.length === 0 ? `${dir}: no job is in quarantine\n` : lines(rows(found)));
    return 0;
  },
};

/** Also while an agent runs: sections are written whole. */
async function quarantinedIn(dir: string): Promise<readonly Quarantined[]> {
  const sections = new Sections(new DiskFiles(dir), () => {});
  const state = await sections.readJson(QUARANTINE, QUARANTINE_VERSION, parseQuarantine);
  return state?.quarantined ?? [];
}

function rows(found: readonly Quarantined[]): string[] {
  return table(
    ["job", "since", "failures", "reason"],
    found.map(({ job, since, count, reason }) => [job, since, `${count}`, reason]),
  );
}
