/** Faults that come from kernels: in the critical graph, in a job that shares the engine, in a job of its own process. */
import type { Feeder } from "./feeder.ts";
import type { Fault } from "./judge.ts";
import { readLines } from "./ledger.ts";
import { inputOf } from "./missions.ts";
import { hit, lives, strike } from "./processes.ts";
import { nowNs, pause, until } from "./scene.ts";
import { type Stage, unitsOf } from "./stage.ts";

const HAPPENS_WITHIN_MS = 20_000;
/** Of the frames of a job that has no queue. */
const BAD_PERIOD_NS = 250e6;

/** A request of the task `victim` makes its graph fault (1) or hang (2) midway. */
export async function breakCritical(stage: Stage, count: number, trigger: 1 | 2): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    const engine = stage.enginePid();
    if (engine === undefined) throw new Error("there is no engine");
    const atNs = nowNs();
    const answer = await stage.scene.submit("victim", inputOf(trigger, i));
    if (answer !== 202) throw new Error(`the request was answered with ${answer}`);
    if (!await until(() => !lives(engine), HAPPENS_WITHIN_MS, 2)) {
      stage.notes.push(`trigger ${trigger} did not end the engine within ${HAPPENS_WITHIN_MS} ms`);
      faults.push({ atNs, recoveredNs: undefined, engineLost: false, what: `trigger ${trigger}` });
      break;
    }
    stage.notes.push(`the engine's process had ended after ${ms(nowNs() - atNs)}`);
    faults.push(await stage.nextEngine(atNs, trigger === 1 ? "illegal address" : "hang", engine));
    await stage.settle();
  }
  return faults;
}

/**
 * A unit of the job `bad`, which shares the engine, misbehaves: a file of its queue, or a frame that is due 2 s after each
 * start of the engine.
 */
export async function breakShared(stage: Stage, count: number, bad: Feeder | undefined): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let i = 0; i < count && !stage.timeIsUp(); i++) {
    const engine = stage.enginePid();
    if (engine === undefined) throw new Error("there is no engine");
    let atNs = nowNs();
    const file = bad?.drop(1);
    const ended = await until(() => !lives(engine), HAPPENS_WITHIN_MS, 2);
    if (file !== undefined) bad!.takeAway(file);
    else atNs = nowNs();
    if (!ended) {
      stage.notes.push(`the engine lived on for ${HAPPENS_WITHIN_MS} ms after the trigger`);
      faults.push({ atNs, recoveredNs: undefined, engineLost: false, what: "trigger" });
      break;
    }
    faults.push(await stage.nextEngine(atNs, "trigger", engine));
    await stage.settle();
  }
  return faults;
}

/**
 * A unit of the isolated job `bad` misbehaves; `dies`: whether its worker is expected to end over it. Without a queue the unit is
 * one of its frames, which comes again and again until the job is quarantined: then the others have to go on, and that is all.
 */
export async function breakIsolated(
  stage: Stage,
  count: number,
  bad: Feeder | undefined,
  dies: boolean,
): Promise<Fault[]> {
  const faults: Fault[] = [];
  const { scene } = stage;
  for (let i = 0; i < (bad === undefined ? 1 : count) && !stage.timeIsUp(); i++) {
    const engine = stage.enginePid();
    const worker = workerOf(stage, "bad");
    if (worker === undefined) throw new Error("the job has no worker");
    const droppedNs = nowNs();
    const file = bad?.drop(1);
    const ended = await until(() => !lives(worker), dies ? HAPPENS_WITHIN_MS : 4000, 1);
    const endedNs = nowNs();
    if (file !== undefined) bad!.takeAway(file);
    if (!ended && !dies) hit(worker, "SIGKILL");
    const back = await stage.answers(bad === undefined ? ["steady"] : ["steady", "bad"], 30_000);
    // It began where the unit before it had ended, which is known once that is written.
    const before = readLines(scene.path("out"), "bad").lines.findLast(({ doneNs }) => doneNs < endedNs);
    // Without a queue the next unit may have waited for its frame.
    const waitedNs = bad === undefined ? BAD_PERIOD_NS : 0;
    const atNs = Math.max(droppedNs, (before?.doneNs ?? 0) + waitedNs);
    if (ended) stage.notes.push(`worker dead after ${ms(endedNs - atNs)}`);
    else stage.notes.push(dies ? "the worker lived on" : "the worker lived on and was ended by hand");
    const engineLost = stage.enginePid() !== engine;
    if (engineLost) stage.outages.push({ beginNs: atNs, endNs: nowNs() });
    faults.push({ atNs, recoveredNs: back ? nowNs() : undefined, engineLost, what: "trigger" });
    if (!back) {
      stage.notes.push(`not back: ${scene.lastWords().slice(0, 300)}`);
      break;
    }
    await stage.settle();
  }
  return faults;
}

