/**
 * How does a running mission take up another text of its file?
 *
 * All is read and checked first; a mission that is wrong changes nothing, and the last good one goes on. What is live
 * is applied in one stroke, what needs a restart is named and left. One reload at a time: requests that come meanwhile
 * are one more. What the file does not change stays as an operator has set it.
 */
import { EngineError } from "../../ffi/errors.ts";
import type { SafeModeRule } from "../../ffi/safe_mode.ts";
import { checkMission, type Mission } from "../config.ts";
import { formatProblem, InputError, type Problem } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { MissionFiles } from "../prepare.ts";
import { changeText, missionDiff, withLive } from "./diff.ts";
import { liveJobOf, livePolicyOf, type LiveSettings, type LiveValues } from "./live_settings.ts";

export interface ReloaderOptions {
  /** As first read; what the run made of it, such as where a job lives, is no change of the mission. */
  files: MissionFiles;
  /** Reads and checks everything again. Throws `InputError`. */
  read: () => Promise<MissionFiles>;
  live: LiveSettings;
  /** Throws `EngineError`; then nothing was applied. */
  setSafeMode: (rule: SafeModeRule | undefined) => void;
  log: Logger;
}

export type ReloadOutcome =
  /** Both lists empty: there was nothing to do. Each a text such as `background.map.weight: 3 -> 5`. */
  | { kind: "applied"; live: string[]; restart: string[] }
  /** Nothing was applied. */
  | { kind: "refused"; problems: string[] };

const OVER: ReloadOutcome = { kind: "refused", problems: ["the run is over"] };

export class Reloader {
  /** Counted from the start of the run. */
  applied = 0;
  refused = 0;
  /** `undefined`: none yet. */
  last: ReloadOutcome | undefined;
  readonly #options: ReloaderOptions;
  /** What runs, in the words of the file: what needs a restart is still as it was. */
  #running: MissionFiles;
  #current: Promise<ReloadOutcome> | undefined;
  #next: Promise<ReloadOutcome> | undefined;
  #ended = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#running = options.files;
  }

  /** Never rejects. `why`: for the log, such as `SIGHUP`. */
  reload(why: string): Promise<ReloadOutcome> {
    if (this.#current === undefined) {
      this.#current = Promise.resolve().then(() => this.#once(why)).finally(() => this.#current = undefined);
      return this.#current;
    }
    // What is being read may be older than what this request is about.
    this.#next ??= this.#current.then(() => {
      this.#next = undefined;
      return this.reload(why);
    });
    return this.#next;
  }

  /** The run is over: what is still being read is not applied. */
  end(): void {
    this.#ended = true;
  }

  async #once(why: string): Promise<ReloadOutcome> {
    let outcome: ReloadOutcome;
    try {
      if (this.#ended) return OVER;
      const files = await this.#options.read();
      if (this.#ended) return OVER;
      outcome = this.#apply(files);
    } catch (error) {
      outcome = { kind: "refused", problems: problemTexts(error) };
    }
    if (outcome.kind === "refused") this.refused++;
    else this.applied++;
    this.last = outcome;
    this.#say(why, outcome);
    return outcome;
  }

  /** Between the first change and the last, nothing else runs. */
  #apply(next: MissionFiles): ReloadOutcome {
    const running = this.#running;
    const { live, setSafeMode } = this.#options;
    const diff = missionDiff(running.mission, next.mission);
    const restart = [...diff.restart.map(changeText), ...changedBundles(running, next)];
    const merged = withLive(running.mission, next.mission);
    // The file is good as a whole; its live part alone may lean on what only a restart brings.
    const problems = checkMission(merged);
    if (problems.length > 0) {
      return {
        kind: "applied",
        live: [],
        restart: [...restart, ...diff.live.map(changeText), ...leaning(problems)],
      };
    }
    const changes = changesOf(running, next, live.values);
    if ("safeMode" in changes) setSafeMode(changes.safeMode);
    if (Object.keys(changes).length > 0) live.apply(changes);
    this.#running = { ...running, mission: merged, policy: next.policy, userPolicy: next.userPolicy };
    const texts = diff.live.map(changeText);
    const policyText = running.userPolicy?.source !== next.userPolicy?.source &&
      running.mission.policy.file === next.mission.policy.file;
    if (policyText) texts.push("policy.file: its text has changed");
    return { kind: "applied", live: texts, restart };
  }

  #say(why: string, outcome: ReloadOutcome): void {
    const { log } = this.#options;
    const event = "reload";
    if (outcome.kind === "refused") {
      log.error(
        `${why}: the mission is not taken up, the last good one goes on: ${outcome.problems.join("; ")}`,
        {
          event,
        },
      );
      return;
    }
    const { live, restart } = outcome;
    const none = live.length === 0 && restart.length === 0;
    if (none) log.info(`${why}: the mission was read again and is the same`, { event });
    if (live.length > 0) log.info(`${why}: now in force: ${live.join("; ")}`, { event });
    if (restart.length > 0) log.warn(`${why}: needs a restart: ${restart.join("; ")}`, { event });
  }
}

/** Only what the file changes, so that what an operator has set otherwise stays. */
function changesOf(before: MissionFiles, after: MissionFiles, now: LiveValues): Partial<LiveValues> {
  const same = (read: (files: MissionFiles) => unknown) =>
    JSON.stringify(read(before) ?? null) === JSON.stringify(read(after) ?? null);
  const samePolicy = same(({ mission: { policy: { name, file, options } }, userPolicy }) => [
    ...[name, file, options],
    userPolicy?.source,
  ]);
  const jobs = new Map(now.jobs);
  for (const job of after.mission.background) {
    const was = before.mission.background.find(({ name }) => name === job.name);
    // A job in quarantine is in the mission and not in the run.
    const held = jobs.get(job.name);
    if (was === undefined || held === undefined) continue;
    if (JSON.stringify(liveJobOf(was)) !== JSON.stringify(liveJobOf(job))) jobs.set(job.name, liveJobOf(job));
  }
  const jobsDiffer = [...jobs].some(([name, job]) => now.jobs.get(name) !== job);
  return {
    ...(samePolicy ? {} : { policy: livePolicyOf(after) }),
    ...(same(({ mission }) => mission.stopBackgroundAbove)
      ? {}
      : { limits: after.mission.stopBackgroundAbove }),
    ...(same(({ mission }) => mission.safeMode) ? {} : { safeMode: after.mission.safeMode }),
    ...(jobsDiffer ? { jobs } : {}),
  };
}

function changedBundles(before: MissionFiles, after: MissionFiles): string[] {
  const { critical, background } = before.mission;
  return [
    ...critical.map((work) => ["critical", work.name]),
    ...background.map((work) => ["background", work.name]),
  ]
    .filter(([, name = ""]) => {
      const [was, is] = [before.bundles.get(name), after.bundles.get(name)];
      if (dirOf(before.mission, name) !== dirOf(after.mission, name)) return false;
      return was !== undefined && is !== undefined && was.digestHex !== is.digestHex;
    })
    .map(([group, name]) => `${group}.${name}.bundle: its files have changed`);
}

function dirOf({ critical, background }: Mission, name: string): string | undefined {
  return [...critical, ...background].find((work) => work.name === name)?.bundleDir;
}

function leaning(problems: readonly Problem[]): string[] {
  return problems.map(({ field, rule }) => `before that, ${field} ${rule}`);
}

function problemTexts(error: unknown): string[] {
  if (error instanceof InputError) return error.problems.map(formatProblem);
  if (error instanceof EngineError) return [error.message];
  return [error instanceof Error ? error.message.split("\n")[0] ?? "" : String(error)];
}
