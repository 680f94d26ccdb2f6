/**
 * Do the beginning of a worker and the end of each virtual block keep the protocol of level block?
 *
 * By trial, in situations that differ from the open one in one thing each. Which registers hold the number of the virtual
 * block and how many are completed is found by trial, too. In which order things happen is verify_order.ts's question.
 */

import type { Axis } from "./verify_body.ts";
import type { Report } from "./verify_module.ts";
import { startsIn } from "./verify_terms.ts";
import { type Node, pathsOf } from "./verify_tree.ts";
import { type Change, Trials } from "./verify_trial.ts";
import {
  CONTROL,
  ENTRY,
  GATE,
  GRID,
  type Memory,
  MIRROR,
  openMemory,
  parametersOf,
  RECORD,
  STEP,
  STEP_WORD,
  STORED,
  TOTAL,
  UNIT,
  WORKER,
  WORKERS,
  words,
  writeTo,
} from "./verify_world.ts";

/** Registers that live across a virtual block. */
export interface Roles {
  readonly next: string;
  readonly count: string;
  /** What threads bring to a first barrier where they gather: whether they gave up (or), have returned (and). */
  readonly gathering: { readonly operation: ".and" | ".or"; readonly register: string | undefined } | undefined;
}

export interface Trees {
  readonly enter: Node;
  readonly gather: Node;
  readonly enterLine: number;
  readonly gatherLine: number;
}

/** Ways to close the gate, and what it changes in memory. */
export const CLOSINGS: readonly { readonly what: string; readonly change: Change }[] = [
  ...Array.from({ length: 8 }, (_, i) => ({
    what: `gate word ${i} is not 0`,
    change: [GATE + 4 * i, i === 0 ? 0x8000_0000 : 1, 4] as const,
  })),
  { what: "pause is not 0", change: [CONTROL + 8, 256, 4] },
  { what: "left is this entry", change: [CONTROL + 4, ENTRY, 4] },
];

/** Blocks completed before the one that a trial is about, and that block's number. */
export const COMPLETED_BEFORE = 2;
const COMPLETED = COMPLETED_BEFORE + 1;
const CURRENT = 17;
const DRAWN = 30 + WORKERS;
/** Two numbers of virtual blocks, so that a register that holds either by accident is told apart. */
const FRESH: readonly Change[] = [[RECORD, STEP_WORD, 8], [RECORD + 8, WORKER, 4]];

export function changed(...changes: readonly Change[]): Map<number, bigint> {
  const memory = openMemory();
  for (const [address, value, bytes] of changes) writeTo(memory, address, BigInt(value), bytes);
  return memory;
}

/** The leaving of a worker with work undone, besides what happens to its record and its counts. */
export function left(completed: number): Change[] {
  return [[CONTROL + 4, ENTRY, 4], [CONTROL + 40, 3, 8], [CONTROL + 32, 20 + completed, 4]];
}

/** Undefined where it cannot be told which register is which; then it has reported so. */
export function findRoles(trees: Trees, trials: Trials, report: Report): Roles | undefined {
  const { enter, gather, gatherLine } = trees;
  const resumed = changed([RECORD, STEP_WORD, 8]);
  const rule = "A worker whose turn it is begins with its own block, or with the one in its record of this step";
  const fresh = trials.check(enter, trees.enterLine, rule, {}, { to: "body", changes: FRESH });
  const again = trials.check(enter, trees.enterLine, rule, { memory: resumed }, { to: "body", changes: [] });
  const holds = (name: string, [a, b]: readonly [number, number]) =>
    fresh.arrivals.length > 0 && again.arrivals.length > 0 &&
    fresh.arrivals.every((arrival) => arrival.register(name) === BigInt(a)) &&
    again.arrivals.every((arrival) => arrival.register(name) === BigInt(b));

  const [asked, added] = [new Set<string>(), new Set<string>()];
  let gathering: Roles["gathering"];
  for (const { steps } of pathsOf(gather)) {
    for (const step of steps) {
      if (step.kind === "choice") startsIn(step.condition, asked);
      else if (step.kind === "add" || step.kind === "fetch") step.values.forEach((v) => startsIn(v, added));
    }
    const first = steps.find((step) => step.kind === "barrier");
    const operation = first?.kind === "barrier"
      ? ([".and", ".or"] as const).find((o) => first.instruction.modifiers.includes(o))
      : undefined;
    const [input] = first?.kind === "barrier" ? first.values : [];
    const isFirstPath = gathering === undefined && operation !== undefined && input !== undefined;
    const isOfGathering = input?.kind === "start" || input?.kind === "constant";
    if (isFirstPath && isOfGathering) {
      gathering = { operation, register: input.kind === "start" ? input.register : undefined };
    }
  }
  const counts = [...added].filter((name) => holds(name, [0, 0]));
  const nexts = [...asked].filter((name) => !added.has(name) && holds(name, [WORKER, CURRENT]));
  const [next, count] = [nexts[0], counts[0]];
  if (next === undefined || count === undefined || nexts.length > 1 || counts.length > 1 || added.size > 1) {
    report(gatherLine, "It cannot be told which registers hold the virtual block and how many were completed");
    return undefined;
  }
  return { next, count, gathering };
}

