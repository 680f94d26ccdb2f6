/**
 * Does anybody wait in vain for a thread that has given its block up by itself?
 *
 * From its checkpoint such a thread goes straight to the meeting; the others go on, and come there through the text. On
 * that way they must not wait for it: not at a barrier, not as lanes of a warp, and not in a loop that ends when it has
 * written or arrived, unless that loop asks who has given up.
 */

import type { Instruction } from "./ast.ts";
import type { Walk } from "./verify_flow.ts";
import type { Checkpoint } from "./verify_loop.ts";
import type { Report } from "./verify_module.ts";
import { isBlockBarrier, isLaneMeeting, used, written } from "./verify_names.ts";

export class AloneChecker {
  readonly #together: ReadonlySet<Instruction>;

  constructor(readonly walk: Walk, readonly checkpoints: readonly Checkpoint[], readonly report: Report) {
    this.#together = new Set(checkpoints.filter((c) => c.together).map((c) => c.port));
  }

  check(checkpoint: Checkpoint): void {
    const { port, meeting } = checkpoint;
    const { before, body } = this.walk;
    const barrier = meeting === "gather" || meeting === undefined ? undefined : body.originals.get(meeting);
    const work = this.#resumed(checkpoint).filter((i) => i !== barrier);
    const way = new Set<Instruction>();
    for (let at = work.pop(); at !== undefined; at = work.pop()) {
      if (way.has(at) || at === barrier) continue;
      way.add(at);
      const rule = this.#waitsAt(at);
      if (rule !== undefined) return this.report(this.#lineOf(at), rule);
      for (const next of before.next(at)) {
        if (next !== undefined) work.push(next);
        else if (barrier !== undefined) {
          return this.report(port.line, "Not all threads come by where those wait that gave up");
        }
      }
    }
    this.#checkLoops(way);
  }

  #lineOf(old: Instruction): number {
    return this.walk.body.counterparts.get(old)?.line ?? this.walk.body.pair.after.line;
  }

  /** Where the original goes on behind a checkpoint. */
  #resumed({ port }: Checkpoint): Instruction[] {
    return [...this.walk.exits(port, true)].flatMap((exit) => {
      const old = typeof exit === "string" ? undefined : this.walk.body.originals.get(exit);
      return old === undefined ? [] : [old];
    });
  }

  #waitsAt(at: Instruction): string | undefined {
    if (isBlockBarrier(at)) return "Threads that gave up by themselves are missing at this barrier";
    if (isLaneMeeting(at)) {
      return "Lanes that gave up by themselves are missing here, where a warp works together";
    }
    const now = this.walk.body.counterparts.get(at);
    const isNext = now !== undefined &&
      this.walk.after.next(now).some((i) => i !== undefined && this.#together.has(i));
    return isNext
      ? "Threads that gave up by themselves are missing at the next checkpoint of all"
      : undefined;
  }

  #checkLoops(way: ReadonlySet<Instruction>): void {
    const { before } = this.walk;
    for (const [header, blocks] of before.loops) {
      const inside = before.blocks.filter(({ index }) => blocks.has(index)).flatMap((b) => b.instructions);
      const [first] = before.blocks[header]?.instructions ?? [];
      if (first === undefined || !inside.some((i) => way.has(i)) || this.#isChecked(inside)) continue;
      const waits = this.#endsOn(inside);
      if (waits === undefined) continue;
      this.report(this.#lineOf(waits), "A thread may wait in this loop for one that gave up by itself");
    }
  }

  /** Whether each turn of a loop comes by a checkpoint of it, or of a loop inside it. */
  #isChecked(inside: readonly Instruction[]): boolean {
    const { body, after } = this.walk;
    return this.checkpoints.some((checkpoint) =>
      this.#resumed(checkpoint).some((i) => inside.includes(i)) &&
      inside.some((old) => {
        const now = body.counterparts.get(old);
        return now !== undefined && after.next(now).includes(checkpoint.port);
      })
    );
  }

  /** What others do that decides whether a loop ends. */
  #endsOn(inside: readonly Instruction[]): Instruction | undefined {
    const { before } = this.walk;
    const wanted = new Set<string>();
    for (const instruction of inside) {
      const leaves = before.next(instruction).some((next) => next === undefined || !inside.includes(next));
      if (leaves) used(instruction).forEach((name) => wanted.add(name));
    }
    for (let changed = true; changed;) {
      changed = false;
      for (const instruction of inside) {
        if (!written(instruction).some((name) => wanted.has(name))) continue;
        if (isOfOthers(instruction)) return instruction;
        for (const name of used(instruction)) {
          if (!wanted.has(name)) changed = true;
          wanted.add(name);
        }
      }
    }
    return undefined;
  }
}

/** Whether its result changes when another thread does something. */
function isOfOthers({ opcode, modifiers }: Instruction): boolean {
  if (opcode === "mbarrier") return modifiers.some((m) => m === ".test_wait" || m === ".try_wait");
  const isStrong = modifiers.some((m) => [".volatile", ".relaxed", ".acquire", ".acq_rel"].includes(m));
  return opcode === "atom" || opcode === "call" || (opcode === "ld" && isStrong);
}
