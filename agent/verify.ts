/**
 * Does a bundle compute what it says it computes?
 *
 * On a GPU: the sample input runs once through the kernels as they are, and once through the rewritten ones. The
 * first must match the sample output within the bundle's tolerance, the second must match the first bit for bit. Without
 * a GPU only the bundle's CPU reference can be compared with the sample, and the report says so.
 */
import type { Engine } from "../ffi/engine.ts";
import type { PluginInfo } from "../ffi/plugin.ts";
import type { Bundle } from "./bundle.ts";
import type { CheckpointCompiler } from "./checkpoint.ts";
import { InputError } from "./errors.ts";
import { Loader, type StepReport } from "./load.ts";
import type { Reference } from "./reference.ts";
import { compareOutputs, type Comparison, outputFields } from "./values.ts";

/** What was compared with what, and how it went. */
export interface Check {
  what: string;
  passed: boolean;
  /** How it went, in words. */
  text: string;
}

export interface GpuVerification {
  checks: Check[];
  /** GPU time of one unit, in ns: as it is, and rewritten. */
  untouchedNs: number;
  rewrittenNs: number;
  /** The steps as rewritten. */
  steps: readonly StepReport[];
  /** How the bundle's plugin was loaded, if it has one. */
  plugins: { critical: PluginInfo; background: PluginInfo } | undefined;
}

/** Any deadline will do: nothing is scheduled. */
const DEADLINE_NS = 1_000_000_000;

interface Sample {
  input: Uint8Array;
  output: Uint8Array;
  tolerance: { rtol: number; atol: number };
}

/** Throws `InputError` if the bundle has no sample. */
function sampleOf({ manifest, sampleInput, sampleOutput, file }: Bundle): Sample {
  if (manifest.verify === undefined || sampleOutput === undefined) {
    throw new InputError({
      file,
      field: "verify",
      rule: "must be given to verify the bundle",
      remedy: "add a sample input with its expected output",
    });
  }
  return { input: sampleInput ?? new Uint8Array(), output: sampleOutput, tolerance: manifest.verify };
}

/** `engine` is open on a GPU and not ready; it is of no use afterwards. Throws `InputError` or `EngineError`. */
export function verifyOnGpu(engine: Engine, checkpoint: CheckpointCompiler, bundle: Bundle): GpuVerification {
  const sample = sampleOf(bundle);
  const fields = outputFields(bundle.manifest);
  const loader = new Loader({ engine, checkpoint, preemptionBoundNs: Infinity });
  const source = { kind: "api" } as const;
  const untouched = loader.add(
    {
      kind: "critical",
      name: "untouched",
      source,
      keepOutput: true,
      deadlineNs: DEADLINE_NS,
      from: "arrival",
      queue: "latest",
      queueDepth: 1,
      onMiss: "publish-late",
      maxBlockingNs: 0,
      yield: "always",
      anticipate: false,
    },
    bundle,
    undefined,
  );
  const rewritten = loader.add(
    { kind: "background", name: "rewritten", source, keepOutput: true },
    bundle,
    undefined,
  );
  const first = engine.runOnce("critical", untouched.id, sample.input);
  const second = engine.runOnce("background", rewritten.id, sample.input);
  const exact = { rtol: 0, atol: 0 };
  const { plugin } = bundle.manifest;
  const [whole, parts] = plugin === undefined
    ? ["kernels as they are", "rewritten kernels"]
    : ["the plugin as a whole", "the plugin step by step"];
  return {
    checks: [
      toCheck(
        `${whole}, against the sample`,
        compareOutputs(fields, first.output, sample.output, sample.tolerance),
      ),
      bitCheck(
        `${parts}, against ${plugin === undefined ? "the " : ""}${whole}`,
        first.output,
        second.output,
        () => compareOutputs(fields, second.output, first.output, exact),
      ),
    ],
    untouchedNs: first.durationNs,
    rewrittenNs: second.durationNs,
    steps: rewritten.steps,
    plugins: untouched.plugin === undefined || rewritten.plugin === undefined
      ? undefined
      : { critical: untouched.plugin, background: rewritten.plugin },
  };
}

/** Throws `InputError` if there is no sample or no reference. */
export async function verifyReference(bundle: Bundle, reference: Reference | undefined): Promise<Check> {
  const sample = sampleOf(bundle);
  if (reference === undefined) {
    throw new InputError({
      file: bundle.file,
      field: "reference",
      rule: "must be given to verify anything without a GPU",
      remedy: "verify on a machine with a GPU",
    });
  }
  const what = "CPU reference, against the sample";
  let output: unknown;
  try {
    output = await reference.run(sample.input);
  } catch (error) {
    return { what, passed: false, text: `it failed: ${error instanceof Error ? error.message : error}` };
  }
  if (!(output instanceof Uint8Array)) return { what, passed: false, text: "it gave no Uint8Array" };
  if (output.byteLength !== sample.output.byteLength) {
    return { what, passed: false, text: `${output.byteLength} bytes instead of ${sample.output.byteLength}` };
  }
  return toCheck(
    what,
    compareOutputs(outputFields(bundle.manifest), output, sample.output, sample.tolerance),
  );
}

function toCheck(what: string, comparison: Comparison): Check {
  const { elements, mismatches, first, maxError } = comparison;
  if (first === undefined) {
    return { what, passed: true, text: `${elements} elements, largest error ${maxError}` };
  }
  const { field, index, got, want } = first;
  const text =
    `${mismatches} of ${elements} elements differ; the first is ${field}[${index}]: ${got}, not ${want}`;
  return { what, passed: false, text };
}

function bitCheck(what: string, want: Uint8Array, got: Uint8Array, explain: () => Comparison): Check {
  const same = want.byteLength === got.byteLength && want.every((byte, index) => byte === got[index]);
  if (same) return { what, passed: true, text: `${want.byteLength} bytes, bit for bit` };
  const found = toCheck(what, explain());
  return found.passed ? { what, passed: false, text: "equal in value, but not bit for bit" } : found;
}
