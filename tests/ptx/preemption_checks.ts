/**
 * Does one job keep one of the promises of docs/PREEMPTION.md? Each check throws where it does not.
 *
 * A check takes a mistake to plant, so that a test can show that the check notices it.
 */

import { assert, assertEquals } from "../assert.ts";
import type { Module } from "../../ptx/ast.ts";
import { randomFrom } from "./interpreter.ts";
import { DATA, Job } from "./job.ts";
import { C, type Case, first, jobOf, type Options, original, rewritten, SEED } from "./preemption_cases.ts";

/** Runs a case preempted, with another number of workers for each unit; throws where the data differ. */
export function checkCase(of: Case, module: Module, seed: number, units = 2): Job {
  const random = randomFrom(seed);
  const reference = untouched(of, seed, units);
  const job = fresh(of, module, seed, random);
  // Short, so that a loop reads the gate within its few turns.
  job.period = 1 + random(30);
  for (let u = 1; u <= units; u++) {
    job.setWorkers(1 + random(9));
    job.runMask = random(2) === 0 ? 0 : 1 + 2 * random(2);
    job.finish(u);
    assertEquals(job.stepWord, BigInt(u) << 16n, "step word");
    assertEquals(job.mirror, job.stepWord, "mirror");
    assertEquals(job.completed, 0, "completed");
  }
  assertSame(job, reference);
  return job;
}

/** Runs a case at level slice; throws where the data differ. */
export function checkSliced(of: Case, module: Module, seed: number): void {
  const job = fresh(of, module, seed, randomFrom(seed));
  for (const s of of.steps.keys()) job.runSliced(s);
  assertSame(job, untouched(of, seed, 1));
}

function fresh(of: Case, module: Module, seed: number, random: (n: number) => number): Job {
  const job = new Job(module, of.steps, random);
  job.fill(seed);
  of.prepare?.(job);
  return job;
}

/** A job with the data that so many units of the untouched kernels leave behind. */
function untouched(of: Case, seed: number, units: number): Job {
  const module = original(of);
  const job = fresh(of, module, seed, randomFrom(seed + 1));
  for (let u = 0; u < units; u++) for (const step of of.steps) job.runUntouched(module, step);
  return job;
}

/** Throws with the first word that differs: all of the data are too much to read. */
function assertSame(job: Job, reference: Job): void {
  const [data, expected] = [job.data(), reference.data()];
  const at = data.findIndex((byte, i) => byte !== expected[i]) & ~3;
  if (at < 0) return;
  const [a, b] = [job.memory.u32(DATA + at), reference.memory.u32(DATA + at)];
  throw new Error(`Data are not equal: the word at byte ${at} is ${a}, not ${b}`);
}

/** Launches that have no turn leave memory as it is. */
export function refuses(options?: Options): void {
  const job = jobOf(first, options);
  job.setWorkers(3);
  const before = () => new Uint8Array(job.memory.view.buffer.slice(0));
  job.newEntry();
  let memory = before();
  job.launch(0); // nothing is granted yet
  assertEquals(before(), memory);
  job.grant(1);
  memory = before();
  job.launch(1); // step 0 comes first
  assertEquals(before(), memory);
  job.launch(0, { workers: 4 });
  job.launch(0, { workers: 2 });
  assertEquals(before(), memory);
  job.launch(0);
  job.launch(1);
  memory = before();
  job.launch(0); // unit 1 was not asked for
  job.launch(1);
  assertEquals(before(), memory);
}

/** Leaving sticks for the rest of the entry. */
export function sticks(options?: Options): void {
  const job = jobOf(first, options);
  job.setWorkers(2);
  job.grant(1);
  const entry = job.newEntry();
  job.setGate(3, 1);
  job.launch(0);
  job.setGate(3, 0);
  const data = job.data();
  job.launch(0);
  assertEquals(job.data(), data);
  assertEquals(job.sticksIn, entry);
  job.newEntry();
  job.launch(0);
  assertEquals(job.stepWord, 1n);
}

/** Closes the gate under one worker at many moments; at most the block that is running may still write. */
export function drains(options?: Options): void {
  const [, scale] = first.steps;
  assert(scale !== undefined);
  const module = rewritten(first, options);
  for (let i = 0; i < 40; i++) {
    const job = new Job(module, [scale], randomFrom(SEED + i));
    job.fill(SEED);
    job.grant(1);
    job.newEntry();
    let atClosing: Uint8Array | undefined;
    let turns = 60 + 17 * i;
    job.launch(0, {
      between: () => {
        if (turns-- !== 0) return;
        job.setGate(4, 1);
        atClosing = job.data();
      },
    });
    const after = job.data();
    const changed = new Set<number>();
    after.forEach((byte, at) => {
      if (byte !== atClosing?.[at]) changed.add(Math.floor((at - (C - DATA)) / 128)); // 32 words a block
    });
    assert(changed.size <= 1, `Blocks ${[...changed]} wrote after the gate had closed`);
  }
}

/** The end of a unit sticks: a second launch in the same entry does not begin the next one. */
export function endSticks(options?: Options): void {
  const job = jobOf(first, options);
  job.setWorkers(3);
  job.grant(2);
  const entry = job.newEntry();
  job.launch(0);
  job.launch(1);
  assertEquals([job.stepWord, job.sticksIn], [1n << 16n, entry]);
  job.launch(0);
  assertEquals(job.stepWord, 1n << 16n);
}

/** A worker that ends because some of its threads saw the gate closed makes that stick, whichever threads they were. */
export function sticksFromTheStart(options?: Options): void {
  const module = rewritten(first, options);
  let ended = 0;
  for (let i = 0; i < 120; i++) {
    const job = new Job(module, first.steps, randomFrom(SEED + i));
    job.grant(1);
    const entry = job.newEntry();
    let turns = 5 + i % 60;
    job.launch(0, { between: () => void (turns-- === 0 && job.setGate(5, 1)) });
    if (job.completed > 0 || job.leaves > 0 || job.stepWord > 0n) continue;
    ended++;
    assertEquals(job.sticksIn, entry, "the launch ended and left no trace");
  }
  assert(ended > 5, "The gate never closed while a worker entered");
}

/** Closes the gate under blocks that have long to run; they are given up, and none of them counts as completed. */
export function givesUp(of: Case, options?: Options): void {
  const [step] = of.steps;
  assert(step !== undefined);
  const module = rewritten(of, { cap: "loop", ...options });
  let given = 0;
  for (let i = 0; i < 40; i++) {
    const job = new Job(module, [step], randomFrom(SEED + i));
    job.fill(SEED);
    job.grant(1);
    job.newEntry();
    let turns = 30 + 3 * i;
    job.launch(0, { between: () => void (turns-- === 0 && job.setGate(4, 1)) });
    given += job.abandoned;
    assert(job.abandoned <= job.leaves, "Who gives a block up leaves");
  }
  assert(given >= 5, `Only ${given} blocks were given up`);
}
