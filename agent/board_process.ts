/**
 * How does the agent read sensors without waiting for them?
 *
 * Some take milliseconds, and a broken one takes for ever. So a process of its own reads them, this program again (`calypte
 * sensors`), with the native library for `/proc` and `/sys` and with NVML, which the agent itself may not load; it does nothing
 * else: no network, no bundle and no policy ever reaches it. Lines of JSON go both ways, one answer for each request, in order. It
 * ends when the agent does, however that ends, and puts the GPU's clocks back then.
 */
import { type Board, probeBoard } from "../jetson/board.ts";
import { type BoardFiles, boardFiles, type SystemAccess } from "../jetson/board_files.ts";
import { boardWriter, type ClockHold, holdGpuClocks } from "../jetson/power_clocks.ts";
import { emptySample, openTelemetry, type Telemetry, type TelemetrySample } from "../jetson/telemetry.ts";
import { type Nvml, NVML_VARIABLE, nvmlPlaces } from "../jetson/telemetry_nvml.ts";
import { LIBRARY_VARIABLE } from "../ffi/mod.ts";
import { libraryFile } from "./assets/library.ts";
import { ownCommand, ownEnvironment } from "./assets/place.ts";
import { InputError } from "./errors.ts";
import type { ForeignSource, OthersAnswer } from "./foreign/foreign.ts";

/** Answered with what the function of that name of `Sensors` gives; `null`: `undefined`. */
export type Request =
  | { op: "board" }
  | { op: "sample"; nowNs: number }
  | { op: "hold" }
  | { op: "others"; own: readonly number[] };

export interface Sensors extends Telemetry {
  /** Never rejects; `undefined`: there is no answer. */
  board(): Promise<Board | undefined>;
  /** Holds the GPU's clocks until `release`: what is held, why not, or `undefined`: there is nothing to hold. Never rejects. */
  hold(): Promise<HeldClocks>;
  /** Who else uses the GPU; `own`: ids of the agent's processes. `undefined`: there is no answer. Never rejects. */
  others(own: readonly number[]): Promise<OthersAnswer | undefined>;
  /** Puts the clocks back and closes. Never rejects. */
  release(): Promise<void>;
}

export type HeldClocks = Readonly<Record<string, number>> | string | undefined;

/** Sensors of this machine, by a process, or below `root`, where plain files answer at once. */
export function openSensors(root?: string): Sensors {
  return root === undefined ? new SensorProcess() : new OwnSensors(root);
}

/** What this machine is asked through. Absent: it is not there. */
export interface Machine {
  files?: SystemAccess | undefined;
  nvml?: Nvml | undefined;
  foreign?: ForeignSource | undefined;
}

/** Reads by itself: below a folder, or this machine. */
export class OwnSensors implements Sensors {
  readonly #files: BoardFiles;
  readonly #write: ReturnType<typeof boardWriter>;
  readonly #telemetry: Telemetry;
  readonly #foreign: ForeignSource | undefined;
  #hold: ClockHold | undefined;

  constructor(place: string | Machine) {
    const [root, machine] = typeof place === "string" ? [place, {}] : ["", place];
    this.#files = boardFiles(root, machine.files);
    this.#write = boardWriter(root, machine.files);
    this.#telemetry = openTelemetry({ files: this.#files, nvml: machine.nvml });
    this.#foreign = machine.foreign;
  }

