/**
 * Do the beginning of a worker and the end of each virtual block keep the protocol of level block?
 *
 * By trial, in situations that differ from the open one in one thing each. Which registers hold the number of the virtual
 * block and how many are completed is found by trial, too. In which order things happen is verify_order.ts's question.
 */

import type { Axis } from "./verify_body.ts";
import type { Report } from "./verify_module.ts";
import { play } from "./verify_play.ts";
import { type Event, startsIn } from "./verify_terms.ts";
import { type Node, pathsOf } from "./verify_tree.ts";
import type { Change, Trials } from "./verify_trial.ts";
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
  words,
  WORKER,
  WORKERS,
  writeTo,
} from "./verify_world.ts";

/** Registers that live across a virtual block. */
export interface Roles {
  readonly next: string;
  readonly count: string;
  /** What threads bring to a first barrier where they gather: whether they gave up (or), have returned (and). */
  readonly gathering:
    | { readonly operation: ".and" | ".or"; readonly register: string | undefined }
    | undefined;
  /** Predicates that are false while a block runs that nobody has given up, and that set up no mbarrier. */
  readonly idle: ReadonlySet<string>;
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
  const rule =
    "A worker whose turn it is begins with its own block, or with the one in its record of this step";
  const fresh = trials.check(enter, trees.enterLine, rule, {}, { to: "body", changes: FRESH });
  const again = trials.check(enter, trees.enterLine, rule, { memory: resumed }, { to: "body", changes: [] });
  const holds = (name: string, [a, b]: readonly [number, number]) =>
    fresh.arrivals.length > 0 && again.arrivals.length > 0 &&
    fresh.arrivals.every((arrival) => arrival.register(name) === BigInt(a)) &&
    again.arrivals.every((arrival) => arrival.register(name) === BigInt(b));

  const [asked, added] = [new Set<string>(), new Set<string>()];
  const idle = new Set<string>();
  let gathering: Roles["gathering"];
  for (const { steps } of pathsOf(gather)) {
    for (const step of steps) {
      if (step.kind === "choice") startsIn(step.condition, asked);
      else if (step.kind === "add" || step.kind === "fetch") step.values.forEach((v) => startsIn(v, added));
      else if (step.kind === "other" && step.guard !== undefined) startsIn(step.guard, idle);
    }
    gathering ??= gatheringOf(steps.find((step): step is Event => step.kind === "barrier"));
  }
  if (gathering?.register !== undefined) idle.add(gathering.register);
  const counts = [...added].filter((name) => holds(name, [0, 0]));
  const nexts = [...asked].filter((name) => !added.has(name) && holds(name, [WORKER, CURRENT]));
  const [next, count] = [nexts[0], counts[0]];
  if (next === undefined || count === undefined || nexts.length > 1 || counts.length > 1 || added.size > 1) {
    report(
      gatherLine,
      "It cannot be told which registers hold the virtual block and how many were completed",
    );
    return undefined;
  }
  return { next, count, gathering, idle };
}

function gatheringOf(barrier: Event | undefined): Roles["gathering"] {
  const operation = ([".and", ".or"] as const).find((o) => barrier?.instruction.modifiers.includes(o));
  const [input] = barrier?.values ?? [];
  if (operation === undefined || (input?.kind !== "start" && input?.kind !== "constant")) return undefined;
  return { operation, register: input.kind === "start" ? input.register : undefined };
}

