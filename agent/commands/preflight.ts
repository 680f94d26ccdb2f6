/** `calypte preflight`: may this mission fly here and now? GO or NO-GO, and why. */
import { type Engine, probe } from "../../ffi/mod.ts";
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission, type Mission } from "../config.ts";
import { blaming, overridesOf } from "../config_overrides.ts";
import { EngineHost } from "../containment/engine_host.ts";
import { openVerified } from "../containment/verified.ts";
import { failed, type Finding, finding, findingLines } from "../doctor/finding.ts";
import { folderFinding } from "../doctor/machine.ts";
import { folderAt, thisMachine } from "../doctor/this_machine.ts";
import { openSensors } from "../board_process.ts";
import { openForeign } from "../foreign/foreign.ts";
import { SILENT } from "../log.ts";
import { outputFolders } from "../preflight/checks.ts";
import { type Ground, hostFindings, preflight } from "../preflight/preflight.ts";
import { runningFindings, type RunningStatus } from "../preflight/running.ts";
import { type MissionFiles, readMissionFiles } from "../prepare.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { stateFolder, stateHome } from "../state_folder.ts";
import { path } from "../std/mod.ts";
import { parseQuarantine, type Quarantined } from "../store/quarantine.ts";
import { QUARANTINE, QUARANTINE_VERSION } from "../store/release.ts";
import { Sections } from "../store/sections.ts";
import { DiskFiles } from "../store/store_files.ts";
import { ask } from "./address.ts";
import { type Command, lines, parseCommand, type Terminal } from "./command.ts";
import {
  chooseBackend,
  ENDS_WITH_AGENT_NS,
  openEngine,
  parseBackend,
  runPlaces,
  theLibrary,
  type WantedBackend,
} from "./engines.ts";
import { painter, type Progress, progress } from "./paint.ts";

const HELP = `Usage: calypte preflight MISSION [options]

GO or NO-GO for this mission, here and now, as a check before arming: is it right and do all its bundles pass
verify on this machine; does it fit the GPU's memory; how long does background keep the GPU, as measured,
against preemptionBound; can all deadlines be met; who else uses the GPU; real-time priority, locked memory,
clocks, power mode, temperature; folders and free space; jobs in quarantine. It loads the mission into an
engine of its own, serves no request, and writes no result; it takes some seconds.

Where an agent runs this mission already, it loads nothing and judges that agent's status.

Each line is ok, warn or fail, with what to do. One fail makes it NO-GO.

Options:
  --backend auto|cuda|sim  default: the mission's; on the simulator nothing is measured, and it says so
  --strict                 a warning makes it NO-GO too
  --json                   one JSON object: verdict, and findings

Exit status: 0 for GO, 1 for NO-GO, 2 for bad usage.

Example:
  calypte preflight examples/missions/survey.yaml
`;

export const preflightCommand: Command = {
  name: "preflight",
  summary: "say whether a mission may fly here and now: GO or NO-GO",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [file = ""] } = parseCommand("preflight", args, {
      boolean: ["json", "strict"],
      string: ["backend"],
      positional: ["MISSION"],
    });
    const wanted = parseBackend(values.backend);
    using bar = progress(terminal);
    const findings = await examined(file, wanted, bar);
    bar[Symbol.dispose]();
    const bad = (verdict: Finding["verdict"]) => verdict === "fail" || (flags.strict && verdict === "warn");
    const go = findings.every(({ verdict }) => !bad(verdict));
    const verdict = go ? "GO" : "NO-GO";
    if (flags.json) terminal.out(JSON.stringify({ verdict, mission: file, findings }) + "\n");
    else report(terminal, findings, verdict);
    return go ? 0 : 1;
  },
};

function report(terminal: Terminal, findings: readonly Finding[], verdict: "GO" | "NO-GO"): void {
  const paint = painter(terminal);
  const fails = findings.filter(({ verdict }) => verdict === "fail").length;
  const warns = findings.filter(({ verdict }) => verdict === "warn").length;
  const count = [[fails, "failed"], [warns, "to look at"]].filter(([n]) => n !== 0).map(([n, what]) =>
    `${n} ${what}`
  );
  const why = count.length === 0 ? "" : `: ${count.join(", ")}`;
  terminal.out(
    lines([...findingLines(findings, paint), "", paint(verdict === "GO" ? "ok" : "fail", verdict) + why]),
  );
}

