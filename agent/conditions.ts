/**
 * What goes on around the GPU: which phase of the flight, how much battery, how hot?
 *
 * A source answers at once, from what it knows; where it learns that is its own affair. The one here is a small JSON
 * file that a companion of the flight stack rewrites; what is too old, unreadable or wrong is not known. Another one, the
 * autopilot itself, is in flight.ts.
 */
import { z } from "zod";
import { type Phase, PHASES } from "../policies/policy.ts";
import { InputError, reasonOf } from "./errors.ts";
import type { Logger } from "./log.ts";
import { formatDurationNs } from "./quantity.ts";
import { parseWith, strictObject } from "./schema.ts";

/** Absent: not known. */
export interface Conditions {
  phase: Phase;
  batteryPercent?: number;
  temperatureC?: number;
  powerW?: number;
  /** Stands for the device's clocks or power mode; another number: they have changed. */
  clockKey?: number;
  /** No background, whatever the policy says. The source says why, in the log. */
  keepOff?: boolean;
}

export interface ConditionsSource {
  /** Now, on the engine's clock. Does not block. */
  current(nowNs: number): Conditions;
}

const UNKNOWN: Conditions = { phase: "unknown" };

/** Of a mission that names no source. */
export const NO_CONDITIONS: ConditionsSource = { current: () => UNKNOWN };

const schema = strictObject({
  phase: z.enum(PHASES, { error: `must be one of ${PHASES.join(", ")}` }),
  batteryPercent: z.number().min(0).max(100).optional(),
  temperatureC: z.number().min(-100).max(200).optional(),
  powerW: z.number().min(0).max(100_000).optional(),
  clockKey: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});

const MAX_FILE_BYTES = 4096;

/** Throws `InputError`. */
export function parseConditions(text: string, file: string): Conditions {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new InputError({ file, field: "", rule: "must be JSON" });
  }
  return parseWith(schema, data, file) as Conditions;
}

export interface FileText {
  text: string;
  /** Another one whenever the file was written, also with the same text. */
  stamp: string;
}

/** Throws `InputError`. */
export async function readConditionsFile(file: string): Promise<FileText> {
  try {
    const { isFile, size, mtime, ino } = await Deno.stat(file);
    if (!isFile) throw new InputError({ file, field: "", rule: "must be a plain file" });
    if (size > MAX_FILE_BYTES) {
      throw new InputError({ file, field: "", rule: `must have at most ${MAX_FILE_BYTES} bytes` });
    }
    return { text: await Deno.readTextFile(file), stamp: `${ino} ${mtime?.getTime()}` };
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError({ file, field: "", rule: reasonOf(error) }, { cause: error });
  }
}

export interface FileConditionsOptions {
  file: string;
  /** What was not rewritten for this long is not known any more. */
  maxAgeNs: number;
  log: Logger;
  /** Default: `readConditionsFile`. */
  read?: (file: string) => Promise<FileText>;
}

/**
 * Begins a read whenever it is asked, and answers with the last one. Age counts from when the agent first saw that the
 * file was written again: no clock but the engine's is compared. So a file that lies there from the flight before is
 * not believed until it is rewritten.
 */
export class FileConditions implements ConditionsSource {
  readonly #options: Required<FileConditionsOptions>;
  #reading: Promise<void> | undefined;
  #stamp: string | undefined;
  #known: { conditions: Conditions; seenNs: number } | undefined;
  /** Why the last read gave nothing. */
  #problem: string | undefined;
  #askedSinceNs: number | undefined;
  #said = "";

  constructor(options: FileConditionsOptions) {
    this.#options = { read: readConditionsFile, ...options };
  }

  current(nowNs: number): Conditions {
    this.#askedSinceNs ??= nowNs;
    this.#reading ??= this.#read(nowNs);
    const { maxAgeNs } = this.#options;
    const known = this.#known;
    if (this.#problem === undefined && known !== undefined && nowNs - known.seenNs <= maxAgeNs) {
      this.#say("");
      return known.conditions;
    }
    const since = known?.seenNs ?? this.#askedSinceNs;
    if (this.#problem !== undefined) this.#say(this.#problem);
    else if (nowNs - since > maxAgeNs) this.#say(`not rewritten for ${formatDurationNs(maxAgeNs)}`);
    return UNKNOWN;
  }

  /** For tests: the read under way has ended. */
  async settled(): Promise<void> {
    await this.#reading;
  }

  async #read(nowNs: number): Promise<void> {
    const { file, read } = this.#options;
    try {
      const { text, stamp } = await read(file);
      const first = this.#stamp === undefined;
      const key = `${stamp} ${text}`;
      if (key !== this.#stamp) {
        const conditions = parseConditions(text, file);
        if (!first) this.#known = { conditions, seenNs: nowNs };
        this.#stamp = key;
      }
      this.#problem = undefined;
    } catch (error) {
      // Whatever is there next was written after this.
      this.#stamp ??= "";
      this.#problem = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    } finally {
      this.#reading = undefined;
    }
  }

  /** Once per change. "": all is well. */
  #say(problem: string): void {
    if (problem === this.#said) return;
    const { log, file } = this.#options;
    if (problem === "") log.info(`conditions are known again from ${file}`, { event: "conditions" });
    else log.warn(`conditions are not known: ${file}: ${problem}`, { event: "conditions" });
    this.#said = problem;
  }
}

/** For virtual time: what the file says at the start holds throughout. Throws `InputError`. */
export async function fixedConditions(file: string): Promise<ConditionsSource> {
  const conditions = parseConditions((await readConditionsFile(file)).text, file);
  return { current: () => conditions };
}
