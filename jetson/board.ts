/**
 * Which board is this, and does Calypte support it?
 *
 * Model, Jetson Linux (L4T) and JetPack release, GPU, memory, driver and the newest PTX version that it takes: from files
 * alone, so that a fixture answers as a board does. What a file does not say is unknown, never guessed; what comes from a
 * table and not from the driver says so. What a driver answers when it is asked (attributes of the device) is the
 * engine's to know; `withDevice` puts it in.
 */
import { type BoardFiles, integerOf, printable } from "./board_files.ts";

export type BoardKind = "jetson" | "desktop" | "none";

/** Absent: unknown. */
export interface Board {
  /** desktop: an NVIDIA GPU with a driver, but no Jetson; none: no NVIDIA GPU was found. */
  kind: BoardKind;
  model?: string;
  /** Most specific first, such as `nvidia,p3768-0000+p3767-0005`. */
  compatible: readonly string[];
  /** Such as `tegra234`. */
  soc?: string;
  /** Jetson Linux, such as `36.4.3`. */
  l4t?: string;
  /** Such as `6`; of an L4T release that is not in the table: absent. */
  jetpack?: string;
  kernel?: string;
  gpu?: { chip?: string; arch?: string; name?: string; count?: number };
  memoryBytes?: number;
  /** Of the kernel module, such as `580.65.06`. */
  driver?: string;
  /** The newest that the driver takes; `from`: the driver itself, or a table of releases. */
  cuda?: { version: string; from: "driver" | "table" };
  ptx?: { version: string; from: "driver" | "table" };
  /** Device attributes; known only where an engine was opened. */
  attributes?: Readonly<Record<string, boolean>>;
  /** `undefined`: too little is known to say. */
  supported?: boolean;
  /** One sentence, in words. */
  because: string;
}

interface Chip {
  name: string;
  gpu: string;
  arch: string;
  family: string;
}

/** By what the device tree calls the SoC. */
const CHIPS: Readonly<Record<string, Chip>> = {
  tegra194: { name: "tegra194", gpu: "gv11b", arch: "sm_72", family: "Xavier" },
  tegra234: { name: "tegra234", gpu: "ga10b", arch: "sm_87", family: "Orin" },
  tegra264: { name: "tegra264", gpu: "gb10b", arch: "sm_110", family: "Thor" },
};

/** Jetson Linux: the first release of each line that brings another CUDA. In falling order. */
const L4T: readonly { from: readonly [number, number]; jetpack: string; cuda: string }[] = [
  { from: [38, 0], jetpack: "7", cuda: "13.0" },
  { from: [36, 4], jetpack: "6", cuda: "12.6" },
  { from: [36, 0], jetpack: "6", cuda: "12.2" },
  { from: [34, 0], jetpack: "5", cuda: "11.4" },
  { from: [32, 0], jetpack: "4", cuda: "10.2" },
];
/** A later line is not guessed at. */
const LAST_L4T = 39;

/** Drivers of PCI cards by the first branch that brings a CUDA version. In falling order. */
const DRIVERS: readonly [branch: number, cuda: string][] = [
  [580, "13.0"],
  [575, "12.9"],
  [570, "12.8"],
  [565, "12.7"],
  [560, "12.6"],
  [555, "12.5"],
  [550, "12.4"],
  [545, "12.3"],
  [535, "12.2"],
  [530, "12.1"],
  [525, "12.0"],
  [515, "11.7"],
  [510, "11.6"],
  [495, "11.5"],
  [470, "11.4"],
];

/** PTX ISA, table of its release history: CUDA version -> newest PTX version. In falling order. */
const PTX: readonly [cuda: string, ptx: string][] = [
  ["13.0", "9.0"],
  ["12.9", "8.8"],
  ["12.8", "8.7"],
  ["12.7", "8.6"],
  ["12.5", "8.5"],
  ["12.4", "8.4"],
  ["12.3", "8.3"],
  ["12.2", "8.2"],
  ["12.1", "8.1"],
  ["12.0", "8.0"],
  ["11.8", "7.8"],
  ["11.7", "7.7"],
  ["11.6", "7.6"],
  ["11.5", "7.5"],
  ["11.4", "7.4"],
];

