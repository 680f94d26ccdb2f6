/** What can be measured of the engine as a whole, of the agent, of its store and of the board? */
import { LEVELS } from "../ffi/engine.ts";
import { type Metric, type MetricsView, NS } from "./metric.ts";

/** Of the engine as a whole. */
export const ENGINE_METRICS: readonly Metric<Pick<MetricsView, "snapshot">>[] = [
  {
    name: "ready",
    key: "ready",
    unit: "1",
    kind: "gauge",
    help: "1: critical tasks receive requests.",
    read: ({ snapshot }) => snapshot.state === "ready" ? 1 : 0,
  },
  {
    name: "uptime_seconds",
    key: "uptimeNs",
    unit: "seconds",
    kind: "gauge",
    help: "Since the engine became ready.",
    scale: NS,
    read: ({ snapshot }) => snapshot.state === "loading" ? 0 : snapshot.nowNs - snapshot.readyNs,
  },
  {
    name: "lease_remaining_seconds",
    key: "leaseRemainingNs",
    unit: "seconds",
    kind: "gauge",
    help: "Until background stops, unless a new plan comes.",
    scale: NS,
    read: ({ snapshot }) => Math.max(0, snapshot.leaseEndNs - snapshot.nowNs),
  },
  {
    name: "lease_expired_total",
    key: "leaseExpired",
    unit: "1",
    kind: "counter",
    help: "Leases that ended without a new plan.",
    read: ({ snapshot }) => snapshot.leaseExpired,
  },
  {
    name: "safe_mode_total",
    key: "safeMode",
    unit: "1",
    kind: "counter",
    help: "How often safe mode was entered.",
    read: ({ snapshot }) => snapshot.safeMode,
  },
  {
    name: "safe_mode",
    key: "safeModeOn",
    unit: "1",
    kind: "gauge",
    help: "1: safe mode stands, and no background runs.",
    read: ({ snapshot }) => snapshot.safeModeReasons.length > 0 ? 1 : 0,
  },
  {
    name: "safe_mode_reasons",
    key: "safeModeReasons",
    unit: "1",
    kind: "gauge",
    labels: ["reason"],
    help: "1: safe mode stands for this reason.",
    read: ({ snapshot: { safeModeReasons: standing } }) => ({
      misses: standing.includes("misses") ? 1 : 0,
      caller: standing.includes("caller") ? 1 : 0,
      planner: standing.includes("planner") ? 1 : 0,
    }),
  },
  {
    name: "safe_mode_seconds_total",
    key: "safeModeNs",
    unit: "seconds",
    kind: "counter",
    help: "Time in safe mode.",
    scale: NS,
    read: ({ snapshot }) => snapshot.safeModeNs,
  },
  {
    name: "held",
    key: "held",
    unit: "1",
    kind: "gauge",
    help: "1: background is held, whatever the reason.",
    read: ({ snapshot }) => snapshot.holds.length > 0 ? 1 : 0,
  },
  {
    name: "gpu_idle_fill_ratio",
    key: "idleFill",
    unit: "1",
    kind: "gauge",
    help: "Of the time that critical work left since `ready`, the share that background had the GPU for.",
    read: ({ snapshot: { nowNs, readyNs, criticalBusyNs, backgroundBusyNs, state } }) => {
      const idleNs = nowNs - readyNs - criticalBusyNs;
      return state === "loading" || idleNs <= 0 ? undefined : Math.min(1, backgroundBusyNs / idleNs);
    },
  },
  {
    name: "gpu_seconds_total",
    key: "gpuNs",
    unit: "seconds",
    kind: "counter",
    labels: ["class", "level"],
    help: "GPU time by class of work and by level of preemptibility; critical work has none.",
    scale: NS,
    read: ({ snapshot }) => ({
      critical: { none: snapshot.criticalBusyNs },
      background: Object.fromEntries(
        LEVELS.map((level) => [level, snapshot.jobs.reduce((sum, { gpuNs }) => sum + gpuNs[level], 0)]),
      ),
    }),
  },
  {
    key: "gpuBusyNs",
    unit: "seconds",
    kind: "counter",
    labels: ["kind"],
    help: "GPU time by kind of work.",
    scale: NS,
    read: ({ snapshot }) => ({
      critical: snapshot.criticalBusyNs,
      background: snapshot.backgroundBusyNs,
    }),
  },
  {
    name: "dispatcher_worst_seconds",
    key: "dispatcherWorstNs",
    unit: "seconds",
    kind: "gauge",
    help: "Longest step of the scheduler.",
    scale: NS,
    read: ({ snapshot }) => snapshot.dispatcherWorstNs,
  },
];

