/**
 * Does the host serve critical work in time? Real-time priority, locked memory, the CPU's and the GPU's clocks.
 *
 * A look, without a change. The limits are those of whoever asks: a service has its own.
 */
import type { Feature } from "../../ffi/mod.ts";
import { type BoardFiles, readNumber } from "../../jetson/board_files.ts";
import { gpuClockFolders } from "../../jetson/telemetry_sysfs.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";
import { formatBytes, formatTemperatureC } from "../quantity.ts";
import { type Finding, finding } from "./finding.ts";

const CAP_IPC_LOCK = 14;
/** What an engine's process needs, with room for its buffers. */
const LEAST_LOCKED_BYTES = 1 << 30;

/** `feature`: of an engine that is ready here. */
export function realtimeFinding({ on, reason }: Feature): Finding {
  return on ? finding("real time", "ok", reason) : finding(
    "real time",
    "warn",
    `the host may launch late under load: ${reason}`,
    "ulimit -r 90 by /etc/security/limits.d (rtprio 90), LimitRTPRIO=90 in a unit, --ulimit rtprio=90 in a container",
  );
}

export async function lockedMemoryFinding(files: BoardFiles): Promise<Finding> {
  const what = "locked memory";
  const remedy =
    "memlock unlimited in /etc/security/limits.d, LimitMEMLOCK=infinity in a unit, --ulimit memlock=-1 in a container";
  const status = await files.text("/proc/self/status");
  const capabilities = status?.match(/^CapEff:\s*([0-9a-f]+)$/m)?.[1];
  if (capabilities !== undefined && (BigInt(`0x${capabilities}`) >> BigInt(CAP_IPC_LOCK) & 1n) === 1n) {
    return finding(what, "ok", "CAP_IPC_LOCK: there is no limit");
  }
  const soft = (await files.text("/proc/self/limits"))?.match(/^Max locked memory\s+(\S+)/m)?.[1];
  if (soft === undefined) {
    return finding(what, "warn", "the limit cannot be read here", "see ulimit -l; it should be unlimited");
  }
  if (soft === "unlimited") return finding(what, "ok", "there is no limit");
  const bytes = Number(soft);
  if (bytes >= LEAST_LOCKED_BYTES) return finding(what, "ok", `up to ${formatBytes(bytes)}`);
  return finding(
    what,
    "warn",
    `only ${formatBytes(bytes)} may be locked: pages of the engine may have to come from disk first`,
    remedy,
  );
}

export async function governorFinding(files: BoardFiles): Promise<Finding> {
  const what = "CPU clocks";
  const folder = "/sys/devices/system/cpu";
  const cpus = (await files.list(folder)).filter((name) => /^cpu\d+$/.test(name));
  const governors = new Set<string>();
  for (const cpu of cpus) {
    const governor = await files.text(`${folder}/${cpu}/cpufreq/scaling_governor`);
    if (governor !== undefined) governors.add(governor);
  }
  if (cpus.length === 0) return finding(what, "warn", "how they are governed cannot be read here");
  if (governors.size === 0) return finding(what, "ok", "no governor lowers them here");
  const names = [...governors].sort().join(", ");
  if (names === "performance") return finding(what, "ok", "held by the governor performance");
  return finding(
    what,
    "warn",
    `the governor ${names} lowers them when there is little to do, and launches take longer then`,
    "cpupower frequency-set -g performance; on a Jetson jetson_clocks",
  );
}

export async function gpuClockFinding(files: BoardFiles): Promise<Finding | undefined> {
  const what = "GPU clocks";
  const folders = await gpuClockFolders(files).catch(() => []);
  if (folders.length === 0) return undefined;
  for (const folder of folders) {
    const [minHz, maxHz] = await Promise.all([
      readNumber(files, `${folder}/min_freq`, { max: 20e9 }),
      readNumber(files, `${folder}/max_freq`, { min: 1, max: 20e9 }),
    ]);
    if (minHz === undefined || maxHz === undefined) {
      return finding(what, "warn", `${folder}: its bounds cannot be read`);
    }
    if (minHz < maxHz) {
      return finding(
        what,
        "warn",
        `the governor may lower them from ${mhz(maxHz)} to ${mhz(minHz)} MHz`,
        "a run holds them if it may write min_freq there; else jetson_clocks does",
      );
    }
  }
  return finding(what, "ok", "held");
}

function mhz(hz: number): number {
  return Math.round(hz / 1e6);
}

/** Empty where no sensor says anything. */
export function sensorFindings(sample: TelemetrySample): Finding[] {
  const { temperaturesCelsius, tripPointsCelsius, overCurrentEvents } = sample;
  const found: Finding[] = [];
  const zones = Object.entries(temperaturesCelsius);
  const hot = zones.filter(([zone, celsius]) => celsius >= (tripPointsCelsius[zone] ?? Infinity));
  if (hot.length > 0) {
    const text = hot.map(([zone, celsius]) =>
      `${zone} ${formatTemperatureC(celsius)}, slows down at ${formatTemperatureC(tripPointsCelsius[zone]!)}`
    ).join("; ");
    found.push(finding("temperature", "fail", text, "cool the board, or choose a power mode that lasts"));
  } else if (zones.length > 0) {
    const [zone, celsius] = zones.reduce((a, b) => b[1] > a[1] ? b : a);
    found.push(finding("temperature", "ok", `at most ${formatTemperatureC(celsius)}, of ${zone}`));
  }
  if ((overCurrentEvents ?? 0) > 0) {
    found.push(
      finding(
        "power supply",
        "warn",
        `${overCurrentEvents} over-current or under-voltage alarms since the machine was started`,
        "check the supply; a power mode of fewer watts needs less",
      ),
    );
  }
  return found;
}
