/**
 * How does a folder feed a background job?
 *
 * Files that are renamed into it are units, oldest first by name, a few ahead of the engine. A file leaves the folder only
 * after its result is durable: to `done/`, or away; one that can never work goes to `failed/` with its reason. Whatever
 * ends in between leaves the file where it is, to be taken again; a result that is there already is not written twice. Where
 * the job's own process dies over its units, they are given one at a time until the one that kills it is known
 * (input_suspects.ts). Only `feed` looks at the folder, one call at a time, and it never throws.
 */
import { reasonOf } from "./errors.ts";
import { InputSuspects, type Suspect } from "./input_suspects.ts";
import type { Logger } from "./log.ts";
import { putAway, type Reason } from "./put_away.ts";
import { path } from "./std/mod.ts";

export interface QueueUnit {
  /** Of the file. */
  name: string;
  /** 32 hexadecimal digits of the SHA-256 of name and content: the same file dropped again is the same unit. */
  id: string;
  input: Uint8Array;
}

export interface QueueOptions {
  dir: string;
  /** What becomes of a file whose result is durable. */
  keep: "done" | "none";
  /** What the bundle takes. */
  inputBytes: number;
  /** The unit's number; `undefined`: no room now. */
  submit: (input: Uint8Array) => number | undefined;
  /** Whether the result of this unit is there already, durable. */
  holds: (unit: QueueUnit) => Promise<boolean>;
  log: Logger;
  /** Monotonic. */
  nowNs: () => number;
  /** Units that are with the engine at the same time, at most. Default 8. */
  ahead?: number;
  /** The job has a process of its own, whose death is told by `processLost`; else it shares the engine's. Default false. */
  apart?: boolean;
  /** What is with the job's process may be an earlier agent's: its first death says nothing for sure. Default false. */
  resume?: boolean;
  /** Default: none is known, and nothing is kept. */
  suspects?: InputSuspects;
  /** A file that killed the job's process was put away: the job is not to blame. Perhaps a second time after a restart. */
  onPoison?: (name: string, reason: string) => void;
}

/** A file that is written in place, against the rule, is given this long without a change before its size counts. */
const STILL_NS = 2e9;
/** A folder is listed again after this at the earliest. */
const LIST_EVERY_NS = 200e6;
/** A file that could not be used is looked at again after this. */
const RETRY_NS = 5e9;
const MOST_LISTED = 1000;
/** A unit that the engine could not complete so often goes to `failed/`. */
const MOST_TRIES = 3;
const DONE = "done";
const FAILED = "failed";

interface Taken extends QueueUnit {
  stamp: string;
  /** Its result has come, and may still have to be computed. */
  arrived: boolean;
}

interface Looked {
  stamp: string;
  firstNs: number;
  retryNs: number;
}

