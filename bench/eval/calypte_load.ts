/** How do a cell's bundles become work of an engine, and what are their outputs when nothing runs beside them? */
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { type Bundle, inputLayout, loadBundle } from "../../agent/bundle.ts";
import type { Frames } from "../../agent/frames.ts";
import { type LoadedWork, Loader, type WorkSettings } from "../../agent/load.ts";
import { path } from "../../agent/std/mod.ts";
import { compareOutputs, outputFields } from "../../agent/values.ts";
import type { Engine } from "../../ffi/mod.ts";
import { fnv1a } from "../session.ts";

export const ROOT = new URL("../..", import.meta.url).pathname;
const PREEMPTION_BOUND_NS = 30_000;

export type Settings = (bundle: Bundle, isFramed: boolean) => WorkSettings;

export class Scene {
  readonly #engine: Engine;
  readonly #loader: Loader;

  constructor(engine: Engine, prefer: "measured" | "block") {
    this.#engine = engine;
    this.#loader = new Loader({
      ...{ engine, checkpoint: checkpointCompiler, preemptionBoundNs: PREEMPTION_BOUND_NS },
      prefer,
    });
  }

  async add(folder: string, settings: Settings): Promise<LoadedWork> {
    const bundle = await loadBundle(path.resolve(ROOT, folder));
    const frames = sampleFrames(bundle);
    return this.#loader.add(settings(bundle, frames !== undefined), bundle, frames);
  }

  /** Digest of one run by itself, which must give what the bundle expects: throws if it does not. Before `ready`. */
  referenceDigest({ kind, id, bundle }: LoadedWork): bigint {
    const input = bundle.sampleInput ?? new Uint8Array();
    const { output } = this.#engine.runOnce(kind, id, input);
    checkOutput(bundle, output);
    return fnv1a(output);
  }
}

/** Throws if `output` is not the bundle's sample output within its tolerance. */
export function checkOutput(bundle: Bundle, output: Uint8Array): void {
  const { verify, name } = bundle.manifest;
  if (verify === undefined || bundle.sampleOutput === undefined) {
    throw new Error(`Cannot measure ${name}: a bundle without a sample output cannot be verified`);
  }
  const { mismatches, elements, first } = compareOutputs(
    outputFields(bundle.manifest),
    output,
    bundle.sampleOutput,
    verify,
  );
  if (mismatches > 0) {
    throw new Error(
      `${name} computes something else: ${mismatches} of ${elements} elements, the first in ${first?.field}[${first?.index}], ` +
        `${first?.got} instead of ${first?.want}`,
    );
  }
}

/** The sample input as the only frame, so that each output can be compared; `undefined`: the bundle has no input. */
function sampleFrames({ dir, manifest, sampleInput }: Bundle): Frames | undefined {
  const frameBytes = inputLayout(manifest).sizeBytes;
  if (frameBytes === 0) return undefined;
  if (sampleInput === undefined) throw new Error(`${dir} has no sample input`);
  return {
    ...{ dir, width: 0, height: 0, channels: 0, frameBytes, count: 1 },
    ...{ data: Uint8Array.from(sampleInput), names: ["sample.in"] },
  };
}
