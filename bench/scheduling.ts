/**
 * Does the scheduler keep what it promises on a GPU? Anticipation, deferring, overlapping critical tasks, SMs of their own,
 * idle time within a request, and kernels that cannot be preempted.
 *
 * ```sh
 * deno run -A bench/scheduling.ts --out out/            # on a GPU; takes about three minutes
 * deno run -A bench/scheduling.ts --backend sim --quick # to see that it works; its times are simulated
 * ```
 *
 * Idle and busy stretches are interleaved in one engine, in an order drawn from the seed. "Idle fill" is the GPU time of
 * background over the time in which no request was at work, both within the busy stretches; the idle time within a
 * request counts as the request's, so that it can be above 1.
 */
import { checkpointCompiler } from "../agent/checkpoint.ts";
import { loadBundle } from "../agent/bundle.ts";
import { loadFrames } from "../agent/frames.ts";
import { inputLayout } from "../agent/bundle.ts";
import { Loader } from "../agent/load.ts";
import { parseArgs, path } from "../agent/std/mod.ts";
import { type CriticalSpec, type Engine, NativeEngine, openLibrary, type Result } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import { pause } from "./session.ts";
import { Bench, calibrate, type Rates } from "./spin.ts";
import { type Quantiles, quantilesOf, randomOf, shuffled } from "./statistics.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const LEASE_NS = 2e9;
/** Left out at both ends of a stretch: background is still ending or beginning there. */
const GUARD_NS = 5e6;
/** Loading; and learning: drains and executions are known after some tens of requests. */
const WARM_S = 1;

const args = parseArgs(Deno.args, {
  string: ["out", "backend", "seed", "commit", "only"],
  boolean: ["quick"],
});
const backend = args["backend"] === "sim" ? "sim" as const : "cuda" as const;
const quick = args["quick"] === true;
const seed = Number(args["seed"] ?? 1);
const library = openLibrary(libraryPath());
const open = (reserveSms = 0) => NativeEngine.open(library, { backend, seed, reserveSms });

interface Side {
  launchUs: Quantiles;
  responseUs: Quantiles;
  late: number;
  dropped: number;
}

interface Measured {
  alone: Side;
  beside: Side;
  addedP50Us: number;
  addedP99Us: number;
  ratioP99: number;
  idleFill: number;
  /** Background units per second of busy stretches, over those of a busy stretch without requests if that was measured. */
  unitsPerS: number;
  anticipated: number;
  wrongGuesses: number;
  marginUs: number;
  aheadShare: number;
  deferred: number;
  preemptions: number;
  samplesUs: { alone: number[]; beside: number[] };
}

