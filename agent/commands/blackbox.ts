/** `calypte blackbox`: what happened before the lights went out? */
import { loadMission } from "../config.ts";
import { InputError, reasonOf } from "../errors.ts";
import { formatDurationNs, parseDurationNs } from "../quantity.ts";
import { stateFolder, stateHome } from "../state_folder.ts";
import { path } from "../std/mod.ts";
import { readBlackBox, recent } from "../store/black_box.ts";
import type { BoxRecord } from "../store/log_format.ts";
import { DiskFiles } from "../store/store_files.ts";
import { type Command, lines, parseCommand } from "./command.ts";

const HELP = `Usage: calypte blackbox [options]

Prints the black box of a mission: what it was doing once a second, events, plans, faults. Works while the
mission runs, and after it was cut short.

Options:
  --mission FILE     of this mission; default: of the one that ran last, in the default state folder
  --dir DIR          of this state folder
  --backend cuda|sim with --mission: of flights on a GPU, the default, or on the simulator
  --last DURATION    of flight time, such as 2min; default: everything that there is
  --json             one JSON object per line

Example:
  calypte blackbox --last 2min
`;

export const blackboxCommand: Command = {
  name: "blackbox",
  summary: "print what happened last",
  help: HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("blackbox", args, {
      boolean: ["json"],
      string: ["mission", "dir", "backend", "last"],
      positional: [],
    });
    const lastNs = values.last === undefined
      ? Infinity
      : parseDurationNs(values.last, { where: { file: "", field: "--last" } });
    const dir = await findFolder(values);
    const { records, lostBytes } = await read(dir);
    const shown = recent(records, lastNs);
    terminal.err(`${dir}: ${shown.length} of ${records.length} records\n`);
    if (lostBytes > 0) terminal.err(`${lostBytes} bytes are no records, such as one that was cut short\n`);
    terminal.out(lines(flags.json ? shown.map((record) => JSON.stringify(record)) : asTable(shown)));
    return records.length === 0 ? 1 : 0;
  },
};

/** The state folder that is meant. Throws `InputError` if there is none. */
export async function findFolder(
  { mission: file, dir, backend = "cuda" }: Readonly<
    Record<"mission" | "dir" | "backend", string | undefined>
  >,
): Promise<string> {
  if (backend !== "cuda" && backend !== "sim") {
    throw new InputError({ file: "", field: "--backend", rule: "must be cuda or sim" });
  }
  if (dir !== undefined) return dir;
  const env = (name: string) => Deno.env.get(name);
  if (file !== undefined) {
    const found = stateFolder(await loadMission(file), await Deno.realPath(file), backend, env);
    if (found !== undefined) return found;
    throw new InputError({ file, field: "state", rule: "is off: there is no black box" });
  }
  const home = stateHome(env);
  const latest = home === undefined ? undefined : await latestBelow(home);
  if (latest !== undefined) return latest;
  throw new InputError({
    file: "",
    field: "",
    rule: `there is no black box${home === undefined ? "" : ` below ${home}`}`,
    remedy: "say which with --mission or --dir",
  });
}

/** The folder below `home` whose black box was written last. */
async function latestBelow(home: string): Promise<string | undefined> {
  let latest: { dir: string; atMs: number } | undefined;
  const look = async (dir: string) => {
    for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
      const entry = path.join(dir, name);
      if (isDirectory) await look(entry);
      if (!isFile || !/^box-\d+\.log$/.test(name)) continue;
      const atMs = (await Deno.stat(entry)).mtime?.getTime() ?? 0;
      if (latest === undefined || atMs > latest.atMs) latest = { dir, atMs };
    }
  };
  try {
    await look(home);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return latest?.dir;
}

async function read(dir: string): ReturnType<typeof readBlackBox> {
  try {
    return await readBlackBox(new DiskFiles(dir));
  } catch (error) {
    throw new InputError({ file: dir, field: "", rule: reasonOf(error) }, { cause: error });
  }
}

/** Start of the agent, time from the first record that is shown of it, what it is, and the rest in words. */
function asTable(records: readonly BoxRecord[]): string[] {
  const origin = new Map<number, number>();
  return records.map((record) => {
    const { run, timeNs, kind } = record;
    if (!origin.has(run)) origin.set(run, timeNs);
    const sinceS = Math.max(0, timeNs - origin.get(run)!) / 1e9;
    return `${`${run}`.padStart(4)}  ${sinceS.toFixed(3).padStart(10)} s  ${kind.padEnd(10)}  ${
      describe(record)
    }`;
  });
}

type Fields = Readonly<Record<string, unknown>>;

function describe({ n: _n, run: _run, timeNs: _timeNs, kind, ...fields }: BoxRecord): string {
  if (kind !== "snapshot") return words(fields);
  const { state, holds, tasks, jobs, planId, eventsLeftOut } = fields;
  const held = Array.isArray(holds) && holds.length > 0 ? [`held: ${holds.join(" ")}`] : [];
  const of = (works: unknown, one: (name: string, work: Fields) => string) =>
    Object.entries((works ?? {}) as Record<string, Fields>).map(([name, work]) => one(name, work));
  return [
    `${state}`,
    `plan ${planId}`,
    ...held,
    ...of(
      tasks,
      (name, { requests, missed, p99Us }) =>
        `${name}: ${requests} requests, ${missed} missed, p99 ${p99Us} us`,
    ),
    ...of(
      jobs,
      (name, { units, preemptions, gpuNs }) =>
        `${name}: ${units} units, ${preemptions} preempted, ${formatDurationNs(Number(gpuNs) || 0)}`,
    ),
    ...(eventsLeftOut === undefined ? [] : [`${eventsLeftOut} events left out`]),
  ].join("; ");
}

function words(fields: Fields): string {
  return Object.entries(fields).map(([key, value]) =>
    `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
  ).join(" ").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd");
}
