/**
 * Does rewriting keep what random kernels do, at each level that is said to be safe, however often they are preempted?
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test. CALYPTE_ROUNDS=100 looks longer.
 */

import { assert, assertEquals } from "../assert.ts";
import { parseModule, rewriteModule } from "../../ptx/mod.ts";
import { assemble } from "../../ptx/ptxas.ts";
import { whyNoPtxas } from "./fixtures.ts";
import { randomFrom } from "./interpreter.ts";
import { DATA, Job, type Step } from "./job.ts";
import { SEED } from "./preemption_cases.ts";
import { randomKernel } from "./random_kernel.ts";
import {
  INPUT_WORDS,
  OWN_WORDS,
  type RandomKernel,
  smaller,
  SUM_WORDS,
  textOf,
} from "./random_kernel_text.ts";

const KERNELS = 90 * Number(Deno.env.get("CALYPTE_ROUNDS") ?? 1);
/** Smaller kernels that are tried after a failure: a few seconds. */
const MAX_TRIES = 300;

/** Shares of the kernels that must show something, about half of what long runs find. */
const LEAST: Readonly<Record<string, number>> = {
  "loop": 0.4,
  "loop, may overlap": 0.25,
  "block": 0.6,
  "slice": 0.6,
  "checkpoint together": 0.2,
  "checkpoint alone": 0.12,
  "meeting": 0.02,
  "early returns": 0.02,
};

type Level = "loop" | "block" | "slice";

interface Counts {
  leaves: number;
  abandoned: number;
}

/** Where each buffer lies: side by side, so that no two parameters of a kernel overlap. */
const INPUT = DATA;
const SUMS = INPUT + 4 * INPUT_WORDS;
const OUTPUT = SUMS + 4 * SUM_WORDS;

/** One step or, by the seed, two: the same kernel again on a smaller grid, over what the first left behind. */
function stepsOf({ grid, block, n, seed }: RandomKernel): Step[] {
  const threads = block[0] * block[1] * block[2] * grid[0] * grid[1] * grid[2];
  const state = OUTPUT + 4 * OWN_WORDS * threads;
  const step: Step = { kernel: "k", grid, block, args: [INPUT, OUTPUT, SUMS, state, n] };
  if (seed % 3 > 0) return [step];
  return [step, {
    ...step,
    grid: [1 + (grid[0] >> 1), grid[1], grid[2]],
    args: [...step.args.slice(0, 4), n + 1],
  }];
}

/** Throws with the first word that differs: a whole memory is too much to read. */
function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  const at = actual.findIndex((byte, i) => byte !== expected[i]) & ~3;
  if (at < 0) return;
  const word = (bytes: Uint8Array) => new DataView(bytes.buffer).getUint32(at, true);
  throw new Error(`${what}: the word at byte ${at} is ${word(actual)}, not ${word(expected)}`);
}

interface Rewritten {
  readonly text: string;
  readonly level: string;
  readonly safeLevels: readonly string[];
  /** What it shows of the compiler's ways with loops and returns. */
  readonly ways: readonly string[];
}

function rewrite(text: string, overlaps: boolean, level?: Level): Rewritten {
  const options = {
    file: "k",
    ...(level === undefined ? {} : { levels: new Map([["k", level]]) }),
    ...(overlaps ? {} : { overlap: () => false }),
  };
  const result = rewriteModule(text, options);
  const [report] = result.kernels;
  assert(report !== undefined);
  const { safeLevels, checkpoints } = report;
  const ways = checkpoints.map(({ kind }) => `checkpoint ${kind}`);
  if (result.text.includes("_MEETING")) ways.push("meeting");
  if (result.text.includes("_RETURNED:")) ways.push("early returns");
  return { text: result.text, level: report.level, safeLevels, ways };
}

/** Memory after so many units of the kernel as it is. */
function untouched(kernel: RandomKernel, units: number, seed: number): Uint8Array {
  const steps = stepsOf(kernel);
  const module = parseModule(textOf(kernel), "k");
  const job = new Job(module, steps, randomFrom(seed));
  job.fill(kernel.seed);
  for (let u = 0; u < units; u++) for (const step of steps) job.runUntouched(module, step);
  return job.data();
}

/** Runs a kernel preempted; throws where memory differs from what it would be without. */
function check(kernel: RandomKernel, level: Level, overlaps: boolean, seed: number): Counts {
  const units = 2;
  const { text, level: reached } = rewrite(textOf(kernel), overlaps, level);
  assertEquals(reached, level, "level");
  const random = randomFrom(seed);
  const steps = stepsOf(kernel);
  const job = new Job(parseModule(text, "k"), steps, random);
  job.fill(kernel.seed);
  job.period = 1 + random(50);
  for (let u = 1; u <= units; u++) {
    if (level === "slice") { for (const s of steps.keys()) job.runSliced(s); }
    else {
      job.setWorkers(1 + random(6));
      job.runMask = random(2) === 0 ? 0 : 1 + 2 * random(2);
      job.finish(u);
      assertEquals([job.stepWord, job.completed], [BigInt(u) << 16n, 0], "step word and count");
    }
  }
  assertSame(job.data(), untouched(kernel, units, seed), "memory");
  return { leaves: job.leaves, abandoned: job.abandoned };
}

