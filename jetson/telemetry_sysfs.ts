/**
 * What do the files of a board say about its load, clocks, heat and power?
 *
 * Where things are is looked up once and again every `LOOK_AGAIN` samples, as nodes come late and drivers are loaded again; a file that
 * vanishes in between is simply not known. What changes slowly is read with every `SLOW`th sample only. Reads are asynchronous: an
 * I2C monitor takes milliseconds to answer, which must not hold up the agent's thread.
 */
import { type BoardFiles, integerOf, printable, readNumber } from "./board_files.ts";
import type { TelemetrySample } from "./telemetry.ts";

const LOOK_AGAIN = 60;
const SLOW = 10;

/** What `of_node/name` or the device's own name says of a GPU: Xavier, Orin, Thor, and newer kernels. */
const GPU_NODE = /^(gv11b|ga10b|gb10b|gpu)$/;
/** Thor has one node for each clock domain of the GPU; this one is of the SMs. */
const THOR_GPU = /^gpu-gpc-\d+$/;
/** The memory's clock, as a device of its own; else it stands in debugfs, for root only. */
const EMC_NODE = /^(bwmgr|emc|\w+\.(mc|external-memory-controller))$/;
/** Not the chip's: management ICs report nonsense or nothing. */
const IGNORED_ZONE = /pmic|^iwlwifi|^acpitz/i;

interface Reading {
  name: string;
  path: string;
}

interface Rail {
  name: string;
  /** Millivolts and milliamperes, or microwatts. */
  millivolts?: string;
  milliamperes?: string;
  microwatts?: string;
}

interface Places {
  gpuFolders: string[];
  clocks: (Reading & { scale: number })[];
  zones: Reading[];
  rails: Rail[];
  overCurrent: string[];
  fan: string | undefined;
}

type Slow = Pick<
  TelemetrySample,
  "tripPointsCelsius" | "powerMode" | "memoryUsedBytes" | "memoryTotalBytes" | "fanPermille"
>;

export class SysfsSensors {
  readonly #files: BoardFiles;
  #places: Places | undefined;
  #slow: Slow = { tripPointsCelsius: {} };
  #count = 0;

  constructor(files: BoardFiles) {
    this.#files = files;
  }

