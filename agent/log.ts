/**
 * How does the agent say what happens?
 *
 * One line per message, to standard error: JSON for machines, plain words on a terminal. Standard output belongs
 * to results. It does *not* read a clock: the caller gives `now`, so that a simulation logs its own time.
 */
import { colors } from "./std/mod.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "json" | "text";
export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface Logger {
  /** What another message says already, in more detail. */
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LoggerOptions {
  /** Takes one line with its newline. */
  write: (line: string) => void;
  format: LogFormat;
  /** Text only: mark warnings and errors in colour. */
  color: boolean;
  /** Time of a message: ISO 8601, the time of day, or seconds of virtual time. */
  now: () => string;
  /** Messages below it are left out. Default `info`. */
  level?: LogLevel;
}

/** Fields for machines only: the messages of events (events.ts) say them in words. */
const IN_WORDS: ReadonlySet<string> = new Set(["event", "feature", "plan"]);

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLogger(options: LoggerOptions): Logger {
  const least = RANK[options.level ?? "info"];
  const log = (level: LogLevel, message: string, fields: LogFields = {}) => {
    if (RANK[level] < least) return;
    const line = options.format === "json"
      ? JSON.stringify({ time: options.now(), level, message, ...fields })
      : formatText(options, level, message, fields);
    options.write(line + "\n");
  };
  return {
    debug: (message, fields) => log("debug", message, fields),
    info: (message, fields) => log("info", message, fields),
    warn: (message, fields) => log("warn", message, fields),
    error: (message, fields) => log("error", message, fields),
  };
}

/** Keeps nothing, says nothing: for tests and for `--json` runs that must not mix streams. */
export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * To standard error: words on a terminal (colour unless NO_COLOR is set), JSON lines elsewhere. Messages of level
 * `debug` appear with CALYPTE_DEBUG=1 only.
 */
export function stderrLogger(now: (format: LogFormat) => string, level: LogLevel = "info"): Logger {
  const terminal = Deno.stderr.isTerminal();
  const format = terminal ? "text" : "json";
  const debug = Deno.env.get("CALYPTE_DEBUG") === "1";
  const encoder = new TextEncoder();
  return createLogger({
    write: (line) => writeAllSync(encoder.encode(line)),
    format,
    color: terminal && (Deno.env.get("NO_COLOR") ?? "") === "",
    now: () => now(format),
    level: debug ? "debug" : level,
  });
}

/** A log that cannot be written must not end the agent: a closed pipe is ignored. */
function writeAllSync(bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.WouldBlock)) throw error;
  }
}

function formatText(options: LoggerOptions, level: LogLevel, message: string, fields: LogFields): string {
  const shown = Object.entries(fields).filter(([key]) => !IN_WORDS.has(key));
  const extra = shown.map(([key, value]) => ` ${key}=${value}`).join("");
  const mark = level === "info" ? "" : `${level}: `;
  const plain = (text: string) => text;
  const paint = !options.color
    ? plain
    : { debug: colors.dim, info: plain, warn: colors.yellow, error: colors.red }[level];
  return `${options.now()} ${paint(mark + message)}${options.color ? colors.dim(extra) : extra}`;
}

/** For stamping a log; nothing else reads it. For machines the date and time in UTC, for people the local time of day. */
export function wallClock(format: LogFormat): string {
  const now = new Date();
  return format === "json" ? now.toISOString() : now.toTimeString().slice(0, "hh:mm:ss".length);
}

/** The wall clock in milliseconds, for times that a person reads; nothing is reckoned with it. */
export function wallMs(): number {
  return new Date().getTime();
}
