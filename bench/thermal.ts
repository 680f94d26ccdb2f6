/**
 * What do heat and a power limit do to a flight, with control and without?
 *
 * A flight of 25 minutes on the simulator, in virtual time: the same scheduler, planner and controller as in the air, beside a modelled board
 * (jetson/thermal_model.ts; its numbers are nobody's measurement). Take-off, survey, a climb into hot air, a battery that runs low, landing. Flown three times:
 *
 * - `controlled`: with `stopBackgroundAbove`, policy `weighted-fair`
 * - `energy`: the same under policy `energy`, which prefers what takes fewer joules
 * - `uncontrolled`: with no limits, and nobody asks the board: what it would come to
 *
 *     .tools/deno run -A bench/thermal.ts --out DIR [--for 25min] [--seed 1]
 *
 * writes DIR/thermal.json and DIR/thermal.svg. Exit status 1 if a flight with control missed a deadline, came to where the board slows itself down, or if
 * `energy` took more energy for a unit than `weighted-fair`.
 */
import { SimulatedBoard } from "../agent/board_simulated.ts";
import { checkpointCompiler } from "../agent/checkpoint.ts";
import type { Conditions } from "../agent/conditions.ts";
import { parseMission } from "../agent/config.ts";
import { openEngine } from "../agent/commands/engines.ts";
import { SILENT } from "../agent/log.ts";
import { readMissionFiles } from "../agent/prepare.ts";
import { parseDurationNs } from "../agent/quantity.ts";
import { simulate } from "../agent/simulation.ts";
import { parseArgs } from "../agent/std/mod.ts";
import type { RunSummary } from "../agent/summary.ts";
import { FANLESS_BOARD, throttled } from "../jetson/thermal_model.ts";
import type { Phase } from "../policies/policy.ts";
import { thermalSvg } from "./thermal_plot.ts";

export const LIMITS = { temperatureC: 80, batteryPercent: 20 } as const;

/** W with the whole GPU, by job: one is hungry, one frugal. Of the model; the GPU time of a unit is the simulator's. */
const JOB_WATTS = [16, 6] as const;
const CRITICAL_WATTS = 10;

export type FlightKind = "controlled" | "energy" | "uncontrolled";

export interface Moment {
  atS: number;
  phase: Phase;
  ambientC: number;
  junctionC: number;
  watts: number;
  batteryPercent: number;
  /** 0..1; 0: background is off. */
  duty: number;
  /** Of full clocks, what the model's board leaves itself. */
  clocks: number;
  /** Longest response since the moment before, as the simulator has it; it does not slow down with the modelled clocks. */
  worstMs: number;
}

export interface Flight {
  kind: FlightKind;
  summary: RunSummary;
  moments: Moment[];
  throttledS: number;
  /** Of the whole board, beyond what it takes with nothing at work. */
  workJoules: number;
  /** Of background, by job; as the model has it. */
  joules: number[];
}

/** The flight's plan, for any length: parts of it, with phase and air. */
const PLAN: readonly [until: number, phase: Phase, ambientC: number][] = [
  [0.02, "disarmed", 25],
  [0.08, "taking-off", 25],
  [0.35, "cruising", 25],
  [0.55, "cruising", 45],
  [0.75, "cruising", 45],
  [0.94, "cruising", 30],
  [0.99, "landing", 28],
  [1, "disarmed", 28],
];

function mission(kind: FlightKind): string {
  const limits = kind === "uncontrolled"
    ? ""
    : "stopBackgroundAbove: { temperature: 80C, batteryBelow: 20% }\n";
  return `device: { backend: sim }
http: false
state: off
critical:
  obstacle-detector:
    bundle: ../bundles/obstacle-detector
    source: { frames: ../frames, rate: 30Hz }
    deadline: 15ms
background:
  hungry: { bundle: ../bundles/vegetation-map, source: { frames: ../frames }, when: [taking-off, cruising] }
  frugal: { bundle: ../bundles/vegetation-map, source: { frames: ../frames }, when: [taking-off, cruising] }
policy: { name: ${kind === "energy" ? "energy" : "weighted-fair"}, lease: 1s }
conditions: { file: ./none.json }
${limits}`;
}

const MISSION_FILE = new URL("../examples/missions/thermal.yaml", import.meta.url).pathname;

