/**
 * What does "15ms" mean in the unit that the program counts in?
 *
 * Strict readers for quantities with a unit, and writers for people. A bare number is never accepted: its unit
 * would be a guess. Arithmetic is exact (big integers) up to the one rounding that a frequency needs.
 */
import { InputError, showValue, type Where } from "./errors.ts";

export interface QuantityOptions {
  /** File and field for messages. */
  where?: Where;
  /** Accept zero. Default false. */
  allowZero?: boolean;
  /** Smallest and largest value, in the unit of the result. */
  min?: number;
  max?: number;
}

interface Kind {
  noun: string;
  /** Unit -> how many of the result's unit it is, as an exact fraction. */
  units: Readonly<Record<string, readonly [numerator: bigint, denominator: bigint]>>;
  example: string;
  show: (value: number) => string;
}

const DURATION: Kind = {
  noun: "a duration",
  units: {
    ns: [1n, 1n],
    us: [1_000n, 1n],
    ms: [1_000_000n, 1n],
    s: [1_000_000_000n, 1n],
    min: [60_000_000_000n, 1n],
    h: [3_600_000_000_000n, 1n],
  },
  example: "15ms",
  show: formatDurationNs,
};
const FREQUENCY: Kind = {
  noun: "a frequency",
  units: { Hz: [1n, 1n], kHz: [1_000n, 1n], MHz: [1_000_000n, 1n] },
  example: "30Hz",
  show: (hz) => `${hz} Hz`,
};
const BYTES: Kind = {
  noun: "a number of bytes",
  units: {
    B: [1n, 1n],
    kB: [1_000n, 1n],
    MB: [1_000_000n, 1n],
    GB: [1_000_000_000n, 1n],
    KiB: [1_024n, 1n],
    MiB: [1_048_576n, 1n],
    GiB: [1_073_741_824n, 1n],
  },
  example: "512MiB",
  show: formatBytes,
};
const POWER: Kind = {
  noun: "a power",
  units: { mW: [1n, 1_000n], W: [1n, 1n], kW: [1_000n, 1n] },
  example: "25W",
  show: formatPowerW,
};
const TEMPERATURE: Kind = {
  noun: "a temperature",
  units: { C: [1n, 1n], "°C": [1n, 1n] },
  example: "85C",
  show: formatTemperatureC,
};

const PERCENT: Kind = {
  noun: "a percentage",
  units: { "%": [1n, 1n] },
  example: "20%",
  show: (percent) => `${percent} %`,
};

/** Patterns of the accepted texts, for a JSON Schema. */
export const DURATION_PATTERN = patternOf(DURATION);
export const FREQUENCY_PATTERN = patternOf(FREQUENCY);
export const BYTES_PATTERN = patternOf(BYTES);
export const POWER_PATTERN = patternOf(POWER);
export const TEMPERATURE_PATTERN = patternOf(TEMPERATURE);
export const PERCENT_PATTERN = patternOf(PERCENT);

/** `"15ms"` -> 15000000. A whole number of nanoseconds. Throws `InputError`. */
export function parseDurationNs(value: unknown, options: QuantityOptions = {}): number {
  return whole(value, DURATION, "nanoseconds", options);
}

/** `"30Hz"` -> 33333333: the period in nanoseconds, rounded, at least 1. Throws `InputError`. */
export function parseFrequencyToPeriodNs(
  value: unknown,
  options: Pick<QuantityOptions, "where"> = {},
): number {
  const { numerator, denominator } = fraction(value, FREQUENCY, options);
  const scaled = 1_000_000_000n * denominator;
  const periodNs = (2n * scaled + numerator) / (2n * numerator);
  if (periodNs < 1n) throw wrong(value, options, "must be at most 1000 MHz");
  return safe(periodNs, value, options);
}

/** `"512MiB"` -> 536870912; `kB` is 1000 bytes, `KiB` 1024. A whole number. Throws `InputError`. */
export function parseBytes(value: unknown, options: QuantityOptions = {}): number {
  return whole(value, BYTES, "bytes", options);
}

/** `"25W"` -> 25. Throws `InputError`. */
export function parsePowerW(value: unknown, options: QuantityOptions = {}): number {
  return real(value, POWER, options);
}

/** `"85C"` -> 85 degrees Celsius. Not below zero: these are limits of a running board. Throws `InputError`. */
export function parseTemperatureC(value: unknown, options: QuantityOptions = {}): number {
  return real(value, TEMPERATURE, options);
}

/** `"20%"` -> 20. At most 100. Throws `InputError`. */
export function parsePercent(value: unknown, options: QuantityOptions = {}): number {
  return real(value, PERCENT, { max: 100, ...options });
}

