/**
 * When may threads pass a barrier of their block, and which uses of barriers are errors?
 *
 * Barriers are numbered 0 to 15. One without a count is passed when all threads that have not ended stand at it; one
 * with a count when so many threads have come, where an aligned instruction counts whole warps, those that have ended
 * included. An aligned instruction must be the same one for all threads of a warp that wait at barriers; different warps
 * may stand at different instructions. Barriers of a warp are in interpreter_warp.ts.
 */

import type { Instruction } from "../../ptx/ast.ts";
import type { Executor } from "./interpreter_executor.ts";
import { advance, current, stands, type Thread, type ThreadBlock } from "./interpreter_thread.ts";
import { unknown } from "./interpreter_values.ts";

const WARP = 32;
const BARRIERS = 16;

/** A barrier from the first thread that comes to the moment when all may go on. */
export interface Meeting {
  /** `.sync`, also for those who only arrive, or the reduction's operator. */
  readonly kind: string;
  readonly count: number | undefined;
  /** Those that wait. */
  readonly waiting: Thread[];
  /** Threads that arrived without waiting, and their warps. */
  arrived: number;
  readonly arrivedWarps: Set<number>;
}

interface Form {
  readonly isAligned: boolean;
  readonly isArrival: boolean;
  readonly kind: string;
}

const forms = new WeakMap<Instruction, Form>();

function formOf(instruction: Instruction): Form {
  let form = forms.get(instruction);
  if (form !== undefined) return form;
  const { opcode, modifiers } = instruction;
  const action = modifiers.find((m) => m === ".sync" || m === ".red" || m === ".arrive");
  if (action === undefined || modifiers.includes(".cluster")) return unknown(instruction);
  const operator = modifiers.find((m) => m === ".and" || m === ".or" || m === ".popc");
  form = {
    isAligned: opcode === "bar" || modifiers.includes(".aligned"),
    isArrival: action === ".arrive",
    kind: action === ".red" ? operator ?? unknown(instruction) : ".sync",
  };
  forms.set(instruction, form);
  return form;
}

/** A thread has come to a barrier. Returns those who may go on. */
export function comeToBarrier(executor: Executor, thread: Thread): Thread[] {
  const { block } = thread;
  const instruction = current(thread);
  const form = formOf(instruction);
  checkAlignment(thread, form);
  const { operands } = instruction;
  const isReduction = form.kind !== ".sync";
  const number = Number(executor.value(thread, operands[isReduction ? 1 : 0], ".u32"));
  const hasCount = operands.length === (isReduction ? 4 : 2);
  const count = hasCount ? Number(executor.value(thread, operands[isReduction ? 2 : 1], ".u32")) : undefined;
  if (number >= BARRIERS) throw new Error(`Barrier ${number} (line ${instruction.line}) does not exist`);
  if (count !== undefined && (count === 0 || count % WARP !== 0)) {
    throw new Error(`Barrier ${number} (line ${instruction.line}) counts ${count} threads, not whole warps`);
  }
  let meeting = block.barriers.get(number);
  if (meeting === undefined) {
    meeting = { kind: form.kind, count, waiting: [], arrived: 0, arrivedWarps: new Set() };
    block.barriers.set(number, meeting);
  }
  if (meeting.kind !== form.kind) {
    throw new Error(
      `Threads meet barrier ${number} as ${meeting.kind} and, at line ${instruction.line}, as ${form.kind}`,
    );
  }
  if (meeting.count !== count) {
    throw new Error(`Threads meet barrier ${number} with different counts (line ${instruction.line})`);
  }
  meeting.waiting.push(thread);
  return settle(executor, block, number, meeting);
}

/** A thread has ended, which others may have waited for. Returns those who may go on. */
export function leaveBarriers(executor: Executor, block: ThreadBlock): Thread[] {
  return [...block.barriers].flatMap(([number, meeting]) => settle(executor, block, number, meeting));
}

/** All threads of a warp that wait at barriers stand at one instruction, if any of theirs is aligned. */
function checkAlignment(thread: Thread, form: Form): void {
  const { warp, block } = thread;
  const here = stands(thread);
  const others = block.standing[warp];
  if (others === undefined || others.threads === 0) {
    block.standing[warp] = { at: here, isAligned: form.isAligned, threads: 1 };
    return;
  }
  others.threads++;
  if (others.at !== here && (others.isAligned || form.isAligned)) {
    throw new Error(
      `Threads of warp ${warp} wait at different aligned barriers: ` +
        `lines ${others.at.instruction.line} and ${here.instruction.line}`,
    );
  }
}

/** Lets happen what the threads that came so far allow. */
function settle(executor: Executor, block: ThreadBlock, number: number, meeting: Meeting): Thread[] {
  const arrivals = meeting.count === undefined ? [] : arrive(block, meeting);
  if (!isComplete(block, meeting)) return arrivals;
  block.barriers.delete(number);
  const threads = meeting.waiting;
  if (meeting.kind !== ".sync") reduce(executor, meeting.kind, threads);
  threads.forEach(passBarrier);
  return [...arrivals, ...threads];
}

function passBarrier(thread: Thread): void {
  const standing = thread.block.standing[thread.warp];
  if (standing !== undefined) standing.threads--;
  advance(thread);
}

/** Those who only arrive go on: at once, or, aligned, when their warp is complete. */
function arrive(block: ThreadBlock, meeting: Meeting): Thread[] {
  const arriving = meeting.waiting.filter((t) => formOf(current(t)).isArrival);
  const gone: Thread[] = [];
  for (const warp of new Set(arriving.map((t) => t.warp))) {
    const lanes = arriving.filter((t) => t.warp === warp);
    const isAligned = lanes.some((t) => formOf(current(t)).isAligned);
    if (isAligned && lanes.length < alive(block, warp)) continue;
    if (meeting.arrivedWarps.has(warp) && isAligned) {
      throw new Error(`Warp ${warp} arrives twice at one barrier (line ${current(lanes[0]).line})`);
    }
    meeting.arrivedWarps.add(warp);
    meeting.arrived += isAligned ? WARP : lanes.length;
    gone.push(...lanes);
  }
  if (gone.length === 0) return gone;
  const waiting = meeting.waiting.filter((t) => !gone.includes(t));
  meeting.waiting.splice(0, meeting.waiting.length, ...waiting);
  gone.forEach(passBarrier);
  return gone;
}

const alive = (block: ThreadBlock, warp: number): number => block.aliveIn[warp] ?? 0;

function isComplete(block: ThreadBlock, meeting: Meeting): boolean {
  const { count, waiting } = meeting;
  if (count === undefined) return waiting.length > 0 && waiting.length === block.alive;
  let come = meeting.arrived;
  for (const warp of new Set(waiting.map((t) => t.warp))) {
    const lanes = waiting.filter((t) => t.warp === warp);
    if (!formOf(current(lanes[0])).isAligned) come += lanes.length;
    else if (lanes.length === alive(block, warp)) come += WARP;
  }
  if (come > count) throw new Error(`${come} threads come to a barrier that counts ${count}`);
  return come === count;
}

function reduce(executor: Executor, kind: string, threads: readonly Thread[]): void {
  const votes = threads.filter((t) => Boolean(executor.value(t, current(t).operands.at(-1), ".pred"))).length;
  const result = kind === ".popc" ? votes : kind === ".and" ? votes === threads.length : votes > 0;
  for (const t of threads) executor.set(t, current(t).operands[0], result);
}
