/**
 * What happened in a flight, so that it can be flown again? The record of a run, as JSON Lines; docs/RECORD.md is its
 * format.
 *
 * One line for each critical request, one for each look at the jobs, events and plans as they come: some 60 bytes for
 * a request, so that an hour at 220 Hz takes about 50 MB. All times are nanoseconds since the engine became ready.
 * Writing happens where results are drained, never on the path of the engine.
 */
import type { Engine, EngineEvent, EngineSnapshot, Result } from "../ffi/engine.ts";
import { InputError, reasonOf } from "./errors.ts";
import { totalGpuNs } from "./policy_snapshot.ts";
import type { PreparedMission } from "./prepare.ts";

export const RECORD_FORMAT = "calypte-record/1";

export interface RecordedTask {
  name: string;
  bundle: string;
  source: "frames" | "api" | "none";
  deadlineNs: number;
  outputBytes: number;
  /** By itself, launch to completion, as measured ahead of the flight; the GPU time alone where `runs` is 0. */
  aloneP50Ns: number;
  runs: number;
}

export interface RecordedJob {
  name: string;
  bundle: string;
  /** Level of each step. */
  levels: readonly string[];
}

export interface RecordHeader {
  format: typeof RECORD_FORMAT;
  version: string;
  mission: string;
  /** SHA-256 of the mission file, in hexadecimal. */
  missionDigest: string;
  device: string;
  backend: "cuda" | "sim";
  profile: string | null;
  seed: number | null;
  tasks: RecordedTask[];
  jobs: RecordedJob[];
}

/** A critical request: number, arrival, launch, completion; the last two are 0 for one that never ran. */
export interface RecordedRequest {
  number: number;
  arrivalNs: number;
  launchNs: number;
  doneNs: number;
  late: boolean;
}

/** What is told to whoever watches a flight: a recorder, or a comparison. */
export interface FlightTap {
  result(result: Result): void;
  event(event: EngineEvent): void;
  snapshot(snapshot: EngineSnapshot): void;
}

/** SHA-256 of a mission file, in hexadecimal. */
export async function missionDigest(file: string): Promise<string> {
  return await digestHex(await Deno.readFile(file));
}

/** SHA-256 in hexadecimal. */
export async function digestHex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a recorder must know ahead of the flight. Call it once the engine is ready. */
export function describeFlight(
  engine: Engine,
  prepared: PreparedMission,
  more: Pick<RecordHeader, "version" | "missionDigest" | "profile" | "seed">,
): RecordHeader {
  const { mission } = prepared.files;
  return {
    format: RECORD_FORMAT,
    ...more,
    mission: mission.file,
    device: engine.device().name,
    backend: engine.backend,
    tasks: prepared.tasks.map(({ id, name, bundle, outputBytes }, index) => {
      const timing = engine.timing(id);
      const task = mission.critical[index];
      return {
        name,
        bundle: bundle.digestHex,
        source: task?.source.kind === "frames" ? "frames" : "api",
        deadlineNs: task?.deadlineNs ?? 0,
        outputBytes,
        aloneP50Ns: timing.p50Ns,
        runs: timing.runs,
      };
    }),
    jobs: prepared.jobs.map(({ name, bundle, steps }) => ({
      name,
      bundle: bundle.digestHex,
      levels: steps.map(({ level }) => level),
    })),
  };
}

/** Writes a record. What cannot be written ends the record, never the flight. */
export class Recorder implements FlightTap {
  /** Why nothing more is written. */
  fault: string | undefined;
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();
  #lines: string[] = [];
  #readyNs = 0;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** Makes the file; one that is there is an `InputError`, as nobody's flight is to be overwritten. */
  static open(file: string): Recorder {
    try {
      return new Recorder(Deno.openSync(file, { write: true, createNew: true }));
    } catch (cause) {
      throw new InputError({
        file,
        field: "--record",
        rule: `cannot be made: ${reasonOf(cause)}`,
        remedy: "name a file that is not there yet",
      }, { cause });
    }
  }

  /** `readyNs`: of the engine's clock. */
  begin(header: RecordHeader, readyNs: number): void {
    this.#readyNs = readyNs;
    this.#put(header);
  }

