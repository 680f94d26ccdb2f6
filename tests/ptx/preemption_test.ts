/**
 * Does a rewritten kernel do what docs/PREEMPTION.md says, and leave the same data behind as the untouched one, however
 * its threads run and whenever the gate closes?
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test. CALYPTE_ROUNDS=100 looks longer.
 */

import { assert, assertEquals } from "../assert.ts";
import { parseModule, rewriteModule } from "../../ptx/mod.ts";
import { kernelText } from "./fixtures.ts";
import { randomFrom } from "./interpreter.ts";
import { Job, type Step } from "./job.ts";
import { A, CASES, first, jobOf, rewritten, SEED } from "./preemption_cases.ts";
import { checkCase, drains, refuses, sticks } from "./preemption_checks.ts";

const ROUNDS = Number(Deno.env.get("CALYPTE_ROUNDS") ?? 3);

for (const of of CASES) {
  const kernels = of.steps.map((s) => s.kernel).join(" and ");
  Deno.test(`${kernels}: preempted at random, the data are the same, bit for bit`, () => {
    let leaves = 0;
    // A test of preemption has to preempt.
    for (let i = 0; i < ROUNDS || leaves < 5; i++) {
      assert(i < 20 * ROUNDS, `Only ${leaves} leaves in ${i} rounds`);
      leaves += checkCase(of, rewritten(of), SEED + i).leaves;
    }
    console.log(`${kernels}: ${leaves} leaves`);
  });
}

Deno.test("without a preemption, one entry completes a unit", () => {
  const job = jobOf(first);
  job.setWorkers(3);
  job.grant(1);
  job.newEntry();
  job.launch(0);
  assertEquals(job.stepWord, 1n);
  job.launch(1);
  assertEquals(job.stepWord, 1n << 16n);
  assertEquals(job.leaves, 0);
});

Deno.test("a surplus launch, a launch out of turn and one with another N change nothing", () => refuses());

Deno.test("a launch that finds the gate closed does nothing but make the entry stick", () => {
  for (const close of [(j: Job) => j.setGate(0, 1), (j: Job) => j.setGate(7, 9), (j: Job) => j.setPause(1)]) {
    const job = jobOf(first);
    job.setWorkers(3);
    job.grant(1);
    const entry = job.newEntry();
    const data = job.data();
    close(job);
    job.launch(0);
    assertEquals(job.data(), data);
    assertEquals([job.stepWord, job.leaves, job.sticksIn], [0n, 0, entry]);
  }
});

Deno.test("an entry that was left once is left by all that follow in it, though the gate is open again", () =>
  sticks());

Deno.test("a closed gate that is not this launch's turn leaves no trace", () => {
  const job = jobOf(first);
  job.setWorkers(2);
  job.grant(1);
  job.newEntry();
  job.setGate(0, 1);
  job.launch(1);
  assertEquals(job.sticksIn, 0);
});

Deno.test("more workers than blocks: the surplus ones do nothing", () => {
  const job = jobOf(first);
  job.setWorkers(13);
  job.grant(1);
  job.newEntry();
  job.launch(0); // 7 blocks
  assertEquals(job.stepWord, 1n);
});

Deno.test("a step that is its unit's only one may run on into the next unit within one launch", () => {
  // A worker that has nothing left sees the step word move while its threads read it; they must not disagree.
  const text = kernelText(`
	ld.param.u64 %rd1, [p];
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %tid.x;
	mad.lo.s32 %r3, %r1, 64, %r2;
	mul.wide.u32 %rd2, %r3, 4;
	add.s64 %rd3, %rd1, %rd2;
	ld.global.u32 %r4, [%rd3];
	bar.sync 0;
	add.s32 %r4, %r4, 1;
	st.global.u32 [%rd3], %r4;
	ret;`);
  const module = parseModule(rewriteModule(text, { file: "k" }).text, "k");
  const steps: Step[] = [{ kernel: "k", grid: [6, 1, 1], block: [64, 1, 1], args: [A, 0] }];
  for (let i = 0; i < 4 * ROUNDS; i++) {
    const job = new Job(module, steps, randomFrom(SEED + i));
    job.setWorkers(1 + i % 7);
    job.finish(5);
    for (let at = 0; at < 6 * 64; at++) {
      assertEquals(job.memory.u32(A + 4 * at), job.units, `seed ${SEED + i}, word ${at}`);
    }
  }
});

Deno.test("the end of a unit sticks: a second launch in the same entry does not begin the next one", () => {
  const job = jobOf(first);
  job.setWorkers(3);
  job.grant(2);
  const entry = job.newEntry();
  job.launch(0);
  job.launch(1);
  assertEquals([job.stepWord, job.sticksIn], [1n << 16n, entry]);
  job.launch(0);
  assertEquals(job.stepWord, 1n << 16n);
});

Deno.test("a gate that closes and stays closed ends a launch after the blocks that are running", () => {
  const job = jobOf(first);
  job.setWorkers(2);
  job.grant(1);
  job.newEntry();
  let turns = 0;
  // Late enough that a worker has begun, early enough that none has done its share.
  job.launch(0, { between: () => ++turns === 150 && job.setGate(2, 1) });
  assert(job.leaves > 0 && job.stepWord === 0n && job.completed < 7);
});

Deno.test("a closing is followed by at most the virtual block that is running", () => drains());