/** How a worker begins: step 1 of docs/PREEMPTION.md. */
export function checkEnter(trees: Trees, roles: Roles, trials: Trials): void {
  const { enter, enterLine } = trees;
  const { next, count } = roles;
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
    const seen = new Map([[0, words([change])]]);
    const one = `If thread 0 alone sees that ${what}, nobody begins`;
    trials.check(enter, enterLine, one, { seen }, { to: "return", changes: leaves });
    decideTogether(
      trees,
      roles,
      trials,
      `Threads decide together, though only one sees that ${what}`,
      change,
    );
    const foreign = `A worker whose turn it is not leaves alone what it finds, though ${what}`;
    const memory = changed(change, [STORED, WORKERS + 1, 4]);
    trials.check(enter, enterLine, foreign, { memory }, { to: "return", changes: [] });
  }
  // In a job of one step, the step word that was read may be the next unit's, whose blocks another launch must run.
  const one = parametersOf({ steps: 1 });
  const late = { parameters: one, atFence: words([[CONTROL + 4, ENTRY, 4]]) };
  const rule = "In a job of one step, a worker looks at left once more behind the step word";
  const ended: Change[] = [[CONTROL + 4, ENTRY, 4]];
  trials.check(enter, enterLine, rule, late, { to: "return", changes: ended });
  trials.check(enter, enterLine, rule, { parameters: one }, { to: "body", changes: FRESH });
  const word = [CONTROL + 16, STEP_WORD + 1n, 8] as const;
  decideTogether(trees, roles, trials, "Threads decide together, though one sees another step word", word);
}

/** What one thread sees, the block goes by, or none of it does. */
function decideTogether(
  { enter, enterLine }: Trees,
  { next }: Roles,
  trials: Trials,
  rule: string,
  change: Change,
): void {
  for (const thread of [3, 9]) {
    const { arrivals, problem } = play(enter, trials.prefix, { seen: new Map([[thread, words([change])]]) });
    const [first] = arrivals;
    const isSame = arrivals.every(({ end, register }) =>
      end.to === first?.end.to && (end.to === "return" || register(next) === first.register(next))
    );
    if (problem !== undefined || !isSame) trials.report(problem?.at.line ?? enterLine, rule);
  }
}

/** What follows a virtual block: steps 3 to 5. */
export function checkGather({ gather, gatherLine }: Trees, roles: Roles, trials: Trials): void {
  const { next, count } = roles;
  const registers = (block: number) => (register: string) =>
    register === next
      ? BigInt(block)
      : register === count
      ? BigInt(COMPLETED_BEFORE)
      : roles.idle.has(register)
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
    const after = new Map(
      then === undefined ? [] : [[next, BigInt(then)], [count, BigInt(COMPLETED)]] as const,
    );
    const situation = { memory, parameters: parametersOf(change), registers: registers(block) };
    trials.check(gather, gatherLine, rule, situation, { to, changes, registers: after });
  };
  const drawn = (
    block: number,
    ticket = 31,
  ): Change[] => [[CONTROL + 128, ticket, 4], [RECORD + 8, block, 4]];

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
  for (const ticket of [TOTAL - WORKERS, 300, 0x8000_0000]) {
    const none = drawn(ticket + WORKERS, ticket + 1);
    const memory = changed([CONTROL + 128, ticket, 4]);
    check("A worker that draws beyond the grid counts and ends", { memory }, "return", [...none, counted]);
    const closed = changed([CONTROL + 128, ticket, 4], [GATE, 1, 4]);
    check("At the end of the grid nobody leaves", { memory: closed }, "return", [...none, counted]);
  }
  // With runs of 64, the first run of each worker covers the grid: 6 * 64 blocks and more than there are.
  const dealt = { block: 63, change: { run_mask: 63 } };
  const rest: Change = [RECORD + 8, TOTAL, 4];
  check("A worker whose run was all there was for it draws nothing", dealt, "return", [rest, counted]);
  const shut = { ...dealt, memory: changed([GATE, 1, 4]) };
  check("A worker whose run was all there was for it does not leave", shut, "return", [rest, counted]);
  const last = changed([CONTROL + 128, 300, 4], [CONTROL + 32, TOTAL - COMPLETED, 4]);
  const done = (word: bigint): Change[] => [
    [RECORD + 8, 300 + WORKERS, 4],
    [CONTROL + 128, 0, 4],
    [CONTROL + 32, 0, 4],
    [CONTROL + 16, word, 8],
    [MIRROR, word, 8],
  ];
  for (const steps of [STEP + 2, STEP + 4]) {
    const rule = "Whoever completes a step moves step_word on";
    check(rule, { memory: last, change: { steps } }, "return", done(STEP_WORD + 1n));
  }
  const dealtLast = { ...dealt, memory: changed([CONTROL + 32, TOTAL - COMPLETED, 4]) };
  const all = [...done(STEP_WORD + 1n), rest];
  check("Whoever completes a step moves step_word on, though nobody drew", dealtLast, "return", all);
  const unit: Change[] = [...done(BigInt(UNIT + 1) << 16n), [CONTROL + 4, ENTRY, 4]];
  const dealtUnit = { ...dealtLast, change: { ...dealt.change, steps: STEP + 1 } };
  check("Whoever completes a unit stores left, though nobody drew", dealtUnit, "return", [...unit, rest]);
  check(
    "Whoever completes a unit stores left",
    { memory: last, change: { steps: STEP + 1 } },
    "return",
    unit,
  );
}

