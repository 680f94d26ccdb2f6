/** The part of `@std/cli/parse-args` that this project calls. */
export interface ParseOptions {
  boolean?: readonly string[];
  string?: readonly string[];
  collect?: readonly string[];
  alias?: Record<string, string | readonly string[]>;
  default?: Record<string, unknown>;
  stopEarly?: boolean;
  "--"?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
export function parseArgs(
  args: readonly string[],
  options?: ParseOptions,
): { _: (string | number)[] } & Record<string, unknown>;
