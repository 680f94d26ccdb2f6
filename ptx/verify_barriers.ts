/**
 * Do all threads of a block meet each inserted barrier, and do the barriers of one place fit together?
 *
 * Inserted barriers are met by all threads or by none. Where the original lets some threads return before others meet a
 * barrier, all its barriers must count who has returned.
 */

import type { Instruction } from "./ast.ts";
import type { Roles } from "./verify_block.ts";
import { flowOf, type Walk } from "./verify_flow.ts";
import type { Report } from "./verify_module.ts";
import { constantOf, isBlockBarrier, isLaneMeeting, written } from "./verify_names.ts";
import type { Event } from "./verify_terms.ts";
import { type Node, pathsOf } from "./verify_tree.ts";
import { findUniformity, regionOf, type Uniformity } from "./verify_uniform.ts";

/**
 * Loads that give all threads of a block the same: those of the worker's record, which no other worker writes. That a
 * barrier lies between them and thread 0's stores is verify_order.ts's to see.
 */
export function findAgreed(trees: readonly Node[], isRecord: (event: Event) => boolean): Set<Instruction> {
  const loads = new Set<Instruction>();
  for (const tree of trees) {
    for (const { steps } of pathsOf(tree)) {
      for (const step of steps) if (step.kind === "load" && isRecord(step)) loads.add(step.instruction);
    }
  }
  return loads;
}

/**
 * Jumps of threads that have given up by themselves. What they miss on their way to the meeting makes no difference between
 * threads behind it: there all end, or nobody has given up.
 */
function givingUp({ after, body }: Walk, { gathering }: Roles): Set<Instruction> {
  const jumps = new Set<Instruction>();
  if (gathering?.operation !== ".or" || gathering.register === undefined) return jumps;
  for (const { instructions } of after.blocks) {
    const last = instructions.at(-1);
    const says = instructions.some((i) =>
      i.opcode === "mov" && written(i).includes(gathering.register ?? "") && constantOf(i.operands[1]) === 1n
    );
    if (says && last?.opcode === "bra" && last.guard === undefined && !body.originals.has(last)) {
      jumps.add(last);
    }
  }
  return jumps;
}

/** Gives the uniformity of the rewritten body back. */
export function checkBarriers(
  walk: Walk,
  agreed: ReadonlySet<Instruction>,
  roles: Roles,
  file: string,
  report: Report,
): Uniformity {
  const { body, before } = walk;
  const flow = flowOf(body.pair.after.body, file, givingUp(walk, roles));
  const uniformity = findUniformity(flow, parametersOf(body.pair.after), agreed);
  for (const block of flow.blocks) {
    for (const instruction of block.instructions) {
      const replacement = body.replaced.get(instruction);
      const isOurs = walk.isInserted(instruction) ||
        (replacement?.kind === "barrier" && replacement.operation === ".or");
      if (!isBlockBarrier(instruction) || !isOurs) continue;
      if (uniformity.apart.has(block.index)) {
        report(instruction.line, "An inserted barrier stands where only some threads of the block may come");
      }
      if (uniformity.guarded.has(instruction) || instruction.guard !== undefined) {
        report(instruction.line, "An inserted barrier is met by some threads only, under a condition");
      }
    }
  }

  for (const [now, replacement] of body.replaced) {
    if (replacement.kind === "index" && uniformity.differing.has(now)) {
      report(now.line, `%ctaid${replacement.axis} may differ between the threads of a block`);
    }
  }

  const originals = before.blocks.flatMap((b) => b.instructions.filter(isBlockBarrier));
  const kinds = originals.map((i) => body.replaced.get(body.counterparts.get(i) ?? i));
  const counts = (at: number) => kindOf(kinds[at]) === ".and";
  const isCounted = originals.some((_, at) => counts(at));
  const alone = findUniformity(before, parametersOf(body.pair.before));
  originals.forEach((old, at) => {
    const line = body.counterparts.get(old)?.line ?? body.pair.after.line;
    const isEarly = old.guard !== undefined || alone.apart.has(before.blockOf.get(old) ?? -1);
    if (isCounted && !counts(at)) {
      report(line, "Where one barrier counts the threads that have returned, all must");
    } else if (isEarly && !counts(at)) {
      report(line, "Some threads may have returned ahead of this barrier, and it does not count them");
    }
  });
  checkLanes(walk, alone, report);
  checkGathering(walk, roles, isCounted, kinds.some((k) => kindOf(k) === ".or"), report);
  return uniformity;
}

/** A lane that has returned is not waited for; one that waits where the block gathers is. */
function checkLanes({ before, body }: Walk, { splits }: Uniformity, report: Report): void {
  for (const index of splits) {
    const block = before.blocks[index];
    const join = before.blocks[before.join[index] ?? -1];
    const [first, second] = join?.instructions ?? [];
    const isLast = join?.index === before.exit ||
      (second === undefined && ["ret", "exit"].includes(first?.opcode ?? ""));
    if (block === undefined || !isLast) continue;
    for (const inside of regionOf(before, block)) {
      const met = before.blocks[inside]?.instructions.find(isLaneMeeting);
      const line = met === undefined ? undefined : body.counterparts.get(met)?.line;
      if (line !== undefined) {
        report(line, "Lanes may have returned ahead of this, where their warp works together");
      }
    }
  }
}

function kindOf(replacement: unknown): ".and" | ".or" | undefined {
  const is = replacement as { kind?: string; operation?: ".and" | ".or" } | undefined;
  return is?.kind === "barrier" ? is.operation : undefined;
}

/** Whether the first barrier where the block gathers is of the same kind as those that threads may still be at. */
function checkGathering(
  { body }: Walk,
  { gathering }: Roles,
  isCounted: boolean,
  meets: boolean,
  report: Report,
): void {
  const line = body.behind?.line ?? body.pair.after.line;
  const returns = gathering?.operation === ".and" && gathering.register === undefined;
  if (isCounted !== returns) {
    report(
      line,
      "Who has returned must be counted at the barriers of the body and where the block gathers alike",
    );
  }
  if (isCounted && meets) {
    report(line, "Barriers that count who has returned, and who has given up, must not mix");
  }
}

export function parametersOf({ parameters }: Walk["body"]["pair"]["after"]): Set<string> {
  return new Set(parameters.flatMap((p) => p.names.map(({ name }) => name)));
}

/** Whether the original's threads share memory or meet, so that one block must be over before the next begins. */
export function sharesMemory(instructions: readonly Instruction[], hasShared: boolean): boolean {
  return hasShared ||
    instructions.some((i) => isBlockBarrier(i) || i.modifiers.some((m) => m.startsWith(".shared")));
}
