/** Is this machine fit for Calypte? Deno, library, driver, device, limits, others on the GPU, folders, port. */
import type { DeviceInfo, Feature, FeatureName } from "../../ffi/mod.ts";
import type { Board } from "../../jetson/board.ts";
import type { TelemetrySample } from "../../jetson/telemetry.ts";
import type { Sighting } from "../foreign/foreign.ts";
import { formatBytes } from "../quantity.ts";
import { type Finding, finding, look } from "./finding.ts";
import {
  governorFinding,
  gpuClockFinding,
  lockedMemoryFinding,
  realtimeFinding,
  sensorFindings,
} from "./host.ts";
import { type Tuning, tuningFindings } from "./tuning.ts";

/** What is looked at; tests stand in for it. */
export interface Machine extends Tuning {
  deno: string;
  /** Deno is part of this program. */
  executable: boolean;
  /** Version of the library. Throws `InputError` if there is none that fits. */
  library(): string;
  /** Throws if there is no GPU. */
  device(): DeviceInfo;
  /** Of an engine on it. Throws. */
  gpuFeatures(): readonly Feature[];
  /** Of an engine's dispatcher here, on the simulator. Throws. */
  realtime(): Feature;
  board(): Promise<Board>;
  sample(): Promise<TelemetrySample>;
  others(): Promise<Sighting>;
  folders: readonly Folder[];
  /** Where an agent listens by default: `free`, `agent`: one answers there, or why not. */
  port(): Promise<string>;
}

export interface Folder {
  /** Such as "state". */
  what: string;
  /** `undefined`: it is switched off, or has no place. */
  dir: string | undefined;
  /** Why nothing can be written there; `undefined`: it can. */
  fault(): Promise<string | undefined>;
  /** `undefined`: not known. */
  freeBytes(): number | undefined;
  /** How to choose another one. */
  remedy: string;
}

const OLDEST_DENO = [2, 4];
const TRIED_DENO_MAJOR = 2;
/** Without one of these Calypte works, and waits longer. */
const WANTED_FEATURES: readonly FeatureName[] = [
  "stream-memops",
  "graph-memops",
  "parked-resume",
  "stream-priority",
  "mapped-host",
  "ipc",
];
const LITTLE_BYTES = 1 << 30;
const TOO_LITTLE_BYTES = 64 << 20;

/** `step` is called ahead of each look, with what it looks at. */
export async function examine(machine: Machine, step: (what: string) => void = () => {}): Promise<Finding[]> {
  const looks: [string, () => Promise<Finding[]> | Finding[], string?][] = [
    ["Deno", () => [denoFinding(machine)]],
    ["library", () => [finding("library", "ok", machine.library())], "make build makes it"],
    [
      "GPU",
      () => [deviceFinding(machine.device())],
      "simulate works without; else install NVIDIA's driver, and see that this user may use its devices",
    ],
    ["board", async () => boardFindings(await machine.board())],
    ["engine", () => featureFindings(machine)],
    ["real time", () => [realtimeFinding(machine.realtime())]],
    ["locked memory", async () => [await lockedMemoryFinding(machine.files)]],
    ["CPU clocks", async () => [await governorFinding(machine.files)]],
    ["GPU clocks", async () => [await gpuClockFinding(machine.files)].filter((found) => found !== undefined)],
    ["sensors", async () => {
      const sample = await machine.sample();
      return [...await tuningFindings(machine, sample), ...sensorFindings(sample)];
    }],
    ["others on the GPU", async () => hasGpu(machine) ? [othersFinding(await machine.others())] : []],
    ...machine.folders.map((folder): [string, () => Promise<Finding[]>] => [
      folder.what,
      async () => [await folderFinding(folder)],
    ]),
    ["port", async () => [portFinding(await machine.port())]],
  ];
  const found: Finding[] = [];
  for (const [what, body, remedy] of looks) {
    step(what);
    found.push(...await look(what, body, remedy));
  }
  return found;
}