  board(): Promise<Board> {
    return probeBoard(this.#files);
  }

  sample(nowNs: number): Promise<TelemetrySample> {
    return this.#telemetry.sample(nowNs);
  }

  async hold(): Promise<HeldClocks> {
    const held = await holdGpuClocks({ files: this.#files, write: this.#write });
    if (typeof held !== "object") return held;
    this.#hold = held;
    return held.heldHz;
  }

  async others(own: readonly number[]): Promise<OthersAnswer | undefined> {
    if (this.#foreign === undefined) return undefined;
    const { everyMs, never } = this.#foreign;
    return { everyMs, never, ...await this.#foreign.look(new Set(own)) };
  }

  async release(): Promise<void> {
    await this.#hold?.release();
    this.close();
  }

  close(): void {
    this.#telemetry.close();
    this.#foreign?.close();
  }
}

/** One that has ended is started again, but not at once. */
const RESTART_NS = 10e9;

/** Has them read. */
export class SensorProcess implements Sensors {
  readonly #spawn: () => Link | undefined;
  readonly #patienceMs: number;
  #link: Link | undefined;
  #others: Promise<OthersAnswer | undefined> | undefined;
  #endedNs: number | undefined;
  #holds = false;
  #closed = false;

  constructor(spawn: () => Link | undefined = spawnLink, patienceMs = PATIENCE_MS) {
    this.#spawn = spawn;
    this.#patienceMs = patienceMs;
    this.#link = spawn();
  }

  async board(): Promise<Board | undefined> {
    return await this.#ask({ op: "board" }) as Board | undefined;
  }

  async sample(nowNs: number): Promise<TelemetrySample> {
    if (this.#link?.ended !== false && !this.#closed) {
      this.#endedNs ??= nowNs;
      if (nowNs - this.#endedNs >= RESTART_NS) {
        this.#endedNs = undefined;
        this.#link = this.#spawn();
        if (this.#holds) void this.hold();
      }
    }
    const answer = await this.#ask({ op: "sample", nowNs });
    return answer === undefined ? emptySample(nowNs) : answer as TelemetrySample;
  }

  async hold(): Promise<HeldClocks> {
    this.#holds = true;
    if (this.#link === undefined || this.#link.ended) return "the process that reads sensors does not run";
    const answer = await this.#ask({ op: "hold" });
    return answer === null ? undefined : answer as HeldClocks;
  }

  async others(own: readonly number[]): Promise<OthersAnswer | undefined> {
    // Behind a sensor that hangs questions must not pile up; and the answer to an earlier one is not this one's.
    if (this.#others !== undefined) await within(this.#others, this.#patienceMs);
    if (this.#others !== undefined) return undefined;
    this.#others = this.#ask({ op: "others", own })
      .then((answer) => answer as OthersAnswer ?? undefined)
      .finally(() => this.#others = undefined);
    return await within(this.#others, this.#patienceMs);
  }

  /** Waits for the process to end, as it has put the clocks back then; but not for one that hangs. */
  async release(): Promise<void> {
    this.close();
    await within(this.#link?.over, this.#patienceMs);
  }

  close(): void {
    this.#closed = true;
    this.#link?.close();
  }

  async #ask(request: Request): Promise<unknown> {
    return this.#closed ? undefined : await this.#link?.ask(request);
  }
}

/** A sensor that hangs holds up no run for longer. */
export const PATIENCE_MS = 2000;

/** What `promise` gives, or `undefined` after `ms`. */
export async function within<T>(promise: Promise<T> | undefined, ms: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), ms));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A line to a process that answers requests. */
export interface Link {
  /** Resolves with `undefined` if there will be no answer. Never rejects. */
  ask(request: Request): Promise<unknown>;
  /** Asks it to end. */
  close(): void;
  readonly ended: boolean;
  /** Resolves when it has ended. */
  readonly over: Promise<void>;
}

/** `undefined`: this program may not start itself. */
export function spawnLink(root?: string): Link | undefined {
  const library = root === undefined ? findLibrary() : undefined;
  const { program, args } = ownCommand(permissionsFor(root, library));
  const environment = ownEnvironment();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args, "sensors", ...(root === undefined ? [] : [root])],
      clearEnv: environment !== undefined,
      env: { ...environment, ...(library === undefined ? {} : { [LIBRARY_VARIABLE]: library }) },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  } catch {
    return undefined;
  }
  return new ProcessLink(child);
}

/** Without it, files and NVML stay unread. */
function findLibrary(): string | undefined {
  try {
    return libraryFile();
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** In a source tree. Of `/proc` and `/sys` the library takes care; a Jetson has some files besides. */
function permissionsFor(root: string | undefined, library: string | undefined): string[] {
  if (root !== undefined) return [`--allow-read=${root}`, `--allow-write=${root}`];
  const nvml = nvmlPlaces();
  return [
    `--allow-read=${["/etc", "/var/lib/nvpmodel", ...nvml].join(",")}`,
    `--allow-env=${LIBRARY_VARIABLE},${NVML_VARIABLE}`,
    `--allow-ffi=${[...(library === undefined ? [] : [library]), ...nvml].join(",")}`,
  ];
}

/** A line is a sample of some kilobytes; one that does not end is nonsense. */
const MAX_LINE_CHARS = 1_000_000;

class ProcessLink implements Link {
  ended = false;
  readonly over: Promise<void>;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #waiting: ((answer: unknown) => void)[] = [];

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.over = this.#listen();
  }

  ask(request: Request): Promise<unknown> {
    if (this.ended) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#waiting.push(resolve);
    this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n")).catch(() => this.#end());
    return promise;
  }

  close(): void {
    this.#writer.close().catch(() => {});
  }

  async #listen(): Promise<void> {
    try {
      for await (const line of linesOf(this.#child.stdout)) {
        this.#waiting.shift()?.(JSON.parse(line));
      }
    } catch {
      // What answers nonsense is not asked again.
    }
    this.#end();
    await this.#child.status.catch(() => {});
  }

  #end(): void {
    this.ended = true;
    for (const answer of this.#waiting.splice(0)) answer(undefined);
    // One that hangs in a read ends when that does; its input is closed.
    this.close();
  }
}

/** Whole lines; throws on one that does not end. */
export async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    if (rest.length > MAX_LINE_CHARS) throw new RangeError("a line does not end");
    yield* parts;
  }
}

/** The other end: answers until its input ends, then puts the clocks back. */
export async function serveSensors(
  input: ReadableStream<Uint8Array<ArrayBuffer>>,
  answer: (line: string) => void,
  sensors: Sensors,
): Promise<void> {
  try {
    for await (const line of linesOf(input)) {
      const request = JSON.parse(line) as Request;
      if (request.op === "board") answer(JSON.stringify(await sensors.board()));
      else if (request.op === "sample") answer(JSON.stringify(await sensors.sample(request.nowNs)));
      else if (request.op === "others") answer(JSON.stringify(await sensors.others(request.own) ?? null));
      else answer(JSON.stringify(await sensors.hold() ?? null));
    }
  } finally {
    await sensors.release();
  }
}
