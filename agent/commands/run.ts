/** `calypte run`: runs a mission until it is stopped. */
import { pluginLine } from "../load_plugin.ts";
import { checkpointCompiler } from "../checkpoint.ts";
import { loadMission, type Mission } from "../config.ts";
import { blaming, overridesOf } from "../config_overrides.ts";
import type { ForeignSource } from "../foreign/foreign.ts";
import { stderrLogger, wallClock } from "../log.ts";
import { FlightStore } from "../flight_store.ts";
import { EngineHost } from "../containment/engine_host.ts";
import { resolveIsolation } from "../containment/isolation.ts";
import { Probation } from "../containment/probation.ts";
import { makeSeat } from "../containment/seats.ts";
import { openVerified } from "../containment/verified.ts";
import { Quarantine } from "../store/quarantine.ts";
import { InputError } from "../errors.ts";
import { notify, probe } from "../../ffi/mod.ts";
import { type MissionFiles, type PreparedMission, readMissionFiles } from "../prepare.ts";
import { formatDurationNs, parseDurationNs } from "../quantity.ts";
import { checkRemote } from "../http/settings.ts";
import { defaultTokenFile, openToken } from "../http/token.ts";
import { dashboardPages } from "../dashboard/assets.ts";
import { fixedText } from "../reload/diff.ts";
import { stampOf } from "../reload/file_watch.ts";
import { Hangup } from "../reload/hangup.ts";
import type { ReloadSource } from "../reload/reload_source.ts";
import { digestHex, missionDigest, Recorder } from "../record.ts";
import { openBoard } from "../board_run.ts";
import { runFolder } from "../run_folder.ts";
import { cachedCompiler, cacheFolder } from "../rewrite_cache.ts";
import { ServiceManager } from "../service_manager.ts";
import { stateFolder, stateHome } from "../state_folder.ts";
import { summaryText } from "../summary.ts";
import { supervise, TIME_IS_OVER } from "../supervisor.ts";
import { realTimers } from "../timers.ts";
import { VERSION } from "../version.ts";
import { type Command, parseCommand, parseSeed, type Terminal } from "./command.ts";
import {
  chooseBackend,
  ENDS_WITH_AGENT_NS,
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
  --listen HOST:PORT|off   where status is served
  --allow-remote           serve it to other machines too, if the mission's http.listen is such an address;
                           every reader then needs the token
  --policy NAME|FILE       another policy than the mission's
  --preemption-bound TIME  how long background may keep the GPU after the gate has closed, such as 30us
  --watch                  take up changes of the mission's file as by SIGHUP, but never while the vehicle is
                           armed
  --for DURATION           how long, such as 20s; 0 or nothing: until stopped
  --seed N                 seed of the simulator; default 1
  --record FILE            keep what happened, for simulate --replay; the file must not be there yet
  --engine process|in-process
                           where the engine lives; default: in a process of its own, which goes on without
                           this one, and is started again when it is lost
  --leave-engine           on SIGTERM leave the engine running for the next agent, as for an upgrade in flight
  --lock-memory            lock the memory of the engine's process, where the machine allows it
  --json                   end with one JSON object on standard output instead of a table

What a flag sets beats CALYPTE_BACKEND, CALYPTE_LISTEN, CALYPTE_POLICY and CALYPTE_PREEMPTION_BOUND, which
beat the mission; see docs/MISSION.md.

On SIGHUP the mission is read again: policy, weights, limits, safe mode and which jobs run change at once;
what needs a restart is named and left. A mission that is not right changes nothing.

Rewritten kernels are kept for the next run: in $CALYPTE_CACHE, else in calypte below $XDG_CACHE_HOME or
~/.cache; CALYPTE_CACHE=off keeps none.

What the next run needs, and a black box of the last hour, is kept where the mission's state says; by default
below $CALYPTE_STATE, else in calypte below $XDG_STATE_HOME or ~/.local/state. CALYPTE_STATE=off keeps none
there. See calypte blackbox.

On a board whose governor lowers the GPU's clocks when there is little to do, they are held for as long as the
run lasts, if their file may be written; CALYPTE_CLOCKS=off leaves them alone. See docs/JETSON.md.
CALYPTE_CRITICAL_CORE=N keeps the critical thread on core N. See docs/OPERATIONS.md.

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
      boolean: ["json", "leave-engine", "lock-memory", "watch", "allow-remote"],
      string: ["backend", "listen", "policy", "preemption-bound", "for", "seed", "record", "engine"],
      positional: ["MISSION"],
    });
    const wanted = parseBackend(values.backend);
    const place = parseEnginePlace(values.engine);
    const forNs = parseFor(values.for);
    const seed = parseSeed(values.seed);
    using hangup = listenForHangup();
    const overrides = overridesOf(values, (name) => Deno.env.get(name));
    const load = () => blaming(overrides, () => loadMission(file, overrides));
    const read = async (mission: Mission, before?: MissionFiles) =>
      await blaming(overrides, () => readMissionFiles(mission, before));
    const stamp = () => stampOf([file]);
    const first = flags.watch ? await stamp() : undefined;
    const mission = await load();
    const { backend, reason } = wanted === undefined
      ? chooseBackend(mission.backend, { file, field: "device.backend" })
      : chooseBackend(wanted);
    if (backend === "sim") terminal.err(simulatedLine(reason));
    const { http } = mission;
    if (http !== undefined) checkRemote(http, flags["allow-remote"] === true, file);
    const all = await read(mission);
    const reload: ReloadSource = {
      files: all,
      read: async () => await read(await load(), all),
      subscribe: hangup.subscribe,
      ...(flags.watch ? { watch: { stamp, first } } : {}),
    };
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
          EngineHost.start({
            world: places.world("verify", ENDS_WITH_AGENT_NS),
            open: { backend },
            log,
            key: "verify",
          }),
        say: (line) => terminal.err(`${line}\n`),
      },
    );
    const fixed = await digestHex(new TextEncoder().encode(fixedText(mission)));
    const key = engineKey(files, fixed, backend);
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
    const hosts = engine instanceof EngineHost ? [engine] : [];
    const seat = !(engine instanceof EngineHost) ? undefined : async (job: string) => {
      const made = await makeSeat(job, {
        ...{ engine, ...places, open: { backend, seed }, log, key, probation },
      });
      if (made.engine instanceof EngineHost) hosts.push(made.engine);
      return made;
    };
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
    const sensors = await openBoard({ mission, backend, log, nowNs: world.nowNs() });
    const foreign = othersOn(sensors.foreign, () => [
      ...places.spawned,
      ...hosts.map(({ processId }) => processId),
    ]);
    const token = http === undefined
      ? undefined
      : await openToken(http.tokenFile ?? defaultTokenFile(runFolder()));
    const leaves = (reason: string) => flags["leave-engine"] === true && reason === "SIGTERM";
    const stop = stopSignals((signal) => {
      if (leaves(signal)) return;
      try {
        engine.ends?.();
      } catch { /* It is lost, and nobody is left to start another. */ }
    });
    const manager = new ServiceManager({ notify: (state) => notify(theLibrary(), state), log });
    stop.reason.then(() => manager.stopping());
    try {
      const { summary, fault } = await supervise({
        engine,
        checkpoint,
        ...(seat === undefined ? {} : { seat }),
        files,
        log,
        version: VERSION,
        token,
        ...(http === undefined ? {} : { pages: await dashboardPages() }),
        seed: backend === "sim" ? seed : undefined,
        recorder,
        store,
        missionDigest: digest,
        timers: realTimers,
        stop: Promise.race([stop.reason, hangup.gone]),
        reload,
        foreign,
        resume,
        board: sensors.source,
        leaves,
        onAdmitted: (lines) => lines.forEach((line) => terminal.err(`${line}\n`)),
        onPlanned: (nowNs) => manager.planned(nowNs),
        onReady: (prepared, url) => {
          manager.ready();
          stop.after(forNs);
          announce(terminal, prepared, url);
        },
      });
      if (fault !== undefined) terminal.err(`calypte: the run ended by itself: ${fault}\n`);
      terminal.out(flags.json ? JSON.stringify(summary) + "\n" : "\n" + summaryText(summary));
      return fault === undefined ? 0 : 1;
    } finally {
      await sensors.close();
      recorder?.close();
      if (recorder?.fault !== undefined) {
        terminal.err(`calypte: the record is not whole: ${recorder.fault}\n`);
      }
      stop.cancel();
    }
  },
};

