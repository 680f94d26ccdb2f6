/** What do single looks at a mission say? Pure: each takes what was found out, and puts it into findings. */
import type { DeviceInfo } from "../../ffi/mod.ts";
import type { Bundle } from "../bundle.ts";
import type { Mission, MissionOutput } from "../config.ts";
import { type Finding, finding } from "../doctor/finding.ts";
import type { LoadedWork } from "../load.ts";
import { type DeviceMemory, missionBytes } from "../memory_budget.ts";
import { formatBytes, formatDurationNs } from "../quantity.ts";
import type { Quarantined } from "../store/quarantine.ts";
import { pluginLine } from "../load_plugin.ts";
import { path } from "../std/mod.ts";

const WORK = "make its blocks shorter, raise preemptionBound, or take the job out of the mission";

/** How long each job keeps the GPU once it is to leave, as measured. `jobs`: their levels are settled. */
export function preemptionFindings(
  jobs: readonly LoadedWork[],
  boundNs: number,
  simulated: boolean,
): Finding[] {
  const what = "preemption";
  if (jobs.length === 0) return [finding(what, "ok", "the mission has no background")];
  const found: Finding[] = [];
  let worst: { ns: number; name: string } | undefined;
  for (const { name, steps, plugin } of jobs) {
    if (plugin !== undefined) {
      found.push(
        finding(
          what,
          "warn",
          `${name}: ${pluginLine(plugin, "background")}`,
          "calypte bundle verify shows it",
        ),
      );
      continue;
    }
    for (const { kernel, level, drainNs = 0 } of steps) {
      if (level !== "block" && level !== "loop") continue;
      if (worst === undefined || drainNs > worst.ns) worst = { ns: drainNs, name };
      if (drainNs <= boundNs) continue;
      const text = `${name}: ${kernel} keeps the GPU ${formatDurationNs(drainNs)}, beyond preemptionBound ${
        formatDurationNs(boundNs)
      }`;
      found.push(finding(what, "fail", text, WORK));
    }
    const whole = steps.filter(({ level }) => level === "whole").length;
    if (whole > 0) {
      const text =
        `${name}: ${whole} of ${steps.length} steps cannot be preempted, and run only where a task allows it (maxBlocking)`;
      found.push(finding(what, "warn", text, "calypte bundle inspect says why"));
    }
  }
  if (found.some(({ verdict }) => verdict === "fail") || worst === undefined) return found;
  const bound = `preemptionBound ${formatDurationNs(boundNs)}`;
  if (simulated) {
    return [...found, finding(what, "warn", `not measured: no GPU was there; ${bound}`)];
  }
  const longest = worst.ns === 0
    ? "all leave as soon as they end"
    : `at most ${formatDurationNs(worst.ns)}, of ${worst.name}`;
  return [...found, finding(what, "ok", `${longest}; ${bound}`)];
}

/** A critical task, alone, whose requests come at a stated rate. */
export interface Rhythm {
  name: string;
  periodNs: number;
  executionNs: number;
}

/**
 * Jobs that would get nowhere: a block that is left in its loop begins again, and one that lasts longer than the GPU is free
 * between two requests never ends. `jobs`: their levels are settled.
 */
export function progressFindings(jobs: readonly LoadedWork[], rhythms: readonly Rhythm[]): Finding[] {
  const [tightest] = rhythms
    .map(({ name, periodNs, executionNs }) => ({ name, freeNs: Math.max(0, periodNs - executionNs) }))
    .toSorted((a, b) => a.freeNs - b.freeNs);
  if (tightest === undefined) return [];
  return jobs.flatMap(({ name, steps }) => {
    const longest = steps.toSorted((a, b) => (b.blockLastsNs ?? 0) - (a.blockLastsNs ?? 0))[0];
    if ((longest?.blockLastsNs ?? 0) <= tightest.freeNs) return [];
    const lasts = formatDurationNs(longest!.blockLastsNs!);
    const free = formatDurationNs(tightest.freeNs);
    const text =
      `${name}: a block of ${longest!.kernel} lasts ${lasts}, and the GPU is free for ${free} between ` +
      `requests of ${tightest.name}: it begins again each time, and the job gets nowhere`;
    return [finding("progress", "warn", text, "make its blocks shorter, and more of them")];
  });
}

export function memoryFinding(
  mission: Mission,
  bundles: ReadonlyMap<string, Bundle>,
  { freeBytes, integrated }: DeviceMemory,
): Finding {
  const bytes = missionBytes(mission, bundles, integrated);
  const free = freeBytes === 0 ? "" : `, ${formatBytes(freeBytes)} free`;
  return finding("memory", "ok", `about ${formatBytes(bytes)} of the GPU's needed${free}`);
}

/** Jobs of the mission that a run would leave out. */
export function quarantineFindings(
  entries: readonly Quarantined[],
  bundles: ReadonlyMap<string, Bundle>,
): Finding[] {
  const held = entries.filter(({ job, digest }) => bundles.get(job)?.digestHex === digest);
  if (held.length === 0) return [finding("quarantine", "ok", "no job is in it")];
  return held.map(({ job, count, reason }) =>
    finding(
      "quarantine",
      "warn",
      `${job} is left out: it failed ${count} times: ${reason}`,
      "mend its bundle: another one is tried again",
    )
  );
}

export function deviceFinding({ backend, name, driver }: DeviceInfo): Finding {
  return backend === "cuda"
    ? finding("device", "ok", `${name}, driver ${driver}`)
    : finding("device", "warn", "simulated: no GPU takes part, and nothing here is measured");
}

/** Folders that results are written to, each once. */
export function outputFolders({ critical, background }: Mission): string[] {
  const folders = [...critical, ...background].flatMap(({ output }) => folderOf(output));
  return [...new Set(folders)];
}

function folderOf(output: MissionOutput): string[] {
  switch (output.kind) {
    case "dir":
      return [output.dir];
    case "jsonl":
      return [path.dirname(output.file)];
    default:
      return [];
  }
}