interface Placed {
  readonly block: number;
  readonly at: ReadonlyMap<Axis, number>;
  readonly change: Readonly<Record<string, number>>;
  readonly rule: string;
}

/** Where the virtual block index is tried: blocks of grids of every shape, some as wide as other numbers are. */
function* places(): Generator<Placed> {
  const [gx] = GRID;
  const grids = [GRID, [TOTAL, 1, 1], [1, TOTAL, 1], [gx, TOTAL / gx, 1], [WORKERS, 5, 8], [7, 5, 8], [
    gx,
    1,
    TOTAL / gx,
  ]] as const;
  for (const [x, y, z] of grids) {
    for (const block of [7, 59, 157]) {
      const at = new Map(
        [[".x", block % x], [".y", Math.floor(block / x) % y], [".z", Math.floor(block / (x * y))]] as const,
      );
      const change = { grid_x: x, grid_y: y, grid_z: z, total: x * y * z };
      yield {
        block,
        at,
        change,
        rule: `%ctaid must be that of virtual block ${block} in a grid of ${x}, ${y}, ${z}`,
      };
    }
  }
}

/** Whether the registers that stand for the block index hold that of the virtual block, however a block begins. */
export function checkIndex(
  { enter, gather, enterLine, gatherLine }: Trees,
  { next, count, idle }: Roles,
  trials: Trials,
  axes: ReadonlyMap<Axis, string>,
): void {
  const from = (number: number) => (register: string) =>
    register === next ? BigInt(number) : register === count || idle.has(register) ? 0n : undefined;
  for (const { block, change, at, rule } of places()) {
    const registers = new Map([...axes].map(([axis, register]) => [register, BigInt(at.get(axis) ?? 0)]));
    const resumed = changed([RECORD, STEP_WORD, 8], [RECORD + 8, block, 4]);
    for (const run_mask of [0, 7]) {
      const begun = { memory: resumed, parameters: parametersOf({ ...change, run_mask }) };
      trials.check(enter, enterLine, rule, begun, { to: "body", registers });
    }
    const memory = changed([CONTROL + 128, block - WORKERS, 4]);
    const draws = { memory, parameters: parametersOf(change), registers: from(1) };
    trials.check(gather, gatherLine, rule, draws, { to: "body", registers });
    const runs = { parameters: parametersOf({ ...change, run_mask: 1023 }), registers: from(block - 1) };
    trials.check(gather, gatherLine, rule, runs, { to: "body", registers });
  }
}

/** The same for level slice, where a launch says which block is its first. */
export function checkSliceIndex(
  enter: Node,
  line: number,
  trials: Trials,
  axes: ReadonlyMap<Axis, string>,
): void {
  for (const { block, change, at, rule } of places()) {
    const parameters = parametersOf({ ...change, first: block - WORKER });
    const registers = new Map([...axes].map(([axis, register]) => [register, BigInt(at.get(axis) ?? 0)]));
    trials.check(enter, line, rule, { parameters }, { to: "body", changes: [], registers });
  }
}
