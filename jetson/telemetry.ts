/**
 * How warm, how hungry, how fast is the board now?
 *
 * Samples come from files (telemetry_sysfs.ts), where there are some, and from NVML (telemetry_nvml.ts) for what those do not
 * say. What is not known is left out: it is never zero, and no fault of a sensor is ever an exception. This module decides
 * nothing; power_control.ts does.
 */
import { type BoardFiles, boardFiles, type SystemAccess } from "./board_files.ts";
import { type Nvml, openNvml } from "./telemetry_nvml.ts";
import { SysfsSensors } from "./telemetry_sysfs.ts";

/** Absent, or no such key: unknown. */
export interface TelemetrySample {
  /** When the sample was begun, on the clock of the caller. */
  timeNs: number;
  /** 0..1. */
  gpuLoad?: number;
  /** `gpu`, `cpu0`.., `emc`: now, in hertz. */
  clocksHz: Record<string, number>;
  /** By zone, such as `gpu`, `cpu`, `tj`: without the kernel's `-thermal`. */
  temperaturesCelsius: Record<string, number>;
  /** By zone: where the board begins to slow itself down; where it does not say, where it turns itself off less 10. */
  tripPointsCelsius: Record<string, number>;
  /** Of the whole board: of its input where that is measured, else the sum of the rails. */
  powerWatts?: number;
  railsWatts: Record<string, number>;
  /** Of nvpmodel: its name, or its number where the name is not known. */
  powerMode?: string;
  memoryUsedBytes?: number;
  memoryTotalBytes?: number;
  /** Of full speed, 0..1000. */
  fanPermille?: number;
  /** Since the machine was started, of all over-current and under-voltage alarms together. */
  overCurrentEvents?: number;
}

export interface Telemetry {
  /** Never rejects. One at a time: a call while one is under way gets that one's sample. */
  sample(nowNs: number): Promise<TelemetrySample>;
  /** The sample under way ends in its own time. */
  close(): void;
}

export interface TelemetryOptions {
  /** Where `/sys` and `/proc` lie. Default: of this machine. */
  root?: string;
  /** In place of `root`. */
  files?: BoardFiles;
  /** Reads the machine's own. Default: Deno does, if it may. */
  system?: SystemAccess | undefined;
  /** Default: the machine's, if it has one and `root` is not given. `undefined`: none. */
  nvml?: Nvml | undefined;
}

/** Of a machine without any sensor too: its samples are empty then. Throws nothing. */
export function openTelemetry(options: TelemetryOptions = {}): Telemetry {
  const { root, system, files = boardFiles(root, system) } = options;
  const own = root === undefined && options.files === undefined;
  const nvml = "nvml" in options ? options.nvml : own ? openNvml() : undefined;
  return new BoardTelemetry(files, nvml);
}

export function emptySample(timeNs: number): TelemetrySample {
  return { timeNs, clocksHz: {}, temperaturesCelsius: {}, tripPointsCelsius: {}, railsWatts: {} };
}

class BoardTelemetry implements Telemetry {
  readonly #sensors: SysfsSensors;
  readonly #nvml: Nvml | undefined;
  #underWay: Promise<TelemetrySample> | undefined;
  #closed = false;

  constructor(files: BoardFiles, nvml: Nvml | undefined) {
    this.#sensors = new SysfsSensors(files);
    this.#nvml = nvml;
  }

  sample(nowNs: number): Promise<TelemetrySample> {
    this.#underWay ??= this.#take(nowNs).finally(() => {
      this.#underWay = undefined;
      if (this.#closed) this.#nvml?.close();
    });
    return this.#underWay;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The library must not be closed under a call.
    if (this.#underWay === undefined) this.#nvml?.close();
  }

  async #take(nowNs: number): Promise<TelemetrySample> {
    if (this.#closed) return emptySample(nowNs);
    const [board, gpu] = await Promise.all([
      this.#sensors.sample(nowNs).catch(() => emptySample(nowNs)),
      this.#nvml?.sample(nowNs).catch(() => emptySample(nowNs)),
    ]);
    return gpu === undefined ? board : merged(board, gpu);
  }
}

/** What the files say stands, key by key; NVML fills what they do not say. Of a desktop they know no power: then the GPU's counts. */
function merged(board: TelemetrySample, gpu: TelemetrySample): TelemetrySample {
  // A desktop's memory is not what its GPU has: the two numbers must come from one place.
  const memory = gpu.memoryTotalBytes === undefined ? {} : {
    ...(gpu.memoryUsedBytes === undefined ? {} : { memoryUsedBytes: gpu.memoryUsedBytes }),
    memoryTotalBytes: gpu.memoryTotalBytes,
  };
  return {
    ...gpu,
    ...board,
    ...memory,
    clocksHz: { ...gpu.clocksHz, ...board.clocksHz },
    temperaturesCelsius: { ...gpu.temperaturesCelsius, ...board.temperaturesCelsius },
    tripPointsCelsius: { ...gpu.tripPointsCelsius, ...board.tripPointsCelsius },
    railsWatts: { ...gpu.railsWatts, ...board.railsWatts },
  };
}

/** The hottest place that concerns the GPU: the junction's and the GPU's zones; of none of them, of all. */
export function hottestCelsius(sample: TelemetrySample): number | undefined {
  return highest(sample.temperaturesCelsius);
}

/** How far the hottest zone is from where the board slows itself down; `undefined`: not known. */
export function marginToTripCelsius(sample: TelemetrySample): number | undefined {
  let margin: number | undefined;
  for (const [zone, trip] of Object.entries(sample.tripPointsCelsius)) {
    const now = sample.temperaturesCelsius[zone];
    if (now !== undefined) margin = Math.min(margin ?? Infinity, trip - now);
  }
  return margin;
}

function highest(zones: Readonly<Record<string, number>>): number | undefined {
  const chip = Object.entries(zones).filter(([zone]) => /^(tj|gpu)\b/i.test(zone)).map(([, value]) => value);
  const all = chip.length > 0 ? chip : Object.values(zones);
  return all.length === 0 ? undefined : Math.max(...all);
}
