/**
 * What is to go wrong in a simulation? The text of `--faults`: faults by name, each with its measure, between commas.
 *
 * ```
 * late-timers=0.01x2ms        one wake-up of the dispatcher in a hundred is late, by up to 2 ms
 * slow-kernels=0.01x10        one step or critical execution in a hundred takes ten times as long
 * lost-completions=0.0001     the end of one critical execution in ten thousand never reaches the host
 * late-entries=0.01x1ms       the end of one background entry in a hundred reaches the host 1 ms late
 * throttle=10s..20s@0.5       from 10 s to 20 s kernels run at half their speed
 * stalled-planner=10s..12s    nobody plans from 10 s to 12 s
 * ```
 */
import type { SimFaults } from "../ffi/engine.ts";
import { closest, InputError } from "./errors.ts";
import { parseDurationNs } from "./quantity.ts";

export interface Faults {
  engine: Partial<SimFaults>;
  /** No ticks of the planner from `beginNs` on, until `endNs`. */
  stalledPlanner: { beginNs: number; endNs: number } | undefined;
}

export const NO_FAULTS: Faults = { engine: {}, stalledPlanner: undefined };

const FAULTS: Record<
  string,
  { example: string; read: (text: string) => Partial<Faults["engine"]> | Faults }
> = {
  "late-timers": {
    example: "late-timers=0.01x2ms",
    read: (text) => {
      const [often, late] = pair(text, "x");
      return { lateTimerPpm: ppm(often), lateTimerNs: duration(late) };
    },
  },
  "slow-kernels": {
    example: "slow-kernels=0.01x10",
    read: (text) => {
      const [often, factor] = pair(text, "x");
      return { slowPpm: ppm(often), slowPermille: thousandths(factor, 1, 1000) };
    },
  },
  "lost-completions": { example: "lost-completions=0.0001", read: (text) => ({ lostPpm: ppm(text) }) },
  "late-entries": {
    example: "late-entries=0.01x1ms",
    read: (text) => {
      const [often, late] = pair(text, "x");
      return { lateEntryPpm: ppm(often), lateEntryNs: duration(late) };
    },
  },
  "throttle": {
    example: "throttle=10s..20s@0.5",
    read: (text) => {
      const [when, speed] = pair(text, "@");
      const { beginNs, endNs } = span(when);
      return {
        throttleBeginNs: beginNs,
        throttleEndNs: endNs,
        throttlePermille: thousandths(speed, 0.001, 1),
      };
    },
  },
  "stalled-planner": {
    example: "stalled-planner=10s..12s",
    read: (text) => ({ engine: {}, stalledPlanner: span(text) }),
  },
};

/** Throws `InputError`. */
export function parseFaults(spec: string): Faults {
  const faults: Faults = { engine: {}, stalledPlanner: undefined };
  const seen = new Set<string>();
  for (const part of spec.split(",")) {
    const at = part.indexOf("=");
    const name = (at < 0 ? part : part.slice(0, at)).trim();
    const fault = Object.hasOwn(FAULTS, name) ? FAULTS[name] : undefined;
    const names = Object.keys(FAULTS);
    if (fault === undefined) {
      const near = closest(name, names);
      throw bad(
        `must name ${names.join(", ")}, not ${name === "" ? "nothing" : name}`,
        near === undefined ? undefined : `did you mean ${near}?`,
      );
    }
    if (seen.has(name)) throw bad(`${name} is named twice`);
    seen.add(name);
    try {
      // Without a measure, the one of the example.
      const read = fault.read(at < 0 ? fault.example.slice(name.length + 1) : part.slice(at + 1).trim());
      if ("engine" in read) faults.stalledPlanner = read.stalledPlanner;
      else Object.assign(faults.engine, read);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw bad(`${name}: ${cause.message}`, `such as ${fault.example}`);
    }
  }
  return faults;
}

function bad(rule: string, remedy?: string): InputError {
  return new InputError({ file: "", field: "--faults", rule, ...(remedy === undefined ? {} : { remedy }) });
}

function pair(text: string, between: string): [string, string] {
  const parts = text.split(between);
  if (parts.length !== 2 || parts[0] === "" || parts[1] === "") {
    throw new RangeError(`must be two values with "${between}" between them, not ${text}`);
  }
  return parts as [string, string];
}

function span(text: string): { beginNs: number; endNs: number } {
  const [begin, end] = pair(text, "..");
  const beginNs = duration(begin), endNs = duration(end);
  if (endNs <= beginNs) throw new RangeError(`must end after it begins, not ${text}`);
  return { beginNs, endNs };
}

function duration(text: string): number {
  return parseDurationNs(text, { where: { file: "", field: "--faults" }, allowZero: true });
}

function numberIn(text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value >= least && value <= most) return value;
  throw new RangeError(`must be a number ${least}..${most}, not ${text}`);
}

function ppm(text: string): number {
  return Math.round(numberIn(text, 0, 1) * 1e6);
}

function thousandths(text: string, least: number, most: number): number {
  return Math.round(numberIn(text, least, most) * 1000);
}