/** Throws `InputError` or `EngineError`. */
export async function fly(kind: FlightKind, durationNs: number, seed: number): Promise<Flight> {
  const files = await readMissionFiles(parseMission(mission(kind), MISSION_FILE));
  const engine = openEngine({ backend: "sim", clock: "virtual", seed, reserveSms: 0 });
  const at = (nowNs: number) => {
    const part = Math.min(1, Math.max(0, nowNs / durationNs));
    const index = PLAN.findIndex(([until]) => part <= until);
    const [, phase, toC] = PLAN[index]!;
    const [from, , fromC] = index === 0 ? [0, phase, toC] : PLAN[index - 1]!;
    const into = (part - from) / Math.max(1e-9, PLAN[index]![0] - from);
    return { phase, ambientC: fromC + (toC - fromC) * into, batteryPercent: Math.round(100 - 88 * part) };
  };
  const board = new SimulatedBoard({
    ambientC: (sinceNs) => at(sinceNs).ambientC,
    criticalWatts: CRITICAL_WATTS,
    jobWatts: (job) => JOB_WATTS[job] ?? 0,
  });
  let duty = 0;
  const setPlan = engine.setPlan.bind(engine);
  engine.setPlan = (plan) => {
    duty = plan.entries.length === 0 ? 0 : (plan.dutyPermille ?? 1000) / 1000;
    setPlan(plan);
  };
  const moments: Moment[] = [];
  let worstNs = 0;
  let nextNs = 0;
  const unheeded = { latest: () => undefined, close() {} };
  const summary = await simulate({
    engine,
    files,
    checkpoint: checkpointCompiler,
    log: SILENT,
    seed,
    durationNs,
    output: false,
    conditions: {
      current: (nowNs): Conditions => ({ phase: at(nowNs).phase, batteryPercent: at(nowNs).batteryPercent }),
    },
    board: kind === "uncontrolled" ? unheeded : board,
    tap: {
      result: (result) => {
        if (result.kind === "critical") worstNs = Math.max(worstNs, result.doneNs - result.arrivalNs);
      },
      event() {},
      snapshot() {},
    },
    onTime: (nowNs) => {
      const sample = board.latest(engine.snapshot());
      if (nowNs < nextNs) return;
      nextNs = nowNs + durationNs / 500;
      const junctionC = sample.temperaturesCelsius.tj!;
      moments.push({
        atS: nowNs / 1e9,
        ...at(nowNs),
        junctionC,
        watts: sample.powerWatts!,
        duty,
        clocks: throttled(FANLESS_BOARD, { junctionC, sinkC: junctionC }),
        worstMs: worstNs / 1e6,
      });
      worstNs = 0;
    },
  });
  const jobs = Object.values(summary.background);
  const joules = jobs.map(({ gpuSeconds }, job) => gpuSeconds * JOB_WATTS[job]!);
  const workJoules = joules.reduce((sum, value) => sum + value, 0);
  return { kind, summary, moments, throttledS: board.throttledNs / 1e9, workJoules, joules };
}

/** Of both jobs together, as they do the same work; `NaN` if there was none. */
export function joulesPerUnit({ summary, workJoules }: Flight): number {
  return workJoules / Object.values(summary.background).reduce((sum, { units }) => sum + units, 0);
}

/** What the flights must show, in words; empty: all is well. */
export function judge(flights: readonly Flight[]): string[] {
  const found: string[] = [];
  const of = (kind: FlightKind) => flights.find((flight) => flight.kind === kind)!;
  for (const { kind, summary, moments, throttledS } of flights) {
    const misses = Object.values(summary.critical).reduce(
      (sum, task) => sum + task.misses,
      0,
    );
    if (misses > 0) found.push(`${kind}: ${misses} deadlines missed`);
    if (kind === "uncontrolled") continue;
    if (throttledS > 0) found.push(`${kind}: the board slowed itself down for ${throttledS} s`);
    // A plan is made four times a lease: the one before may still be in force at the very point.
    const low = moments.filter(({ batteryPercent, duty }) =>
      batteryPercent < LIMITS.batteryPercent - 1 && duty > 0
    );
    if (low.length > 0) found.push(`${kind}: background ran at ${low[0]!.batteryPercent} % battery`);
    const hot = Math.max(...moments.map(({ junctionC }) => junctionC));
    if (hot > LIMITS.temperatureC) found.push(`${kind}: ${hot} C is beyond the limit`);
  }
  if (of("uncontrolled").throttledS === 0) {
    found.push("uncontrolled: the board never slowed down, so that nothing was tried");
  }
  if (!(joulesPerUnit(of("energy")) < 0.95 * joulesPerUnit(of("controlled")))) {
    found.push("energy: a unit took hardly fewer joules than under weighted-fair");
  }
  return found;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["out", "for", "seed"] });
  const out = String(args.out ?? "out/thermal");
  const durationNs = parseDurationNs(String(args.for ?? "25min"));
  const seed = Number(args.seed ?? 1);
  const flights: Flight[] = [];
  for (const kind of ["controlled", "energy", "uncontrolled"] as const) {
    flights.push(await fly(kind, durationNs, seed));
  }
  const found = judge(flights);
  await Deno.mkdir(out, { recursive: true });
  await Deno.writeTextFile(`${out}/thermal.svg`, thermalSvg(flights));
  const table = flights.map((flight) => {
    const { kind, summary, throttledS, moments } = flight;
    return {
      kind,
      simulated: true,
      durationS: summary.durationS,
      hottestC: Math.max(...moments.map(({ junctionC }) => junctionC)),
      throttledS,
      units: Object.values(summary.background).map(({ units }) => units),
      joulesPerUnit: joulesPerUnit(flight),
      critical: summary.critical,
    };
  });
  await Deno.writeTextFile(
    `${out}/thermal.json`,
    JSON.stringify(
      { simulated: true, seed, model: FANLESS_BOARD, jobWatts: JOB_WATTS, flights: table, found },
      null,
      2,
    ) + "\n",
  );
  for (const { kind, hottestC, throttledS, units, joulesPerUnit } of table) {
    console.log(
      `${kind.padEnd(13)} hottest ${hottestC.toFixed(1)} C, slowed down for ${throttledS.toFixed(0)} s, ` +
        `units ${units.join(" + ")}, ${(joulesPerUnit * 1e3).toFixed(2)} mJ each`,
    );
  }
  for (const line of found) console.error(line);
  if (found.length > 0) Deno.exit(1);
}
