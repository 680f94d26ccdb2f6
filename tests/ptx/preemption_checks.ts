/**
 * Does one job keep one of the promises of docs/PREEMPTION.md? Each check throws where it does not.
 *
 * A check takes a mistake to plant, so that a test can show that the check notices it.
 */

import { assert, assertEquals } from "../assert.ts";
import type { Module } from "../../ptx/ast.ts";
import { randomFrom } from "./interpreter.ts";
import { DATA, Job } from "./job.ts";
import { C, type Case, first, jobOf, type Mistake, original, rewritten, SEED } from "./preemption_cases.ts";

/** Runs a case preempted, with another number of workers for each unit; throws where the data differ. */
export function checkCase(of: Case, module: Module, seed: number, units = 2): { leaves: number } {
  const random = randomFrom(seed);
  const fresh = (m: Module) => {
    const job = new Job(m, of.steps, random);
    job.fill(seed);
    of.prepare?.(job);
    return job;
  };
  const reference = fresh(original(of));
  const untouched = original(of);
  for (let u = 0; u < units; u++) {
    for (const step of of.steps) reference.runUntouched(untouched, step);
  }
  const job = fresh(module);
  for (let u = 1; u <= units; u++) {
    job.setWorkers(1 + random(9));
    job.finish(u);
    assertEquals(job.stepWord, BigInt(u) << 16n, "step word");
    assertEquals(job.mirror, job.stepWord, "mirror");
    assertEquals(job.completed, 0, "completed");
  }
  assertEquals(job.data(), reference.data(), "data");
  return { leaves: job.leaves };
}

/** Launches that have no turn leave memory as it is. */
export function refuses(mistake?: Mistake): void {
  const job = jobOf(first, mistake);
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
export function sticks(mistake?: Mistake): void {
  const job = jobOf(first, mistake);
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
export function drains(mistake?: Mistake): void {
  const [, scale] = first.steps;
  assert(scale !== undefined);
  const module = rewritten(first, mistake);
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