/** What the agent counts itself. */
export const AGENT_COUNTERS: readonly Metric<Pick<MetricsView, "counters">>[] = [
  {
    name: "events_total",
    key: "events",
    unit: "1",
    kind: "counter",
    labels: ["event"],
    help: "Events of the engine.",
    read: ({ counters }) => counters.events,
  },
  {
    name: "plans_total",
    key: "plansSet",
    unit: "1",
    kind: "counter",
    help: "Plans put in force.",
    read: ({ counters }) => counters.plansSet,
  },
  {
    name: "policy_faults_total",
    key: "policyFaults",
    unit: "1",
    kind: "counter",
    help: "Times that the policy threw or answered nonsense, so that no plan was set.",
    read: ({ counters }) => counters.policyFaults,
  },
  {
    name: "results_total",
    key: "resultsTaken",
    unit: "1",
    kind: "counter",
    help: "Results taken from the engine.",
    read: ({ counters }) => counters.resultsTaken,
  },
  {
    name: "results_waiting",
    key: "resultsWaiting",
    unit: "1",
    kind: "gauge",
    help: "Results that are not on disk yet. The engine keeps them until they are.",
    read: ({ counters }) => counters.resultsWaiting,
  },
  {
    name: "results_lost_total",
    key: "resultsLost",
    unit: "1",
    kind: "counter",
    help: "Results that never reached their file.",
    read: ({ counters }) => counters.resultsLost,
  },
  {
    name: "sink_errors_total",
    key: "sinkErrors",
    unit: "1",
    kind: "counter",
    help: "Writes that failed.",
    read: ({ counters }) => counters.sinkErrors,
  },
  {
    name: "outputs_skipped_total",
    key: "outputsSkipped",
    unit: "1",
    kind: "counter",
    help: "Simulated results whose output was not computed by the bundle's CPU reference.",
    read: ({ counters }) => counters.outputsSkipped,
  },
  {
    name: "poison_inputs_total",
    key: "poisonInputs",
    unit: "1",
    kind: "counter",
    help: "Files of queues that were put away because they ended their job's process.",
    read: ({ counters }) => counters.poisonInputs,
  },
  {
    name: "engine_errors_total",
    key: "engineErrors",
    unit: "1",
    kind: "counter",
    help: "Calls of the engine that failed while it ran.",
    read: ({ counters }) => counters.engineErrors,
  },
];

/** All 0 where nothing is kept over restarts. */
export const STORE_METRICS: readonly Metric<Pick<MetricsView, "store">>[] = [
  {
    name: "starts_total",
    key: "starts",
    unit: "1",
    kind: "counter",
    help: "Starts of the agent on this state folder.",
    read: ({ store }) => store?.starts ?? 0,
  },
  {
    name: "background_quarantined",
    key: "quarantined",
    unit: "1",
    kind: "gauge",
    labels: ["job"],
    help: "1: the job is in quarantine and does not run.",
    read: ({ store }) => Object.fromEntries((store?.quarantine ?? []).map(({ job }) => [job, 1])),
  },
  {
    name: "state_errors_total",
    key: "stateErrors",
    unit: "1",
    kind: "counter",
    help: "Writes of state that failed.",
    read: ({ store }) => store?.errors ?? 0,
  },
  {
    name: "black_box_lost_total",
    key: "blackBoxLost",
    unit: "1",
    kind: "counter",
    help: "Records of the black box that were dropped because they could not be written.",
    read: ({ store }) => store?.recordsLost ?? 0,
  },
];

/** Of the board and the program; what is not known is not there. */
export const BOARD_METRICS: readonly Metric<Pick<MetricsView, "readings" | "snapshot" | "version">>[] = [
  {
    name: "power_watts",
    key: "powerWatts",
    unit: "watts",
    kind: "gauge",
    help: "Of the board, or of the GPU where only that is measured.",
    read: ({ readings }) => readings?.powerWatts,
  },
  {
    name: "temperature_celsius",
    key: "temperatureCelsius",
    unit: "celsius",
    kind: "gauge",
    help: "Of the hottest zone.",
    read: ({ readings }) => readings?.temperatureCelsius,
  },
  {
    name: "build_info",
    key: "build",
    unit: "1",
    kind: "gauge",
    labels: ["version", "backend"],
    help: "1, with what runs here in its labels.",
    read: ({ version, snapshot }) =>
      version === undefined ? undefined : ({ [version]: { [snapshot.backend]: 1 } }),
  },
];
