/**
 * The micro-benchmark: what does preemption cost the critical side, and what do checkpoints cost the background?
 *
 * ```sh
 * deno run -A bench/micro.ts --out out/            # on a GPU; takes about a minute
 * deno run -A bench/micro.ts --backend sim --quick # to see that it works; its times are simulated
 * ```
 *
 * All through the library's C interface: periodic critical tasks whose thread is hot, background that keeps every SM
 * full, idle and busy stretches interleaved in one engine in an order drawn from the seed.
 */
import { type Engine, type Library, NativeEngine, openLibrary } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import { parseArgs } from "../agent/std/mod.ts";
import { pause } from "./session.ts";
import { Bench, calibrate, type Rates } from "./spin.ts";
import { type Quantiles, quantilesOf, randomOf, shuffled } from "./statistics.ts";

/** Waves of one step at most. */
const MOST_WAVES = 1024;
const LEASE_NS = 2e9;
/** Left out at both ends of a stretch: background is still ending or beginning there. */
const GUARD_NS = 4e6;

interface Settings {
  backend: "cuda" | "sim";
  seed: number;
  rounds: number;
  stretchMs: number;
}

interface Sample {
  launchToDoneUs: number;
  arrivalToDoneUs: number;
}

export interface MicroReport {
  device: string;
  backend: string;
  seed: number;
  rounds: number;
  features: { name: string; on: boolean; reason: string }[];
  latency: LatencyRow[];
  checkpointCost: CostRow[];
}

interface LatencyRow {
  critical: string;
  /** Of the background. */
  level: "block" | "loop";
  blockUs: number;
  aloneUs: Quantiles;
  besideUs: Quantiles;
  responseAloneUs: Quantiles;
  responseBesideUs: Quantiles;
  addedP50Us: number;
  addedP99Us: number;
  ratioP50: number;
  preemptions: number;
  leaves: number;
  samplesUs: { alone: number[]; beside: number[] };
}

interface CostRow {
  blockUs: number;
  wholeUs: number;
  blockLevelUs: number;
  ratio: number;
  loopLevelUs: number;
  loopRatio: number;
}

/** Background of `blocksUs` long blocks at a level. */
interface Beside {
  level: "block" | "loop";
  blockUs: number;
}

const BESIDE: readonly Beside[] = [
  ...[10, 100, 1000].map((blockUs) => ({ level: "block" as const, blockUs })),
  ...[10, 100, 1000, 10_000].map((blockUs) => ({ level: "loop" as const, blockUs })),
];

/** Settings with the library that all engines of one run share. */
interface Run extends Settings {
  library: Library;
}

function open({ library, backend, seed }: Run): Engine {
  return NativeEngine.open(library, { backend, seed });
}

function measureLatency(
  critical: {
    name: string;
    kernels: number;
    blocks: (sms: number) => number;
    kernelUs: number;
    periodNs: number;
  },
  background: readonly Beside[],
  rates: Rates,
  settings: Run,
): LatencyRow[] {
  using engine = open(settings);
  const bench = new Bench(engine);
  const kernelRounds = Math.round(critical.kernelUs * rates.alonePerUs);
  const blocks = critical.blocks(engine.device().sms);
  const step = bench.step("whole", blocks, kernelRounds, critical.kernelUs * 1000);
  bench.task(critical.name, Array(critical.kernels).fill(step), critical.periodNs);
  const jobs = background.map(({ level, blockUs: us }) => {
    const waves = Math.max(4, Math.ceil(4000 / us));
    const rounds = Math.round(us * rates.fullPerUs);
    return bench.job(`${level}-${us}us`, [
      bench.step(level, waves * bench.blocksResident, rounds, us * 1000),
    ]);
  });
  engine.ready();

  const random = randomOf(settings.seed);
  const samples = new Map<number | undefined, Sample[]>([
    [undefined, []],
    ...jobs.map((j) => [j, []] as [number, Sample[]]),
  ]);
  let planId = 0;
  const stretch = (job: number | undefined) => {
    const entries = job === undefined ? [] : [{ job, weight: 1, maxUnits: 0 }];
    engine.setPlan({ id: ++planId, leaseNs: LEASE_NS, entries });
    const beginNs = engine.snapshot().nowNs;
    let endNs = beginNs;
    while (endNs - beginNs < settings.stretchMs * 1e6) {
      pause(5);
      for (const { kind, startNs, doneNs, arrivalNs, dropped } of engine.takeResults()) {
        if (kind !== "critical" || dropped || arrivalNs < beginNs + GUARD_NS) continue;
        samples.get(job)!.push({
          launchToDoneUs: (doneNs - startNs) / 1000,
          arrivalToDoneUs: (doneNs - arrivalNs) / 1000,
        });
      }
      endNs = engine.snapshot().nowNs;
    }
    engine.setPlan({ id: ++planId, leaseNs: LEASE_NS, entries: [] });
    pause(GUARD_NS / 1e6);
    engine.takeResults();
  };
  stretch(undefined);
  samples.set(undefined, []);
  for (let round = 0; round < settings.rounds; round++) {
    for (const job of shuffled([undefined, ...jobs], random)) stretch(job);
  }
  const { jobs: stats, state } = engine.snapshot();
  if (state !== "ready") throw new Error(`the engine is in state ${state}`);
  const launch = (job: number | undefined) => samples.get(job)!.map((s) => s.launchToDoneUs);
  const response = (job: number | undefined) => quantilesOf(samples.get(job)!.map((s) => s.arrivalToDoneUs));
  return jobs.map((job, i) => {
    const [aloneUs, besideUs] = [quantilesOf(launch(undefined)), quantilesOf(launch(job))];
    return {
      critical: critical.name,
      ...background[i]!,
      aloneUs,
      besideUs,
      responseAloneUs: response(undefined),
      responseBesideUs: response(job),
      addedP50Us: besideUs.p50 - aloneUs.p50,
      addedP99Us: besideUs.p99 - aloneUs.p99,
      ratioP50: besideUs.p50 / aloneUs.p50,
      preemptions: stats[job]!.preemptions,
      leaves: stats[job]!.leaves,
      samplesUs: { alone: launch(undefined), beside: launch(job) },
    };
  });
}

