/**
 * May the governor slow the GPU down while a mission runs?
 *
 * Not below what it ran at when the mission was admitted. Execution times were measured then, with the GPU busy and so at full clocks. When background stops
 * (safe mode, heat, an alarm) the load falls, a load-driven governor lowers the clocks, and each request takes longer just when there
 * was trouble: more misses, so that safe mode never ends. So the lower bound of the GPU's clock (`min_freq` of its devfreq node) is raised to
 * its upper bound for as long as the run lasts, and put back at its end. The upper bound stays whose it was: power modes and the
 * board's own throttling still work.
 *
 * It takes leave to write that file. Without it the run goes on, and says so. An agent that is killed leaves the bound where it is: `jetson_clocks
 * --restore` or a restart of the board puts it back.
 */
import { type BoardFiles, isSystemPath, readNumber, type SystemAccess } from "./board_files.ts";
import { gpuClockFolders } from "./telemetry_sysfs.ts";

export interface ClockHold {
  /** The bound in force, in hertz, of each folder below `/sys/class/devfreq`. */
  heldHz: Readonly<Record<string, number>>;
  /** Puts back what was there. Never rejects; a second call does nothing. */
  release(): Promise<void>;
}

export interface HoldOptions {
  files: BoardFiles;
  /** Rejects if the file cannot be written; never makes one. */
  write: (path: string, text: string) => Promise<void>;
}

/** Such as `HoldOptions.write`, below `root`. */
export function boardWriter(root = "", system?: SystemAccess): HoldOptions["write"] {
  const base = root.replace(/\/+$/, "");
  return async (path, text) => {
    if (system !== undefined && isSystemPath(base, path)) system.write(path, text);
    else await Deno.writeTextFile(base + path, text, { create: false });
  };
}

/** `undefined`: there is no such GPU clock, as on a desktop. A text: why the clocks could not be held. Never rejects. */
export async function holdGpuClocks({ files, write }: HoldOptions): Promise<ClockHold | string | undefined> {
  const folders = await gpuClockFolders(files).catch(() => []);
  if (folders.length === 0) return undefined;
  const before = new Map<string, number>();
  const heldHz: Record<string, number> = {};
  const release = async () => {
    for (const [path, hz] of [...before].reverse()) {
      before.delete(path);
      // Nothing more can be done about it, and the run is over.
      await write(path, `${hz}`).catch(() => {});
    }
  };
  for (const folder of folders) {
    const path = `${folder}/min_freq`;
    const [minHz, maxHz] = await Promise.all([
      readNumber(files, path, { max: 20e9 }),
      readNumber(files, `${folder}/max_freq`, { min: 1, max: 20e9 }),
    ]);
    if (minHz === undefined || maxHz === undefined) {
      await release();
      return `${folder}: its bounds cannot be read`;
    }
    if (minHz < maxHz) {
      try {
        await write(path, `${maxHz}`);
        before.set(path, minHz);
      } catch (error) {
        await release();
        const why = error instanceof Deno.errors.PermissionDenied
          ? "may not be written"
          : "cannot be written";
        return `${path} ${why}`;
      }
    }
    heldHz[folder] = maxHz;
  }
  return { heldHz, release };
}
