/**
 * Who else uses the GPU?
 *
 * The interface that every way of finding out serves, and the choice between them. What cannot be seen is said to be
 * unknown, never taken for nobody.
 */
import type { SystemAccess } from "../../jetson/board_files.ts";
import type { Logger } from "../log.ts";
import { openNvml } from "./nvml.ts";
import { hasTegraGpu, tegraSource } from "./tegra.ts";

export interface GpuUser {
  pid: number;
  /** Of the program, without its folder; `pid N` where the platform does not tell. */
  name: string;
}

export interface Sighting {
  /** Without this agent's own processes. */
  users: readonly GpuUser[];
  /** Why there may be more; `undefined`: these are all. */
  blind?: string | undefined;
}

export interface ForeignSource {
  /** How often it is worth looking. */
  readonly everyMs: number;
  /** Why it will never see anybody; absent: it may. */
  readonly never?: string | undefined;
  /** `own`: ids of this agent's processes. Never rejects: what fails is `blind`. */
  look(own: ReadonlySet<number>): Promise<Sighting>;
  close(): void;
}

/** Sees nothing and says why. */
export function blindSource(why: string): ForeignSource {
  return { everyMs: 60_000, never: why, look: () => Promise.resolve({ users: [], blind: why }), close() {} };
}

/**
 * For the machine that this runs on; `files`: its `/proc` and `/sys`, if they can be read. Never fails: without permission or driver
 * the source is blind. From then on it needs no permission.
 */
export async function findForeign(files: SystemAccess | undefined): Promise<ForeignSource> {
  // A Tegra may have an NVML that knows no processes.
  if (files !== undefined && hasTegraGpu(files)) return tegraSource(files);
  const nvml = await openNvml();
  return typeof nvml === "string" ? blindSource(nvml) : nvml;
}

/** What a process answers that may look, in plain JSON. */
export interface OthersAnswer extends Sighting {
  everyMs: number;
  never?: string | undefined;
}

/** Such as `Sensors`. `undefined`: there is no answer. */
export interface AsksForOthers {
  others(own: readonly number[]): Promise<OthersAnswer | undefined>;
}

const SILENT = "the process that looks for them does not answer";

/** Has another process look. Asks it once, for how often it is worth looking. Never fails. */
export async function openForeign(asked: AsksForOthers, log: Logger): Promise<ForeignSource> {
  const { everyMs, never } = await asked.others([]) ?? { everyMs: 5000 };
  if (never !== undefined) {
    log.info(`other users of the GPU cannot be seen: ${never}`, { event: "foreign" });
  }
  return {
    everyMs,
    never,
    async look(own) {
      const answer = await asked.others([...own]);
      return answer === undefined
        ? { users: [], blind: SILENT }
        : { users: answer.users, blind: answer.blind };
    },
    close() {},
  };
}
