/**
 * What does it cost to know how warm and hungry a board is?
 *
 * Takes samples of a fixture's files as a run does, and states the processor time that one takes, of all threads of this process, and which part of one
 * core two samples a second are. Files of a fixture lie in memory; on a board an I2C monitor takes longer to answer, but waiting costs no processor time.
 *
 *     .tools/deno run -A bench/telemetry.ts [--root DIR] [--samples N] [--nvml]
 */
import { SAMPLE_NS } from "../agent/board_power.ts";
import { parseArgs } from "../agent/std/mod.ts";
import { openTelemetry } from "../jetson/telemetry.ts";

export interface TelemetryCost {
  samples: number;
  /** Processor time, of all threads. */
  cpuMsPerSample: number;
  wallMsPerSample: number;
  /** Of one core, at the pace of a run. */
  coreShare: number;
}

/** Of `root`, or with NVML of this machine. The first samples, which look around, are part of it. */
export async function telemetryCost(
  { root, samples, nvml = false }: { root: string | undefined; samples: number; nvml?: boolean },
): Promise<TelemetryCost> {
  const telemetry = openTelemetry(nvml || root === undefined ? {} : { root });
  const cpuBefore = await cpuMs();
  const begin = performance.now();
  for (let count = 0; count < samples; count++) await telemetry.sample(count);
  const wallMs = performance.now() - begin;
  const spentMs = await cpuMs() - cpuBefore;
  telemetry.close();
  const cpuMsPerSample = spentMs / samples;
  return {
    samples,
    cpuMsPerSample,
    wallMsPerSample: wallMs / samples,
    coreShare: cpuMsPerSample / (SAMPLE_NS / 1e6),
  };
}

/** Of this process and all its threads; the kernel counts in hundredths of a second. */
async function cpuMs(): Promise<number> {
  const stat = await Deno.readTextFile("/proc/self/stat");
  // The name, in parentheses, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["root", "samples"], boolean: ["nvml"] });
  const fixture = new URL("../tests/fixtures/jetson/agx-orin-jp6", import.meta.url).pathname;
  const cost = await telemetryCost({
    root: args.root === undefined ? fixture : String(args.root),
    samples: Number(args.samples ?? 2000),
    nvml: args.nvml === true,
  });
  console.log(JSON.stringify(cost));
}
