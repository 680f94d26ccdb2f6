/** `calypte jobs`: the background jobs of the running agent, and orders to them. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { closest, InputError } from "../errors.ts";
import { formatDurationNs } from "../quantity.ts";
import { table } from "../summary.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const ORDERS = ["list", "pause", "resume", "cancel"];

const HELP = `Usage: calypte jobs [list] [options]
       calypte jobs pause|resume|cancel JOB... [options]

list    all background jobs: whether each runs, and who keeps it from that
pause   leaves the jobs out of every plan until they are resumed
resume  lets them run again
cancel  ends them for the rest of the run; they cannot be resumed

An order holds until the next order, or until the run ends in order: a crash of the agent or of the machine,
and an upgrade with --leave-engine, leave it as it is. It needs the agent's token, which this user's agent
keeps where the command finds it; CALYPTE_TOKEN_FILE names another one.

Options:
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               its answers as JSON

Exit status 1 if no agent answers, or one of the orders was refused.

Example:
  calypte jobs pause vegetation-map
`;

/** The part of `/v1/jobs` that is shown. */
interface Job {
  name: string;
  state: string;
  why: string | null;
  weight: number;
  units: number;
  preemptions?: number;
  gpuNs?: Record<string, number>;
}

export const jobsCommand: Command = {
  name: "jobs",
  summary: "list background jobs; pause, resume or cancel them",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [order = "list", ...names] } = parseCommand("jobs", args, {
      boolean: ["json"],
      string: ["address"],
      positional: ["ORDER?", "JOB...?"],
    });
    checkOrder(order, names);
    const address = parseAddress(values.address);
    if (order === "list") {
      const answer = await ask<{ items: Job[] }>(address, "/v1/jobs");
      if (answer instanceof Error) {
        terminal.err(noAnswer(address, answer));
        return 1;
      }
      terminal.out(flags.json ? JSON.stringify(answer) + "\n" : jobsText(answer.items));
      return 0;
    }
    let status = 0;
    for (const name of names) {
      const page = `/v1/jobs/${encodeURIComponent(name)}/${order}`;
      const answer = await ask<Pick<Job, "name" | "state" | "why">>(address, page, { method: "POST" });
      if (answer instanceof Error) {
        terminal.err(noAnswer(address, answer));
        status = 1;
        continue;
      }
      terminal.out(flags.json ? JSON.stringify(answer) + "\n" : `${name}: ${stateText(answer)}\n`);
    }
    return status;
  },
};

function checkOrder(order: string, names: readonly string[]): void {
  if (!ORDERS.includes(order)) {
    const near = closest(order, ORDERS);
    throw new InputError({
      file: "",
      field: order,
      rule: `must be one of ${ORDERS.join(", ")}`,
      ...(near === undefined ? {} : { remedy: `did you mean ${near}?` }),
    });
  }
  if (order === "list" && names.length > 0) {
    throw new InputError({ file: "", field: names[0]!, rule: "is one argument too many for jobs list" });
  }
  if (order !== "list" && names.length === 0) {
    throw new InputError({ file: "", field: "JOB", rule: `must be given: which one to ${order}` });
  }
}

function stateText({ state, why }: Pick<Job, "state" | "why">): string {
  return why === null ? state : `${state} (${why})`;
}

function jobsText(jobs: readonly Job[]): string {
  if (jobs.length === 0) return "the mission has no background jobs\n";
  const rows = jobs.map(({ gpuNs = {}, preemptions = 0, ...job }) => [
    ...[job.name, stateText(job), `${job.weight}`, `${job.units}`, `${preemptions}`],
    formatDurationNs(Object.values(gpuNs).reduce((sum, ns) => sum + ns, 0)),
  ]);
  return lines(table(["job", "state", "weight", "units", "preempted", "GPU time"], rows));
}