/** Alternates stretches without and with background until each side has run for `seconds`. */
function measure(
  engine: Engine,
  task: number,
  jobs: readonly number[],
  seconds: number,
  stretchS = 1,
  sides: readonly ("alone" | "beside")[] = ["alone", "beside"],
): Measured {
  const random = randomOf(seed);
  let planId = engine.snapshot().planId;
  const setPlan = (ids: readonly number[]) =>
    engine.setPlan({
      id: ++planId,
      leaseNs: LEASE_NS,
      entries: ids.map((job) => ({ job, weight: 1, maxUnits: 0 })),
    });
  const results: Record<"alone" | "beside", Result[]> = { alone: [], beside: [] };
  const sum = { wallNs: 0, busyNs: 0, criticalNs: 0, units: 0 };
  const stretch = (side: "alone" | "beside", lengthS: number, keep: boolean) => {
    const ids = side === "beside" ? jobs : [];
    setPlan(ids);
    pause(GUARD_NS / 1e6);
    engine.takeResults();
    const before = engine.snapshot();
    let renewedNs = before.nowNs, nowNs = before.nowNs;
    const endNs = before.nowNs + lengthS * 1e9;
    const take = () => {
      for (let some = engine.takeResults(); some.length > 0; some = engine.takeResults()) {
        const own = some.filter(({ kind, work, arrivalNs }) =>
          kind === "critical" && work === task && arrivalNs > before.nowNs + GUARD_NS && arrivalNs < endNs
        );
        if (keep) results[side].push(...own);
      }
    };
    while (nowNs < endNs) {
      pause(5);
      take();
      const { nowNs: now, state } = engine.snapshot();
      if (state !== "ready") throw new Error(engine.takeEvents().map(({ text }) => text).join("; "));
      nowNs = now;
      if (nowNs > renewedNs + LEASE_NS / 4) {
        setPlan(ids);
        renewedNs = nowNs;
      }
    }
    const after = engine.snapshot();
    if (keep && side === "beside") {
      sum.wallNs += after.nowNs - before.nowNs;
      sum.busyNs += after.backgroundBusyNs - before.backgroundBusyNs;
      sum.criticalNs += after.criticalBusyNs - before.criticalBusyNs;
      for (const job of jobs) sum.units += after.jobs[job]!.units - before.jobs[job]!.units;
    }
    setPlan([]);
    pause(GUARD_NS / 1e6);
  };
  stretch("beside", WARM_S, false);
  for (let done = 0; done < seconds; done += stretchS) {
    for (const side of shuffled(sides, random)) stretch(side, stretchS, true);
  }
  const { tasks, jobs: stats, nowNs, readyNs } = engine.snapshot();
  const sideOf = (list: Result[]): Side => {
    const complete = list.filter(({ dropped }) => !dropped);
    return {
      launchUs: quantilesOf(complete.map((r) => (r.doneNs - r.startNs) / 1000)),
      responseUs: quantilesOf(complete.map((r) => (r.doneNs - r.arrivalNs) / 1000)),
      late: complete.filter(({ late }) => late).length,
      dropped: list.length - complete.length,
    };
  };
  const [alone, beside] = [sideOf(results.alone), sideOf(results.beside)];
  const mine = tasks[task]!;
  const launches = (list: Result[]) =>
    list.filter(({ dropped }) => !dropped).map((r) => Math.round((r.doneNs - r.startNs) / 10) / 100);
  return {
    alone,
    beside,
    addedP50Us: beside.launchUs.p50 - alone.launchUs.p50,
    addedP99Us: beside.launchUs.p99 - alone.launchUs.p99,
    ratioP99: beside.launchUs.p99 / alone.launchUs.p99,
    idleFill: sum.busyNs / (sum.wallNs - sum.criticalNs),
    unitsPerS: sum.units / sum.wallNs * 1e9,
    anticipated: mine.anticipated,
    wrongGuesses: mine.wrongGuesses,
    marginUs: mine.marginNs / 1000,
    aheadShare: mine.aheadNs / (nowNs - readyNs),
    deferred: mine.deferred,
    preemptions: jobs.reduce((all, job) => all + stats[job]!.preemptions, 0),
    samplesUs: { alone: launches(results.alone), beside: launches(results.beside) },
  };
}

const rates: Rates = calibrate(backend, () => open());
const rounds = (us: number) => Math.round(us * rates.fullPerUs);
const KERNEL_US = 5;
/** A kernel of 5 us on every SM. */
const tiny = (bench: Bench, sms: number) => [
  bench.step("whole", sms, Math.round(KERNEL_US * rates.alonePerUs), KERNEL_US * 1000),
];
/** Units of about `unitUs` in blocks of `blockUs`, one wave after the other. */
const saturating = (bench: Bench, level: "block" | "loop", blockUs: number, unitUs: number) => [
  bench.step(level, Math.ceil(unitUs / blockUs) * bench.blocksResident, rounds(blockUs), blockUs * 1000),
];

type Rows = Record<string, unknown>;

function anticipation(): Rows {
  const rows: Rows = {};
  for (const hz of [30, 100, 220]) {
    for (const anticipate of [false, true]) {
      using engine = open();
      const bench = new Bench(engine);
      const task = bench.task("kernel-5us", tiny(bench, engine.device().sms), Math.round(1e9 / hz), {
        anticipate,
      });
      const job = bench.job("blocks", saturating(bench, "loop", 100, 4000));
      engine.ready();
      rows[`kernel-5us ${hz} Hz${anticipate ? " anticipated" : ""}`] = measure(
        engine,
        task,
        [job],
        secondsFor(hz),
      );
    }
  }
  return rows;
}

function secondsFor(hz: number): number {
  return quick ? 1 : hz === 30 ? 10 : 4;
}

