/**
 * Where are the files that belong to the program itself: kernels, profiles, examples?
 *
 * In a source tree they lie in the tree. In the executable (`make compile`) they are embedded under the same paths, and Deno's
 * functions for reading files read them there too; they can only be read, and no other program sees them. So nobody else asks
 * in which of the two worlds it runs. The native library is another matter: library.ts.
 */
/** The tree's root, without a slash at its end. Without the standard library: the engine's process would load it for this alone. */
const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** Is this the executable? Then it is its own runtime, with its permissions built in. */
export function isExecutable(): boolean {
  return (Deno.build as { standalone?: boolean }).standalone === true;
}

/**
 * The path of a file or folder of the program, such as `agent/profiles/h200.json`. To be read with Deno's functions only. What the
 * executable holds is listed in tools/compile.ts: what is asked for here must be named there.
 */
export function assetPath(name: string): string {
  return `${ROOT}/${name}`;
}

/**
 * V8's space for what has just been made, 2 MiB for each half: with its own choice (16 MiB) an agent's memory climbs for minutes and
 * lies a third higher. Collections are more, and each is shorter. `./calypte` and tools/compile.ts say the same.
 */
export const V8_FLAGS = "--v8-flags=--max-semi-space-size=2";

/** What starts this program once more; the arguments that follow are its own. */
export interface OwnCommand {
  program: string;
  args: string[];
}

/**
 * Names what starts Deno in a source tree, where that is not the file that runs: an emulator cannot be left out for a process's
 * own processes, nor can a profiler. In an executable it counts for nothing.
 */
export const RUNTIME_VARIABLE = "CALYPTE_DENO";

/** Whether its processes run behind something else: then they may take ten times as long to start. */
export function runsBehindAnother(): boolean {
  return !isExecutable() && (Deno.env.get(RUNTIME_VARIABLE) ?? "") !== "";
}

/**
 * How this program starts itself. `permissions`: Deno's flags for the new process; they count in a source tree only, as an
 * executable has its own built in.
 */
export function ownCommand(permissions: readonly string[]): OwnCommand {
  // Not its path: that may name a newer version by now, or nothing. And it is the one program that it may start.
  if (isExecutable()) return { program: "/proc/self/exe", args: [] };
  const args = [
    ...["run", "--quiet", "--no-prompt", "--cached-only", V8_FLAGS, "--config", assetPath("deno.json")],
    ...permissions,
    assetPath("agent/entry.ts"),
  ];
  return { program: Deno.env.get(RUNTIME_VARIABLE) || Deno.execPath(), args };
}

/**
 * The environment for a process of its own kind. An executable may start itself, but Deno lets no process with `LD_...` be started by
 * who may not start any: those are left out. `undefined`: all of it.
 */
export function ownEnvironment(): Record<string, string> | undefined {
  if (!isExecutable()) return undefined;
  return Object.fromEntries(
    Object.entries(Deno.env.toObject()).filter(([name]) => !/^(LD|DYLD)_/.test(name)),
  );
}
