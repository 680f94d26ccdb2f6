/** `calypte run`: runs a mission until it is stopped. */
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission } from "../config.ts";
import { stderrLogger, wallClock } from "../log.ts";
import { FlightStore } from "../flight_store.ts";
import { EngineHost } from "../containment/engine_host.ts";
import { resolveIsolation } from "../containment/isolation.ts";
import { Probation } from "../containment/probation.ts";
import { makeSeat } from "../containment/seats.ts";
import { openVerified } from "../containment/verified.ts";
import { Quarantine } from "../store/quarantine.ts";
import { InputError } from "../errors.ts";
import { probe } from "../../ffi/mod.ts";
import { type MissionFiles, type PreparedMission, readMissionFiles } from "../prepare.ts";
import { formatDurationNs, parseDurationNs } from "../quantity.ts";
import { missionDigest, Recorder } from "../record.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { stateFolder, stateHome } from "../state_folder.ts";
import { summaryText } from "../summary.ts";
import { supervise, TIME_IS_OVER } from "../supervisor.ts";
import { realTimers } from "../timers.ts";
import { VERSION } from "../version.ts";
import { type Command, parseCommand, parseSeed, type Terminal } from "./command.ts";
import {
  chooseBackend,
  openEngine,
  openRunEngine,
  parseBackend,
  parseEnginePlace,
  runPlaces,
  simulatedLine,
  theLibrary,
} from "./engines.ts";

const HELP = `Usage: calypte run MISSION [options]

Runs the mission: critical tasks at top priority, background jobs in every idle slice. Ends on Ctrl-C, on
SIGTERM, or after --for, with a summary on standard output.

Options:
  --backend auto|cuda|sim  where to run; default: the mission's device.backend. auto takes the GPU if there is
                           one and simulates otherwise
  --for DURATION           how long, such as 20s; 0 or nothing: until stopped
  --seed N                 seed of the simulator; default 1
  --record FILE            keep what happened, for simulate --replay; the file must not be there yet
  --engine process|in-process
                           where the engine lives; default: in a process of its own, which goes on without
                           this one, and is started again when it is lost
  --leave-engine           on SIGTERM leave the engine running for the next agent, as for an upgrade in flight
  --lock-memory            lock the memory of the engine's process, where the machine allows it
  --json                   end with one JSON object on standard output instead of a table

Rewritten kernels are kept for the next run: in $CALYPTE_CACHE, else in calypte below $XDG_CACHE_HOME or
~/.cache; CALYPTE_CACHE=off keeps none.

What the next run needs, and a black box of the last hour, is kept where the mission's state says; by default
below $CALYPTE_STATE, else in calypte below $XDG_STATE_HOME or ~/.local/state. CALYPTE_STATE=off keeps none
there. See calypte blackbox.

Exit status: 0 if it was stopped or --for is over; 1 if it failed while running; 2 if it could not start for
want of a good mission or bundle, deadlines that can be met, a free port or state folder, the library, a GPU
or its memory. No result is written then.

Example:
  calypte run examples/missions/survey.yaml --for 20s
`;

