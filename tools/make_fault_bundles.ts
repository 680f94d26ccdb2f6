/**
 * Makes the bundles of bench/bundles/faults, whose kernels misbehave when word 0 of the input says so:
 *
 *   .tools/deno run -A tools/make_fault_bundles.ts
 *
 * The PTX is that of bench/faults/fault_kernels.ts, checked with ptxas where there is one. The same sources give the same
 * bytes; tests/bench/fault_bundles_test.ts checks that they did.
 */
import { hexOf, sha256Of } from "../agent/bundle_reader.ts";
import { path } from "../agent/std/mod.ts";
import { assemble } from "../ptx/ptxas.ts";
import {
  BLOCKS,
  CHAIN_BLOCKS,
  CHAIN_STRIDE,
  INPUT_WORDS,
  LINK_ROUNDS,
  MODULES,
  OUTPUT_WORDS,
  STRIDE,
  THREADS,
  WORK_WORDS,
} from "../bench/faults/fault_kernels.ts";
import { unitReference } from "../bench/faults/unit.ts";
import { manifestText } from "./bundle_json.ts";

const FOLDER = new URL("../bench/bundles/faults/", import.meta.url).pathname;
const MODULE_FILE = "kernels.compute_80.ptx";
const ASSEMBLED_FOR = ["sm_80", "sm_87", "sm_90"];
const LINKS = 60;

type Step = Record<string, unknown>;

export interface FaultBundle {
  name: string;
  description: string;
  module: keyof typeof MODULES & string;
  steps: Step[];
  /** Rounds of the chain's generator; 0: none. */
  rounds?: number;
  /** Besides `work`, in bytes. */
  scratchBytes?: number;
}

function kernel(name: string, blocks: number, estimateUs: number, blockUs: number, more: Step = {}): Step {
  return {
    kernel: name,
    grid: [blocks, 1, 1],
    block: [THREADS, 1, 1],
    args: [{ buffer: "in" }, { buffer: "work" }],
    estimateUs,
    blockUs,
    ...more,
  };
}

const CLEAR = { memset: { buffer: "work", value: 0 } };

function fold(stride: number): Step {
  const args = [{ buffer: "work" }, { buffer: "out" }, { u32: stride }];
  return kernel("fold", 1, 5, 3, { block: [OUTPUT_WORDS, 1, 1], args });
}

function links(): Step[] {
  const args = [{ buffer: "in" }, { buffer: "work" }, { u32: LINK_ROUNDS }];
  return Array.from(
    { length: LINKS },
    (_, i) => kernel(i === LINKS / 2 ? "middle" : "link", CHAIN_BLOCKS, 10, 9, { args }),
  );
}

export const FAULT_BUNDLES: readonly FaultBundle[] = [
  {
    name: "fault-address",
    description: "Stores where nobody's memory is: an illegal address.",
    module: "store_far",
    steps: [kernel("store_far", BLOCKS, 20, 5), fold(STRIDE)],
  },
  {
    name: "fault-trap",
    description: "Gives up with a trap, as a failed assertion does.",
    module: "give_up",
    steps: [kernel("give_up", BLOCKS, 20, 5), fold(STRIDE)],
  },
  {
    name: "fault-spin",
    description: "Blocks that never end, in a loop that cannot be left half-way.",
    module: "spin_for_ever",
    steps: [CLEAR, kernel("spin_for_ever", BLOCKS, 20, 5), fold(STRIDE)],
  },
  {
    name: "fault-barriers",
    description: "Blocks that never end, from barrier to barrier.",
    module: "meet_for_ever",
    steps: [CLEAR, kernel("meet_for_ever", BLOCKS, 20, 5), fold(STRIDE)],
  },
  {
    name: "fault-flood",
    description:
      "A grid that takes a quarter of a minute, of blocks of a millisecond that are left at their end only.",
    module: "flood",
    // Without the trigger the blocks of the flood end at once.
    steps: [kernel("flood", 2 ** 24, 10_000, 0.6), kernel("fill", BLOCKS, 20, 5), fold(STRIDE)],
  },
  {
    name: "fault-launch",
    description: "Asks for more shared memory than any GPU has: it cannot be launched at all.",
    module: "fill",
    steps: [kernel("fill", BLOCKS, 20, 5, { sharedBytes: 256 * 1024 }), fold(STRIDE)],
  },
  {
    name: "fault-memory",
    description: "Asks for a tebibyte of scratch memory, which no GPU has.",
    module: "fill",
    steps: [kernel("fill", BLOCKS, 20, 5), fold(STRIDE)],
    scratchBytes: 2 ** 40,
  },
  {
    name: "fault-chain",
    description: "Critical: a chain of 60 kernels of 10 us that faults (1) or hangs (2) in its middle.",
    module: "chain",
    steps: [kernel("fill", CHAIN_BLOCKS, 5, 3), ...links(), fold(CHAIN_STRIDE)],
    rounds: LINKS * LINK_ROUNDS,
  },
  {
    name: "fault-none",
    description: "Behaves: what runs beside the others and must not lose anything.",
    module: "fill",
    steps: [kernel("fill", BLOCKS, 20, 5), fold(STRIDE)],
  },
];

