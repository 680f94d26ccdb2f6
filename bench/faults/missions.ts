/** Which missions do the faults hit? Written for what the agent can do: parts that a mission cannot ask for yet are left out. */
import { missionJsonSchema } from "../../agent/config_schema.ts";
import { INPUT_WORDS, OUTPUT_WORDS } from "./fault_kernels.ts";
import { ROOT, type Scene } from "./scene.ts";

export const PERIOD_NS = 10_000_000;
export const OUTPUT_BYTES = OUTPUT_WORDS * 4;
/** More than any fault takes; the whole campaign stays below it. */
export const LEASE = "500ms";

export interface Features {
  /** `isolation: process`. */
  isolation: boolean;
  /** `source: { queue }`. */
  queue: boolean;
  /** `state: { dir }`. */
  state: boolean;
  /** `safeMode`. */
  safeMode: boolean;
}

/** What a mission can ask for. */
export function features(): Features {
  const { properties } = missionJsonSchema() as {
    properties: Record<string, { additionalProperties?: unknown }>;
  };
  const job = JSON.stringify(properties.background?.additionalProperties ?? {});
  return {
    isolation: /"isolation":\{[^}]*"process"/.test(job),
    queue: job.includes('"queue":{'),
    state: Object.hasOwn(properties, "state"),
    safeMode: Object.hasOwn(properties, "safeMode"),
  };
}

export type Source = Record<string, unknown>;

export function bundleDir(name: string): string {
  return `${ROOT}/bench/bundles/faults/${name}`;
}

/** A job that behaves, in a process of its own; none where that cannot be. */
export function aloneJob(has: Features): Record<string, unknown> {
  if (!has.isolation) return {};
  return {
    alone: {
      bundle: bundleDir("fault-none"),
      isolation: "process",
      source: { frames: "frames", rate: "50Hz" },
      output: { jsonl: "out/alone.jsonl" },
    },
  };
}

/** A critical chain at 100 Hz; a job that answers files of a queue, where there are queues; one that writes a folder. */
export function mission(
  has: Features,
  backend: "cuda" | "sim",
  more: {
    critical?: Record<string, unknown>;
    background?: Record<string, unknown>;
    top?: Record<string, unknown>;
  } = {},
): Record<string, unknown> {
  // Said, or each bundle would be verified in an engine of its own first.
  const shared = { isolation: "shared" };
  return {
    device: { backend },
    http: { listen: "127.0.0.1:0" },
    overcommit: true,
    critical: {
      chain: {
        bundle: bundleDir("fault-chain"),
        source: { frames: "frames", rate: "100Hz" },
        deadline: "9ms",
        output: { jsonl: "out/chain.jsonl" },
      },
      ...more.critical,
    },
    background: {
      steady: {
        bundle: bundleDir("fault-none"),
        source: has.queue ? { queue: "queue" } : { frames: "frames", rate: "50Hz" },
        ...shared,
        output: { jsonl: "out/steady.jsonl" },
      },
      kept: {
        bundle: bundleDir("fault-none"),
        source: { frames: "frames", rate: "20Hz" },
        ...shared,
        output: { dir: "out/kept" },
      },
      ...more.background,
    },
    policy: { name: "weighted-fair", lease: LEASE },
    // Sooner than a flight would have it: a campaign has minutes.
    ...(has.safeMode ? { safeMode: { clearAfter: "1s" } } : {}),
    ...(has.state ? { state: { dir: "state" } } : {}),
    ...more.top,
  };
}

/** A unit's input: the trigger, and 63 words that differ from unit to unit. */
export function inputOf(trigger: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(INPUT_WORDS);
  for (let i = 1; i < INPUT_WORDS; i++) words[i] = Math.imul(seed * INPUT_WORDS + i, 2654435761);
  words[0] = trigger;
  return new Uint8Array(words.buffer);
}

/** Frames whose trigger is 0; the last `bad` of them misbehave. */
export async function writeFrames(
  scene: Scene,
  folder: string,
  count: number,
  bad = 0,
  trigger = 1,
): Promise<void> {
  await Deno.mkdir(scene.path(folder), { recursive: true });
  for (let i = 0; i < count; i++) {
    const name = `${String(i).padStart(4, "0")}.raw`;
    await Deno.writeFile(scene.path(folder, name), inputOf(i >= count - bad ? trigger : 0, i));
  }
}
