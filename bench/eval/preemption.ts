/** What does the micro-benchmark say of preemption latency against block length? Reads what bench/micro.ts wrote. */
import type { MicroReport } from "../micro.ts";
import { path } from "../../agent/std/mod.ts";
import type { PreemptionRow } from "./claims.ts";

export const PREEMPTION_FILE = "preemption.json";

/** `undefined`: it was not measured in this run. */
export async function preemptionOf(
  dir: string,
): Promise<{ backend: string; device: string; rows: PreemptionRow[] } | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(path.join(dir, PREEMPTION_FILE));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const { backend, device, latency } = JSON.parse(text) as MicroReport;
  const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const rows = latency.map((
    { critical, level, blockUs, addedP50Us, addedP99Us, samplesUs },
  ): PreemptionRow => ({
    ...{ critical, level, blockUs, addedP50Us, addedP99Us },
    addedMeanUs: mean(samplesUs.beside) - mean(samplesUs.alone),
  }));
  return { backend, device, rows };
}