/** Its files by name. */
export async function filesOf(bundle: FaultBundle): Promise<Map<string, Uint8Array>> {
  const { rounds = 0, scratchBytes } = bundle;
  const encode = (text: string) => new TextEncoder().encode(text);
  const files = new Map<string, Uint8Array>();
  const ptx = encode(MODULES[bundle.module]!);
  const input = new Uint8Array(Uint32Array.from({ length: INPUT_WORDS }, (_, i) => i * i).buffer);
  const output = unitReference(rounds).run(input);
  files.set(MODULE_FILE, ptx);
  files.set("sample.in", input);
  files.set("sample.out", output);
  files.set(
    "reference.ts",
    encode(
      `/** Made by tools/make_fault_bundles.ts: the CPU does what ${bundle.name} does while it behaves. */
import { unitReference } from "../../../faults/unit.ts";

export const createReference = (_dir: string) => Promise.resolve(unitReference(${rounds}));
`,
    ),
  );
  const hash = async (content: Uint8Array) => hexOf(await sha256Of(Uint8Array.from(content)));
  const u32 = (name: string, role: string, words: number) => ({ name, role, dtype: "u32", shape: [words] });
  const manifest = {
    format: "calypte-bundle/1",
    name: bundle.name,
    description: bundle.description,
    license: "MIT",
    modules: [{ file: MODULE_FILE, arch: "compute_80", sha256: await hash(ptx) }],
    buffers: [
      u32("in", "input", INPUT_WORDS),
      u32("work", "scratch", WORK_WORDS),
      ...(scratchBytes === undefined ? [] : [{ name: "much", role: "scratch", bytes: scratchBytes }]),
      u32("out", "output", OUTPUT_WORDS),
    ],
    steps: bundle.steps,
    verify: {
      input: "sample.in",
      inputSha256: await hash(input),
      output: "sample.out",
      outputSha256: await hash(output),
      rtol: 0,
      atol: 0,
    },
    reference: "reference.ts",
  };
  files.set("bundle.json", encode(manifestText(manifest)));
  return files;
}

if (import.meta.main) {
  for (const bundle of FAULT_BUNDLES) {
    const dir = path.join(FOLDER, bundle.name);
    await Deno.mkdir(dir, { recursive: true });
    for (const [name, content] of await filesOf(bundle)) await Deno.writeFile(path.join(dir, name), content);
    const results = ASSEMBLED_FOR.map((arch) => assemble(MODULES[bundle.module]!, { arch }));
    for (const result of results) {
      if (result?.ok === false) throw new Error(`${bundle.name} does not assemble:\n${result.messages}`);
    }
    console.log(
      `${bundle.name}: ${
        results.includes(undefined) ? "not assembled (no ptxas)" : `assembles for ${ASSEMBLED_FOR.join(", ")}`
      }`,
    );
  }
}