function denoFinding({ deno, executable }: Machine): Finding {
  if (executable) return finding("Deno", "ok", `${deno}, built in`);
  const [major = 0, minor = 0] = deno.split(".").map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_DENO;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return finding(
      "Deno",
      "fail",
      `${deno} is older than ${OLDEST_DENO.join(".")}`,
      "tools/setup.sh fetches one that fits",
    );
  }
  return major > TRIED_DENO_MAJOR
    ? finding(
      "Deno",
      "warn",
      `${deno}: nobody has tried this major version`,
      "tools/setup.sh fetches one that was tried",
    )
    : finding("Deno", "ok", deno);
}

function hasGpu(machine: Machine): boolean {
  try {
    machine.device();
    return true;
  } catch {
    return false;
  }
}

function deviceFinding({ name, driver, sms, memoryBytes, ptxVersion }: DeviceInfo): Finding {
  const ptx = ptxVersion === 0 ? "" : `, PTX up to ${(ptxVersion / 10).toFixed(1)}`;
  // What of it is free only an open engine knows.
  return finding("GPU", "ok", `${name}, ${sms} SMs, driver ${driver}${ptx}, ${formatBytes(memoryBytes)}`);
}

function boardFindings({ kind, model, supported, because }: Board): Finding[] {
  if (kind === "none") return [];
  const name = model === undefined ? "" : `${model}: `;
  return [
    supported === false
      ? finding("board", "fail", name + because, "docs/JETSON.md lists what is supported")
      : finding("board", supported === undefined ? "warn" : "ok", name + because),
  ];
}

function featureFindings(machine: Machine): Finding[] {
  if (!hasGpu(machine)) return [];
  const features = machine.gpuFeatures();
  const off = features.filter(({ name, on }) => !on && WANTED_FEATURES.includes(name));
  if (off.length === 0) return [finding("engine", "ok", "opens on the GPU, and its self-tests pass")];
  return off.map(({ name, reason }) =>
    finding(
      "engine",
      "warn",
      `${name} is off: ${reason}`,
      "it works without, and background takes longer to leave or to come back",
    )
  );
}

/** Also for a mission, which may name some of them. */
export function othersFinding({ users, blind }: Sighting, declared?: readonly string[]): Finding {
  const what = "others on the GPU";
  const named = (name: string) => declared?.some((each) => each.slice(0, 15) === name.slice(0, 15)) === true;
  const unnamed = users.filter(({ name }) => !named(name));
  const list = (all: Sighting["users"]) =>
    [...new Set(all.map(({ name, pid }) => `${name} (${pid})`))].join(", ");
  if (unnamed.length > 0) {
    return finding(
      what,
      declared === undefined ? "warn" : "fail",
      `${list(unnamed)} ${unnamed.length === 1 ? "uses" : "use"} it too`,
      "end them, or name them in the mission's device.foreign: their kernels are never preempted",
    );
  }
  if (users.length > 0) return finding(what, "ok", `${list(users)}, which the mission names`);
  if (blind === undefined) return finding(what, "ok", "nobody");
  return declared === undefined
    ? finding(
      what,
      "warn",
      `not known: ${blind}`,
      "device.foreign in the mission can declare them, [] that there are none",
    )
    : finding(what, "ok", `not to be seen (${blind}); the mission declares ${declared.join(", ") || "none"}`);
}

export async function folderFinding({ what, dir, fault, freeBytes, remedy }: Folder): Promise<Finding> {
  if (dir === undefined) return finding(what, "warn", "nothing is kept: it is off, or has no place", remedy);
  const why = await fault();
  if (why !== undefined) return finding(what, "fail", `${dir}: ${why}`, remedy);
  const bytes = freeBytes();
  const room = bytes === undefined ? "" : `, ${formatBytes(bytes)} free`;
  const verdict = bytes === undefined || bytes >= LITTLE_BYTES
    ? "ok"
    : bytes >= TOO_LITTLE_BYTES
    ? "warn"
    : "fail";
  return finding(
    what,
    verdict,
    `${dir}${room}`,
    verdict === "ok" ? undefined : "make room there: results and state are written until the disk is full",
  );
}

function portFinding(port: string): Finding {
  if (port === "free") return finding("port", "ok", "free");
  if (port === "agent") return finding("port", "ok", "an agent answers there");
  return finding("port", "warn", port, "name another one: http.listen in the mission, or --listen");
}