export const runCommand: Command = {
  name: "run",
  summary: "run a mission",
  help: HELP,
  async run(args, terminal) {
    const { flags, values, positional: [file = ""] } = parseCommand("run", args, {
      boolean: ["json", "leave-engine", "lock-memory"],
      string: ["backend", "for", "seed", "record", "engine"],
      positional: ["MISSION"],
    });
    const wanted = parseBackend(values.backend);
    const place = parseEnginePlace(values.engine);
    const forNs = parseFor(values.for);
    const seed = parseSeed(values.seed);
    const mission = await loadMission(file);
    const { backend, reason } = wanted === undefined
      ? chooseBackend(mission.backend, { file, field: "device.backend" })
      : chooseBackend(wanted);
    if (backend === "sim") terminal.err(simulatedLine(reason));
    const all = await readMissionFiles(mission);
    const log = stderrLogger(wallClock);
    const folder = cacheFolder((name) => Deno.env.get(name));
    const checkpoint = cachedCompiler(checkpointCompiler, { folder, note: (text) => log.info(text) });
    const digest = await missionDigest(file);
    const lockMemory = flags["lock-memory"] === true && place === "process";
    const open = { backend, seed, reserveSms: mission.reserveSms, lockMemory };
    const realFile = await Deno.realPath(file);
    const state = stateFolder(mission, realFile, backend, (name) => Deno.env.get(name));
    await using store = state === undefined ? undefined : await FlightStore.open(all, {
      dir: state,
      log,
      stamp: () => wallClock("json"),
      nowNs: theLibrary().nowNs(),
    });
    const places = await runPlaces(`${backend} ${realFile}`);
    const files = await resolveIsolation(
      store === undefined ? all : store.without(all),
      backend === "sim" || place === "in-process" ? undefined : {
        checkpoint,
        verified: await openVerified(stateHome((name) => Deno.env.get(name)), log),
        device: probe(theLibrary(), backend),
        open: () =>
          EngineHost.start({ world: places.world("verify"), open: { backend }, log, key: "verify" }),
        say: (line) => terminal.err(`${line}\n`),
      },
    );
    const key = engineKey(files, digest, backend);
    const world = places.world();
    const digests = new Map([...files.bundles].map(([name, { digestHex }]) => [name, digestHex]));
    const probation = new Probation(store ?? new Quarantine(digests, undefined, world.nowNs()));
    const nameOf = (job: number) => files.mission.background[job]?.name ?? `${job}`;
    const isApart = (job: number) => files.mission.background[job]?.isolation === "process";
    const engine = place === "in-process" ? openEngine(open) : await openRunEngine({
      ...{ world, open, log, key },
      suspended: (job) => probation.suspended(nameOf(job), world.nowNs()),
      onSuspects(jobs, reason) {
        for (const job of jobs.filter((id) => !isApart(id))) {
          const pauseNs = probation.failed(nameOf(job), reason, world.nowNs());
          const then = pauseNs === undefined
            ? "it is in quarantine now"
            : `it waits ${formatDurationNs(pauseNs)}`;
          log.warn(`${nameOf(job)} was at work when the engine was lost: ${then}`);
        }
      },
    });
    const seat = !(engine instanceof EngineHost)
      ? undefined
      : (job: string) => makeSeat(job, { engine, ...places, open: { backend, seed }, log, key, probation });
    if (seat === undefined && files.mission.background.some(({ isolation }) => isolation === "process")) {
      engine.close();
      throw new InputError({
        file: "",
        field: "--engine",
        rule: "must be process for jobs with isolation: process",
      });
    }
    if (backend === "cuda") terminal.err(`running on ${engine.device().name}\n`);
    const resume = engine instanceof EngineHost && engine.adopted;
    if (resume) {
      terminal.err(`taking over the engine that runs in process ${engine.processId}\n`);
    }
    const recorder = values.record === undefined ? undefined : Recorder.open(values.record);
    const stop = stopSignals();
    try {
      const { summary, fault } = await supervise({
        engine,
        checkpoint,
        ...(seat === undefined ? {} : { seat }),
        files,
        log,
        version: VERSION,
        seed: backend === "sim" ? seed : undefined,
        recorder,
        store,
        missionDigest: digest,
        timers: realTimers,
        stop: stop.reason,
        resume,
        leaves: (reason) => flags["leave-engine"] === true && reason === "SIGTERM",
        onAdmitted: (lines) => lines.forEach((line) => terminal.err(`${line}\n`)),
        onReady: (prepared, url) => {
          stop.after(forNs);
          announce(terminal, prepared, url);
        },
      });
      if (fault !== undefined) terminal.err(`calypte: the run ended by itself: ${fault}\n`);
      terminal.out(flags.json ? JSON.stringify(summary) + "\n" : "\n" + summaryText(summary));
      return fault === undefined ? 0 : 1;
    } finally {
      recorder?.close();
      if (recorder?.fault !== undefined) {
        terminal.err(`calypte: the record is not whole: ${recorder.fault}\n`);
      }
      stop.cancel();
    }
  },
};

/** All that an engine which runs must have been loaded from to be this mission's. */
function engineKey({ mission, bundles }: MissionFiles, digest: string, backend: string): string {
  const loaded = [...bundles].map(([name, { digestHex }]) => [name, digestHex]);
  return JSON.stringify([VERSION, theLibrary().version(), backend, digest, mission.reserveSms, loaded]);
}

/** 0: until stopped. */
function parseFor(text: string | undefined): number {
  if (text === undefined || text === "0") return 0;
  return parseDurationNs(text, { where: { file: "", field: "--for" }, allowZero: true });
}

function announce(
  terminal: Terminal,
  prepared: PreparedMission,
  url: string | undefined,
): void {
  if (url !== undefined) terminal.err(`status on ${url}/v1/status\n`);
  const names = (works: PreparedMission["tasks"]) => works.map(({ name }) => name).join(", ") || "none";
  terminal.err(`critical: ${names(prepared.tasks)}; background: ${names(prepared.jobs)}; Ctrl-C ends it\n`);
  for (const { name, steps } of prepared.jobs) {
    for (const { kernel, level, drainNs = 0, notes } of steps) {
      const note = notes.at(-1);
      if (drainNs > prepared.files.mission.preemptionBoundNs && note !== undefined) {
        terminal.err(`${name}: ${kernel} (level ${level}): ${note}\n`);
      }
    }
    const whole = steps.filter((step) => step.level === "whole");
    if (whole.length > 0) {
      const [first] = whole;
      const why = first?.notes[0] ?? "";
      terminal.err(
        `${name}: ${whole.length} of ${steps.length} steps cannot be preempted; ${first?.kernel}: ${why}\n`,
      );
    }
  }
}

interface Stop {
  reason: Promise<string>;
  /** Ends the run after this time; 0: never. */
  after(ns: number): void;
  cancel(): void;
}

/** The first signal ends the run in order; the listeners are gone then, so that a second one ends the process. */
function stopSignals(): Stop {
  const signals: Deno.Signal[] = ["SIGINT", "SIGTERM"];
  const listeners = new Map<Deno.Signal, () => void>();
  const { promise, resolve } = Promise.withResolvers<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const cancel = () => {
    clearTimeout(timer);
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    listeners.clear();
  };
  const stop = (why: string) => {
    cancel();
    resolve(why);
  };
  for (const signal of signals) {
    listeners.set(signal, () => stop(signal));
    Deno.addSignalListener(signal, listeners.get(signal)!);
  }
  const after = (ns: number) => {
    if (ns > 0) timer = later(ns / 1e6, () => stop(TIME_IS_OVER));
  };
  return { reason: promise, after, cancel };
}

/** `setTimeout` ends at once beyond 2^31 ms (25 days): longer runs are as good as endless. */
function later(ms: number, call: () => void): ReturnType<typeof setTimeout> | undefined {
  return ms < 2 ** 31 ? setTimeout(call, ms) : undefined;
}