/** How a worker begins: step 1 of docs/PREEMPTION.md. */
export function checkEnter({ enter, enterLine }: Trees, { next, count }: Roles, trials: Trials): void {
  const begins = (rule: string, memory: Memory, mask: number, changes: readonly Change[], block: number) =>
    trials.check(enter, enterLine, rule, { memory, parameters: parametersOf({ run_mask: mask }) }, {
      to: "body",
      changes,
      registers: new Map([[next, BigInt(block)], [count, 0n]]),
    });
  const run = "A worker begins with the first block of its run";
  begins(run, openMemory(), 3, [[RECORD, STEP_WORD, 8], [RECORD + 8, WORKER * 4, 4]], WORKER * 4);
  begins("A worker goes on with what its record says", changed([RECORD, STEP_WORD, 8]), 3, [], CURRENT);
  begins(
    "A worker whose record is of an earlier step begins afresh",
    changed([RECORD, STEP_WORD - 0x1_0000n, 8], [RECORD + 8, TOTAL, 4]),
    0,
    FRESH,
    WORKER,
  );

  const mine = [RECORD, STEP_WORD, 8] as const;
  const refusals: readonly { why: string; memory: Memory; change?: Readonly<Record<string, number>> }[] = [
    { why: "step_word names another step", memory: openMemory(), change: { step: STEP + 1 } },
    { why: "step_word names another step", memory: openMemory(), change: { step: STEP - 1 } },
    { why: "the unit is not granted", memory: changed([CONTROL + 24, UNIT, 8]) },
    { why: "the unit is not granted", memory: changed([CONTROL + 24, 1, 8]) },
    { why: "the stored workers are not those of the launch", memory: changed([STORED, WORKERS + 1, 4]) },
    { why: "no block is left for it", memory: changed(mine, [RECORD + 8, TOTAL, 4]) },
    { why: "no block is left for it", memory: changed(mine, [RECORD + 8, 0x8000_0011, 4]) },
    { why: "no block is left for it", memory: openMemory(), change: { total: WORKER } },
  ];
  for (const { why, memory, change } of refusals) {
    const rule = `A worker must not begin where ${why}`;
    const parameters = parametersOf(change ?? {});
    trials.check(enter, enterLine, rule, { memory, parameters }, { to: "return", changes: [] });
  }
  for (const { what, change } of CLOSINGS) {
    const leaves: Change[] = [[CONTROL + 4, ENTRY, 4]];
    const rule = `A worker must not begin where ${what}, and stores left`;
    trials.check(enter, enterLine, rule, { memory: changed(change) }, { to: "return", changes: leaves });
    const seen = new Map([[3, words([change])]]);
    const one = `If only one thread sees that ${what}, nobody begins, and left is stored`;
    trials.check(enter, enterLine, one, { seen }, { to: "return", changes: leaves });
    const foreign = `A worker whose turn it is not leaves alone what it finds, though ${what}`;
    const memory = changed(change, [STORED, WORKERS + 1, 4]);
    trials.check(enter, enterLine, foreign, { memory }, { to: "return", changes: [] });
  }
  const seen = new Map([[4, words([[CONTROL + 16, STEP_WORD + 1n, 8]])]]);
  const rule = "If one thread sees another step word, nobody begins";
  trials.check(enter, enterLine, rule, { seen }, { to: "return", changes: [] });
}

