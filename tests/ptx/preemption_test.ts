/**
 * Does a rewritten kernel do what docs/PREEMPTION.md says, and leave the same data behind as the untouched one, however
 * its threads run and whenever the gate closes?
 *
 * To replay a failure: CALYPTE_SEED=<the seed printed> deno task test.
 */

import { assert, assertEquals, assertThrows } from "../assert.ts";
import type { Module } from "../../ptx/ast.ts";
import { parseModule, rewriteModule } from "../../ptx/mod.ts";
import { fixture, type FIXTURES, kernelText } from "./fixtures.ts";
import { randomFrom } from "./interpreter.ts";
import { DATA, Job, type Step } from "./job.ts";

const SEED = Number(Deno.env.get("CALYPTE_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const ROUNDS = Number(Deno.env.get("CALYPTE_ROUNDS") ?? 3);
console.log(`preemption_test.ts: CALYPTE_SEED=${SEED}`);

const A = DATA;
const B = DATA + 4096;
const C = DATA + 8192;

interface Case {
  readonly file: typeof FIXTURES[number];
  readonly steps: readonly Step[];
  /** Data that the kernel needs to find, over the random ones. */
  readonly prepare?: (job: Job) => void;
}

const CASES: readonly Case[] = [
  {
    file: "elementwise",
    steps: [
      { kernel: "grid_stride", grid: [7, 1, 1], block: [32, 1, 1], args: [A, B, 500] },
      { kernel: "scale", grid: [16, 1, 1], block: [32, 1, 1], args: [B, C, 0x3f000000, 500] },
    ],
  },
  {
    file: "reduction",
    steps: [
      { kernel: "block_sum", grid: [9, 1, 1], block: [64, 1, 1], args: [A, B, 550] },
      {
        kernel: "block_max",
        grid: [5, 1, 1],
        block: [48, 1, 1],
        args: [A, C],
        dynamicSharedBytes: 4 * 48,
      },
    ],
  },
  { file: "grids", steps: [{ kernel: "transpose3", grid: [3, 4, 2], block: [4, 3, 1], args: [A, B] }] },
  { file: "grids", steps: [{ kernel: "rows", grid: [3, 5, 2], block: [8, 1, 1], args: [B, 11] }] },
  {
    file: "calls",
    steps: [
      { kernel: "steps", grid: [4, 1, 1], block: [16, 1, 1], args: [C] },
      { kernel: "choose", grid: [11, 1, 1], block: [32, 1, 1], args: [A, B] },
    ],
    prepare: (job) => {
      for (let i = 0; i < 400; i++) job.memory.setU32(A + 4 * i, i % 9);
    },
  },
  {
    file: "atomics",
    steps: [
      { kernel: "histogram", grid: [8, 1, 1], block: [40, 1, 1], args: [A, B, 300] },
      { kernel: "last_adds", grid: [13, 1, 1], block: [32, 1, 1], args: [A, C, C + 1024, C + 1028] },
    ],
    prepare: (job) => job.memory.setU32(C + 1024, 0),
  },
  {
    file: "hardware",
    steps: [
      { kernel: "staged", grid: [6, 1, 1], block: [32, 1, 1], args: [A, C] },
      { kernel: "lanes", grid: [6, 1, 1], block: [64, 1, 1], args: [A, B] },
    ],
  },
  {
    file: "tables",
    steps: [{ kernel: "choose_by_table", grid: [9, 1, 1], block: [32, 1, 1], args: [A, B] }],
  },
];

function original(of: Case): Module {
  return parseModule(fixture(of.file), of.file);
}

function rewritten(of: Case, mistake?: Mistake): Module {
  const { text } = rewriteModule(fixture(of.file), { file: of.file });
  const changed = mistake === undefined ? text : mistake(text);
  if (mistake !== undefined) assert(changed !== text, "The mistake changes nothing");
  return parseModule(changed, of.file);
}

/** Runs a case preempted, with another number of workers for each unit; throws where the data differ. */
function checkCase(of: Case, module: Module, seed: number, units = 2): { leaves: number } {
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

type Mistake = (text: string) => string;

function jobOf(of: Case, mistake?: Mistake): Job {
  const job = new Job(rewritten(of, mistake), of.steps, randomFrom(SEED));
  job.fill(SEED);
  of.prepare?.(job);
  return job;
}

const first = CASES[0] as Case;

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

function refuses(mistake?: Mistake): void {
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

function sticks(mistake?: Mistake): void {
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

/** Closes the gate under one worker at many moments; at most the block that is running may still write. */
function drains(mistake?: Mistake): void {
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

Deno.test("a closing is followed by at most the virtual block that is running", () => drains());

Deno.test("a planted mistake is caught: thread 0 reads the gate on its own arrival", () => {
  const change = (t: string) => t.replaceAll("$CALYPTE_GATHER:\n\tbar.sync 0;", "$CALYPTE_GATHER:");
  assertThrows(() => drains(change), Error, "wrote after the gate had closed");
});

/** Mistakes that one could make in the wrapper; each must turn a test red. */
const MISTAKES: readonly { what: string; change: (text: string) => string }[] = [
  {
    what: "a record of an earlier step is taken for this step's",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_go, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_go, -1;",
      ),
  },
  {
    what: "records are never resumed from",
    change: (t) =>
      t.replaceAll(
        "setp.eq.u64 %calypte_go, %calypte_generation, %calypte_word;",
        "mov.pred %calypte_go, 0;",
      ),
  },
  {
    what: "only one block counts as completed, however many were",
    change: (t) => t.replaceAll("add.u32 %calypte_count, %calypte_count, 1;", "mov.u32 %calypte_count, 1;"),
  },
  {
    what: "drawing begins one block too late",
    change: (t) =>
      t.replaceAll(
        "add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1;",
        "add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1; add.u32 %calypte_ticket, %calypte_ticket, 1;",
      ),
  },
  {
    what: "drawing begins at the first block",
    change: (t) => t.replaceAll("add.u32 %calypte_ticket, %calypte_ticket, %calypte_w1;", ""),
  },
  {
    what: "a block that was drawn and not begun is forgotten",
    change: (t) => t.replaceAll("st.global.u32 [%calypte_record+8], %calypte_ticket;", ""),
  },
  {
    what: "the counter that blocks are drawn from is not set back at the end of a step",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+128\], %calypte_w4;/g, ""),
  },
  {
    what: "the record is stored without the step word",
    change: (t) => t.replaceAll("st.global.u64 [%calypte_record], %calypte_word;", ""),
  },
  {
    what: "the count is not set back at the end of a step",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+32\], %calypte_w4;/g, ""),
  },
  {
    what: "the virtual block index ignores the width of the grid",
    change: (t) => t.replaceAll(/rem\.u32 %calypte_x, .*/g, "").replaceAll(/rem\.u32 %calypte_y, .*/g, ""),
  },
  {
    what: "threads do not wait for each other between two blocks",
    change: (t) =>
      t.replaceAll("$CALYPTE_GATHER:\n\tbar.sync 0;", "$CALYPTE_GATHER:")
        .replaceAll("$CALYPTE_GATHER:\n\tcp.async.wait_all;\n\tbar.sync 0;", "$CALYPTE_GATHER:")
        .replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "mov.pred %calypte_closed, 0;"),
  },
  {
    what: "thread 0 leaves without telling the others",
    change: (t) => t.replaceAll("bar.red.or.pred %calypte_closed, 0, %calypte_closed;", "bar.sync 0;"),
  },
];

