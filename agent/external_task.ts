/**
 * What is a critical task whose work another process does?
 *
 * `external: /run/calypte/detector.sock` in the place of a bundle: that process says when it begins and ends
 * (calypte_client.h). To the engine it is a task without steps; to the rest of the agent, one with an empty bundle.
 */
import type { z } from "zod";
import type { Bundle } from "./bundle.ts";
import { canonicalJson, hexOf, sha256Of } from "./bundle_reader.ts";
import { durationSchema, frequencySchema, pathSchema } from "./schema.ts";

export interface ExternalSource {
  kind: "external";
  /** Of the Unix socket on which the engine listens. */
  path: string;
  /** About how often requests come; 0: not known. */
  periodNs: number;
  /** What one takes by itself; 0: not known. */
  executionNs: number;
}

/** The keys of a critical task that only an external one has. */
export const externalKeys = {
  external: pathSchema.optional().describe("Unix socket for the process that does this task's work itself."),
  rate: frequencySchema().optional(),
  execution: durationSchema().optional(),
};

/** Of a task as it came out of the schema. */
interface Keys {
  bundle?: unknown;
  source?: unknown;
  external?: unknown;
  rate?: unknown;
  execution?: unknown;
  output: unknown;
  yield: string;
}

/** Either a bundle with a source, or another process; not a mixture. */
export function checkExternal(task: Keys, context: z.core.$RefinementCtx): void {
  const problem = (key: string, message: string) =>
    context.addIssue({ code: "custom", path: [key], message, input: task });
  if (task.external === undefined) {
    for (const key of ["bundle", "source"] as const) {
      if (task[key] === undefined) problem(key, "must be given");
    }
    for (const key of ["rate", "execution"] as const) {
      if (task[key] !== undefined) problem(key, "belongs to tasks with `external` only");
    }
    return;
  }
  for (const key of ["bundle", "source"] as const) {
    if (task[key] !== undefined) {
      problem(key, "must not be given beside `external`: another process does the work");
    }
  }
  if (task.output !== "drop") problem("output", "must be drop: the other process keeps its outputs");
  if (task.yield !== "always") problem("yield", "must be always: the other process does not wait");
}

/** Nothing to load. */
export async function externalBundle(name: string, source: ExternalSource): Promise<Bundle> {
  const digest = await sha256Of(new TextEncoder().encode(canonicalJson({ external: source.path })));
  return {
    ...{ dir: "", file: "", digest, digestHex: hexOf(digest), modules: [], weights: new Map() },
    ...{ sampleInput: undefined, sampleOutput: undefined, referenceFile: undefined },
    manifest: {
      ...{ format: "calypte-bundle/1", name, description: "", license: "" },
      ...{ modules: [], buffers: [], steps: [], verify: undefined, reference: undefined },
    },
  };
}
