/**
 * Which processes have a context on this agent's GPU, by NVML?
 *
 * NVML counts processes by ids that need not be those of this container. So the device on which it shows this agent's
 * own process is this agent's, and where it shows that process nowhere, nothing that it shows can be told apart: blind.
 */
import { nvmlPlaces } from "../../jetson/telemetry_nvml.ts";
import { reasonOf } from "../errors.ts";
import type { ForeignSource, GpuUser, Sighting } from "./foreign.ts";

const SUCCESS = 0;
const NOT_SUPPORTED = 3;
const NO_PERMISSION = 4;
const INSUFFICIENT_SIZE = 7;
/** nvmlProcessInfo_t: pid, used memory, GPU instance, compute instance. */
const PROCESS_BYTES = 24;
const MAX_PROCESSES = 1024;
const NAME_BYTES = 256;
const EVERY_MS = 1000;

const LIST = {
  // The device is a pointer; as an integer it needs no leave for pointers, which is given back before.
  parameters: ["u64", "buffer", "buffer"],
  result: "i32",
  // It may take milliseconds, and the agent's loops wait for nobody.
  nonblocking: true,
} as const;

const SYMBOLS = {
  /** nvmlReturn_t nvmlInit_v2(void) */
  nvmlInit_v2: { parameters: [], result: "i32", nonblocking: true },
  nvmlShutdown: { parameters: [], result: "i32" },
  /** nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *deviceCount) */
  nvmlDeviceGetCount_v2: { parameters: ["buffer"], result: "i32" },
  /** nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) */
  nvmlDeviceGetHandleByIndex_v2: { parameters: ["u32", "buffer"], result: "i32" },
  /** nvmlReturn_t f(nvmlDevice_t device, unsigned int *infoCount, nvmlProcessInfo_t *infos) */
  nvmlDeviceGetComputeRunningProcesses_v3: LIST,
  nvmlDeviceGetGraphicsRunningProcesses_v3: LIST,
  /** nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) */
  nvmlSystemGetProcessName: { parameters: ["u32", "buffer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Nvml = Deno.DynamicLibrary<typeof SYMBOLS>;

/** A source, or why there is none. From then on it needs no permission. */
export async function openNvml(paths: readonly string[] = nvmlPlaces()): Promise<ForeignSource | string> {
  const found = await firstFile(paths);
  if (found === undefined) return "there is no libnvidia-ml.so.1 on this machine";
  let library: Nvml;
  try {
    library = Deno.dlopen(found, SYMBOLS);
  } catch (error) {
    const denied = error instanceof Deno.errors.NotCapable;
    return denied ? `Deno may not open ${found}: it needs --allow-ffi for it` : `${found} ${reasonOf(error)}`;
  }
  const code = await library.symbols.nvmlInit_v2();
  if (code === SUCCESS) return new NvmlSource(library);
  library.close();
  return `NVML does not start: ${codeText(code)}`;
}

async function firstFile(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    try {
      if ((await Deno.stat(path)).isFile) return path;
    } catch {
      // Not there, or not to be seen: the next one.
    }
  }
  return undefined;
}

class NvmlSource implements ForeignSource {
  readonly everyMs = EVERY_MS;
  readonly #library: Nvml;
  /** Indices of the devices that have shown a process of this agent's; an engine that starts again is away for a while. */
  readonly #ours = new Set<number>();
  #closed = false;
  #looking: Promise<Sighting> | undefined;

  constructor(library: Nvml) {
    this.#library = library;
  }

  look(own: ReadonlySet<number>): Promise<Sighting> {
    if (this.#closed) return Promise.resolve({ users: [], blind: "NVML is closed" });
    return this.#looking ??= this.#look(own).finally(() => this.#looking = undefined);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const end = () => {
      this.#library.symbols.nvmlShutdown();
      this.#library.close();
    };
    // A call that is under way needs the library.
    if (this.#looking === undefined) end();
    else void this.#looking.then(end);
  }

  async #look(own: ReadonlySet<number>): Promise<Sighting> {
    const { symbols } = this.#library;
    const count = new Uint32Array(1);
    const counted = symbols.nvmlDeviceGetCount_v2(count);
    if (counted !== SUCCESS) return { users: [], blind: `NVML does not count devices: ${codeText(counted)}` };
    const users = new Map<number, GpuUser>();
    const refused = new Map<number, string>();
    for (let index = 0; index < count[0]!; index++) {
      const pids = await this.#pidsOf(index);
      if (typeof pids === "string") {
        refused.set(index, pids);
        continue;
      }
      if (pids.some((pid) => own.has(pid))) this.#ours.add(index);
      if (!this.#ours.has(index)) continue;
      for (const pid of pids) if (!own.has(pid)) users.set(pid, { pid, name: this.#nameOf(pid) });
    }
    const all = [...users.values()];
    // Another's device may refuse; this agent's must not.
    const failed = [...refused].find(([index]) => this.#ours.size === 0 || this.#ours.has(index));
    if (failed !== undefined) return { users: all, blind: failed[1] };
    if (this.#ours.size > 0) return { users: all };
    const blind =
      "NVML does not show this agent's own process, as in a container with process ids of its own";
    return { users: [], blind };
  }

  async #pidsOf(index: number): Promise<number[] | string> {
    const { symbols } = this.#library;
    const handle = new BigUint64Array(1);
    const code = symbols.nvmlDeviceGetHandleByIndex_v2(index, handle);
    if (code !== SUCCESS) return `NVML does not open device ${index}: ${codeText(code)}`;
    const device = handle[0]!;
    const compute = await listOf(symbols.nvmlDeviceGetComputeRunningProcesses_v3, device);
    if (typeof compute === "string") return compute;
    const graphics = await listOf(symbols.nvmlDeviceGetGraphicsRunningProcesses_v3, device);
    // Some devices know no graphics; then nobody uses them for that.
    return typeof graphics === "string" ? compute : [...compute, ...graphics];
  }

  #nameOf(pid: number): string {
    const bytes = new Uint8Array(NAME_BYTES);
    const code = this.#library.symbols.nvmlSystemGetProcessName(pid, bytes, NAME_BYTES);
    const end = bytes.indexOf(0);
    const text = new TextDecoder().decode(bytes.subarray(0, end < 0 ? NAME_BYTES : end));
    // Some drivers give the whole command line.
    const [program = ""] = text.split(/\s/);
    const name = program.slice(program.lastIndexOf("/") + 1);
    return code !== SUCCESS || name === "" ? `pid ${pid}` : name;
  }
}

async function listOf(
  list: Nvml["symbols"]["nvmlDeviceGetComputeRunningProcesses_v3"],
  device: bigint,
): Promise<number[] | string> {
  // One more than it said may have come since.
  for (let room = 32; room <= MAX_PROCESSES; room *= 2) {
    const count = new Uint32Array([room]);
    const infos = new Uint8Array(room * PROCESS_BYTES);
    const code = await list(device, count, infos);
    if (code === INSUFFICIENT_SIZE) continue;
    if (code !== SUCCESS) return `NVML does not list processes: ${codeText(code)}`;
    const view = new DataView(infos.buffer);
    return Array.from({ length: count[0]! }, (_, index) => view.getUint32(index * PROCESS_BYTES, true));
  }
  return `NVML lists more than ${MAX_PROCESSES} processes`;
}

function codeText(code: number): string {
  if (code === NOT_SUPPORTED) return "not supported on this device";
  if (code === NO_PERMISSION) return "no permission";
  return `error ${code}`;
}
