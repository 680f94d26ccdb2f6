/**
 * How does the agent say what happens?
 *
 * One line per message, to standard error: JSON for machines, plain words on a terminal. Standard output belongs
 * to results. It does *not* read a clock: the caller gives `now`, so that a simulation logs its own time.
 */
import { colors } from "./std/mod.ts";

export type LogLevel = "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface Logger {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LoggerOptions {
  /** Takes one line with its newline. */
  write: (line: string) => void;
  format: "json" | "text";
  /** Text only: mark warnings and errors in colour. */
  color: boolean;
  /** Time of a message: ISO 8601, or seconds of virtual time. */
  now: () => string;
  /** Messages below it are left out. Default `info`. */
  level?: LogLevel;
}

const RANK: Record<LogLevel, number> = { info: 0, warn: 1, error: 2 };

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
    info: (message, fields) => log("info", message, fields),
    warn: (message, fields) => log("warn", message, fields),
    error: (message, fields) => log("error", message, fields),
  };
}

/** Keeps nothing, says nothing: for tests and for `--json` runs that must not mix streams. */
export const SILENT: Logger = { info() {}, warn() {}, error() {} };

/** To standard error: words on a terminal (colour unless NO_COLOR is set), JSON lines elsewhere. */
export function stderrLogger(now: () => string, level: LogLevel = "info"): Logger {
  const terminal = Deno.stderr.isTerminal();
  const encoder = new TextEncoder();
  return createLogger({
    write: (line) => writeAllSync(encoder.encode(line)),
    format: terminal ? "text" : "json",
    color: terminal && (Deno.env.get("NO_COLOR") ?? "") === "",
    now,
    level,
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
  const extra = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`).join("");
  const mark = level === "info" ? "" : `${level}: `;
  const paint = !options.color
    ? (text: string) => text
    : { info: (text: string) => text, warn: colors.yellow, error: colors.red }[level];
  return `${options.now()} ${paint(mark + message)}${options.color ? colors.dim(extra) : extra}`;
}

/** Time of day, for stamping a log; nothing else reads it. */
export function wallClock(): string {
  return new Date().toISOString();
}
