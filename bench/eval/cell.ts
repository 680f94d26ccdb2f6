/**
 * One cell of Calypte's on a GPU, in a process of its own: as every baseline's, its context ends with it. Reads the cell's plan
 * as JSON from a file and writes its samples to another: `cell.ts REQUEST OUT`.
 */
import { inputLayout, loadBundle } from "../../agent/bundle.ts";
import { path } from "../../agent/std/mod.ts";
import { parseArrivals } from "./arrivals.ts";
import { type CalypteRequest, runCalypte, WARM_NS } from "./calypte.ts";
import { ROOT } from "./calypte_load.ts";
import { folderOf, NONE } from "./cells.ts";
import { DRIVER, DriverProcess } from "./driver.ts";
import { runLimited } from "./process.ts";
import type { CellPlan, CellRunner } from "./run.ts";

/** For everything around the window: loading measures kernels, and compiles them where the cache is cold. */
const LOADING_MS = 60_000;

/** `sim`: to see that it works where there is no GPU; in real time, unlike the cells of the simulator. */
export interface RealCell extends CellPlan {
  backend: "cuda" | "sim";
  program: string;
}

/** Runs a cell in real time, with a feeder if its requests are not periodic. */
export async function runReal(request: RealCell): Promise<Awaited<ReturnType<typeof runCalypte>>> {
  const { cell, arrivalsNs, warmNs, program } = request;
  const base: CalypteRequest = { ...request, clock: "real" };
  if (cell.critical === NONE || parseArrivals(cell.arrivals).pattern === "periodic") {
    return await runCalypte(base);
  }
  const dir = await Deno.makeTempDir({ prefix: "calypte-feed-" });
  const file = (name: string) => path.join(dir, name);
  let feeder: DriverProcess | undefined;
  try {
    const bundle = await loadBundle(path.resolve(ROOT, folderOf(cell.critical, request.extra)));
    if (inputLayout(bundle.manifest).sizeBytes === 0) {
      throw new Error(`${cell.critical} has no input to feed`);
    }
    const all = BigInt64Array.from([...warmNs, ...arrivalsNs], (at) => BigInt(Math.round(at)));
    await Deno.writeFile(file("arrivals"), new Uint8Array(all.buffer));
    await Deno.writeFile(file("input"), bundle.sampleInput!);
    await Deno.writeTextFile(
      file("spec"),
      [`ring ${file("ring")}`, `arrivals ${file("arrivals")}`, `input ${file("input")}`].join("\n") + "\n",
    );
    feeder = DriverProcess.start(program, "feed", file("spec"), {});
    await feeder.ready();
    const begin = (beginNs: number) => feeder!.begin(beginNs);
    return await runCalypte({ ...base, feed: { ring: file("ring"), begin } });
  } finally {
    await feeder?.kill();
    await Deno.remove(dir, { recursive: true });
  }
}

/** In a process of its own. Throws with its words. */
export const runOnGpu: CellRunner = async (plan) => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-cell-" });
  try {
    const request: RealCell = { ...plan, backend: "cuda", program: DRIVER };
    const [from, to] = [path.join(dir, "request"), path.join(dir, "samples")];
    await Deno.writeTextFile(from, JSON.stringify(request));
    const self = new URL(import.meta.url).pathname;
    const args = ["run", "-A", "--quiet", "--cached-only", self, from, to];
    await runLimited("the cell", args, (WARM_NS + plan.windowNs) / 1e6 + LOADING_MS);
    return JSON.parse(await Deno.readTextFile(to));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
};

if (import.meta.main) {
  const [from, to] = Deno.args;
  if (from === undefined || to === undefined) {
    console.error("Usage: cell.ts REQUEST OUT");
    Deno.exit(2);
  }
  try {
    const samples = await runReal(JSON.parse(await Deno.readTextFile(from)));
    await Deno.writeTextFile(to, JSON.stringify(samples));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