export class DirectoryQueue {
  readonly #options: QueueOptions;
  readonly #ahead: number;
  /** With the engine, by the unit's number. */
  readonly #inFlight = new Map<number, Taken>();
  /** Names that are with the engine or wait for their result to be durable. */
  readonly #busy = new Set<string>();
  /** Files that were looked at and not taken. */
  readonly #looked = new Map<string, Looked>();
  readonly #tries = new Map<string, number>();
  readonly #suspects: InputSuspects;
  /** Deaths of the job's process are its units'. */
  #sure: boolean;
  readonly #told = new Set<string>();
  /** What is to be done with files, by `feed`. */
  #errands: (() => Promise<unknown>)[] = [];
  #names: string[] = [];
  #nextListNs = -Infinity;
  #feeding: Promise<void> | undefined;
  #gone = false;
  #stopped = false;
  #lost = false;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#ahead = options.ahead ?? 8;
    this.#suspects = options.suspects ?? new InputSuspects(undefined);
    this.#sure = options.resume !== true;
  }

  /** Gives the engine what it has room for. Call it often, after results were taken. */
  feed(): Promise<void> {
    if (this.#lost) this.#takeBack();
    return this.#feeding ??= this.#feed().catch((error) => this.#tell("", reasonOf(error))).finally(() => {
      this.#feeding = undefined;
    });
  }

  /** Takes no more files; what is under way is still finished with by `settle`. */
  stop(): void {
    this.#stopped = true;
  }

  /** Finishes with the files whose results are durable by now. */
  async settle(): Promise<void> {
    await this.#feeding;
    await this.feed();
  }

  /**
   * The engine was started anew: what it had in hand and has not given until the next `feed` is submitted again. Where the job
   * shares its process, units are given one at a time after it, so that the log can name the file; none is put away for it, as
   * critical work and other jobs were there too.
   */
  engineLost(): void {
    this.#lost = true;
    const units = this.#withEngine();
    if (this.#options.apart === true || units.length === 0) return;
    this.#suspects.died(units, false);
    const files = units.map(({ name }) => shown(name)).join(", ");
    this.#options.log.warn("inputs were under way when the engine was lost", {
      dir: this.#options.dir,
      files,
    });
  }

  /**
   * The job's own process has ended by itself, with what it had in hand. Call it when all results that came before were taken.
   * `sure`: nothing else that is known of took it along.
   */
  processLost(sure = true): void {
    if (this.#stopped) return;
    this.#suspects.died(this.#withEngine(), sure && this.#sure);
    this.#sure = true;
    this.#lost = true;
  }

  #withEngine(): Taken[] {
    return [...this.#inFlight.values()].filter(({ arrived }) => !arrived);
  }

  /** The result of a unit came. False: it is none that this agent gave the engine. */
  arrived(number: number): boolean {
    const unit = this.#inFlight.get(number);
    if (unit !== undefined) unit.arrived = true;
    return unit !== undefined;
  }

  /** Input of a unit that is with the engine. */
  input(number: number): Uint8Array | undefined {
    return this.#inFlight.get(number)?.input;
  }

  /**
   * The unit of a result that came, once; `undefined`: an earlier agent's, whose file is still there and is run again.
   * Then `end` must be called.
   */
  claim(number: number): QueueUnit | undefined {
    const unit = this.#inFlight.get(number);
    this.#inFlight.delete(number);
    return unit;
  }

  /**
   * `durable`: its result is. `lost`: the result could not be written, and the file stays to be taken again. `failed`: the
   * unit was not completed; after three of those in a row its file is put away, with `reason`.
   */
  end(unit: QueueUnit, how: "durable" | "lost" | "failed", reason = ""): void {
    const taken = unit as Taken;
    if (how !== "failed") this.#suspects.completed(taken);
    if (how === "durable") {
      this.#tries.delete(taken.name);
      this.#errands.push(() => this.#acknowledge(taken));
      return;
    }
    const tries = (this.#tries.get(taken.name) ?? 0) + 1;
    if (how === "failed" && tries >= MOST_TRIES) {
      this.#tries.delete(taken.name);
      this.#errands.push(() => this.#refuse(taken.name, { reason }));
      return;
    }
    if (how === "failed") this.#tries.set(taken.name, tries);
    this.#retryLater(taken.name, taken.stamp, how === "failed" ? 0 : RETRY_NS);
    this.#busy.delete(taken.name);
  }

  #takeBack(): void {
    this.#lost = false;
    for (const { name } of this.#inFlight.values()) this.#busy.delete(name);
    this.#inFlight.clear();
    [this.#names, this.#nextListNs] = [[], -Infinity];
  }

  async #feed(): Promise<void> {
    for (const errand of this.#errands.splice(0)) {
      await errand().catch((error) => this.#tell("", `its files cannot be put away: ${reasonOf(error)}`));
    }
    while (!this.#stopped && this.#inFlight.size < this.#ahead) {
      if (this.#names.length === 0 && !await this.#list()) return;
      if (this.#names.length === 0) return;
      const next = this.#suspects.pick(this.#names, [...this.#inFlight.values()].map(({ name }) => name));
      if (next === undefined) return;
      const [name] = this.#names.splice(next, 1);
      if (!await this.#take(name!)) {
        this.#names.splice(next, 0, name!);
        return;
      }
    }
  }

  /** False: there is nothing to be listed, or it is too early. */
  async #list(): Promise<boolean> {
    const { dir, nowNs, log } = this.#options;
    const now = nowNs();
    if (now < this.#nextListNs) return false;
    this.#nextListNs = now + LIST_EVERY_NS;
    const names: string[] = [];
    const present = new Set<string>();
    try {
      for await (const entry of Deno.readDir(dir)) {
        if (entry.name.startsWith(".") || entry.isDirectory) continue;
        present.add(entry.name);
        if (!this.#busy.has(entry.name) && now >= (this.#looked.get(entry.name)?.retryNs ?? 0)) {
          names.push(entry.name);
        }
      }
    } catch (error) {
      if (!this.#gone) {
        log.warn("a queue cannot be read; it is looked for again", { dir, why: reasonOf(error) });
      }
      this.#gone = true;
      return false;
    }
    if (this.#gone) log.info("a queue is there again", { dir });
    this.#gone = false;
    for (const map of [this.#looked, this.#tries]) {
      for (const name of map.keys()) if (!present.has(name)) map.delete(name);
    }
    // The agent before this one put it away and did not come to say so.
    for (const name of this.#suspects.retain(present)) {
      this.#options.onPoison?.(shown(name), "ended the job's process");
    }
    this.#names = names.sort().slice(0, MOST_LISTED);
    return names.length > 0;
  }

  /** False: the engine has no room; the file is to be tried again. */
  async #take(name: string): Promise<boolean> {
    const { inputBytes, submit, holds } = this.#options;
    const file = path.join(this.#options.dir, name);
    let stamp: string;
    let input: Uint8Array;
    try {
      const before = await Deno.lstat(file);
      stamp = stampOf(before);
      if (!before.isFile) {
        if (before.isSymlink) await this.#refuse(name, { reason: "must be a plain file, not a link" });
        else this.#putOff(name, stamp, "is not a plain file and stays where it is");
        return true;
      }
      if (before.size !== inputBytes) return await this.#wrongSize(name, stamp, before.size);
      input = await Deno.readFile(file);
      // Whoever writes it in place is not done: it is no unit yet.
      if (input.byteLength !== inputBytes || stampOf(await Deno.lstat(file)) !== stamp) {
        this.#retryLater(name, stamp, LIST_EVERY_NS);
        return true;
      }
    } catch (error) {
      // Somebody took it away.
      if (!(error instanceof Deno.errors.NotFound)) this.#putOff(name, "", reasonOf(error));
      return true;
    }
    const unit: Taken = { name, id: await idOf(name, input), input, stamp, arrived: false };
    const suspect = this.#suspects.look(unit);
    if (await holds(unit)) {
      await this.#acknowledge(unit);
      return true;
    }
    if (suspect?.guilty === true) {
      await this.#condemn(suspect, stamp);
      return true;
    }
    if (this.#stopped) return false;
    const number = submit(input);
    if (number === undefined) return false;
    this.#looked.delete(name);
    this.#busy.add(name);
    this.#inFlight.set(number, unit);
    return true;
  }

  async #wrongSize(name: string, stamp: string, sizeBytes: number): Promise<true> {
    const now = this.#options.nowNs();
    const seen = this.#looked.get(name);
    if (seen?.stamp === stamp && now - seen.firstNs >= STILL_NS) {
      await this.#refuse(name, {
        reason: `must have ${this.#options.inputBytes} bytes, as the bundle's input, not ${sizeBytes}`,
      });
    } else this.#retryLater(name, stamp, LIST_EVERY_NS);
    return true;
  }

  #putOff(name: string, stamp: string, why: string): void {
    this.#tell(name, why);
    this.#retryLater(name, stamp, RETRY_NS);
  }

  #retryLater(name: string, stamp: string, afterNs: number): void {
    const now = this.#options.nowNs();
    const seen = this.#looked.get(name);
    const firstNs = seen?.stamp === stamp ? seen.firstNs : now;
    this.#looked.set(name, { stamp, firstNs, retryNs: now + afterNs });
  }

  /** The result is durable: the file goes, unless it is another one by now. */
  async #acknowledge({ name, stamp }: Taken): Promise<void> {
    const { dir, keep } = this.#options;
    const file = path.join(dir, name);
    try {
      if (stampOf(await Deno.lstat(file)) !== stamp) return;
      if (keep === "none") await Deno.remove(file);
      else await putAway(dir, name, DONE);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      this.#putOff(
        name,
        stamp,
        `is done and cannot be put away: ${reasonOf(error).replace("be read", "be moved")}`,
      );
    } finally {
      this.#busy.delete(name);
    }
  }

  /** It waits, and is not run, where it cannot be moved. */
  async #condemn({ name, id, lone }: Suspect, stamp: string): Promise<void> {
    const times = lone === 1 ? "once" : lone === 2 ? "twice" : `${lone} times`;
    const reason = `ended the job's process ${times} while it was the only input there`;
    if (!await this.#refuse(name, { reason, id, deaths: lone })) {
      return this.#retryLater(name, stamp, RETRY_NS);
    }
    // First what follows from it: if the agent ends in between, the next one does it again.
    this.#options.onPoison?.(shown(name), reason);
    this.#suspects.putAway(name);
  }

  /** False: it could not be moved, and is looked at again. */
  async #refuse(name: string, why: Omit<Reason, "file">): Promise<boolean> {
    const { dir, log } = this.#options;
    try {
      await putAway(dir, name, FAILED, { file: name, ...why });
      log.warn("an input cannot be used", { dir, file: shown(name), why: why.reason });
      return true;
    } catch (error) {
      this.#putOff(name, "", `${why.reason}, and cannot be moved to ${FAILED}/: ${reasonOf(error)}`);
      return false;
    } finally {
      this.#busy.delete(name);
    }
  }

  /** Once for each name and reason, and not without end. */
  #tell(name: string, why: string): void {
    const key = `${name}\0${why}`;
    if (this.#told.has(key) || this.#told.size >= 1000) return;
    this.#told.add(key);
    this.#options.log.warn("an input is left", { dir: this.#options.dir, file: shown(name), why });
  }
}

/** Changes when somebody writes the file or puts another in its place. */
function stampOf({ size, mtime, ino }: Deno.FileInfo): string {
  return `${ino} ${size} ${mtime?.getTime()}`;
}

async function idOf(name: string, input: Uint8Array): Promise<string> {
  const head = new TextEncoder().encode(`${name}\0`);
  const bytes = new Uint8Array(head.length + input.length);
  bytes.set(head);
  bytes.set(input, head.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name that cannot steer a terminal. */
function shown(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd");
}