async function detector(): Promise<Rows> {
  const rows: Rows = {};
  const bundle = await loadBundle(path.join(ROOT, "examples/bundles/obstacle-detector"));
  const background = await loadBundle(path.join(ROOT, "examples/bundles/vegetation-map"));
  const frames = await loadFrames(
    path.join(ROOT, "examples/frames"),
    inputLayout(bundle.manifest).sizeBytes,
  );
  for (const hz of [30, 100, 220]) {
    using engine = open();
    const loader = new Loader({ engine, checkpoint: checkpointCompiler, preemptionBoundNs: 30_000 });
    const source = { kind: "frames" as const, periodNs: Math.round(1e9 / hz) };
    const how = {
      deadlineNs: Math.round(1e9 / hz),
      from: "arrival",
      queue: "latest",
      queueDepth: 1,
    } as const;
    const task = loader.add(
      {
        ...{ kind: "critical", name: "detector", source, keepOutput: false, ...how },
        ...{ onMiss: "publish-late", maxBlockingNs: 0, yield: "always", anticipate: true },
      },
      bundle,
      frames,
    ).id;
    const job = loader.add(
      { kind: "background", name: "map", source: { kind: "frames", periodNs: 0 }, keepOutput: false },
      background,
      frames,
    ).id;
    engine.ready();
    rows[`detector ${hz} Hz anticipated`] = measure(engine, task, [job], secondsFor(hz));
  }
  return rows;
}

/** `when-needed` against `always`: blocks that are lost if they are left half-way, and blocks of which little is lost. */
function deferring(): Rows {
  const rows: Rows = {};
  const cases = [{ name: "1 ms blocks at loop, units of 2 ms", level: "loop", blockUs: 1000, unitUs: 2000 }, {
    name: "10 us blocks at block, units of 2 ms",
    level: "block",
    blockUs: 10,
    unitUs: 2000,
  }] as const;
  for (const { name, level, blockUs, unitUs } of cases) {
    for (const how of ["always", "when-needed"] as const) {
      using engine = open();
      const bench = new Bench(engine);
      const task = bench.task("kernel-5us", tiny(bench, engine.device().sms), Math.round(1e9 / 220), {
        yield: how,
        deadlineNs: 4e6,
      });
      const job = bench.job("blocks", saturating(bench, level, blockUs, unitUs));
      engine.ready();
      rows[`${name}, yield: ${how}`] = measure(engine, task, [job], quick ? 1 : 3);
    }
  }
  return rows;
}

/** Two critical tasks whose phases drift against each other; background blocks that begin while one is at work are counted. */
function overlap(): Rows {
  using engine = open();
  const bench = new Bench(engine);
  const words: [number, number] = [engine.createBuffer(256), engine.createBuffer(256)];
  const seen = engine.createBuffer(256);
  const sms = engine.device().sms;
  const work = (own: number, us: number) => [
    // By the end of the first kernel background has left.
    bench.step("whole", sms, Math.round(60 * rates.alonePerUs), 60_000),
    bench.mark(own, 1),
    bench.step("whole", sms, Math.round(us * rates.alonePerUs), us * 1000),
    bench.mark(own, 0),
  ];
  const one = bench.task("one", work(words[0], 700), 3e6, { queue: "fifo", queueDepth: 4, anticipate: true });
  const other = bench.task("other", work(words[1], 400), 2.371e6, { queue: "fifo", queueDepth: 4 });
  const blocks = 20 * bench.blocksResident;
  const job = bench.job("witness", [bench.witness(blocks, rounds(10), words, seen)]);
  engine.ready();
  const measured = measure(engine, one, [job], quick ? 1 : 60, quick ? 1 : 10, ["beside"]);
  const { tasks, jobs } = engine.snapshot();
  const count = new DataView(engine.readBuffer(seen, 0, 4).buffer).getUint32(0, true);
  return {
    "two tasks, phases drifting": {
      ...measured,
      requests: [tasks[one]!.requests, tasks[other]!.requests],
      units: jobs[job]!.units,
      blocksBegun: jobs[job]!.units * blocks,
      blocksBegunWhileCriticalAtWork: count,
    },
  };
}

