/** One scene with its feeder and its log of faults, and what nearly all kinds of faults do to it. */
import { Feeder } from "./feeder.ts";
import type { Fault } from "./judge.ts";
import type { Outage } from "./judge.ts";
import { type Features, writeFrames } from "./missions.ts";
import { lives } from "./processes.ts";
import { nowNs, pause, Scene, type SceneOptions, type Status, until } from "./scene.ts";

const BACK_WITHIN_MS = 20_000;
/** So old may the state be that a lost engine leaves. */
const STALE_NS = 60e6;
const LOADS_WITHIN_NS = 2e9;

export interface StageOptions extends SceneOptions {
  has: Features;
  random: () => number;
  quick: boolean;
  /** Of `performance.now`: no fault is injected later. */
  endMs?: number;
}

export class Stage {
  readonly scene: Scene;
  readonly options: StageOptions;
  readonly feeder: Feeder | undefined;
  /** Times in which the engine was away, wholly or in part. */
  readonly outages: Outage[] = [];
  readonly notes: string[] = [];
  beganNs = 0;
  #watch: ReturnType<typeof setInterval> | undefined;

  private constructor(scene: Scene, options: StageOptions) {
    this.scene = scene;
    this.options = options;
    this.feeder = options.has.queue ? new Feeder(scene.path("queue")) : undefined;
  }

  /** Starts the mission and waits until requests and units are answered. Throws if that does not happen. */
  static async open(options: StageOptions): Promise<Stage> {
    const scene = await Scene.open(options);
    try {
      await writeFrames(scene, "frames", 4);
      const stage = new Stage(scene, options);
      stage.feeder?.start();
      return stage;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  async start(): Promise<void> {
    this.scene.start();
    const why = await this.scene.ready();
    if (why !== undefined) throw new Error(why);
    if (!await this.answers()) throw new Error("the mission runs, but nothing is answered");
    this.beganNs = nowNs();
    this.#watchEngine();
  }

  close(): void {
    clearInterval(this.#watch);
  }

  /** An engine may also be lost when nobody meant it to. */
  #watchEngine(): void {
    let pid = this.enginePid();
    let seenNs = nowNs();
    this.#watch = setInterval(() => {
      if (pid !== undefined && lives(pid)) {
        seenNs = nowNs();
        return;
      }
      pid = this.enginePid();
      if (pid !== undefined) {
        this.outages.push({ beginNs: seenNs - STALE_NS, endNs: nowNs() + LOADS_WITHIN_NS });
      }
    }, 100);
  }

  timeIsUp(): boolean {
    return performance.now() > (this.options.endMs ?? Infinity);
  }

  random(from: number, to: number): number {
    return from + this.options.random() * (to - from);
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.options.random() * values.length)]!;
  }

  enginePid(): number | undefined {
    return this.scene.pids("engine")[0];
  }

  /** Waits until requests are answered in time and each of these jobs completes units, counted from now on. */
  async answers(jobs: readonly string[] = ["steady"], withinMs = BACK_WITHIN_MS): Promise<boolean> {
    let first: Status;
    return await until(
      async () => {
        const status = await this.scene.status();
        if (status?.state !== "ready") return false;
        first ??= status;
        return onTime(status, "chain") >= onTime(first, "chain") + 3 &&
          jobs.every((job) => unitsOf(status, job) >= unitsOf(first, job) + 1);
      },
      withinMs,
      15,
    );
  }

  /**
   * Waits until all that was done so far is on disk. An engine's results are in its memory and the agent's until then: the agent that
   * is killed next must not be the last to have what the engine had done.
   */
  async written(): Promise<boolean> {
    let taken: number | undefined;
    return await until(
      async () => {
        const agent = (await this.scene.status())?.agent;
        if (agent === undefined) return false;
        taken ??= agent.resultsTaken;
        return agent.resultsTaken - agent.resultsWaiting >= taken!;
      },
      BACK_WITHIN_MS,
      15,
    );
  }

  /** Something was done to the agent that makes it end: starts another and waits until it is at work. */
  async nextAgent(atNs: number, what: string, engineBefore: number | undefined): Promise<Fault> {
    this.scene.start();
    const why = await this.scene.ready();
    const engineLost = this.enginePid() !== engineBefore;
    const recoveredNs = why === undefined ? nowNs() : undefined;
    if (why !== undefined) this.notes.push(`${what}: ${why}`);
    if (engineLost) this.outages.push({ beginNs: atNs, endNs: nowNs() });
    return { atNs, recoveredNs, engineLost, what };
  }

  /** Something was done to the engine: waits until everything is answered by another one. */
  async nextEngine(atNs: number, what: string, engineBefore: number | undefined): Promise<Fault> {
    const other = await until(() => {
      const pid = this.enginePid();
      return pid !== undefined && pid !== engineBefore;
    }, BACK_WITHIN_MS);
    const back = other && await this.answers();
    // What was answered by the old one shortly before, and by the new one until it was looked at, counts too.
    this.outages.push({ beginNs: atNs - STALE_NS, endNs: nowNs() });
    if (!back) {
      this.notes.push(
        `${what}: the engine was not back within ${BACK_WITHIN_MS} ms: ${this.scene.lastWords()}`,
      );
    }
    const recoveredNs = back ? nowNs() : undefined;
    if (back && !await this.written()) {
      this.notes.push(`${what}: results were not on disk after ${BACK_WITHIN_MS} ms`);
    }
    return { atNs, recoveredNs, engineLost: true, what };
  }

  settle(): Promise<void> {
    return pause(this.options.quick ? 150 : 400);
  }
}

export function onTime(status: Status, task: string): number {
  const stats = status?.critical?.[task];
  if (stats === undefined) return 0;
  const { late, dropped, failed } = stats.misses;
  return stats.requests - late - dropped - failed;
}

export function unitsOf(status: Status, job: string): number {
  return status?.background?.[job]?.units ?? 0;
}