const WRONG_REFUSALS: readonly { what: string; change: Mistake; check: (mistake: Mistake) => void }[] = [
  {
    what: "a unit that was not granted is begun",
    change: (t) => t.replaceAll(/setp\.lt\.and\.u64 %calypte_mine, .*/g, ""),
    check: refuses,
  },
  {
    what: "a launch with another N takes part",
    change: (t) => t.replaceAll(/setp\.eq\.u32 %calypte_mine, .*/g, "mov.pred %calypte_mine, -1;"),
    check: refuses,
  },
  {
    what: "a launch takes part out of turn",
    change: (t) => t.replaceAll(/setp\.eq\.and\.u32 %calypte_mine, .*/g, ""),
    check: refuses,
  },
  {
    what: "leaving does not stick",
    change: (t) => t.replaceAll(/st\.relaxed\.sys\.global\.u32 \[%calypte_control\+4\], .*/g, ""),
    check: sticks,
  },
  {
    what: "only the gate words count, and not what sticks",
    change: (t) => t.replaceAll(/setp\.eq\.or\.u32 %calypte_closed, .*/g, ""),
    check: sticks,
  },
];

for (const { what, change, check } of WRONG_REFUSALS) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => check(change), Error, "not equal");
  });
}

for (const { what, change } of MISTAKES) {
  Deno.test(`a planted mistake is caught: ${what}`, () => {
    assertThrows(() => {
      for (const of of CASES) {
        const text = rewriteModule(fixture(of.file), { file: of.file }).text;
        if (change(text) === text) continue; // a mistake may touch only some kernels
        for (let i = 0; i < 4; i++) checkCase(of, rewritten(of, change), SEED + i, 3);
      }
    }, Error);
  });
}
