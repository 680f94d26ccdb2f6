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
import { A, CASES, first, jobOf, OWN_CASES, reaches, rewritten, SEED } from "./preemption_cases.ts";
import {
  checkCase,
  checkSliced,
  drains,
  endSticks,
  givesUp,
  refuses,
  sticks,
  sticksFromTheStart,
} from "./preemption_checks.ts";

const ROUNDS = Number(Deno.env.get("CALYPTE_ROUNDS") ?? 3);

for (const of of [...CASES, ...Object.values(OWN_CASES)]) {
  const kernels = of.steps.map((s) => s.kernel).join(" and ");
  for (const cap of ["block", "loop"] as const) {
    if (!reaches(of, cap)) continue;
    Deno.test(`${kernels}, level ${cap}: preempted at random, the data are the same, bit for bit`, () => {
      const module = rewritten(of, { cap });
      let [leaves, abandoned] = [0, 0];
      // A test of preemption has to preempt.
      for (let i = 0; i < ROUNDS || leaves < 5 || (cap === "loop" && abandoned < 3); i++) {
        assert(i < 30 * ROUNDS, `Only ${leaves} leaves, ${abandoned} blocks abandoned in ${i} rounds`);
        const job = checkCase(of, module, SEED + i);
        leaves += job.leaves;
        abandoned += job.abandoned;
      }
      console.log(`${kernels}, level ${cap}: ${leaves} leaves, ${abandoned} blocks abandoned`);
    });
  }
  Deno.test(`${kernels}, level slice: in ranges of blocks, the data are the same, bit for bit`, () => {
    const module = rewritten(of, { cap: "slice" });
    for (let i = 0; i < ROUNDS; i++) checkSliced(of, module, SEED + i);
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

Deno.test("the end of a unit sticks: a second launch in the same entry does not begin the next one", () =>
  endSticks());

Deno.test("a closing that only some threads of an entering worker see sticks", () => sticksFromTheStart());

for (const name of ["turns_together", "turns_alone", "meets_behind"] as const) {
  Deno.test(`${name}: a block is given up within its loop when the gate closes`, () =>
    givesUp(OWN_CASES[name]));
}

Deno.test("at level loop, leaving sticks and surplus launches change nothing, as at level block", () => {
  sticks({ cap: "loop" });
  endSticks({ cap: "loop" });
  refuses({ cap: "loop" });
  drains({ cap: "loop" });
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
