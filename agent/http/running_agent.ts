/** How does the server see the agent of a run? */
import type { Engine, EngineSnapshot } from "../../ffi/engine.ts";
import { hottestCelsius } from "../../jetson/telemetry.ts";
import type { BoardPower } from "../board_power.ts";
import type { ForeignView } from "../foreign/status.ts";
import type { PreparedMission } from "../prepare.ts";
import type { LiveSettings } from "../reload/live_settings.ts";
import type { Quarantined } from "../store/quarantine.ts";
import type { AgentView, SubmitOutcome, WorkInfo } from "./agent_view.ts";
import type { EventHistory } from "./history.ts";
import type { ResultWaiters } from "./result_waiters.ts";

export interface RunningAgent {
  engine: Engine;
  prepared: PreparedMission;
  live: LiveSettings;
  history: EventHistory;
  waiters: ResultWaiters;
  version: string;
  view: () => ForeignView;
  pause: (ms: number) => Promise<void>;
  lastSnapshot: () => EngineSnapshot | undefined;
  quarantined: () => readonly Quarantined[];
  /** `undefined`: nobody asks the board. */
  board: BoardPower | undefined;
}

/** A look at the engine takes some 200 us of the agent's thread: who asks more often than this gets the last one again. */
const VIEW_MS = 10;

export function runningAgent(run: RunningAgent): AgentView {
  const { engine, prepared, live, history, waiters, board } = run;
  const { mission } = prepared.files;
  const info = (works: PreparedMission["tasks"]): WorkInfo[] =>
    works.map(({ name, bundle, steps, plugin }) => ({
      ...{ name, bundle: bundle.digestHex, steps },
      ...(plugin === undefined ? {} : { plugin }),
    }));
  const loaded = {
    device: engine.device(),
    features: engine.features(),
    tasks: info(prepared.tasks),
    jobs: info(prepared.jobs),
  };
  const taskOf = (name: string) =>
    prepared.tasks[mission.critical.findIndex((task) => task.name === name && task.source.kind === "api")];

  let seen: ForeignView | undefined;
  function view(): ForeignView {
    if (seen === undefined) {
      seen = run.view();
      void run.pause(VIEW_MS).then(() => seen = undefined);
    }
    return seen;
  }

  function submit(name: string, input: Uint8Array): SubmitOutcome {
    const task = taskOf(name);
    if (task === undefined) return { kind: "unknown-task" };
    if (input.byteLength !== task.inputBytes) return { kind: "wrong-size", expectedBytes: task.inputBytes };
    const number = engine.submit("critical", task.id, input, engine.snapshot().nowNs);
    return number === undefined ? { kind: "busy" } : { kind: "accepted", number };
  }

  return {
    version: run.version,
    mission,
    loaded: () => loaded,
    view,
    changed: () => void (seen = undefined),
    lastSnapshot: run.lastSnapshot,
    live,
    barred: (job) => run.quarantined().find((entry) => entry.job === job)?.reason,
    safeModeRule: () => live.values.safeMode,
    forceSafeMode(on) {
      engine.hold("safe-mode", on);
      live.orders.forceSafeMode(on);
    },
    submit,
    async resultOf(name, number, withinMs) {
      const task = taskOf(name);
      return task === undefined ? undefined : await waiters.wait(task.id, number, withinMs);
    },
    events: history,
    trace: (from) => engine.takeTrace(from),
    readings() {
      const sample = board?.telemetry();
      if (sample === undefined) return {};
      return { powerWatts: sample.powerWatts, temperatureCelsius: hottestCelsius(sample) };
    },
  };
}
