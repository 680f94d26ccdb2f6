/**
 * What do mbarrier objects in shared memory do, and which uses of them are errors?
 *
 * `init`, `inval`, `arrive`, `test_wait` and `try_wait`, without transactions. From `init` to `inval` the eight bytes are
 * an object that nothing else may touch; when the block ends, hardware forgets all of them. A wait that finds its phase
 * under way stops the thread; it may be told "not yet" at any moment. A `test_wait` does not differ from a `try_wait`: that
 * it answers at once cannot be told from a thread that is late.
 */

import type { Instruction } from "../../ptx/ast.ts";
import type { Executor } from "./interpreter_executor.ts";
import type { Thread } from "./interpreter_thread.ts";
import { big, unknown } from "./interpreter_values.ts";

const BYTES = 8;
const MAX_COUNT = 2 ** 20 - 1;

export interface MBarrier {
  /** Arrivals that complete a phase. */
  readonly expected: number;
  pending: number;
  /** Phases that are complete, from a start of its own: a state of another object does not fit. */
  phase: number;
}

/** An ordinary access to shared memory must not touch an object. */
export function checkPlain(
  objects: ReadonlyMap<number, MBarrier>,
  at: number,
  bytes: number,
  line: number,
): void {
  for (const start of objects.keys()) {
    if (at < start + BYTES && start < at + bytes) {
      throw new Error(`Line ${line} touches the mbarrier at ${start} as plain memory`);
    }
  }
}

/**
 * Executes one instruction at this address of shared memory. Returns false where it would wait and
 * `mayWait` is set; the thread then stays in front of it.
 */
export function executeMbarrier(
  executor: Executor,
  thread: Thread,
  instruction: Instruction,
  address: number,
  mayWait: boolean,
): boolean {
  const { modifiers, operands, line } = instruction;
  const objects = thread.block.mbarriers;
  const action = modifiers[0];
  if (address % BYTES !== 0) throw new Error(`Misaligned mbarrier at ${address} (line ${line})`);
  if (action === ".init") {
    const count = Number(executor.value(thread, operands[1], ".u32"));
    if (count < 1 || count > MAX_COUNT) throw new Error(`An mbarrier of ${count} arrivals (line ${line})`);
    checkPlain(objects, address, BYTES, line);
    // A number that other objects of this block do not reach, so that their states are told apart.
    const phase = 1000 * thread.block.mbarriersMade++;
    objects.set(address, { expected: count, pending: count, phase });
    return true;
  }
  const object = objects.get(address);
  if (object === undefined) {
    throw new Error(`Line ${line} uses an mbarrier at ${address}, where none is initialised`);
  }
  switch (action) {
    case ".inval":
      objects.delete(address);
      return true;
    case ".arrive":
      arrive(executor, thread, instruction, object);
      return true;
    case ".test_wait":
    case ".try_wait":
      return wait(executor, thread, instruction, object, mayWait);
  }
  return unknown(instruction);
}

function arrive(executor: Executor, thread: Thread, instruction: Instruction, object: MBarrier): void {
  const { modifiers, operands, line } = instruction;
  if (modifiers.some((m) => m === ".expect_tx" || m === ".noComplete")) return unknown(instruction);
  const hasState = operands[0]?.kind === "name";
  const given = operands[hasState ? 2 : 1];
  const count = given === undefined ? 1 : Number(executor.value(thread, given, ".u32"));
  if (count < 1 || count > object.pending) {
    throw new Error(`${count} arrivals at an mbarrier that ${object.pending} are missing at (line ${line})`);
  }
  // "_" takes the state nowhere.
  if (hasState) executor.set(thread, operands[0], BigInt(object.phase));
  object.pending -= count;
  if (object.pending > 0) return;
  object.pending = object.expected;
  object.phase++;
  for (const t of thread.block.sleeping.splice(0)) {
    t.state = "running";
    thread.block.running.push(t);
  }
}

function wait(
  executor: Executor,
  thread: Thread,
  instruction: Instruction,
  object: MBarrier,
  mayWait: boolean,
): boolean {
  const { modifiers, operands, line } = instruction;
  let isDone: boolean;
  if (modifiers.includes(".parity")) {
    const parity = Number(executor.value(thread, operands[2], ".u32"));
    if (parity > 1) throw new Error(`A parity of ${parity} (line ${line})`);
    isDone = object.phase % 2 !== parity;
  } else {
    const state = Number(big(executor.value(thread, operands[2], ".b64")));
    isDone = state === object.phase - 1;
    if (!isDone && state !== object.phase) {
      throw new Error(`Line ${line} waits for a phase that is neither the current nor the one before`);
    }
  }
  if (!isDone && mayWait) return false;
  executor.set(thread, operands[0], isDone);
  return true;
}