/**
 * Workers are hit by signals, every second time while a request is under way: one of each job, one after the other, and then all
 * are waited for. Each job is hit less often than its quarantine takes.
 */
export async function hitWorkers(
  stage: Stage,
  jobs: readonly string[],
  rounds: number,
  signals: readonly Deno.Signal[],
  periodNs: number,
): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let round = 0; round < rounds && !stage.timeIsUp(); round++) {
    const comingBack: Promise<Fault | undefined>[] = [];
    for (const [at, job] of jobs.entries()) {
      const aim = (round + at) % 2 === 0 ? undefined : () => waitForRequest(stage, periodNs);
      comingBack.push(hitWorker(stage, job, signals[(round * jobs.length + at) % signals.length]!, aim));
      // Not all within one request.
      await pause(stage.random(20, 60));
    }
    for (const fault of await Promise.all(comingBack)) if (fault !== undefined) faults.push(fault);
  }
  return faults;
}

/** `aim`: waits for the right moment, when all else is ready. */
async function hitWorker(
  stage: Stage,
  job: string,
  signal: Deno.Signal,
  aim: (() => void) | undefined,
): Promise<Fault | undefined> {
  const { scene } = stage;
  const worker = workerOf(stage, job);
  if (worker === undefined) {
    stage.notes.push(`${job} has no worker`);
    return undefined;
  }
  const engine = stage.enginePid();
  aim?.();
  const atNs = nowNs();
  strike(worker, signal);
  if (!await until(() => !lives(worker), 10_000, 2)) {
    stage.notes.push(`${job}: the worker was not dead 10 s after ${signal}`);
    hit(worker, "SIGKILL");
  }
  const before = unitsOf(await scene.status(), job);
  const back = await until(
    async () => {
      const status = await scene.status();
      return status?.state === "ready" && unitsOf(status, job) > before;
    },
    30_000,
    20,
  );
  const engineLost = stage.enginePid() !== engine;
  if (engineLost) stage.outages.push({ beginNs: atNs, endNs: nowNs() });
  if (!back) stage.notes.push(`${job} not back after ${signal}: ${scene.lastWords().slice(0, 200)}`);
  return { atNs, recoveredNs: back ? nowNs() : undefined, engineLost, what: signal };
}

function workerOf(stage: Stage, job: string): number | undefined {
  return stage.scene.processes().find(({ role, args }) =>
    role === "worker" && args.some((arg) => arg.endsWith(`-${job}.sock`))
  )
    ?.pid;
}

/** Turns on the spot until a third of a millisecond after a request is due, as the last lines of the task foretell. */
function waitForRequest(stage: Stage, periodNs: number): void {
  const last = readLines(stage.scene.path("out"), "chain").lines.at(-1);
  if (last === undefined) return;
  const now = nowNs();
  const dueNs = last.arrivalNs + Math.ceil((now + 1e6 - last.arrivalNs) / periodNs) * periodNs + 300_000;
  while (nowNs() < dueNs);
}

function ms(ns: number): string {
  return `${(ns / 1e6).toFixed(1)} ms`;
}