/** SMs of its own: the critical kernel fits on 16 SMs, and background never leaves. */
function reserved(): Rows {
  using engine = open(16);
  const bench = new Bench(engine);
  const task = bench.task("kernel-5us on 16 blocks", tiny(bench, 16), 5e6, { yield: "reserved" });
  const job = bench.job("blocks", saturating(bench, "block", 1000, 8000));
  engine.ready();
  const feature = engine.features().find(({ name }) => name === "reserved-sms");
  return {
    "16 SMs kept, 1 ms blocks on the rest": { feature, ...measure(engine, task, [job], quick ? 1 : 3) },
  };
}

/** A request that copies 12 MB in and 1 MB out around a short kernel: most of it is idle time of the SMs. */
function gaps(): Rows {
  using engine = open();
  const bench = new Bench(engine);
  const [inputBytes, outputBytes] = [12 << 20, 1 << 20];
  const buffer = engine.createBuffer(inputBytes);
  const frames = engine.addFrames(new Uint8Array(inputBytes), inputBytes, 1);
  const task = bench.task("large input", tiny(bench, engine.device().sms), 10e6, {
    ...{ inputBytes, outputBytes, anticipate: true },
    inputs: [{ buffer, offset: 0, sizeBytes: inputBytes }],
    outputs: [{ buffer, offset: 0, sizeBytes: outputBytes }],
    source: { kind: "frames", frames, periodNs: 10e6, phaseNs: 10e6 },
  } as Partial<CriticalSpec>);
  const job = bench.job("blocks", saturating(bench, "block", 10, 1000));
  engine.ready();
  return { "12 MB in and 1 MB out, 100 Hz": measure(engine, task, [job], quick ? 1 : 3) };
}

/** Kernels that cannot be preempted, 300 us each, beside requests whose times are known. */
function wholes(): Rows {
  const rows: Rows = {};
  for (const us of [300, 50]) {
    using engine = open();
    const bench = new Bench(engine);
    const task = bench.task("kernel-5us", tiny(bench, engine.device().sms), 10e6, { anticipate: true });
    const job = bench.job(
      "whole",
      Array.from({ length: 8 }, () => bench.step("whole", bench.blocksResident, rounds(us), us * 1000)),
    );
    engine.ready();
    rows[`8 whole kernels of ${us} us, 100 Hz`] = measure(engine, task, [job], quick ? 1 : 3);
  }
  return rows;
}

const sections: Record<string, () => Rows | Promise<Rows>> = {
  anticipation,
  detector,
  deferring,
  reserved,
  gaps,
  wholes,
  overlap,
};
const wanted = typeof args["only"] === "string" ? args["only"].split(",") : Object.keys(sections);
const rows: Rows = {};
for (const name of wanted) {
  const section = sections[name];
  if (section === undefined) throw new Error(`there is no section ${name}`);
  const began = await section();
  for (const [key, value] of Object.entries(began)) {
    rows[key] = value;
    const m = value as Measured & { blocksBegunWhileCriticalAtWork?: number; blocksBegun?: number };
    const f = (n: number) => n.toFixed(1);
    console.log(
      `${key}: n ${m.beside.launchUs.count}, alone ${f(m.alone.launchUs.p50)}/${
        f(m.alone.launchUs.p99)
      } beside ${f(m.beside.launchUs.p50)}/${f(m.beside.launchUs.p99)}/${
        f(m.beside.launchUs.max)
      } us, added ${f(m.addedP50Us)}/${f(m.addedP99Us)}, p99 x ${
        m.ratioP99.toFixed(3)
      }; late ${m.beside.late}, dropped ${m.beside.dropped}; fill ${m.idleFill.toFixed(3)}, ${
        f(m.unitsPerS)
      } units/s, ahead ${m.anticipated}/${m.wrongGuesses} wrong, margin ${f(m.marginUs)}, ${
        (100 * m.aheadShare).toFixed(2)
      } %; deferred ${m.deferred}; preempted ${m.preemptions}${
        m.blocksBegun === undefined
          ? ""
          : `; begun at work ${m.blocksBegunWhileCriticalAtWork} of ${m.blocksBegun}`
      }`,
    );
  }
}
if (typeof args["out"] === "string") {
  Deno.mkdirSync(args["out"], { recursive: true });
  using engine = open();
  const device = engine.device();
  const report = { device, backend, commit: args["commit"] ?? "unknown", seed, quick, rows };
  Deno.writeTextFileSync(`${args["out"]}/scheduling.json`, JSON.stringify(report) + "\n");
}