function messageOf(work: () => void): string | undefined {
  try {
    work();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}

/** A failing kernel that none of the next smaller ones fails like, as its text. */
function shrink(kernel: RandomKernel, fails: (kernel: RandomKernel) => string | undefined): string {
  let least = kernel;
  let message = fails(kernel) ?? "";
  for (let tries = 0, found = true; found && tries < MAX_TRIES;) {
    found = false;
    for (const next of smaller(least)) {
      if (++tries > MAX_TRIES) break;
      const said = fails(next);
      if (said === undefined) continue;
      [least, message, found] = [next, said, true];
      break;
    }
  }
  const { grid, block, n } = least;
  return `${message}\ngrid ${grid}, block ${block}, n ${n}:\n${textOf(least)}`;
}

/** Fails with the smallest kernel found, where a check fails. */
function must(kernel: RandomKernel, level: Level, overlaps: boolean, seed: number): Counts {
  let counts: Counts | undefined;
  const message = messageOf(() => counts = check(kernel, level, overlaps, seed));
  if (counts !== undefined) return counts;
  const fails = (k: RandomKernel) => {
    // Without one of its statements a kernel may be wrong as it is.
    if (messageOf(() => untouched(k, 1, seed)) !== undefined) return undefined;
    if (!rewrite(textOf(k), overlaps).safeLevels.includes(level)) return undefined;
    for (let i = 0; i < 3; i++) {
      const found = messageOf(() => check(k, level, overlaps, seed + i));
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const how = overlaps ? "parameters may overlap" : "parameters do not overlap";
  throw new Error(
    `Kernel ${kernel.seed} (CALYPTE_SEED=${kernel.seed} begins with it), level ${level}, ${how}: ${message}\n` +
      `Smallest: ${shrink(kernel, fails)}`,
  );
}

Deno.test("random kernels do the same however their threads run", () => {
  for (let i = 0; i < KERNELS; i++) {
    const kernel = randomKernel(SEED + i);
    const differs = (k: RandomKernel) =>
      messageOf(() => assertSame(untouched(k, 1, i), untouched(k, 1, i + 1), "memory"));
    if (differs(kernel) !== undefined) throw new Error(shrink(kernel, differs));
  }
});

Deno.test("random kernels, preempted at random at each safe level, leave the same memory behind", () => {
  const reached = new Map<string, number>();
  const counts: Counts = { leaves: 0, abandoned: 0 };
  for (let i = 0; i < KERNELS; i++) {
    const seed = SEED + i;
    const kernel = randomKernel(seed);
    for (const overlaps of [false, true]) {
      const { safeLevels, ways } = rewrite(textOf(kernel), overlaps);
      for (const way of overlaps ? [] : new Set(ways)) reached.set(way, 1 + (reached.get(way) ?? 0));
      for (const level of safeLevels) {
        const name = `${level}${overlaps ? ", may overlap" : ""}`;
        reached.set(name, 1 + (reached.get(name) ?? 0));
        if (level === "whole") continue;
        const { leaves, abandoned } = must(kernel, level as Level, overlaps, seed);
        counts.leaves += leaves;
        counts.abandoned += abandoned;
      }
    }
  }
  console.log(`${KERNELS} random kernels:`, Object.fromEntries(reached), counts);
  // A test of preemption has to preempt, in each of the ways that there are.
  for (const [what, share] of Object.entries(LEAST)) {
    assert(
      (reached.get(what) ?? 0) >= share * KERNELS,
      `Only ${reached.get(what) ?? 0} of ${KERNELS}: ${what}`,
    );
  }
  assert(counts.leaves >= KERNELS, `Only ${counts.leaves} leaves`);
  assert(counts.abandoned >= KERNELS / 2, `Only ${counts.abandoned} blocks abandoned`);
});

const noPtxas = whyNoPtxas();

Deno.test({
  name: "random kernels assemble, untouched and at each safe level",
  ignore: noPtxas !== undefined,
  fn: () => {
    for (let i = 0; i < 4; i++) {
      const text = textOf(randomKernel(SEED + i));
      const levels = rewrite(text, false).safeLevels.filter((level) => level !== "whole");
      for (const t of [text, ...levels.map((level) => rewrite(text, false, level as Level).text)]) {
        const result = assemble(t);
        assert(result?.ok, `${result?.messages}\n${t}`);
      }
    }
  },
});