  result({ kind, work, number, arrivalNs, startNs, doneNs, late, complete, dropped, failed }: Result): void {
    if (kind !== "critical") return;
    const ran = !dropped && !failed;
    this.#put({
      r: [
        work,
        number,
        this.#since(arrivalNs),
        ran ? this.#since(startNs) : 0,
        ran ? this.#since(doneNs) : 0,
        late || !(complete || ran) ? 1 : 0,
      ],
    });
  }

  event({ kind, source, a, b, timeNs }: EngineEvent): void {
    this.#put({ e: [this.#since(timeNs), kind, source ?? null, a, b] });
  }

  snapshot(snapshot: EngineSnapshot): void {
    this.#put({
      s: [
        this.#since(snapshot.nowNs),
        snapshot.planId,
        snapshot.criticalBusyNs,
        snapshot.jobs.map((job) => [job.units, totalGpuNs(job), job.preemptions]),
      ],
    });
    this.#write();
  }

  close(): void {
    this.#write();
    this.#file.close();
  }

  #since(ns: number): number {
    return Math.max(0, ns - this.#readyNs);
  }

  #put(line: unknown): void {
    if (this.fault === undefined) this.#lines.push(JSON.stringify(line) + "\n");
  }

  #write(): void {
    const bytes = this.#encoder.encode(this.#lines.join(""));
    this.#lines = [];
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      this.fault = reasonOf(error);
    }
  }
}

export interface FlightRecord {
  header: RecordHeader;
  /** By task id. */
  requests: RecordedRequest[][];
  /** Looks at the jobs, by time. */
  looks: { atNs: number; criticalBusyNs: number; jobs: { units: number; gpuNs: number }[] }[];
}

/** Reads a record. Throws `InputError`, with the line. */
export async function readRecord(file: string): Promise<FlightRecord> {
  const bad = (line: number, rule: string) => new InputError({ file, field: `line ${line}`, rule });
  let stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  try {
    stream = (await Deno.open(file)).readable;
  } catch (cause) {
    throw new InputError({ file, field: "", rule: `the record cannot be read: ${reasonOf(cause)}` }, {
      cause,
    });
  }
  let header: RecordHeader | undefined;
  const requests: RecordedRequest[][] = [];
  const looks: FlightRecord["looks"] = [];
  let at = 0;
  const take = (text: string) => {
    at++;
    if (text === "") return;
    // deno-lint-ignore no-explicit-any
    let line: any;
    try {
      line = JSON.parse(text);
    } catch (cause) {
      throw new InputError({
        file,
        field: `line ${at}`,
        rule: "is not JSON; the record may have been cut off",
      }, {
        cause,
      });
    }
    if (header === undefined) {
      if (line?.format !== RECORD_FORMAT) throw bad(at, `must be the header of a ${RECORD_FORMAT}`);
      header = line as RecordHeader;
      for (const _ of header.tasks) requests.push([]);
    } else if (Array.isArray(line?.r)) {
      const [task, number, arrivalNs, launchNs, doneNs, late] = line.r as number[];
      const list = requests[task ?? -1];
      if (list === undefined || line.r.length !== 6 || !line.r.every(Number.isSafeInteger)) {
        throw bad(at, "is no request of this record's tasks");
      }
      list.push({
        number: number!,
        arrivalNs: arrivalNs!,
        launchNs: launchNs!,
        doneNs: doneNs!,
        late: late === 1,
      });
    } else if (Array.isArray(line?.s)) {
      const [atNs, , criticalBusyNs, jobs] = line.s as [number, number, number, number[][]];
      if (!Array.isArray(jobs) || jobs.length !== header.jobs.length) {
        throw bad(at, "is no look at this record's jobs");
      }
      looks.push({
        atNs,
        criticalBusyNs,
        jobs: jobs.map(([units = 0, gpuNs = 0]) => ({ units, gpuNs })),
      });
    }
  };
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) take(text);
  }
  take(rest);
  if (header === undefined) throw bad(1, `must be the header of a ${RECORD_FORMAT}`);
  if (looks.length < 2) throw bad(at, "the record is too short: it holds less than two looks at the jobs");
  return { header, requests, looks };
}
