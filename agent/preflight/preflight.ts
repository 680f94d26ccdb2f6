/**
 * May this mission fly here and now?
 *
 * Loads all of it into an engine as a run does, measures it, and starts nothing: no request is served, no result written, no
 * state touched. One that failed makes it a NO-GO; a warning does not.
 */
import type { DeviceInfo, Engine, Feature } from "../../ffi/mod.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";
import { admit } from "../admit.ts";
import type { Bundle } from "../bundle.ts";
import { checkModules, type CheckpointCompiler } from "../checkpoint.ts";
import type { VerifiedBundles } from "../containment/isolation.ts";
import { verifiedKey } from "../containment/isolation.ts";
import type { CriticalTask } from "../config.ts";
import { createCounters } from "../counters.ts";
import { type Finding, finding, look } from "../doctor/finding.ts";
import {
  governorFinding,
  gpuClockFinding,
  lockedMemoryFinding,
  realtimeFinding,
  sensorFindings,
} from "../doctor/host.ts";
import { type Folder, folderFinding, othersFinding } from "../doctor/machine.ts";
import { type Tuning, tuningFindings } from "../doctor/tuning.ts";
import type { Sighting } from "../foreign/foreign.ts";
import { settleLevels } from "../levels.ts";
import { type Logger, SILENT } from "../log.ts";
import { needsMemory } from "../memory.ts";
import { checkBudgets, checkDevice } from "../memory_budget.ts";
import { type MissionFiles, prepareMission } from "../prepare.ts";
import { loadReference } from "../reference.ts";
import type { Quarantined } from "../store/quarantine.ts";
import { verifyOnGpu, verifyReference } from "../verify.ts";
import {
  deviceFinding,
  memoryFinding,
  preemptionFindings,
  progressFindings,
  quarantineFindings,
  type Rhythm,
} from "./checks.ts";

/** Where it is to fly; tests stand in for it. */
export interface Ground extends Tuning {
  device: DeviceInfo;
  checkpoint: CheckpointCompiler;
  verified: VerifiedBundles;
  /** An engine that nothing depends on; closed by whoever called. */
  open(): Promise<Engine>;
  /** While an engine of this agent is open. `undefined`: on this device there is nobody else. */
  others(): Promise<Sighting | undefined>;
  realtime(): Feature;
  sample(): Promise<TelemetrySample>;
  folders: readonly Folder[];
  quarantined(): Promise<readonly Quarantined[]>;
  /** Ahead of each look: how far, 0..1, and at what. */
  step(share: number, text: string): void;
}

export async function preflight(files: MissionFiles, ground: Ground): Promise<Finding[]> {
  const looks: [string, () => Promise<Finding[]> | Finding[]][] = [
    ["mission", () => missionFindings(files)],
    ["device", () => [deviceFinding(ground.device)]],
    ["bundles", () => bundleFindings(files, ground)],
    ["load", () => loadFindings(files, ground)],
    ["host", () => hostFindings(ground)],
    ["folders", () => Promise.all(ground.folders.map(folderFinding))],
    ["quarantine", async () => quarantineFindings(await ground.quarantined(), files.bundles)],
  ];
  const found: Finding[] = [];
  for (const [index, [what, body]] of looks.entries()) {
    ground.step(index / looks.length, what);
    found.push(...await look(what, body));
  }
  return found;
}

function missionFindings({ mission, bundles }: MissionFiles): Finding[] {
  for (const bundle of new Set(bundles.values())) checkModules(bundle);
  const { critical, background } = mission;
  const text = `${mission.file}: ${critical.length} critical, ${background.length} background`;
  return [
    finding("mission", "ok", text),
    ...(mission.overcommit
      ? [finding("mission", "warn", "overcommit: it starts although deadlines may be missed")]
      : []),
  ];
}

/** Each bundle once. What passes is remembered, as by a run. */
async function bundleFindings({ bundles }: MissionFiles, ground: Ground): Promise<Finding[]> {
  const found: Finding[] = [];
  const seen = new Set<string>();
  for (const [work, bundle] of bundles) {
    if (seen.has(bundle.digestHex)) continue;
    seen.add(bundle.digestHex);
    found.push(...await look("bundle", async () => [await bundleFinding(work, bundle, ground)]));
  }
  return found;
}

