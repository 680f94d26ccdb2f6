/**
 * Which background jobs live in the engine's process, and which in one of their own?
 *
 * What the mission states; else a job shares the engine's process if its bundle has passed `verify` on this machine with this
 * driver. A bundle that has not been tried is tried now, in a process that nothing else depends on. A plugin has a process of
 * its own unless the mission says `shared`: what it may do there no test of one input shows.
 */
import type { DeviceInfo, Engine } from "../../ffi/engine.ts";
import type { Bundle } from "../bundle.ts";
import type { CheckpointCompiler } from "../checkpoint.ts";
import type { BackgroundJob } from "../config.ts";
import type { MissionFiles } from "../prepare.ts";
import { verifyOnGpu } from "../verify.ts";

/** What was verified here. */
export interface VerifiedBundles {
  has(key: string): boolean;
  add(key: string): Promise<void>;
}

export interface IsolationOptions {
  checkpoint: CheckpointCompiler;
  verified: VerifiedBundles;
  device: DeviceInfo;
  /** Opens an engine that may be lost; closed here. */
  open: () => Promise<Engine>;
  /** Of what was found out. */
  say: (line: string) => void;
}

/** What a verification holds for. */
export function verifiedKey({ digestHex }: Bundle, { name, driver, ptxVersion }: DeviceInfo): string {
  return `${digestHex} ${name} ${driver} ${ptxVersion}`;
}

/**
 * The mission with an isolation for each job, those with a process of their own behind the others, as the engine takes them.
 * Without `options`, as on the simulator: `auto` means shared.
 */
export async function resolveIsolation(
  files: MissionFiles,
  options: IsolationOptions | undefined,
): Promise<MissionFiles> {
  const background: BackgroundJob[] = [];
  for (const job of files.mission.background) {
    const bundle = files.bundles.get(job.name);
    const isolation = job.isolation !== "auto"
      ? job.isolation
      : bundle?.manifest.plugin !== undefined
      ? "process"
      : options === undefined || bundle === undefined || await isTrusted(job.name, bundle, options)
      ? "shared"
      : "process";
    background.push({ ...job, isolation });
  }
  background.sort((a, b) => Number(a.isolation === "process") - Number(b.isolation === "process"));
  return { ...files, mission: { ...files.mission, background } };
}

async function isTrusted(job: string, bundle: Bundle, options: IsolationOptions): Promise<boolean> {
  const { verified, device, checkpoint, open, say } = options;
  const key = verifiedKey(bundle, device);
  if (verified.has(key)) return true;
  if (bundle.sampleOutput === undefined) {
    say(`${job} gets a process of its own: its bundle has no sample by which to verify it`);
    return false;
  }
  const engine = await open();
  let why: string | undefined;
  try {
    why = verifyOnGpu(engine, checkpoint, bundle).checks.find((check) => !check.passed)?.text;
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  } finally {
    engine.close();
  }
  if (why !== undefined) {
    say(`${job} gets a process of its own: its bundle did not pass verify: ${why}`);
    return false;
  }
  await verified.add(key);
  say(`${job}: its bundle passed verify on this machine, so it shares the engine's process`);
  return true;
}