/** Never throws: an empty machine is a board of kind `none`. */
export async function probeBoard(files: BoardFiles): Promise<Board> {
  const [tree, release, kernel, meminfo, driver, cards] = await Promise.all([
    deviceTree(files),
    files.text("/etc/nv_tegra_release"),
    files.text("/proc/sys/kernel/osrelease"),
    files.text("/proc/meminfo"),
    files.text("/proc/driver/nvidia/version"),
    pciCards(files),
  ]);
  const chip = tree.soc === undefined ? undefined : CHIPS[tree.soc];
  const l4t = l4tOf(release) ?? l4tOfKernel(kernel);
  const driverVersion = /\b(\d{3}\.\d{1,3}(?:\.\d{1,3})?)\b/.exec(driver ?? "")?.[1];
  const isTegra = tree.soc !== undefined || l4t !== undefined;
  const kind = isTegra ? "jetson" : cards.length > 0 || driverVersion !== undefined ? "desktop" : "none";
  const line = l4t === undefined ? undefined : lineOf(l4t);
  const cuda = cudaOf(driverVersion) ?? line?.cuda;
  const ptx = cuda === undefined ? undefined : ptxOf(cuda);
  const memoryBytes = memoryOf(meminfo);
  const model = tree.model ?? cards[0];
  const gpu = chip !== undefined
    ? { chip: chip.gpu, arch: chip.arch }
    : cards[0] === undefined
    ? undefined
    : { name: cards[0], count: cards.length };
  const board = {
    kind,
    compatible: tree.compatible,
    ...known({ model, soc: tree.soc, l4t, memoryBytes, driver: driverVersion, gpu }),
    ...known({ kernel: printable(kernel ?? "") || undefined }),
    ...known({ jetpack: line?.jetpack }),
    ...known({ cuda: cuda === undefined ? undefined : { version: cuda, from: "table" as const } }),
    ...known({ ptx: ptx === undefined ? undefined : { version: ptx, from: "table" as const } }),
  } as const;
  return { ...board, ...supportOf(board) };
}

/** What the engine has learned from the driver, and only that. */
export interface DriverAnswers {
  name: string;
  computeMajor: number;
  computeMinor: number;
  /** 85 for 8.5; 0: unknown. */
  ptxVersion: number;
  /** Only of an engine that was opened. */
  attributes?: Readonly<Record<string, boolean>>;
}

/** The driver's own answers take the place of the tables'. */
export function withDevice(board: Board, device: DriverAnswers): Board {
  const { name, computeMajor, computeMinor, ptxVersion, attributes } = device;
  const gpu = { ...board.gpu, name, arch: `sm_${computeMajor}${computeMinor}` };
  const ptx = ptxVersion === 0
    ? undefined
    : { version: `${Math.floor(ptxVersion / 10)}.${ptxVersion % 10}`, from: "driver" as const };
  const kind: BoardKind = board.kind === "none" ? "desktop" : board.kind;
  const asked = { ...board, kind, gpu, ...known({ ptx, attributes }) };
  return { ...asked, ...supportOf(asked) };
}

/** Whether the board is supported, and why or why not, in one sentence. */
function supportOf(board: Omit<Board, "supported" | "because">): Pick<Board, "supported" | "because"> {
  const { kind, soc, l4t, jetpack } = board;
  if (kind === "none") return { because: "no NVIDIA GPU was found; missions run on the simulator" };
  if (kind === "desktop") {
    return { supported: true, because: "a GPU with its own memory; developed and tested on such ones" };
  }
  const chip = soc === undefined ? undefined : CHIPS[soc];
  if (chip?.family === "Xavier") {
    return no(
      "Xavier is not supported, because its GPU (sm_72) needs CUDA 12 or older, and JetPack 5, its last, takes PTX up to 7.4 only",
    );
  }
  if (jetpack === "5" || jetpack === "4") {
    return no(
      `JetPack ${jetpack} (L4T ${l4t}) is not supported, because its driver takes PTX up to ${
        board.ptx?.version ?? "7.4"
      } only, and stream memory operations may be off; Orin runs JetPack 6 or 7`,
    );
  }
  if (soc !== undefined && chip === undefined) {
    return no(`${soc} is not supported; Orin (tegra234) and Thor (tegra264) are`);
  }
  if (chip === undefined) return { because: "a Jetson whose chip the device tree does not name" };
  if (l4t === undefined) return { because: `${chip.family}, with an unknown release of Jetson Linux` };
  if (jetpack === undefined) {
    return { because: `${chip.family}, with L4T ${l4t}, which is newer than this program knows` };
  }
  if (chip.family === "Thor" && jetpack !== "7") {
    return no(`Thor needs JetPack 7 (L4T 38 or 39), not ${jetpack} (L4T ${l4t})`);
  }
  return {
    supported: true,
    because: `${chip.family} with JetPack ${jetpack} (L4T ${l4t}); not yet verified on this hardware`,
  };
}

