/**
 * What did a bundle's bench find? The report, as it is kept in a file, and two of them side by side.
 *
 * Pure: it measures nothing and shows nothing.
 */
import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseWith, strictObject } from "../schema.ts";

export const REPORT_FORMAT = "calypte-bundle-bench/1";

const ns = z.number().min(0);
const level = z.enum(["whole", "slice", "block", "loop"]);

/** Of `count` samples, nearest rank. */
const quantiles = strictObject({
  count: z.int().min(1),
  minNs: ns,
  p50Ns: ns,
  p90Ns: ns,
  p99Ns: ns,
  maxNs: ns,
});

const step = strictObject({
  /** As in the PTX; `calypte_…` for what the loader makes of copies, memsets, uploads and downloads. */
  kernel: z.string(),
  /** Blocks and threads of a block; `null`: the loader's own. */
  grid: z.array(z.int()).length(3).nullable(),
  block: z.array(z.int()).length(3).nullable(),
  /** As the manifest declares; 0: it does not. What the simulator goes by. */
  declaredNs: ns,
  /** Proven by the compiler; empty: not asked, as for the loader's own. */
  safeLevels: z.array(level),
  /** Told from the text, as the compiler reports it; `null`: not to be told. */
  reckonedBoundNs: z.record(level, ns.nullable()),
  /** In the first load; the others are in `levels`, with how often each was taken. */
  level,
  levels: z.partialRecord(level, z.int().min(1)),
  workers: z.int().min(0),
  runBlocks: z.int().min(0),
  /** One sample for each load: the shortest of three runs within a unit. `null`: nothing was measured. */
  untouched: quantiles.nullable(),
  chosen: quantiles.nullable(),
  /** Median of `chosen` by that of `untouched`. */
  cost: z.number().nullable(),
  /** Longest seen from closing the gate to its end; `null`: not looked at, as it ends within the bound by itself. */
  drainNs: ns.nullable(),
  /** Whether it gives the GPU back within `preemptionBoundNs`; `null`: not measured. */
  keepsBound: z.boolean().nullable(),
  notes: z.array(z.string()),
});

const item = strictObject({ what: z.string(), sizeBytes: ns });
const need = strictObject({
  items: z.array(item),
  slots: item,
  copyBytes: ns,
  /** By how much the device's free memory fell; `null`: not seen. */
  seenBytes: z.number().nullable(),
});

const reportSchema = strictObject({
  format: z.literal(REPORT_FORMAT),
  calypte: z.string(),
  bundle: z.string(),
  digest: z.string(),
  backend: z.enum(["cuda", "sim"]),
  /** True: no time here was measured. */
  simulated: z.boolean(),
  device: z.string(),
  driver: z.string(),
  preemptionBoundNs: ns,
  runs: z.int().min(1),
  loads: z.int().min(1),
  /** GPU time, input and output copies with it: as a critical task; and as a background unit, rewritten. */
  unit: strictObject({ critical: quantiles, background: quantiles }),
  /** Launch to completion as the host sees it; `null`: not measured. */
  host: strictObject({ runs: z.int(), bestNs: ns, p50Ns: ns, worstNs: ns }).nullable(),
  steps: z.array(step),
  memory: strictObject({ critical: need, background: need }),
  notes: z.array(z.string()),
});

export type BenchReport = z.infer<typeof reportSchema>;
export type StepBench = z.infer<typeof step>;
export type Quantiles = z.infer<typeof quantiles>;

/** A report from a file that `bundle bench --json` wrote. Throws `InputError`. */
export async function readReport(file: string): Promise<BenchReport> {
  let data: unknown;
  try {
    data = JSON.parse(await Deno.readTextFile(file));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InputError({
      file,
      field: "",
      rule: `must be what calypte bundle bench --json wrote: ${why}`,
    }, { cause });
  }
  // With --compare the report is one of two things in the file.
  const inner = typeof data === "object" && data !== null && "report" in data ? data.report : data;
  return parseWith(reportSchema, inner, file);
}

/** `undefined`: there are no samples. */
export function quantilesOf(samplesNs: readonly number[]): Quantiles | undefined {
  const sorted = samplesNs.toSorted((a, b) => a - b);
  const [minNs, maxNs] = [sorted[0], sorted.at(-1)];
  if (minNs === undefined || maxNs === undefined) return undefined;
  const at = (part: number) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? maxNs;
  return { count: sorted.length, minNs, p50Ns: at(0.5), p90Ns: at(0.9), p99Ns: at(0.99), maxNs };
}

/** One time here and there. `ratio`: here by there; `null`: there it was none. */
export interface Compared {
  what: string;
  nowNs: number;
  thenNs: number;
  ratio: number | null;
}

/** Medians of units and steps, by step kernels in their order. What only one of the two has is left out, and named. */
export interface Comparison {
  units: Compared[];
  steps: Compared[];
  onlyNow: string[];
  onlyThen: string[];
  /** Why the two may not be comparable at all. */
  notes: string[];
}

/** Throws `InputError` if one was measured and the other simulated. `thenFile` is for messages. */
export function compareReports(now: BenchReport, then: BenchReport, thenFile: string): Comparison {
  if (now.simulated !== then.simulated) {
    const [is, against] = now.simulated ? ["simulated", "measured"] : ["measured", "simulated"];
    throw new InputError({
      file: thenFile,
      field: "backend",
      rule: `must be ${now.backend} as here, not ${then.backend}: times that were ${is} say nothing beside ` +
        `times that were ${against}`,
      remedy: `take --backend ${then.backend}`,
    });
  }
  const notes: string[] = [];
  if (now.device !== then.device) notes.push(`another device: ${then.device}`);
  if (now.driver !== then.driver) notes.push(`another driver: ${then.driver}`);
  if (now.preemptionBoundNs !== then.preemptionBoundNs) notes.push("another preemption bound");
  const [mine, theirs] = [named(now.steps), named(then.steps)];
  const steps = [...mine].flatMap(([what, one]) => {
    const other = theirs.get(what);
    return other === undefined ? [] : [compared(what, stepNs(one), stepNs(other))];
  }).filter(({ nowNs, thenNs }) => nowNs > 0 || thenNs > 0);
  return {
    units: [
      compared("as a critical task", now.unit.critical.p50Ns, then.unit.critical.p50Ns),
      compared("as a background unit", now.unit.background.p50Ns, then.unit.background.p50Ns),
    ],
    steps,
    onlyNow: [...mine.keys()].filter((what) => !theirs.has(what)),
    onlyThen: [...theirs.keys()].filter((what) => !mine.has(what)),
    notes,
  };
}

/** What its time is called by: measured as it runs, or declared. */
export function stepNs({ chosen, declaredNs }: StepBench): number {
  return chosen?.p50Ns ?? declaredNs;
}

function compared(what: string, nowNs: number, thenNs: number): Compared {
  return { what, nowNs, thenNs, ratio: thenNs > 0 ? nowNs / thenNs : null };
}

/** A kernel that is launched more than once gets a number from the second launch on. */
function named(steps: readonly StepBench[]): Map<string, StepBench> {
  const seen = new Map<string, number>();
  return new Map(steps.map((one) => {
    const nth = (seen.get(one.kernel) ?? 0) + 1;
    seen.set(one.kernel, nth);
    return [nth === 1 ? one.kernel : `${one.kernel} #${nth}`, one];
  }));
}