  async sample(nowNs: number): Promise<TelemetrySample> {
    if (this.#count % LOOK_AGAIN === 0) this.#places = await lookAround(this.#files);
    const places = this.#places!;
    if (this.#count % SLOW === 0) this.#slow = await readSlow(this.#files, places);
    this.#count++;
    const [gpuLoad, clocksHz, temperaturesCelsius, railsWatts, overCurrentEvents] = await Promise.all([
      this.#gpuLoad(places),
      this.#clocks(places),
      readAll(places.zones, ({ path }) => celsius(this.#files, path)),
      this.#rails(places),
      this.#overCurrent(places),
    ]);
    const powerWatts = totalOf(railsWatts, places.rails);
    return {
      timeNs: nowNs,
      ...(gpuLoad === undefined ? {} : { gpuLoad }),
      clocksHz,
      temperaturesCelsius,
      ...(powerWatts === undefined ? {} : { powerWatts }),
      railsWatts,
      ...(overCurrentEvents === undefined ? {} : { overCurrentEvents }),
      ...this.#slow,
    };
  }

  /** Tenths of a percent, of the first node that says. */
  async #gpuLoad({ gpuFolders }: Places): Promise<number | undefined> {
    for (const folder of gpuFolders) {
      for (const path of [`${folder}/device/load`, `${folder}/load`]) {
        const load = await readNumber(this.#files, path, { scale: 1e-3, max: 1 });
        if (load !== undefined) return load;
      }
    }
    return undefined;
  }

  #clocks({ clocks }: Places): Promise<Record<string, number>> {
    return readAll(clocks, ({ path, scale }) => readNumber(this.#files, path, { scale, min: 1, max: 20e9 }));
  }

  async #rails({ rails }: Places): Promise<Record<string, number>> {
    return await readAll(rails, async ({ millivolts, milliamperes, microwatts }) => {
      if (microwatts !== undefined) {
        const watts = await readNumber(this.#files, microwatts, { scale: 1e-6, max: 2000 });
        return watts === undefined ? undefined : toMilliwatts(watts);
      }
      const [mv, ma] = await Promise.all([
        readNumber(this.#files, millivolts!, { max: 100_000 }),
        // A rail that is nearly idle may read a few milliamperes below zero.
        readNumber(this.#files, milliamperes!, { min: -1000, max: 200_000 }),
      ]);
      return mv === undefined || ma === undefined ? undefined : toMilliwatts(Math.max(0, mv * ma / 1e6));
    });
  }

  /** Unknown unless every counter was read: a sum that lacks one would seem to go back. */
  async #overCurrent({ overCurrent }: Places): Promise<number | undefined> {
    if (overCurrent.length === 0) return undefined;
    const counts = await Promise.all(overCurrent.map((path) => readNumber(this.#files, path)));
    return counts.some((count) => count === undefined)
      ? undefined
      : counts.reduce<number>((sum, count) => sum + count!, 0);
  }
}

async function lookAround(files: BoardFiles): Promise<Places> {
  const [gpu, cpus, zones, hwmon] = await Promise.all([
    devfreq(files),
    files.list("/sys/devices/system/cpu"),
    thermalZones(files),
    monitors(files),
  ]);
  const cpuClocks = cpus.filter((name) => /^cpu\d+$/.test(name)).map((name) => ({
    name,
    path: `/sys/devices/system/cpu/${name}/cpufreq/scaling_cur_freq`,
    scale: 1000,
  }));
  const [first] = gpu.gpuFolders;
  const clocks = [
    ...(first === undefined ? [] : [{ name: "gpu", path: `${first}/cur_freq`, scale: 1 }]),
    ...(gpu.emc === undefined ? [] : [{ name: "emc", path: `${gpu.emc}/cur_freq`, scale: 1 }]),
    ...cpuClocks,
  ];
  if (gpu.emc === undefined) {
    clocks.push({ name: "emc", path: "/sys/kernel/debug/bpmp/debug/clk/emc/rate", scale: 1 });
  }
  return { gpuFolders: gpu.gpuFolders, clocks, zones, ...hwmon };
}

/** Folders below `/sys/class/devfreq` with the GPU's clocks; none on a desktop, or before its driver is there. */
export async function gpuClockFolders(files: BoardFiles): Promise<string[]> {
  return (await devfreq(files)).gpuFolders;
}

async function devfreq(files: BoardFiles): Promise<{ gpuFolders: string[]; emc: string | undefined }> {
  const folder = "/sys/class/devfreq";
  const names = await files.list(folder);
  const gpus: string[] = [];
  let emc: string | undefined;
  await Promise.all(names.map(async (name) => {
    if (THOR_GPU.test(name)) gpus.push(name);
    else if (EMC_NODE.test(name)) emc ??= `${folder}/${name}`;
    else if (GPU_NODE.test(await files.text(`${folder}/${name}/device/of_node/name`) ?? "")) gpus.push(name);
  }));
  return { gpuFolders: gpus.sort().map((name) => `${folder}/${name}`), emc };
}

async function thermalZones(files: BoardFiles): Promise<Reading[]> {
  const folder = "/sys/class/thermal";
  const names = (await files.list(folder)).filter((name) => /^thermal_zone\d+$/.test(name));
  const zones = await Promise.all(names.map(async (name) => {
    const type = printable(await files.text(`${folder}/${name}/type`) ?? "");
    if (type === "" || IGNORED_ZONE.test(type)) return undefined;
    return { name: type.replace(/[-_](thermal|therm)$/i, ""), path: `${folder}/${name}/temp` };
  }));
  return zones.filter((zone) => zone !== undefined);
}

/** Power monitors, alarm counters and the fan: all are devices of hwmon, told apart by their name. */
async function monitors(files: BoardFiles): Promise<Pick<Places, "rails" | "overCurrent" | "fan">> {
  const folder = "/sys/class/hwmon";
  const rails: Rail[] = [];
  const overCurrent: string[] = [];
  let fan: string | undefined;
  for (const device of await files.list(folder)) {
    const path = `${folder}/${device}`;
    const name = await files.text(`${path}/name`);
    const members = await files.list(path);
    if (name === "ina3221") rails.push(...await railsOf(files, path, members));
    else if (name === "ina238" || name === "ina2xx") rails.push(...await inputOf(files, path, members));
    else if (name === "soctherm_oc") {
      overCurrent.push(
        ...members.filter((file) => /^oc\d_event_cnt$/.test(file)).map((file) => `${path}/${file}`),
      );
    } else if (name === "pwmfan" || name === "pwm-fan") fan ??= `${path}/pwm1`;
  }
  return { rails, overCurrent, fan };
}

/** Channels 1 to 3 measure rails; 4 to 6 are shunt voltages, and 7 is a sum. A channel that is not connected is called NC. */
async function railsOf(files: BoardFiles, path: string, members: readonly string[]): Promise<Rail[]> {
  const rails: Rail[] = [];
  for (const channel of [1, 2, 3]) {
    if (!members.includes(`curr${channel}_input`)) continue;
    const name = printable(await files.text(`${path}/in${channel}_label`) ?? "");
    if (name === "" || /\bNC\b/.test(name)) continue;
    const millivolts = `${path}/in${channel}_input`;
    rails.push({ name, millivolts, milliamperes: `${path}/curr${channel}_input` });
  }
  return rails;
}

/** Thor measures its input with one of these; it may have no label. */
async function inputOf(files: BoardFiles, path: string, members: readonly string[]): Promise<Rail[]> {
  if (!members.includes("power1_input")) return [];
  const label = members.includes("in1_label") ? await files.text(`${path}/in1_label`) : undefined;
  return [{ name: printable(label ?? "") || "VIN", microwatts: `${path}/power1_input` }];
}

/** The board's input where that is measured. A sum that lacks a rail would be too low: then it is unknown. */
function totalOf(watts: Readonly<Record<string, number>>, rails: readonly Rail[]): number | undefined {
  const input = rails.find(({ name }) => name === "VDD_IN" || name === "VIN");
  if (input !== undefined) return watts[input.name];
  const values = Object.values(watts);
  if (values.length === 0 || values.length < new Set(rails.map(({ name }) => name)).size) return undefined;
  return toMilliwatts(values.reduce((sum, value) => sum + value, 0));
}

/** What the monitors resolve; the rest is the arithmetic's. */
function toMilliwatts(watts: number): number {
  return Math.round(watts * 1000) / 1000;
}

async function readSlow(files: BoardFiles, { zones, fan }: Places): Promise<Slow> {
  const [tripPointsCelsius, powerMode, meminfo, pwm] = await Promise.all([
    readAll(zones, ({ path }) => tripOf(files, path.replace(/\/temp$/, ""))),
    powerModeOf(files),
    files.text("/proc/meminfo"),
    fan === undefined ? undefined : readNumber(files, fan, { max: 255 }),
  ]);
  const total = kibOf(meminfo, "MemTotal");
  const available = kibOf(meminfo, "MemAvailable");
  return {
    tripPointsCelsius,
    ...(powerMode === undefined ? {} : { powerMode }),
    ...(total === undefined ? {} : { memoryTotalBytes: total * 1024 }),
    ...(total === undefined || available === undefined
      ? {}
      : { memoryUsedBytes: (total - available) * 1024 }),
    ...(pwm === undefined ? {} : { fanPermille: Math.round(pwm / 255 * 1000) }),
  };
}

const BELOW_SHUTDOWN_C = 10;
/** Below it a trip point turns on a fan and slows down nothing. */
const MIN_TRIP_C = 60;

/** `passive`: the kernel slows the chip down; `hot`: the hardware does; `critical`: it turns itself off. `active` is for fans. */
async function tripOf(files: BoardFiles, zone: string): Promise<number | undefined> {
  const names = (await files.list(zone)).filter((name) => /^trip_point_\d+_type$/.test(name));
  const trips = await Promise.all(names.map(async (name) => ({
    type: await files.text(`${zone}/${name}`),
    at: await celsius(files, `${zone}/${name.replace(/_type$/, "_temp")}`),
  })));
  const lowest = (wanted: RegExp) => {
    const all = trips.filter(({ type, at }) =>
      at !== undefined && at >= MIN_TRIP_C && wanted.test(type ?? "")
    );
    return all.length === 0 ? undefined : Math.min(...all.map(({ at }) => at!));
  };
  const slows = lowest(/^(passive|hot)$/);
  const off = lowest(/^critical$/);
  return slows ?? (off === undefined ? undefined : off - BELOW_SHUTDOWN_C);
}

/** A zone whose part of the chip is off has no temperature, or says -256. */
async function celsius(files: BoardFiles, path: string): Promise<number | undefined> {
  return await readNumber(files, path, { scale: 1e-3, min: -60, max: 200 });
}

/** `pmode:0002` names a mode of nvpmodel.conf by its number. */
async function powerModeOf(files: BoardFiles): Promise<string | undefined> {
  const [status, modes] = await Promise.all([
    files.text("/var/lib/nvpmodel/status"),
    files.text("/etc/nvpmodel.conf"),
  ]);
  const id = integerOf(/\bpmode:(\d{1,4})/.exec(status ?? "")?.[1]);
  if (id === undefined) return undefined;
  for (const [, number, name] of (modes ?? "").matchAll(/^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\w+)\s*>/gm)) {
    if (Number(number) === id) return name;
  }
  return String(id);
}

function kibOf(meminfo: string | undefined, field: string): number | undefined {
  return integerOf(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(meminfo ?? "")?.[1]);
}

/** By name, without those that are not known. Of two that bear one name the higher counts. */
async function readAll<T extends { name: string }>(
  places: readonly T[],
  read: (place: T) => Promise<number | undefined>,
): Promise<Record<string, number>> {
  const values = await Promise.all(places.map(read));
  const known: Record<string, number> = {};
  places.forEach(({ name }, index) => {
    const value = values[index];
    if (value !== undefined) known[name] = Math.max(value, known[name] ?? value);
  });
  return known;
}
