/** The machine that this runs on, as the doctor looks at it. */
import { statfsSync } from "node:fs";
import { probe } from "../../ffi/mod.ts";
import { probeBoard } from "../../jetson/board.ts";
import { boardFiles, type SystemAccess } from "../../jetson/board_files.ts";
import { emptySample } from "../../jetson/telemetry.ts";
import { isExecutable } from "../assets/place.ts";
import { openSensors, PATIENCE_MS, within } from "../board_process.ts";
import { ask, Refusal } from "../commands/address.ts";
import { openEngine, systemAccess, theLibrary } from "../commands/engines.ts";
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { openForeign } from "../foreign/foreign.ts";
import { stderrLogger } from "../log.ts";
import { cacheFolder } from "../rewrite_cache.ts";
import { runFolder } from "../run_folder.ts";
import { stateHome } from "../state_folder.ts";
import { path } from "../std/mod.ts";
import type { Folder, Machine } from "./machine.ts";
import { CORE_VARIABLE } from "./tuning.ts";

export function thisMachine(): Machine {
  const env = (name: string) => Deno.env.get(name);
  const quiet = stderrLogger(() => "", "error");
  return {
    deno: Deno.version.deno,
    executable: isExecutable(),
    library: () => theLibrary().version(),
    device: () => probe(theLibrary(), "cuda"),
    gpuFeatures() {
      using engine = openEngine({ backend: "cuda", seed: 1, reserveSms: 0 });
      return engine.features();
    },
    realtime() {
      using engine = openEngine({ backend: "sim", clock: "real" });
      // The dispatcher asks for its priority as it starts.
      engine.ready();
      return engine.features().find(({ name }) => name === "realtime") ??
        { name: "realtime", on: false, reason: "the library does not say" };
    },
    files: boardFiles("", systemAccess()),
    kernelConfig: () => kernelConfigOf(systemAccess()),
    criticalCore: env(CORE_VARIABLE),
    async board() {
      const sensors = openSensors();
      const board = await within(sensors.board(), PATIENCE_MS);
      await sensors.release();
      return board ?? await probeBoard(boardFiles("", systemAccess()));
    },
    async sample() {
      const sensors = openSensors();
      const sample = await within(sensors.sample(0), PATIENCE_MS);
      await sensors.release();
      return sample ?? emptySample(0);
    },
    async others() {
      // NVML tells the others apart by the GPU on which it shows this process.
      using _engine = openEngine({ backend: "cuda", seed: 1, reserveSms: 0 });
      const sensors = openSensors();
      try {
        return await (await openForeign(sensors, quiet)).look(new Set([Deno.pid]));
      } finally {
        await sensors.release();
      }
    },
    folders: [
      folderAt("state", stateHome(env), "name one with CALYPTE_STATE"),
      folderAt("cache", cacheFolder(env), "name one with CALYPTE_CACHE"),
      folderAt("sockets", runFolder(), "name one with CALYPTE_RUN_DIR"),
    ],
    port: () => portState(DEFAULT_LISTEN),
  };
}

/**
 * The kernel's configuration: as the distribution put it beside the kernel, else as the kernel itself has it. `undefined`: neither
 * can be read.
 */
export async function kernelConfigOf(
  system: SystemAccess | undefined,
  boot = "/boot",
): Promise<string | undefined> {
  try {
    const release = (await boardFiles("", system).text("/proc/sys/kernel/osrelease")) ?? "";
    if (/^[\w.+~-]{1,128}$/.test(release)) {
      const text = await Deno.readTextFile(`${boot}/config-${release}`).catch(() => undefined);
      if (text !== undefined) return text;
    }
    const packed = system?.read("/proc/config.gz");
    if (packed === undefined) return undefined;
    const plain = new Blob([packed.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await new Response(plain).text();
  } catch {
    return undefined;
  }
}

/** One that is to be written to, though it may not be there yet. Nothing is left behind. */
export function folderAt(what: string, dir: string | undefined, remedy: string): Folder {
  return {
    ...{ what, dir, remedy },
    async fault() {
      const parent = await nearest(dir!);
      try {
        const file = await Deno.makeTempFile({ dir: parent, prefix: ".calypte-doctor-" });
        await Deno.remove(file);
        return undefined;
      } catch (error) {
        return `cannot be written: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
      }
    },
    freeBytes() {
      try {
        let at = path.resolve(dir!);
        while (!exists(at)) at = path.dirname(at);
        const { bavail, bsize } = statfsSync(at);
        return Number(bavail) * Number(bsize);
      } catch {
        return undefined;
      }
    },
  };
}

/** The folder itself, or the one that it would be made in. */
async function nearest(dir: string): Promise<string> {
  let at = path.resolve(dir);
  while (path.dirname(at) !== at) {
    const stat = await Deno.stat(at).catch(() => undefined);
    if (stat !== undefined) return at;
    at = path.dirname(at);
  }
  return at;
}

function exists(at: string): boolean {
  try {
    Deno.statSync(at);
    return true;
  } catch {
    return path.dirname(at) === at;
  }
}

/** See `Machine.port`. */
export async function portState(address: string): Promise<string> {
  const at = address.lastIndexOf(":");
  const [hostname, port] = [address.slice(0, at).replace(/^\[|\]$/g, ""), Number(address.slice(at + 1))];
  try {
    Deno.listen({ hostname, port }).close();
    return "free";
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) {
      return `${address} cannot be listened on: ${
        error instanceof Error ? error.message.split("\n")[0] : error
      }`;
    }
    const answer = await ask<{ version?: string }>(address, "/v1/status");
    const isAgent = answer instanceof Refusal ||
      (!(answer instanceof Error) && typeof answer.version === "string");
    return isAgent ? "agent" : `${address} is taken by another program`;
  }
}
