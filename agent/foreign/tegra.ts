/**
 * Which processes have the GPU of a Tegra open?
 *
 * A process that uses it holds device files of it open, which /proc shows. Looking into other users' processes needs root or
 * CAP_SYS_PTRACE; those that stay shut are counted and make the answer blind.
 */
import { CONSTANTS, EngineError } from "../../ffi/mod.ts";
import type { SystemAccess } from "../../jetson/board_files.ts";
import type { ForeignSource, GpuUser, Sighting } from "./foreign.ts";

const EVERY_MS = 5000;

/**
 * The device files of the GPU: JetPack 5 has nvhost-gpu and its like, JetPack 6 a folder nvgpu. Not those of video, vision and
 * deep-learning engines, such as nvhost-nvdec, nor nvmap, which is memory.
 */
const GPU_FILE = /^\/dev\/(nvgpu\/|nvhost-(.+-)?gpu$)/;

/** Orin's driver; Thor's GPU has the one of desktops, and NVML. `/dev` itself is not to be read. */
const DRIVER = "/sys/module/nvgpu";

export function hasTegraGpu(files: Pick<SystemAccess, "list">): boolean {
  try {
    files.list(DRIVER);
    return true;
  } catch {
    return false;
  }
}

export function tegraSource(files: Omit<SystemAccess, "write">): ForeignSource {
  return {
    everyMs: EVERY_MS,
    look(own) {
      try {
        return Promise.resolve(look(own, files));
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return Promise.resolve({ users: [], blind: why });
      }
    },
    close() {},
  };
}

function look(own: ReadonlySet<number>, files: Omit<SystemAccess, "write">): Sighting {
  const pids = files.list("/proc").filter((name) => /^\d+$/.test(name)).map(Number).sort((a, b) => a - b);
  const users: GpuUser[] = [];
  let hidden = 0;
  for (const pid of pids) {
    if (own.has(pid)) continue;
    const holds = holdsGpu(pid, files);
    if (holds === undefined) hidden++;
    else if (holds) users.push({ pid, name: nameOf(pid, files) });
  }
  if (hidden === 0) return { users };
  return { users, blind: `${hidden} processes cannot be looked into; it needs root or CAP_SYS_PTRACE` };
}

/** `undefined`: it cannot be looked into. */
function holdsGpu(pid: number, files: Pick<SystemAccess, "links">): boolean | undefined {
  try {
    return files.links(`/proc/${pid}/fd`).values().some((file) => GPU_FILE.test(file));
  } catch (error) {
    // What has ended meanwhile holds nothing; whatever else there is to say, its files are not known.
    return error instanceof EngineError && error.code === CONSTANTS.E_NOT_FOUND ? false : undefined;
  }
}

function nameOf(pid: number, files: Pick<SystemAccess, "read">): string {
  try {
    return new TextDecoder().decode(files.read(`/proc/${pid}/comm`)).replace(/\n$/, "") || `pid ${pid}`;
  } catch {
    return `pid ${pid}`;
  }
}
