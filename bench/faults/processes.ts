/**
 * Which processes belong to a scene, and how are they hit?
 *
 * A scene's processes have its run folder in their environment, wherever their parents have gone; so nobody else's is ever
 * touched. Linux only: reads /proc.
 */

export type Role = "agent" | "engine" | "worker";

export interface SeenProcess {
  pid: number;
  role: Role;
  args: readonly string[];
}

/** What holds an engine for one job of its own is a worker, by whichever command it was started. */
function roleOf(args: readonly string[]): Role | undefined {
  const [command, ...rest] = args;
  if (command === "run") return "agent";
  if (command === "worker") return "worker";
  if (command !== "engine") return undefined;
  const socket = rest[rest.indexOf("--socket") + 1] ?? "";
  return /(^|\/)engine-[0-9a-f]+\.sock$/.test(socket) ? "engine" : "worker";
}

/** All that live; one that has ended and waits for its parent does not. */
export function processesOf(runDir: string): SeenProcess[] {
  const found: SeenProcess[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const args = readNulls(`/proc/${name}/cmdline`);
    const entry = args.findIndex((arg) => arg.endsWith("/entry.ts"));
    const role = entry < 0 ? undefined : roleOf(args.slice(entry + 1));
    if (role === undefined) continue;
    if (!readNulls(`/proc/${name}/environ`).includes(`CALYPTE_RUN_DIR=${runDir}`)) continue;
    found.push({ pid: Number(name), role, args });
  }
  return found;
}

export function pidsOf(runDir: string, role: Role): number[] {
  return processesOf(runDir).filter((process) => process.role === role).map(({ pid }) => pid);
}

/** False: there is no such process any more. */
export function hit(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** As `hit`, for signals that end a process. V8 swallows the first SIGSEGV that comes from outside: it looks for a trap of its own. */
export function strike(pid: number, signal: Deno.Signal): void {
  hit(pid, signal);
  // Two at once would be one.
  if (signal === "SIGSEGV") setTimeout(() => hit(pid, signal), 5);
}

export function lives(pid: number): boolean {
  return readNulls(`/proc/${pid}/cmdline`).length > 0;
}

export interface Usage {
  rssBytes: number;
  files: number;
  threads: number;
}

/** `undefined`: it has ended. */
export function usageOf(pid: number): Usage | undefined {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    const number = (key: string) => Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? NaN);
    const files = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
    const rssBytes = number("VmRSS") * 1024;
    return Number.isNaN(rssBytes) ? undefined : { rssBytes, files, threads: number("Threads") };
  } catch {
    return undefined;
  }
}

function readNulls(file: string): string[] {
  try {
    return Deno.readTextFileSync(file).split("\0").filter((part) => part !== "");
  } catch {
    // It has ended meanwhile, or is somebody else's.
    return [];
  }
}