async function bundleFinding(work: string, bundle: Bundle, ground: Ground): Promise<Finding> {
  const what = "bundle";
  const { device, verified, checkpoint } = ground;
  if (bundle.sampleOutput === undefined) {
    return finding(what, "warn", `${work}: it has no sample by which to verify it`);
  }
  if (device.backend === "sim") {
    if (bundle.manifest.reference === undefined) {
      return finding(what, "warn", `${work}: not verified: it has no reference, and there is no GPU`);
    }
    const { passed, text } = await verifyReference(bundle, await loadReference(bundle));
    return passed
      ? finding(what, "warn", `${work}: only its CPU reference is verified, as there is no GPU`)
      : finding(what, "fail", `${work}: ${text}`, `calypte bundle verify ${bundle.dir}`);
  }
  const key = verifiedKey(bundle, device);
  if (verified.has(key)) return finding(what, "ok", `${work}: passed verify on this machine`);
  const engine = await ground.open();
  try {
    const wrong = verifyOnGpu(engine, checkpoint, bundle).checks.find((check) => !check.passed);
    if (wrong !== undefined) {
      return finding(
        what,
        "fail",
        `${work}: ${wrong.what}: ${wrong.text}`,
        `calypte bundle verify ${bundle.dir}`,
      );
    }
  } finally {
    engine.close();
  }
  await verified.add(key);
  return finding(what, "ok", `${work}: passes verify on this machine`);
}

/** Memory, the levels of all jobs, whether all deadlines can be met, and who else uses the GPU. */
async function loadFindings(files: MissionFiles, ground: Ground): Promise<Finding[]> {
  const { mission, bundles } = files;
  const engine = await ground.open();
  try {
    const simulated = engine.backend === "sim";
    const freeBytes = simulated ? 0 : engine.device().memoryFreeBytes;
    const integrated = engine.features().some(({ name, on }) => name === "integrated" && on);
    const found = await look("memory", () => {
      checkBudgets(mission, bundles, integrated);
      checkDevice(mission, bundles, { freeBytes, integrated });
      return [memoryFinding(mission, bundles, { freeBytes, integrated })];
    });
    const others = await ground.others();
    // Who is seen has to be named; who cannot be seen may be declared.
    const declared = mission.foreign ?? (others?.users.length === 0 ? undefined : []);
    if (others !== undefined) found.push(othersFinding(others, declared));
    if (found.some(({ verdict, what }) => verdict === "fail" && what === "memory")) return found;
    const { checkpoint } = ground;
    const prepared = await prepareMission({
      ...{ files, engine, checkpoint, counters: createCounters(), log: SILENT, output: false },
    });
    try {
      needsMemory({ file: mission.file, field: "" }, "the mission as a whole", () => engine.warmUp());
      settleLevels(engine, prepared.jobs, mission.preemptionBoundNs);
      found.push(...preemptionFindings(prepared.jobs, mission.preemptionBoundNs, simulated));
      found.push(...progressFindings(prepared.jobs, rhythmsOf(engine, mission.critical)));
      found.push(
        ...await look("deadlines", () => {
          const warnings: string[] = [];
          const log: Logger = { ...SILENT, warn: (text) => void warnings.push(text) };
          const lines = admit({ engine, mission, tasks: prepared.tasks, jobs: prepared.jobs, log });
          return [
            ...lines.map((line) => finding("deadlines", "ok", line)),
            ...warnings.map((line) => finding("deadlines", "warn", line)),
          ];
        }),
      );
    } finally {
      await prepared.discard();
    }
    return found;
  } finally {
    engine.close();
  }
}

/** Of those with a rate, and that do not wait for background: whoever does gives a block its time. */
function rhythmsOf(engine: Engine, tasks: readonly CriticalTask[]): Rhythm[] {
  return tasks.flatMap(({ name, source, yield: yields }, id) => {
    // The rate of an API is the most that may come.
    if (source.kind === "api" || source.periodNs === 0 || yields === "when-needed") return [];
    return [{ name, periodNs: source.periodNs, executionNs: engine.timing(id).p50Ns }];
  });
}

/** Also beside a run. On the simulator the host's affairs are the machine's, too: it keeps real time. */
export async function hostFindings(
  ground: Tuning & Pick<Ground, "sample" | "realtime">,
): Promise<Finding[]> {
  const { files, sample, realtime } = ground;
  const [gpuClocks, sensed] = [await gpuClockFinding(files), await sample()];
  return [
    ...await look("real time", () => [realtimeFinding(realtime())]),
    await lockedMemoryFinding(files),
    await governorFinding(files),
    ...(gpuClocks === undefined ? [] : [gpuClocks]),
    ...await tuningFindings(ground, sensed),
    ...sensorFindings(sensed),
  ];
}