async function examined(file: string, wanted: WantedBackend | undefined, bar: Progress): Promise<Finding[]> {
  const overrides = overridesOf({}, (name) => Deno.env.get(name));
  let files: MissionFiles;
  try {
    bar.at(0, "mission");
    files = await blaming(overrides, async () => readMissionFiles(await loadMission(file, overrides)));
  } catch (error) {
    return failed("mission", error, `calypte config check ${file} says it all`);
  }
  const { mission } = files;
  const running = await statusOf(mission);
  const simulates = (wanted ?? mission.backend) === "sim";
  if (running !== undefined) return await besideRun(files, running, simulates);
  let ground: Ground;
  try {
    ground = await groundOf(files, wanted, bar);
  } catch (error) {
    return failed("device", error, "calypte doctor looks closer");
  }
  const findings = await preflight(files, ground);
  const simulated = ground.device.backend === "sim" && !simulates;
  return simulated
    ? [
      finding(
        "device",
        "fail",
        "no GPU was found, so a run would only simulate",
        "calypte doctor says why; --backend sim if that is meant",
      ),
      ...findings,
    ]
    : findings;
}

async function besideRun(
  { mission, bundles }: MissionFiles,
  status: RunningStatus,
  simulates: boolean,
): Promise<Finding[]> {
  if (path.basename(status.mission) !== path.basename(mission.file)) {
    const text = `an agent runs another mission there: ${status.mission}`;
    return [finding("agent", "fail", text, "stop that one first, or give this one another http.listen")];
  }
  const text = `${mission.file}: ${bundles.size} works`;
  return [
    finding("mission", "ok", text),
    ...runningFindings(status, mission.preemptionBoundNs, simulates),
    ...await hostFindings(thisMachine()),
    ...await Promise.all(foldersOf(mission, undefined).map(folderFinding)),
  ];
}

/** Of the agent that answers where the mission's would. */
async function statusOf({ http }: Mission): Promise<RunningStatus | undefined> {
  if (http?.listen === undefined || http.listen.port === 0) return undefined;
  const { hostname, port } = http.listen;
  const host = hostname === "0.0.0.0"
    ? "127.0.0.1"
    : hostname === "::"
    ? "[::1]"
    : hostname.includes(":")
    ? `[${hostname}]`
    : hostname;
  const answer = await ask<RunningStatus>(`${host}:${port}`, "/v1/status");
  return answer instanceof Error || typeof answer.mission !== "string" ? undefined : answer;
}

async function groundOf(
  files: MissionFiles,
  wanted: WantedBackend | undefined,
  bar: Progress,
): Promise<Ground> {
  const { mission } = files;
  const { backend } = wanted === undefined
    ? chooseBackend(mission.backend, { file: mission.file, field: "device.backend" })
    : chooseBackend(wanted);
  const env = (name: string) => Deno.env.get(name);
  const machine = thisMachine();
  const places = await runPlaces(`preflight ${Deno.pid}`);
  const opened: EngineHost[] = [];
  const open = async (): Promise<Engine> => {
    const settings = { backend, reserveSms: mission.reserveSms };
    if (backend === "sim") return openEngine({ ...settings, clock: "real" });
    // Code that nobody has tried here may end the process that runs it.
    const engine = await EngineHost.start({
      ...{
        world: places.world(undefined, ENDS_WITH_AGENT_NS),
        open: settings,
        log: SILENT,
        key: "preflight",
      },
    });
    opened.push(engine);
    return engine;
  };
  const state = stateFolder(mission, await Deno.realPath(mission.file), backend, env);
  return {
    device: probe(theLibrary(), backend),
    checkpoint: cachedCompiler(checkpointCompiler, { folder: cacheFolder(env), note: () => {} }),
    verified: await openVerified(stateHome(env), SILENT),
    open,
    async others() {
      if (backend === "sim") return undefined;
      const sensors = openSensors();
      try {
        const source = await openForeign(sensors, SILENT);
        return await source.look(
          new Set([Deno.pid, ...places.spawned, ...opened.map(({ processId }) => processId)]),
        );
      } finally {
        await sensors.release();
      }
    },
    realtime: machine.realtime,
    files: machine.files,
    kernelConfig: machine.kernelConfig,
    criticalCore: machine.criticalCore,
    sample: machine.sample,
    folders: foldersOf(mission, state),
    quarantined: () => quarantineIn(state),
    step: (share, text) => bar.at(share, text),
  };
}

function foldersOf(mission: Mission, state: string | undefined): ReturnType<typeof folderAt>[] {
  return [
    ...(state === undefined ? [] : [folderAt("state", state, "name another one in the mission's state")]),
    ...outputFolders(mission).map((dir) =>
      folderAt("results", dir, "name another one in the mission's output")
    ),
  ];
}

/** Reads, and sets nothing aside: that is a run's business. */
async function quarantineIn(dir: string | undefined): Promise<readonly Quarantined[]> {
  if (dir === undefined) return [];
  const files = new DiskFiles(dir);
  const refuse = () => Promise.reject(new Error("preflight writes nothing"));
  const sections = new Sections({
    list: () => files.list(),
    read: (name) => files.read(name),
    ...{ write: refuse, append: refuse, sync: refuse, rename: refuse, remove: refuse, syncFolder: refuse },
  }, () => {});
  const kept = await sections.readJson(QUARANTINE, QUARANTINE_VERSION, parseQuarantine);
  return kept?.quarantined ?? [];
}
