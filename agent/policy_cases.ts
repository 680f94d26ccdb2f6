/**
 * Which snapshots should a policy be able to answer?
 *
 * Random ones by seed, odd values on purpose among them, for `calypte policy check|bench` and for the tests of the
 * built-in policies. The same seed gives the same snapshots on any machine.
 */
import { MAX_BACKGROUND, MAX_CRITICAL } from "./config_schema.ts";
import {
  type Phase,
  PHASES,
  type PolicyJob,
  type PolicySnapshot,
  type PolicyTask,
} from "../policies/policy.ts";

const WINDOW_NS = 10e9;

/** 32 bits of state are plenty for test cases: an integer 0..2^32-1 at a time (a Weyl sequence, mixed). */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = numbers(seed);
  }
  /** 0 <= x < 1. */
  real(): number {
    return this.#next() / 2 ** 32;
  }
  /** low..high */
  int(low: number, high: number): number {
    return low + Math.floor(this.real() * (high - low + 1));
  }
  chance(share: number): boolean {
    return this.real() < share;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.int(0, from.length - 1)]!;
  }
  /** 0 now and then, else evenly over the magnitudes up to `high`. */
  size(high: number): number {
    return this.chance(0.15) ? 0 : Math.floor(high ** this.real());
  }
}

/** A snapshot with `jobs` jobs; default: 0..24 of them. */
export function randomSnapshot(seed: number, jobs?: number): PolicySnapshot {
  const random = new Random(seed);
  const count = jobs ?? random.int(0, MAX_BACKGROUND);
  const nowNs = random.size(1e15);
  const phase = random.pick(PHASES);
  const sometimes = <K extends string>(key: K, value: number) =>
    (random.chance(0.5) ? { [key]: value } : {}) as { [key in K]?: number };
  return {
    nowNs,
    windowNs: WINDOW_NS,
    windowEndNs: random.chance(0.5) ? 0 : nowNs + random.size(1e9),
    idleShare: random.pick([0, 1, random.real()]),
    conditions: {
      phase,
      ...sometimes("batteryPercent", random.int(0, 100)),
      ...sometimes("temperatureC", random.int(-20, 110)),
      ...sometimes("powerW", random.real() * 60),
      limits: {
        ...sometimes("batteryPercent", random.int(1, 100)),
        ...sometimes("temperatureC", random.int(40, 100)),
        ...sometimes("powerW", random.int(5, 60)),
      },
    },
    options: random.chance(0.8) ? {} : { floor: random.real() },
    tasks: Array.from({ length: random.int(0, MAX_CRITICAL) }, (_, id) => randomTask(random, id, nowNs)),
    jobs: Array.from({ length: count }, (_, id) => randomJob(random, id, nowNs, phase)),
  };
}

function randomTask(random: Random, id: number, nowNs: number): PolicyTask {
  const executionP50Ns = random.size(50e6);
  return {
    name: `task-${id}`,
    requests: random.size(1e9),
    misses: random.size(1e6),
    missRun: random.size(100),
    nextArrivalNs: random.chance(0.5) ? 0 : nowNs + random.size(1e9),
    deadlineNs: 1 + random.size(1e9),
    periodNs: random.size(1e9),
    executionP50Ns,
    executionP99Ns: executionP50Ns * 2,
    marginNs: random.size(1e6),
  };
}

function randomJob(random: Random, index: number, nowNs: number, phase: Phase): PolicyJob {
  const deadlineNs = random.chance(0.5) ? 0 : 1 + random.size(60e9);
  const backlogged = random.chance(0.7);
  const levels = [random.size(1e13), random.size(1e13), random.size(1e13), random.size(1e13)] as const;
  const [whole, slice, block, loop] = levels;
  return {
    // With gaps: jobs that may not run now are left out of a snapshot.
    id: index * 2 + 1,
    name: `job-${index}`,
    weight: random.chance(0.5) ? random.int(1, 10) : 1 + random.size(999_999),
    backlogged,
    units: random.size(1e9),
    readyUnits: backlogged ? random.int(1, 8) : 0,
    unitProgress: random.chance(0.3) ? 0 : random.real(),
    deadlineNs,
    // Late by far, due now, not due for long.
    dueNs: deadlineNs === 0 || !backlogged ? 0 : Math.max(1, nowNs + random.size(60e9) - random.size(60e9)),
    when: phase === "unknown" || random.chance(0.7) ? [] : [phase],
    gpuNs: whole + slice + block + loop,
    levelGpuNs: { whole, slice, block, loop },
    recentGpuNs: random.size(WINDOW_NS),
    unitNs: random.size(10e9),
    drainP99Ns: random.size(1e7),
    joulesPerUnit: random.size(1e3),
  };
}

/** A plan in a form in which equal plans are equal texts. */
export function planText(plan: unknown): string {
  return JSON.stringify(plan, (_key, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  }) ?? "nothing";
}
