/**
 * Where do raw samples lie, and which cells are done?
 *
 * One gzip JSON file for each cell, `DIR/raw/KEY.json.gz`, written under another name and renamed, so that a file that is there
 * is whole. A cell that has a file is not repeated. `DIR/run.json` holds what all have in common. In the file spans lie as one
 * list of differences, each from the time before it: half the bytes.
 */
import { path } from "../../agent/std/mod.ts";
import type { Cell, Matrix } from "./cells.ts";
import { keyOf } from "./cells.ts";
import type { Machine } from "./machine.ts";
import type { Span } from "./statistics.ts";

export const FORMAT = "calypte-eval/3";
export type RunBackend = "sim" | "cuda";
const FAILURES = "failed.json";

export interface RunInfo {
  format: typeof FORMAT;
  backend: RunBackend;
  seed: number;
  matrix: Matrix;
  requests: number;
  machine: Machine;
}

/** A cell that gave no samples. It stays on record when the cell is done later. */
export interface Failure {
  key: string;
  why: string;
  /** ISO, of the wall clock. */
  at: string;
}

/** How many outputs were compared with the reference run's, and how many differed. */
export interface Verified {
  /** Why nothing could be compared; empty: it was. */
  why: string;
  checked: number;
  wrong: number;
}

export interface RawCell {
  format: typeof FORMAT;
  cell: Cell;
  /** Of the simulator: never to be shown as a GPU's. */
  backend: RunBackend;
  machine: Machine;
  seeds: { run: number; arrivals: number };
  /** ISO, of the wall clock. */
  begunAt: string;
  windowNs: number;
  /** From here on, times are ns from the window's beginning. Scheduled, ascending. */
  arrivalsNs: number[];
  /** For each arrival; -1: never launched. */
  launchNs: number[];
  /** For each arrival: output complete in host-visible memory; -1: dropped, -2: unfinished at the end. */
  doneNs: number[];
  /** When background was at work, by the device's clock where `busyFrom` says so. */
  busy: Span[];
  busyFrom: "device" | "engine" | "simulated" | "nothing ran";
  /** GPU time of background within the window, in ns; 0: as `busy` says. */
  busyNs: number;
  /** Background units completed within the window and not found wrong. */
  units: number;
  /** The whole cell, with processes, loading and warming up; wall clock. */
  tookMs: number;
  verified: { critical: Verified; background: Verified };
  /** Processor time of all processes of the cell within the window, in s. */
  cpuS: number;
  /** Of the whole GPU within the window; `null`: not measured. */
  energyJ: number | null;
  /** SM clock seen, MHz, lowest and highest; `null`: not measured. */
  smMhz: [number, number] | null;
  /** GPU time of background by level, ns; empty for baselines. */
  levelsNs: Record<string, number>;
  /** What else a reader has to know. */
  notes: string[];
}

export class Store {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Makes the folder, or takes one over whose run is the same. Throws if it holds another run. */
  static async open(dir: string, info: RunInfo, resume: boolean): Promise<Store> {
    const file = path.join(dir, "run.json");
    await Deno.mkdir(path.join(dir, "raw"), { recursive: true });
    const earlier = await read(file);
    if (earlier !== undefined) {
      const { format, backend, seed, machine } = JSON.parse(earlier) as RunInfo;
      if (!resume) {
        throw new Error(`${dir} holds a run already: give --resume to go on with it, or another --out`);
      }
      for (
        const [name, was, is] of [
          ["format", format, info.format],
          ["backend", backend, info.backend],
          ["seed", seed, info.seed],
          ["GPU", machine.gpu, info.machine.gpu],
          ["board", machine.board, info.machine.board],
          ["driver", machine.driver, info.machine.driver],
          ["CPU", machine.cpu, info.machine.cpu],
          ["commit", machine.commit, info.machine.commit],
        ]
      ) {
        if (was !== is) {
          throw new Error(
            `Cannot resume ${dir}: its ${name} is ${was}, not ${is}; measure into another --out`,
          );
        }
      }
    }
    await Deno.writeTextFile(file, JSON.stringify(info, undefined, 1) + "\n");
    return new Store(dir);
  }

  /** Of a cell, from the run's folder. */
  static nameOf(cell: Cell): string {
    return `raw/${keyOf(cell)}.json.gz`;
  }

  #file(cell: Cell): string {
    return path.join(this.dir, Store.nameOf(cell));
  }

  async has(cell: Cell): Promise<boolean> {
    try {
      return (await Deno.stat(this.#file(cell))).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  async write(raw: RawCell): Promise<void> {
    const file = this.#file(raw.cell);
    await Deno.writeFile(`${file}.part`, await gzip(JSON.stringify({ ...raw, busy: differences(raw.busy) })));
    await Deno.rename(`${file}.part`, file);
  }

  async fail(key: string, why: string): Promise<void> {
    const all = [...await Store.failures(this.dir), { key, why, at: new Date().toISOString() }];
    await Deno.writeTextFile(path.join(this.dir, FAILURES), JSON.stringify(all, undefined, 1) + "\n");
  }

  static async failures(dir: string): Promise<Failure[]> {
    return JSON.parse(await read(path.join(dir, FAILURES)) ?? "[]");
  }

  /** All cells that are done, by key. Throws on a file that is none. */
  static async all(dir: string): Promise<RawCell[]> {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(path.join(dir, "raw"))) {
      if (name.endsWith(".json.gz")) names.push(name);
    }
    return await Promise.all(
      names.sort().map(async (name) => {
        const file = path.join(dir, "raw", name);
        const raw = JSON.parse(await gunzip(await Deno.readFile(file))) as RawCell & { busy: number[] };
        if (raw.format !== FORMAT) {
          throw new Error(`Cannot read ${file}: its format is ${raw.format}, not ${FORMAT}`);
        }
        return { ...raw, busy: spans(raw.busy) };
      }),
    );
  }
}

function differences(spans: readonly Span[]): number[] {
  const times = spans.flat();
  return times.map((at, i) => at - (times[i - 1] ?? 0));
}

function spans(differences: readonly number[]): Span[] {
  let at = 0;
  const times = differences.map((difference) => at += difference);
  return Array.from({ length: times.length / 2 }, (_, i): Span => [times[2 * i]!, times[2 * i + 1]!]);
}

async function read(file: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

export async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
