/**
 * At which level does each step of a background job run, now that the engine has measured it?
 *
 * Completes the reports of loading once the engine is ready: the level chosen, how long the step keeps the GPU after the gate
 * has closed, and a note where that is longer than the mission allows. It decides nothing.
 */
import type { Engine } from "../ffi/engine.ts";
import type { LoadedWork } from "./load.ts";
import { formatDurationNs } from "./quantity.ts";

/** Brings the step reports of `jobs` up to date. `engine` is ready. */
export function settleLevels(engine: Engine, jobs: readonly LoadedWork[], preemptionBoundNs: number): void {
  for (const job of jobs) {
    let launch = 0;
    let longestNs = 0;
    for (const report of job.steps) {
      const { level, blockNs, blockDrainNs, loopDrainNs, workers, runBlocks } = engine.jobStep(
        job.id,
        launch,
      );
      launch += report.launches;
      report.level = level;
      if (level === "whole") longestNs = Math.max(longestNs, blockNs);
      if (level !== "block" && level !== "loop") continue;
      report.workers = workers;
      report.runBlocks = runBlocks;
      report.drainNs = level === "loop" ? loopDrainNs : blockDrainNs;
      if (level === "loop" && blockDrainNs > 0) report.blockLastsNs = blockDrainNs;
      if (report.drainNs <= preemptionBoundNs) continue;
      const [drain, bound] = [formatDurationNs(report.drainNs), formatDurationNs(preemptionBoundNs)];
      const why = report.whyNoLoop === undefined ? "" : `; ${report.whyNoLoop}`;
      report.notes = [
        ...report.notes,
        `measured, it keeps the GPU ${drain} after the gate has closed, longer than preemptionBound ${bound}${why}`,
      ];
    }
    // Measured once more, as it will run; 0: on the simulator.
    if (job.plugin !== undefined && longestNs > 0) job.plugin.longestNs = longestNs;
  }
}
