/**
 * Does a mission need more GPU memory than it may have? Reckoned from the bundles, before anything is loaded.
 *
 * Nothing is allocated once an engine is ready, so that what is checked here is what a job ever has. A budget is for what
 * stays; the copy of its buffers that a work takes while it is tried counts only against what the device has free, where all
 * works lie at that time.
 */
import type { Bundle } from "./bundle.ts";
import type { BackgroundJob, CriticalTask, Mission } from "./config.ts";
import { InputError, type Problem, throwIfAny } from "./errors.ts";
import { bytesOn, itemsOn, itemsText, type MemoryNeed, memoryNeed, useOf } from "./memory_need.ts";
import { formatBytes } from "./quantity.ts";

type Bundles = ReadonlyMap<string, Bundle>;

export interface DeviceMemory {
  /** Before anything is loaded; 0: not known. */
  freeBytes: number;
  /** CPU and GPU share it. */
  integrated: boolean;
}

/**
 * The mission's own limits: each job's, and that of all background jobs. Throws one `InputError` with every one that does
 * not hold. Without a device, `integrated` false refuses only what is too much on any.
 */
export function checkBudgets(mission: Mission, bundles: Bundles, integrated: boolean): void {
  const { file, backgroundMemoryBytes } = mission;
  const problems: Problem[] = [];
  let allBytes = 0;
  let tooMuch: string | undefined;
  for (const [{ name, memoryBytes }, need] of needed(mission.background, bundles)) {
    const bytes = bytesOn(need, integrated);
    const needs = `job ${name} needs ${formatBytes(bytes)}: ${itemsText(itemsOn(need, integrated))}`;
    if (memoryBytes > 0 && bytes > memoryBytes) {
      problems.push({
        file,
        field: `background.${name}.memory`,
        rule: `must be at least what its bundle needs, not ${formatBytes(memoryBytes)}; ${needs}`,
        remedy: `give it ${mebibytes(bytes)}, or take a smaller bundle`,
      });
    }
    if (tooMuch === undefined && backgroundMemoryBytes > 0 && allBytes + bytes > backgroundMemoryBytes) {
      const before = allBytes === 0 ? "" : `the jobs before it take ${formatBytes(allBytes)}, and `;
      tooMuch = before + needs;
    }
    allBytes += bytes;
  }
  if (tooMuch !== undefined) {
    problems.push({
      file,
      field: "device.backgroundMemory",
      rule: `must be at least what the background jobs need together, not ${
        formatBytes(backgroundMemoryBytes)
      }; ${tooMuch}`,
      remedy: `raise it to ${mebibytes(allBytes)}, or leave a job out`,
    });
  }
  throwIfAny(problems);
}

/** Throws `InputError` for the first work that does not fit what the device has free, critical work first. */
export function checkDevice(
  mission: Mission,
  bundles: Bundles,
  { freeBytes, integrated }: DeviceMemory,
): void {
  if (freeBytes === 0) return;
  let beforeBytes = 0;
  // Works are tried one after the other, when all are there.
  let copy = { name: "", sizeBytes: 0 };
  for (const [{ name }, need, kind] of works(mission, bundles)) {
    const bytes = bytesOn(need, integrated);
    if (need.copyBytes > copy.sizeBytes) copy = { name, sizeBytes: need.copyBytes };
    if (beforeBytes + bytes + copy.sizeBytes > freeBytes) {
      throw new InputError({
        file: mission.file,
        field: `${kind}.${name}`,
        rule: `must fit the device's memory, of which ${formatBytes(freeBytes)} are free: it needs ${
          formatBytes(bytes)
        } (${itemsText(itemsOn(need, integrated))}), what is loaded before it takes ${
          formatBytes(beforeBytes)
        }, and ${formatBytes(copy.sizeBytes)} are needed once more while ${copy.name} is tried`,
        remedy: "leave a work out, take smaller bundles, or end what else takes memory of this device",
      });
    }
    beforeBytes += bytes;
  }
}

/** What all works take together once they are loaded, in bytes. */
export function missionBytes(mission: Mission, bundles: Bundles, integrated: boolean): number {
  return works(mission, bundles).reduce((sum, [, need]) => sum + bytesOn(need, integrated), 0);
}

function works(mission: Mission, bundles: Bundles): [{ name: string }, MemoryNeed, string][] {
  const of = (
    list: Mission["critical" | "background"],
    kind: string,
  ): [{ name: string }, MemoryNeed, string][] =>
    needed<CriticalTask | BackgroundJob>(list, bundles).map(([work, need]) => [work, need, kind]);
  return [...of(mission.critical, "critical"), ...of(mission.background, "background")];
}

function needed<W extends CriticalTask | BackgroundJob>(
  list: readonly W[],
  bundles: Bundles,
): [W, MemoryNeed][] {
  return list.flatMap((work): [W, MemoryNeed][] => {
    const bundle = bundles.get(work.name);
    return bundle === undefined ? [] : [[work, memoryNeed(bundle, useOf(work))]];
  });
}

/** Not less, and as a mission takes it. */
function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)}MiB`;
}