/** Three digits and the unit that suits: 33333333 -> `33.3 ms`. Negative and non-finite values are shown as such. */
export function formatDurationNs(ns: number): string {
  if (!Number.isFinite(ns)) return String(ns);
  const size = Math.abs(ns);
  if (size < 1e3) return `${digits(ns)} ns`;
  if (size < 1e6) return `${digits(ns / 1e3)} us`;
  if (size < 1e9) return `${digits(ns / 1e6)} ms`;
  if (size < 120e9) return `${digits(ns / 1e9)} s`;
  if (size < 7200e9) return `${digits(ns / 60e9)} min`;
  return `${digits(ns / 3600e9)} h`;
}

/** 33333333 -> `30 Hz`; 0 -> `as fast as possible`. */
export function formatPeriodNs(periodNs: number): string {
  if (periodNs === 0) return "as fast as possible";
  const hz = 1e9 / periodNs;
  if (hz >= 1e6) return `${digits(hz / 1e6)} MHz`;
  return hz >= 1e3 ? `${digits(hz / 1e3)} kHz` : `${digits(hz)} Hz`;
}

/** 536870912 -> `512 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${unit === 0 ? size : digits(size)} ${units[unit]}`;
}

/** 7.25 -> `7.25 W`. */
export function formatPowerW(watts: number): string {
  return `${digits(watts)} W`;
}

/** 85 -> `85 C`. */
export function formatTemperatureC(celsius: number): string {
  return `${digits(celsius)} C`;
}

/** At least three significant digits, no trailing zeros. */
function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function whole(value: unknown, kind: Kind, noun: string, options: QuantityOptions): number {
  const { numerator, denominator } = fraction(value, kind, options);
  if (numerator % denominator !== 0n) throw wrong(value, options, `must be a whole number of ${noun}`);
  return inRange(safe(numerator / denominator, value, options), value, kind, options);
}

function real(value: unknown, kind: Kind, options: QuantityOptions): number {
  const { numerator, denominator } = fraction(value, kind, options);
  safe(numerator / denominator, value, options);
  return inRange(Number(numerator) / Number(denominator), value, kind, options);
}

function inRange(result: number, value: unknown, kind: Kind, options: QuantityOptions): number {
  const { min, max } = options;
  if (min !== undefined && result < min) throw wrong(value, options, `must be at least ${kind.show(min)}`);
  if (max !== undefined && result > max) throw wrong(value, options, `must be at most ${kind.show(max)}`);
  return result;
}

function safe(result: bigint, value: unknown, options: QuantityOptions): number {
  if (result > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw wrong(value, options, "must be at most 2^53 - 1 when counted");
  }
  return Number(result);
}

/** The value as an exact fraction of the result's unit. */
function fraction(
  value: unknown,
  kind: Kind,
  options: QuantityOptions,
): { numerator: bigint; denominator: bigint } {
  const form = `must be ${kind.noun} such as "${kind.example}"`;
  const unitless = `must have a unit, such as "${kind.example}"`;
  const units = `units are ${Object.keys(kind.units).join(", ")}`;
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) {
    throw wrong(value, options, unitless, units);
  }
  if (typeof value !== "string" || value.length > 40) throw wrong(value, options, form, units);
  const match = /^(\d+)(?:\.(\d+))? ?(\D*)$/.exec(value.trim());
  if (match === null) throw wrong(value, options, form, units);
  const [, integer = "", decimals = "", unit = ""] = match;
  if (unit === "") throw wrong(value, options, unitless, units);
  const factor = Object.hasOwn(kind.units, unit) ? kind.units[unit] : undefined;
  if (factor === undefined) throw wrong(value, options, form, meantUnit(kind, unit) ?? units);
  const numerator = BigInt(integer + decimals) * factor[0];
  if (numerator === 0n && options.allowZero !== true) throw wrong(value, options, "must be more than zero");
  return { numerator, denominator: 10n ** BigInt(decimals.length) * factor[1] };
}

/** "m" is not guessed: minutes to one reader, milliseconds with a letter lost to another. */
function meantUnit(kind: Kind, unit: string): string | undefined {
  if (kind === DURATION && unit === "m") return 'write "min" for minutes, or "ms"';
  const other = Object.keys(kind.units).find((known) => known.toLowerCase() === unit.toLowerCase());
  return other === undefined ? undefined : `write "${other}"`;
}

function wrong(value: unknown, options: QuantityOptions, rule: string, remedy?: string): InputError {
  const { file, field } = options.where ?? { file: "", field: "" };
  const problem = { file, field, rule: `${rule}, not ${showValue(value)}` };
  return new InputError(remedy === undefined ? problem : { ...problem, remedy });
}

function patternOf(kind: Kind): string {
  return `^[0-9]+(\\.[0-9]+)? ?(${Object.keys(kind.units).join("|")})$`;
}