function measureCost(
  blockUsList: readonly number[],
  rates: { fullPerUs: number },
  settings: Run,
): CostRow[] {
  using engine = open(settings);
  const bench = new Bench(engine);
  const measure = (level: "whole" | "block" | "loop", us: number) => {
    const blocks = Math.min(MOST_WAVES, Math.max(8, Math.ceil(6000 / us))) * bench.blocksResident;
    const rounds = Math.max(1, Math.round(us * rates.fullPerUs));
    return bench.unitUs(bench.job(`${level}-${us}us`, [bench.step(level, blocks, rounds, us * 1000)]), 9);
  };
  return blockUsList.map((blockUs) => {
    const wholeUs = measure("whole", blockUs);
    const blockLevelUs = measure("block", blockUs);
    const loopLevelUs = measure("loop", blockUs);
    return {
      ...{ blockUs, wholeUs, blockLevelUs, loopLevelUs },
      ...{ ratio: blockLevelUs / wholeUs, loopRatio: loopLevelUs / wholeUs },
    };
  });
}

export function runMicro(wanted: Settings): MicroReport {
  using library = openLibrary(libraryPath());
  const settings = { ...wanted, library };
  const rates = calibrate(settings.backend, () => open(settings));
  using engine = open(settings);
  const device = engine.device();
  const features = engine.features();
  engine.close();
  const tiny = { name: "kernel-5us", kernels: 1, blocks: (sms: number) => sms, kernelUs: 5, periodNs: 2e6 };
  const chain = { name: "chain-60", kernels: 60, blocks: () => 64, kernelUs: 10, periodNs: 3e6 };
  return {
    device: device.name,
    backend: settings.backend,
    seed: settings.seed,
    rounds: settings.rounds,
    features,
    latency: [
      ...measureLatency(tiny, BESIDE, rates, settings),
      ...measureLatency(chain, BESIDE, rates, settings),
    ],
    checkpointCost: settings.backend === "sim" ? [] : measureCost([2, 6, 10, 50, 500, 5000], rates, settings),
  };
}

/** The table that a person reads. */
export function microTable(report: MicroReport): string {
  const f = (n: number) => n.toFixed(1).padStart(8);
  const lines = [`${report.device} (${report.backend}), seed ${report.seed}, times in us`];
  lines.push(
    "critical   level  blocks |  alone p50      p99 | beside p50      p99      max | added p50      p99  ratio | preemptions",
  );
  for (const r of report.latency) {
    lines.push(
      `${r.critical.padEnd(10)} ${r.level.padEnd(5)} ${f(r.blockUs)} |   ${f(r.aloneUs.p50)} ${
        f(r.aloneUs.p99)
      } |   ${f(r.besideUs.p50)} ${f(r.besideUs.p99)} ${f(r.besideUs.max)} |  ${f(r.addedP50Us)} ${
        f(r.addedP99Us)
      }  ${r.ratioP50.toFixed(3)} | ${r.preemptions}`,
    );
  }
  for (const r of report.checkpointCost) {
    lines.push(
      `checkpoints, blocks of ${f(r.blockUs)}: whole ${f(r.wholeUs)}, block ${f(r.blockLevelUs)}, ratio ${
        r.ratio.toFixed(4)
      }; loop ${f(r.loopLevelUs)}, ratio ${r.loopRatio.toFixed(4)}`,
    );
  }
  return lines.join("\n");
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["out", "backend", "seed"], boolean: ["quick"] });
  const quick = args["quick"] === true;
  const report = runMicro({
    backend: args["backend"] === "sim" ? "sim" : "cuda",
    seed: Number(args["seed"] ?? 1),
    rounds: quick ? 1 : 12,
    stretchMs: quick ? 60 : 250,
  });
  if (typeof args["out"] === "string") {
    Deno.mkdirSync(args["out"], { recursive: true });
    Deno.writeTextFileSync(`${args["out"]}/micro.json`, JSON.stringify(report));
  }
  console.log(microTable(report));
}
