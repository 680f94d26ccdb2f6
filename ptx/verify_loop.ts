/**
 * Do the checkpoints of level loop read the gate in time, and give a block up as docs/PREEMPTION.md says?
 *
 * By trial, as in verify_block.ts. Whether a block that was given up may be run again is verify_restart.ts's question.
 */

import type { Instruction } from "./ast.ts";
import { changed, CLOSINGS, COMPLETED_BEFORE, left, type Roles, type Trees } from "./verify_block.ts";
import type { Body } from "./verify_body.ts";
import type { Report } from "./verify_module.ts";
import { type Arrival, type Outcome, play } from "./verify_play.ts";
import { constantOf } from "./verify_names.ts";
import { startsIn } from "./verify_terms.ts";
import { type End, type Node, pathsOf } from "./verify_tree.ts";
import type { Change, Trials } from "./verify_trial.ts";
import { CONTROL, GIVEN_UP, openMemory, PERIOD, RECORD } from "./verify_world.ts";

export interface Checkpoint {
  /** Where its text begins in the body. */
  readonly port: Instruction;
  readonly tree: Node;
  /** Whether all threads decide together, in a barrier. */
  readonly together: boolean;
  /** The register that counts down to the next reading. */
  readonly budget: string;
  /** Where threads that gave up by themselves wait: a barrier, or where the block gathers. */
  readonly meeting: Instruction | "gather" | undefined;
  /** The comparison that it repeats, where the loop is cut into strips. */
  readonly compare: Instruction | undefined;
}

/** The block that is given up in a trial; its record says another. */
const CURRENT = 23;
const SPENT = -1n;
/** Nobody draws itself by this clock. */
const OTHER_CLOCK = 0xffff_ffff;

const LEAVING: readonly Change[] = [
  [RECORD + 8, CURRENT, 4],
  [CONTROL + 48, 5, 8],
  ...left(COMPLETED_BEFORE),
];

/** The checkpoints among the places where text was inserted. */
export function findCheckpoints(
  ports: ReadonlyMap<Instruction, Node>,
  body: Body,
  roles: Roles,
  report: Report,
): Checkpoint[] {
  const found: Checkpoint[] = [];
  for (const [port, tree] of ports) {
    const paths = pathsOf(tree);
    const isDecided = paths.some(({ steps }) => steps.some(({ kind }) => kind === "choice"));
    if (body.replaced.has(port) || !isDecided) continue;
    const prefix = `%${body.pair.prefix}`;
    const asked = new Set<string>();
    const ends = new Set<Instruction | "gather">();
    for (const { steps, end } of paths) {
      for (const step of steps) if (step.kind === "choice") startsIn(step.condition, asked);
      if (hasGivenUp(end, roles)) ends.add(end.to === "gather" ? "gather" : end.at ?? port);
      else if (end.to === "gather") ends.add(port); // nobody else goes there from a checkpoint
    }
    const own = [...asked].filter((name) =>
      name.startsWith(prefix) && name !== roles.next && name !== roles.count
    );
    const [budget] = own;
    const together = paths.some(({ steps }) => steps.some(({ kind }) => kind === "barrier"));
    const [meeting] = ends;
    const replacement = meeting === undefined || meeting === "gather"
      ? undefined
      : body.replaced.get(meeting);
    const isMeeting = meeting === undefined || meeting === "gather" ||
      (replacement?.kind === "barrier" && replacement.operation === ".or");
    if (!isMeeting) {
      report(port.line, "Who gives up by itself must wait where the others come");
      continue;
    }
    if (budget === undefined || own.length > 1 || ends.size > 1 || together === (meeting !== undefined)) {
      report(port.line, "What was inserted here is no checkpoint of a form that is known");
      continue;
    }
    found.push({ port, tree, together, budget, meeting, compare: body.repeated.get(port) });
  }
  return found;
}

/** Whether a thread says at the end of a way that it has given its block up. */
export function hasGivenUp({ registers }: End, { gathering }: Roles): boolean {
  const term = gathering?.operation === ".or" ? registers.get(gathering.register ?? "") : undefined;
  return term?.kind === "constant" && term.value === 1n;
}

export class LoopChecker {
  readonly #turns = new Map<Instruction, { count: bigint; bound: bigint }>();

  constructor(
    readonly trees: Trees,
    readonly roles: Roles,
    readonly trials: Trials,
    readonly report: Report,
  ) {}

