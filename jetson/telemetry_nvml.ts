/**
 * What does NVIDIA's management library say about the GPU?
 *
 * On desktops and on Thor; Orin's has no such library. Loaded only where it is there and may be loaded. Handles and numbers cross
 * as plain integers and buffers, so that leave to load this one library is all it takes; calls run on another thread, as some take
 * milliseconds. Constants and structures are those of nvml.h; every call answers 0 or says why not, and then that value is unknown.
 */
import { emptySample, type TelemetrySample } from "./telemetry.ts";

export interface Nvml {
  /** Never rejects while it is open. */
  sample(nowNs: number): Promise<TelemetrySample>;
  /** As the driver says it of itself, such as `580.65.06`; "": it does not. */
  driver: string;
  /** The newest CUDA that the driver takes, such as `13.0`; "": unknown. */
  cuda: string;
  /** Not while a sample is under way. */
  close(): void;
}

/** A handle is a pointer; as an integer it needs no leave for pointers. */
const SYMBOLS = {
  nvmlInit_v2: { parameters: [], result: "i32" },
  nvmlShutdown: { parameters: [], result: "i32" },
  nvmlSystemGetDriverVersion: { parameters: ["buffer", /* text */ "u32" /* length */], result: "i32" },
  nvmlSystemGetCudaDriverVersion_v2: { parameters: ["buffer" /* int */], result: "i32" },
  nvmlDeviceGetHandleByIndex_v2: { parameters: ["u32", /* index */ "buffer" /* handle */], result: "i32" },
  nvmlDeviceGetUtilizationRates: {
    parameters: ["u64", /* device */ "buffer" /* {gpu, memory} u32 */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetTemperature: {
    parameters: ["u64", /* device */ "i32", /* sensor */ "buffer" /* u32 */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetTemperatureThreshold: {
    parameters: ["u64", /* device */ "i32", /* which */ "buffer" /* u32 */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetPowerUsage: {
    parameters: ["u64", /* device */ "buffer" /* u32 mW */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetClockInfo: {
    parameters: ["u64", /* device */ "i32", /* which */ "buffer" /* u32 MHz */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetMemoryInfo: {
    parameters: ["u64", /* device */ "buffer" /* {total, free, used} u64 */],
    result: "i32",
    nonblocking: true,
  },
  nvmlDeviceGetFanSpeed: {
    parameters: ["u64", /* device */ "buffer" /* u32 percent */],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Names another place of the library. */
export const NVML_VARIABLE = "CALYPTE_NVML";

/** The folders of Debian, of JetPack, of Red Hat, of WSL and of NVIDIA's containers. */
const PATHS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu/nvidia",
  "/usr/lib64",
  "/usr/lib",
  "/usr/lib/wsl/lib",
  "/usr/local/nvidia/lib64",
].map((folder) => `${folder}/libnvidia-ml.so.1`);
const SENSOR_GPU = 0;
const THRESHOLD_SLOWDOWN = 1;
const CLOCK_SM = 1;
const CLOCK_MEMORY = 2;
/** What a card says of a temperature that it does not know is far beyond any real one. */
const MAX_CELSIUS = 200;
/** The slow-down threshold does not change. */
const SLOW = 60;

/** The library for device `index`; `undefined` if there is none, it may not be loaded, or it knows no such device. */
export function openNvml(places: readonly string[] = nvmlPlaces(), index = 0): Nvml | undefined {
  const library = load(places);
  if (library === undefined) return undefined;
  const { symbols } = library;
  const handle = new BigUint64Array(1);
  try {
    if (symbols.nvmlInit_v2() === 0) {
      if (symbols.nvmlDeviceGetHandleByIndex_v2(index, handle) === 0) {
        return new LoadedNvml(library, handle[0]!);
      }
      symbols.nvmlShutdown();
    }
  } catch {
    // A library that cannot be called is none.
  }
  library.close();
  return undefined;
}

/** Where the library may lie, each with its path, as leave to load is given by path. */
export function nvmlPlaces(): readonly string[] {
  try {
    const named = Deno.env.get(NVML_VARIABLE) ?? "";
    return named === "" ? PATHS : [named];
  } catch {
    return PATHS;
  }
}

function load(places: readonly string[]): Deno.DynamicLibrary<typeof SYMBOLS> | undefined {
  for (const place of places) {
    try {
      return Deno.dlopen(place, SYMBOLS);
    } catch {
      // Not there, not to be loaded, or too old to have all of it: the next.
    }
  }
  return undefined;
}

class LoadedNvml implements Nvml {
  readonly driver: string;
  readonly cuda: string;
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #device: bigint;
  #slowdownC: number | undefined;
  #count = 0;
  #closed = false;

  constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>, device: bigint) {
    this.#library = library;
    this.#device = device;
    const { symbols } = library;
    const text = new Uint8Array(80);
    const said = symbols.nvmlSystemGetDriverVersion(text, text.length) === 0;
    const end = text.indexOf(0);
    this.driver = said ? new TextDecoder().decode(text.subarray(0, end < 0 ? text.length : end)) : "";
    const version = new Int32Array(1);
    const known = symbols.nvmlSystemGetCudaDriverVersion_v2(version) === 0 && version[0]! > 0;
    this.cuda = known ? `${Math.floor(version[0]! / 1000)}.${Math.floor(version[0]! % 1000 / 10)}` : "";
  }

  async sample(nowNs: number): Promise<TelemetrySample> {
    if (this.#closed) return emptySample(nowNs);
    const { symbols } = this.#library;
    const device = this.#device;
    if (this.#count++ % SLOW === 0) {
      this.#slowdownC = await word((out) =>
        symbols.nvmlDeviceGetTemperatureThreshold(device, THRESHOLD_SLOWDOWN, out)
      );
    }
    const load = new Uint32Array(2);
    const memory = new BigUint64Array(3);
    const loadSaid = await symbols.nvmlDeviceGetUtilizationRates(device, load) === 0;
    const memorySaid = await symbols.nvmlDeviceGetMemoryInfo(device, memory) === 0;
    const celsius = await word((out) => symbols.nvmlDeviceGetTemperature(device, SENSOR_GPU, out));
    const milliwatts = await word((out) => symbols.nvmlDeviceGetPowerUsage(device, out));
    const smMhz = await word((out) => symbols.nvmlDeviceGetClockInfo(device, CLOCK_SM, out));
    const memoryMhz = await word((out) => symbols.nvmlDeviceGetClockInfo(device, CLOCK_MEMORY, out));
    const fan = await word((out) => symbols.nvmlDeviceGetFanSpeed(device, out));
    const watts = milliwatts === undefined ? undefined : milliwatts / 1000;
    return {
      timeNs: nowNs,
      ...(loadSaid && load[0]! <= 100 ? { gpuLoad: load[0]! / 100 } : {}),
      clocksHz: {
        ...(smMhz === undefined || smMhz === 0 ? {} : { gpu: smMhz * 1e6 }),
        ...(memoryMhz === undefined || memoryMhz === 0 ? {} : { emc: memoryMhz * 1e6 }),
      },
      temperaturesCelsius: within(celsius) ? { gpu: celsius } : {},
      tripPointsCelsius: within(this.#slowdownC) ? { gpu: this.#slowdownC } : {},
      ...(watts === undefined ? {} : { powerWatts: watts }),
      railsWatts: watts === undefined ? {} : { GPU: watts },
      ...(memorySaid ? { memoryTotalBytes: Number(memory[0]!), memoryUsedBytes: Number(memory[2]!) } : {}),
      ...(fan === undefined || fan > 100 ? {} : { fanPermille: fan * 10 }),
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#library.symbols.nvmlShutdown();
    this.#library.close();
  }
}

function within(celsius: number | undefined): celsius is number {
  return celsius !== undefined && celsius > 0 && celsius < MAX_CELSIUS;
}

async function word(call: (out: Uint32Array<ArrayBuffer>) => Promise<number>): Promise<number | undefined> {
  const out = new Uint32Array(1);
  return await call(out) === 0 ? out[0]! : undefined;
}
