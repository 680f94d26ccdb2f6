/**
 * Does a tree of inserted text do in a made-up situation what docs/PREEMPTION.md says?
 *
 * One trial is a situation and what must come of it: where all threads end, and every word of memory that changes.
 */

import type { Report } from "./verify_module.ts";
import { type Outcome, play, type Situation } from "./verify_play.ts";
import type { Node } from "./verify_tree.ts";
import { type Memory, openMemory, placeOf, writeTo } from "./verify_world.ts";

/** A word of 4 or 8 bytes. */
export type Change = readonly [address: number, value: bigint | number, bytes: 4 | 8];

export interface Expected {
  /** `body`: the original goes on. */
  readonly to: "body" | "return" | "gather";
  /** Absent: not looked at. */
  readonly changes?: readonly Change[];
  readonly registers?: ReadonlyMap<string, bigint>;
}

export class Trials {
  constructor(readonly prefix: string, readonly report: Report) {}

  /** Plays and compares; the first difference is reported as a breach of `rule`. Gives back what came of it. */
  check(root: Node, line: number, rule: string, situation: Situation, expected: Expected): Outcome {
    const outcome = play(root, this.prefix, situation);
    const { problem } = outcome;
    if (problem !== undefined) this.report(problem.at.line, `${problem.rule} (${rule})`);
    else {
      const difference = differenceOf(outcome, situation.memory ?? openMemory(), expected);
      if (difference !== undefined) this.report(line, `${rule}: ${difference}`);
    }
    return outcome;
  }
}

function differenceOf(outcome: Outcome, before: Memory, expected: Expected): string | undefined {
  const kinds = { body: ["original", "port"], return: ["return"], gather: ["gather"] }[expected.to];
  const other = outcome.arrivals.find(({ end }) => !kinds.includes(end.to));
  if (other !== undefined) {
    const names = {
      original: "the block",
      port: "the block",
      gather: "the end of the block",
      return: "the end",
    };
    return `a thread goes on to ${other.end.to === "lost" ? "nowhere" : names[other.end.to]}`;
  }
  const after = new Map(before);
  for (const [address, value, bytes] of expected.changes ?? []) writeTo(after, address, BigInt(value), bytes);
  for (const address of expected.changes === undefined ? [] : outcome.memory.keys()) {
    const [is, must] = [outcome.memory.get(address), after.get(address)];
    if (is === must) continue;
    return must === undefined
      ? `${placeOf(address)} is written`
      : `${placeOf(address)} must hold ${must} and holds ${is ?? "nothing"}`;
  }
  for (const [register, value] of expected.registers ?? []) {
    const wrong = outcome.arrivals.find((arrival) => arrival.register(register) !== value);
    if (wrong !== undefined) {
      return `${register} must be ${value} and is ${wrong.register(register) ?? "not known"}`;
    }
  }
  return undefined;
}