function no(because: string): Pick<Board, "supported" | "because"> {
  return { supported: false, because };
}

async function deviceTree(
  files: BoardFiles,
): Promise<{ model?: string; compatible: readonly string[]; soc?: string }> {
  // The first is a link to the second; a container may have only one of them.
  const either = async (name: string) =>
    await files.text(`/proc/device-tree/${name}`) ??
      await files.text(`/sys/firmware/devicetree/base/${name}`);
  const [model, compatible] = await Promise.all([either("model"), either("compatible")]);
  const all = (compatible ?? "").split("\0").map(printable).filter((text) => text !== "");
  const soc = all.map((text) => /^nvidia,(tegra\d{2,4})$/.exec(text)?.[1]).find((text) => text !== undefined);
  return { compatible: all, ...known({ model: printable(model ?? "") || undefined, soc }) };
}

/** The first line: `# R36 (release), REVISION: 4.3, GCID: ...`. */
function l4tOf(text: string | undefined): string | undefined {
  const [, major, revision] =
    /^# R(\d{1,3}) \(release\), REVISION: (\d{1,2}(?:\.\d{1,2})?)\b/.exec(text ?? "") ?? [];
  return major === undefined ? undefined : `${major}.${revision}`;
}

/** Such as `5.15.148-l4t-r36.4.4-1012.12+gc8a82765359e`, of distributions other than NVIDIA's. */
function l4tOfKernel(text: string | undefined): string | undefined {
  return /\bl4t-r(\d{2}\.\d{1,2}(?:\.\d{1,2})?)/.exec(text ?? "")?.[1];
}

function lineOf(l4t: string): { jetpack: string; cuda: string } | undefined {
  const [major = 0, minor = 0] = l4t.split(".").map(Number);
  if (major > LAST_L4T) return undefined;
  return L4T.find(({ from }) => major > from[0] || (major === from[0] && minor >= from[1]));
}

function cudaOf(driver: string | undefined): string | undefined {
  const branch = integerOf(driver?.split(".")[0]);
  return branch === undefined ? undefined : DRIVERS.find(([first]) => branch >= first)?.[1];
}

/** The newest PTX version of a CUDA version, such as `12.6`. Exported for what a driver says of itself. */
export function ptxOf(cuda: string): string | undefined {
  const number = (text: string) => {
    const [major = 0, minor = 0] = text.split(".").map(Number);
    return major * 100 + minor;
  };
  return PTX.find(([version]) => number(cuda) >= number(version))?.[1];
}

function memoryOf(meminfo: string | undefined): number | undefined {
  const kib = integerOf(/^MemTotal:\s+(\d+) kB$/m.exec(meminfo ?? "")?.[1]);
  return kib === undefined ? undefined : kib * 1024;
}

/** Names of PCI GPUs, as their driver gives them; a card that does not say is named for its class. */
async function pciCards(files: BoardFiles): Promise<string[]> {
  const folder = "/proc/driver/nvidia/gpus";
  const slots = await files.list(folder);
  return await Promise.all(slots.map(async (slot) => {
    const text = await files.text(`${folder}/${slot}/information`);
    return printable(/^Model:\s+(.+)$/m.exec(text ?? "")?.[1] ?? "") || "an NVIDIA GPU";
  }));
}

/** Without the keys that are not known. */
function known<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