/** All that an engine which runs must have been loaded from to be this mission's. */
function engineKey({ mission, bundles }: MissionFiles, fixed: string, backend: string): string {
  const loaded = [...bundles].map(([name, { digestHex }]) => [name, digestHex]);
  return JSON.stringify([VERSION, theLibrary().version(), backend, fixed, mission.reserveSms, loaded]);
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
  if (url !== undefined) terminal.err(`dashboard on ${url}/, status on ${url}/v1/status\n`);
  const names = (works: PreparedMission["tasks"]) => works.map(({ name }) => name).join(", ") || "none";
  terminal.err(`critical: ${names(prepared.tasks)}; background: ${names(prepared.jobs)}; Ctrl-C ends it\n`);
  for (const { kind, name, plugin } of [...prepared.tasks, ...prepared.jobs]) {
    if (plugin !== undefined) terminal.err(`${name}: ${pluginLine(plugin, kind)}\n`);
  }
  for (const { name, steps, plugin } of prepared.jobs) {
    if (plugin !== undefined) continue;
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

/**
 * The first signal ends the run in order; the listeners are gone then, so that a second one ends the process. `first` is called ahead
 * of that: what must not be left behind by a process that is ended so.
 */
function stopSignals(first: (signal: Deno.Signal) => void): Stop {
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
    listeners.set(signal, () => {
      first(signal);
      stop(signal);
    });
    Deno.addSignalListener(signal, listeners.get(signal)!);
  }
  const after = (ns: number) => {
    if (ns > 0) timer = later(ns / 1e6, () => stop(TIME_IS_OVER));
  };
  return { reason: promise, after, cancel };
}

/** On the simulator's device there is nobody else. `engines`: ids of their processes, 0 for one that is gone. */
function othersOn(source: ForeignSource | undefined, engines: () => readonly number[]) {
  if (source === undefined) return undefined;
  // One that has just ended may still be shown.
  const ever = new Set([Deno.pid]);
  const own = () => {
    for (const id of engines()) if (id > 0) ever.add(id);
    return [...ever];
  };
  return { source, own };
}

/** From now on SIGHUP does not end the process. */
function listenForHangup(): Disposable & { gone: Promise<string>; subscribe: ReloadSource["subscribe"] } {
  const { promise, resolve } = Promise.withResolvers<string>();
  const hangup = new Hangup({
    terminal: () => Deno.stdin.isTerminal(),
    gone: () => resolve("its terminal is gone"),
  });
  const listener = () => hangup.receive();
  Deno.addSignalListener("SIGHUP", listener);
  return {
    gone: promise,
    subscribe: (now) => hangup.subscribe(now),
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGHUP", listener),
  };
}

/** `setTimeout` ends at once beyond 2^31 ms (25 days): longer runs are as good as endless. */
function later(ms: number, call: () => void): ReturnType<typeof setTimeout> | undefined {
  return ms < 2 ** 31 ? setTimeout(call, ms) : undefined;
}