  /** What registers hold at a checkpoint; `inside` are those that earlier threads of a trial left there. */
  #registers(
    checkpoint: Checkpoint,
    budget: bigint | undefined,
    inside?: readonly Arrival[],
  ): (register: string, thread: number) => bigint | undefined {
    const operands = checkpoint.compare?.operands ?? [];
    return (register, thread) => {
      if (register === this.roles.next) return BigInt(CURRENT);
      if (register === this.roles.count) return BigInt(COMPLETED_BEFORE);
      if (register === checkpoint.budget && budget !== undefined) return budget;
      if (this.roles.idle.has(register)) return 0n;
      const at = operands.findIndex((o) => o.kind === "name" && o.name === register);
      if (at >= 0) return this.#turning(checkpoint, at);
      return inside?.[thread]?.register(register);
    };
  }

  /** Value of a strip's count (operand 1) or bound (2) with which its loop goes on for few turns. */
  #turning(checkpoint: Checkpoint, operand: number): bigint {
    const known = this.#turns.get(checkpoint.port) ?? this.#findTurning(checkpoint);
    this.#turns.set(checkpoint.port, known);
    return operand === 1 ? known.count : operand === 2 ? known.bound : 0n;
  }

  #findTurning({ compare, tree, budget }: Checkpoint): { count: bigint; bound: bigint } {
    const bound = constantOf(compare?.operands[2]) ?? 5000n;
    let best = { count: bound, bound, left: -1n };
    for (const away of [-1n, 1n, -10n, 10n]) {
      const count = BigInt.asUintN(32, bound + away);
      const registers = (register: string) => {
        const at = compare?.operands.findIndex((o) => o.kind === "name" && o.name === register) ?? -1;
        return at === 1 ? count : at === 2 ? bound : 1n << 20n;
      };
      const [arrival] = play(tree, this.trials.prefix, { registers }).arrivals;
      // Who leaves the loop has set nothing but the result of its comparison.
      const left = (arrival?.end.registers.size ?? 0) > 1 ? signed(arrival?.register(budget) ?? -1n) : -1n;
      if (left > best.left) best = { count, bound, left };
    }
    return best;
  }

  checkAll(checkpoints: readonly Checkpoint[]): void {
    for (const { budget, port } of checkpoints) {
      this.#checkBegin(budget, BigInt(PERIOD), port.line, "the countdown is set");
    }
    for (const checkpoint of checkpoints) {
      const { port, tree, budget } = checkpoint;
      const rule = "A checkpoint whose countdown has not run out does nothing";
      const registers = this.#registers(checkpoint, 50_000n);
      const outcome = this.trials.check(tree, port.line, rule, { registers }, { to: "body", changes: [] });
      const after = outcome.arrivals[0]?.register(budget);
      // What little is left of a loop of strips may be for nothing: it ends.
      const most = checkpoint.compare === undefined ? 49_999n : 50_000n;
      if (after !== undefined && (signed(after) > most || signed(after) < 25_000n)) {
        this.report(port.line, "A loop with a checkpoint must count its turns down");
      }
      if (checkpoint.together) this.#together(checkpoint, checkpoints);
      else this.#alone(checkpoint);
    }
  }

  #checkBegin(register: string, value: bigint, line: number, what: string): void {
    const rule = `Where a virtual block begins, ${what}`;
    const registers = new Map([[register, value]]);
    const start = (name: string) =>
      name === this.roles.next
        ? BigInt(CURRENT)
        : name === this.roles.count || this.roles.idle.has(name)
        ? 0n
        : undefined;
    this.trials.check(this.trees.enter, line, rule, {}, { to: "body", registers });
    this.trials.check(this.trees.gather, line, rule, { registers: start }, { to: "body", registers });
  }

  /** The gate is asked at one checkpoint, and the answer used at the next, be it the same or another. */
  #together(checkpoint: Checkpoint, all: readonly Checkpoint[]): void {
    const { tree, port } = checkpoint;
    const ask = (changes: readonly Change[]): Outcome =>
      this.trials.check(tree, port.line, "A checkpoint asks for the gate and goes on", {
        memory: changed(...changes),
        registers: this.#registers(checkpoint, SPENT),
      }, { to: "body", changes: [] });
    for (const { what, change } of CLOSINGS) {
      this.#answer(checkpoint, ask([change]), what, change);
    }
    const closing = CLOSINGS[5];
    for (const other of all) {
      if (!other.together) continue;
      this.#answer(other, ask([]), undefined, undefined);
      if (closing !== undefined && other !== checkpoint) {
        this.#answer(other, ask([closing.change]), closing.what, closing.change);
      }
    }
  }

  #answer(
    checkpoint: Checkpoint,
    asked: Outcome,
    what: string | undefined,
    change: Change | undefined,
  ): void {
    if (asked.problem !== undefined || asked.arrivals.some(({ end }) => end.to !== "original")) return;
    const { tree, port, budget } = checkpoint;
    const registers = this.#registers(checkpoint, undefined, asked.arrivals);
    const memory = change === undefined ? openMemory() : changed(change);
    if (what !== undefined) {
      const rule = `At a checkpoint, a block is given up where ${what}`;
      this.trials.check(tree, port.line, rule, { memory, registers }, { to: "return", changes: LEAVING });
      return;
    }
    const rule = "At a checkpoint, a block goes on where everything is open";
    const open = this.trials.check(tree, port.line, rule, { memory, registers }, { to: "body", changes: [] });
    const after = open.arrivals[0]?.register(budget);
    if (open.problem === undefined && !isFresh(after)) {
      this.report(port.line, "Behind a checkpoint the countdown begins again");
    }
  }

  #alone(checkpoint: Checkpoint): void {
    const { port, tree, meeting, budget } = checkpoint;
    const gone = this.roles.gathering?.operation === ".or" ? this.roles.gathering.register : undefined;
    if (gone === undefined) {
      this.report(
        port.line,
        "Where threads give up by themselves, the block must ask for them where it gathers",
      );
      return;
    }
    this.#checkBegin(gone, 0n, port.line, "nobody has given up");
    const first = this.trees.enter;
    const begun = play(first, this.trials.prefix, { memory: changed([GIVEN_UP, 1, 4]) });
    if (begun.problem === undefined && begun.memory.get(GIVEN_UP) !== 0n) {
      this.report(this.trees.enterLine, "given_up must be 0 where a worker begins");
    }
    const registers = this.#registers(checkpoint, SPENT);
    const to = meeting === "gather" ? "gather" as const : "body" as const;
    const gives = (rule: string, memory: Map<number, bigint>, clock: number, changes: readonly Change[]) => {
      const outcome = this.trials.check(tree, port.line, rule, { memory, clock, registers }, {
        to,
        changes,
        registers: new Map([[gone, 1n]]),
      });
      const isElsewhere = outcome.problem === undefined && meeting !== "gather" &&
        outcome.arrivals.some(({ end }) => end.at !== meeting);
      if (isElsewhere) this.report(port.line, `${rule}, and waits where the others come`);
    };
    const open = this.trials.check(tree, port.line, "A thread that finds the gate open goes on", {
      registers,
    }, {
      to: "body",
      changes: [],
      registers: new Map([[gone, 0n]]),
    });
    const after = open.arrivals[0]?.register(budget);
    if (open.problem === undefined && !isFresh(after)) {
      this.report(port.line, "Behind a checkpoint the countdown begins again");
    }
    for (const { what, change } of CLOSINGS) {
      gives(`A thread gives up where ${what}, and says so`, changed(change), 0, [[GIVEN_UP, 1, 4]]);
    }
    gives("A thread gives up where another has", changed([GIVEN_UP, 1, 4]), OTHER_CLOCK, []);
    const [closing] = CLOSINGS;
    if (closing !== undefined) {
      const rule = "A thread that is not drawn by the clock goes on";
      const situation = { memory: changed(closing.change), clock: OTHER_CLOCK, registers };
      this.trials.check(tree, port.line, rule, situation, {
        to: "body",
        changes: [],
        registers: new Map([[gone, 0n]]),
      });
    }
  }

  /** Where threads that gave up meet the others: a barrier of the body, or where the block gathers. */
  checkMeeting(tree: Node, line: number): void {
    const gone = this.roles.gathering?.register;
    const of = (who: (thread: number) => boolean) => (register: string, thread: number) =>
      register === this.roles.next
        ? BigInt(CURRENT)
        : register === this.roles.count
        ? BigInt(COMPLETED_BEFORE)
        : register === gone
        ? (who(thread) ? 1n : 0n)
        : this.roles.idle.has(register)
        ? 0n
        : undefined;
    const rule = "A block is given up where one of its threads has";
    for (const who of [(t: number) => t === 2, () => true, (t: number) => t === 0]) {
      this.trials.check(tree, line, rule, { registers: of(who) }, { to: "return", changes: LEAVING });
    }
  }

  /** The barrier of the body that became a meeting goes on as before where nobody has given up. */
  checkMeetingPassed(tree: Node, line: number): void {
    const rule = "Where nobody has given up, a meeting is but a barrier";
    const registers = (register: string) => this.roles.idle.has(register) ? 0n : undefined;
    const outcome = play(tree, this.trials.prefix, { registers });
    if (outcome.problem !== undefined || outcome.arrivals.some(({ end }) => end.to === "return")) {
      this.report(outcome.problem?.at.line ?? line, rule);
    }
  }
}

/** Whether a countdown has begun anew, and been paid from at most once. */
function isFresh(countdown: bigint | undefined): boolean {
  return countdown !== undefined && signed(countdown) > PERIOD / 2 && signed(countdown) <= PERIOD;
}

function signed(value: bigint): bigint {
  return BigInt.asIntN(32, value);
}