/** What follows a virtual block: steps 3 to 5. */
export function checkGather({ gather, gatherLine }: Trees, roles: Roles, trials: Trials): void {
  const { next, count, gathering } = roles;
  const registers = (block: number) => (register: string) =>
    register === next
      ? BigInt(block)
      : register === count
      ? BigInt(COMPLETED_BEFORE)
      : register === gathering?.register || register.includes("live")
      ? 0n
      : undefined;
  const check = (
    rule: string,
    { block = CURRENT, memory = openMemory(), change = {} }: {
      block?: number;
      memory?: Memory;
      change?: Readonly<Record<string, number>>;
    },
    to: "body" | "return",
    changes: readonly Change[],
    then?: number,
  ) => {
    const after = new Map(then === undefined ? [] : [[next, BigInt(then)], [count, BigInt(COMPLETED)]] as const);
    const situation = { memory, parameters: parametersOf(change), registers: registers(block) };
    trials.check(gather, gatherLine, rule, situation, { to, changes, registers: after });
  };
  const drawn = (block: number, ticket = 31): Change[] => [[CONTROL + 128, ticket, 4], [RECORD + 8, block, 4]];

  check("Within a run of blocks the next one follows", { block: 8, change: { run_mask: 3 } }, "body", [], 9);
  const draws = "Behind a block, or a run of them, the next is drawn and stored in the record";
  check(draws, {}, "body", drawn(DRAWN), DRAWN);
  check(draws, { block: 11, change: { run_mask: 3 } }, "body", drawn(DRAWN * 4), DRAWN * 4);
  const end = { block: 236, change: { run_mask: 3, total: 237 } };
  check("A run of blocks ends with the grid", end, "body", drawn(DRAWN * 4), DRAWN * 4);
  for (const { what, change } of CLOSINGS) {
    const rule = `Behind a block, a worker leaves where ${what}`;
    check(rule, { memory: changed(change) }, "return", [...drawn(DRAWN), ...left(COMPLETED)]);
    const behindRun = { block: 11, memory: changed(change), change: { run_mask: 3 } };
    check(`${rule}, a run of them, too`, behindRun, "return", [...drawn(DRAWN * 4), ...left(COMPLETED)]);
  }

  const counted: Change = [CONTROL + 32, 20 + COMPLETED, 4];
  for (const ticket of [300, 0x8000_0000]) {
    const none = drawn(ticket + WORKERS, ticket + 1);
    const memory = changed([CONTROL + 128, ticket, 4]);
    check("A worker that draws beyond the grid counts and ends", { memory }, "return", [...none, counted]);
    const closed = changed([CONTROL + 128, ticket, 4], [GATE, 1, 4]);
    check("At the end of the grid nobody leaves", { memory: closed }, "return", [...none, counted]);
  }
  const last = changed([CONTROL + 128, 300, 4], [CONTROL + 32, TOTAL - COMPLETED, 4]);
  const done = (word: bigint): Change[] => [
    [RECORD + 8, 300 + WORKERS, 4],
    [CONTROL + 128, 0, 4],
    [CONTROL + 32, 0, 4],
    [CONTROL + 16, word, 8],
    [MIRROR, word, 8],
  ];
  check("Whoever completes a step moves step_word on", { memory: last }, "return", done(STEP_WORD + 1n));
  const unit: Change[] = [...done(BigInt(UNIT + 1) << 16n), [CONTROL + 4, ENTRY, 4]];
  check("Whoever completes a unit stores left", { memory: last, change: { steps: STEP + 1 } }, "return", unit);
}

/** The virtual block index, for each component that the body reads. */
export function checkIndex(
  root: Node,
  line: number,
  trials: Trials,
  axes: ReadonlyMap<Axis, string>,
  numbers: (block: number) => { registers?: (register: string) => bigint | undefined; memory: Memory },
  isSlice: boolean,
): void {
  const [gx, gy] = GRID;
  const grids: readonly (readonly [number, number, number])[] = [GRID, [TOTAL, 1, 1], [1, TOTAL, 1], [gx, 48, 1]];
  for (const [x, y, z] of grids) {
    for (const block of [0, 17, 59, gx * gy * 3 + gx * 7 + 2]) {
      const at = { ".x": block % x, ".y": Math.floor(block / x) % y, ".z": Math.floor(block / (x * y)) };
      const { memory, registers } = numbers(block);
      const situation = {
        memory,
        parameters: parametersOf({ grid_x: x, grid_y: y, grid_z: z, ...(isSlice ? { first: block - WORKER } : {}) }),
        ...(registers === undefined ? {} : { registers }),
      };
      const rule = `The virtual block index of block ${block} in a grid of ${x}, ${y}, ${z}`;
      trials.check(root, line, rule, situation, {
        to: "body",
        changes: [],
        registers: new Map([...axes].map(([axis, register]) => [register, BigInt(at[axis])])),
      });
    }
  }
}
