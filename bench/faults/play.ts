/** How is one scene played from its start to the last account of its results, whatever happens in between? */
import { type Campaign, expectRefused, type SceneKind } from "./kinds.ts";
import { type Fault, judge, lostNumbers, type Results, resultsOf, type Row } from "./judge.ts";
import { type Ledger, readFolder, readLines } from "./ledger.ts";
import { OUTPUT_BYTES, PERIOD_NS } from "./missions.ts";
import { randomOf } from "../statistics.ts";
import { nowNs, pause, type Status } from "./scene.ts";
import { onTime, Stage, unitsOf } from "./stage.ts";
import { verdict } from "./table.ts";

export interface PlayOptions extends Campaign {
  seed: number;
  /** Leaves the folder. */
  keep: boolean;
  withinMs: number;
}

export interface SceneReport {
  scene: string;
  rows: Row[];
  /** By work. */
  results: Record<string, Results>;
  queue?: ReturnType<NonNullable<Stage["feeder"]>["account"]>;
  /** Processes that were still there after the run had ended, and were killed. */
  leftBehind: string[];
  failed?: string;
  skipped?: string;
  /** The end of what the agents said, if something went wrong. */
  said?: string;
}

/** Longer than any scene takes that goes well. */
const SCENE_WITHIN_MS = 250_000;

interface Played {
  name: string;
  faults: Fault[];
  notes: string[];
  beginNs: number;
  endNs: number;
  failed?: string;
}

/** Beyond the budget: the last fault of a scene may take as long to be back from. */
const LAST_MS = 30_000;

const SAID_CHARACTERS = 8000;

let current: Stage | undefined;

/** Ends what runs at the moment. */
export async function cleanUp(): Promise<void> {
  await current?.scene.close();
}

export async function playScene(kind: SceneKind, options: PlayOptions): Promise<SceneReport> {
  const report: SceneReport = { scene: kind.name, rows: [], results: {}, leftBehind: [] };
  if (kind.skip !== undefined) {
    const rows = kind.kinds.map(({ name }) => emptyRow(name, { skipped: kind.skip! }));
    return { ...report, rows, skipped: kind.skip };
  }
  const stage = await Stage.open({
    ...{ name: kind.name, backend: options.backend, seed: options.seed, mission: kind.mission },
    ...{ has: options.has, quick: options.quick, random: randomOf(options.seed) },
    // What is left is for coming back and for the accounts.
    endMs: performance.now() + options.withinMs - 5000,
  });
  current = stage;
  let undo: (() => void) | void = undefined;
  const ledgers = new Ledgers(stage, kind.mission);
  const played: Played[] = [];
  try {
    undo = await kind.prepare?.(stage);
    const act = async () => {
      if (kind.refused !== true) await stage.start();
      for (const { name, inject } of kind.kinds) {
        const beginNs = nowNs();
        const firstNote = stage.notes.length;
        const one: Played = { name, faults: [], notes: [], beginNs, endNs: beginNs };
        played.push(one);
        if (kind.refused === true) one.faults = await expectRefused(stage);
        else {
          // So much that there is a before.
          await pause(options.quick ? 300 : 800);
          one.faults = await inject(stage);
          await stage.settle();
        }
        one.endNs = nowNs();
        one.notes = stage.notes.slice(firstNote);
      }
    };
    await within(act(), Math.min(SCENE_WITHIN_MS, options.withinMs + LAST_MS));
  } catch (error) {
    report.failed = error instanceof Error ? error.message : String(error);
    const last = played.at(-1);
    if (last !== undefined) Object.assign(last, { failed: report.failed, endNs: nowNs() });
  }
  try {
    stage.feeder?.stop();
    const status = await stage.scene.status();
    const summary = kind.refused === true ? undefined : await stage.scene.stop();
    if (summary === undefined && kind.refused !== true) {
      report.failed ??= "the agent gave no summary at its end";
    }
    account(report, stage, ledgers, summary, status);
  } catch (error) {
    report.failed ??= error instanceof Error ? error.message : String(error);
  }
  for (const { name, faults, notes, beginNs, endNs, failed } of played) {
    report.rows.push({
      ...judge({
        kind: name,
        faults,
        beginNs,
        endNs,
        critical: ledgers.chain,
        jobs: ledgers.jobs,
        periodNs: PERIOD_NS,
        notes: failed === undefined ? notes : stage.notes,
      }),
      ...(failed === undefined ? {} : { failed }),
    });
  }
  if (verdict([report]).length > 0) report.said = stage.scene.allSaid().slice(-SAID_CHARACTERS);
  stage.close();
  report.leftBehind = await stage.scene.close(options.keep);
  undo?.();
  if (options.keep) console.error(`${kind.name}: see ${stage.scene.dir}`);
  else await Deno.remove(stage.scene.dir, { recursive: true }).catch(() => {});
  current = undefined;
  return report;
}

/** The files of all works of a mission that write some. */
class Ledgers {
  chain: Ledger = EMPTY;
  jobs: Record<string, Ledger> = {};

  constructor(readonly stage: Stage, readonly mission: Record<string, unknown>) {}

  read(): void {
    const out = this.stage.scene.path("out");
    this.chain = readLines(out, "chain");
    type Jobs = Record<string, { output?: { jsonl?: string; dir?: string } }>;
    for (const [name, { output }] of Object.entries(this.mission.background as Jobs)) {
      if (output?.jsonl !== undefined) this.jobs[name] = readLines(out, name);
      else if (output?.dir !== undefined) this.jobs[name] = readFolder(`${out}/${name}`, OUTPUT_BYTES);
    }
  }
}

const EMPTY: Ledger = { lines: [], duplicates: 0, torn: 0, tornWhere: [], files: 0 };

function account(
  report: SceneReport,
  stage: Stage,
  ledgers: Ledgers,
  summary: Record<string, Status> | undefined,
  status: Status | undefined,
): void {
  ledgers.read();
  const { outages } = stage;
  // What could not be written is counted for all works together; numbers that are missing say whose it was.
  const givenUp = summary?.events?.resultsLost ?? status?.agent?.resultsLost ?? 0;
  const missing = Math.min(givenUp, lostNumbers(ledgers.chain.lines, outages));
  const rest = givenUp - missing;
  const chain = summary?.critical?.chain;
  const counted = chain === undefined ? undefined : chain.requests - chain.misses;
  report.results = {
    chain: resultsOf(
      ledgers.chain,
      counted ?? (status === undefined ? undefined : onTime(status, "chain")),
      outages,
      missing,
    ),
  };
  for (const [job, ledger] of Object.entries(ledgers.jobs)) {
    const units = summary?.background?.[job]?.units ??
      (status === undefined ? undefined : unitsOf(status, job));
    report.results[job] = resultsOf(ledger, units, outages, rest);
  }
  if (stage.feeder !== undefined) {
    const inputs = new Set(ledgers.jobs.steady!.lines.flatMap(({ input }) => input ?? []));
    report.queue = stage.feeder.account(inputs);
    // A unit may be done again, and is then counted twice and written once: its account is kept by the file that it came from.
    report.results.steady!.lost = report.queue.odd.length;
  }
}

function emptyRow(kind: string, more: Partial<Row>): Row {
  const none = judge({
    kind,
    faults: [],
    beginNs: 0,
    endNs: 0,
    critical: EMPTY,
    jobs: {},
    periodNs: PERIOD_NS,
  });
  return { ...none, ...more };
}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it was not over after ${(ms / 1000).toFixed(0)} s`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
