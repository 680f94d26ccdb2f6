/**
 * Which ways lead through a piece of inserted text, and what happens on each?
 *
 * A tree from one place (the beginning of the kernel, where the block gathers, a place inside the body) to the places where
 * the original goes on. A way on which one question gets two answers is left out; others that no thread ever takes are in it.
 */

import type { Instruction } from "./ast.ts";
import type { Report } from "./verify_module.ts";
import type { Walk } from "./verify_flow.ts";
import { type Registers, stepOf } from "./verify_steps.ts";
import { isBlockBarrier } from "./verify_names.ts";
import { type Event, keyOf, type Term } from "./verify_terms.ts";

export interface End {
  readonly kind: "end";
  /**
   * - `original`: at the instruction `at`, which is the original's
   * - `port`: at a place in the body where inserted text begins, of which there is a tree of its own
   * - `gather`, `return`: where the block gathers; at the end of the kernel
   * - `lost`: in a further turn of a loop around a barrier, or at an instruction that has no meaning here, which is reported
   */
  readonly to: "original" | "port" | "gather" | "return" | "lost";
  readonly at: Instruction | undefined;
  readonly registers: Registers;
}

export type Node =
  | End
  | { readonly kind: "event"; readonly event: Event; readonly next: Node }
  | {
    readonly kind: "branch";
    readonly at: Instruction;
    readonly condition: Term;
    readonly yes: Node;
    readonly no: Node;
  };

/** What was decided on a way so far, by the key of the question. */
type Answers = ReadonlyMap<string, boolean>;

/** A condition without the negations around it, and which answer makes it hold. */
function askedBy(condition: Term): { term: Term; holds: boolean } {
  let [term, holds] = [condition, true];
  while (term.kind === "apply" && term.operation === "not" && term.bits === 1) {
    const [inner] = term.inputs;
    if (inner === undefined) break;
    [term, holds] = [inner, !holds];
  }
  return { term, holds };
}

/** Of one instruction: the one loop that inserted text has is where threads that returned wait at barriers for the others. */
const MOST_VISITS = 2;
/** Of one tree: no text of ours comes near it. */
const MOST_NODES = 50_000;

export class Forest {
  readonly #reported = new Set<Instruction>();
  readonly ports: ReadonlySet<Instruction>;
  #nodes = 0;

  constructor(readonly walk: Walk, readonly report: Report) {
    const meetings = [...walk.body.replaced].filter(([, r]) => r.kind === "barrier").map(([i]) => i);
    this.ports = new Set([...walk.ports(), ...meetings]);
  }

  /** The tree of ways from `start`, which may be an original barrier that was replaced. */
  tree(start: Instruction | undefined): Node {
    this.#nodes = 0;
    return this.#from(start, new Map(), new Map(), new Map(), true);
  }

  #from(
    at: Instruction | undefined,
    registers: Registers,
    visits: ReadonlyMap<Instruction, number>,
    answers: Answers,
    isStart = false,
  ): Node {
    const end = (to: End["to"]): End => ({ kind: "end", to, at, registers });
    if (at === undefined) return end("return");
    const { body } = this.walk;
    if (!isStart) {
      if (at === body.behind && (visits.get(at) ?? 0) === 0 && body.pair.level !== "slice") {
        return end("gather");
      }
      if (!this.walk.isInserted(at)) return end("original");
      if (this.ports.has(at)) return end("port");
    }
    const count = (visits.get(at) ?? 0) + 1;
    if (count > MOST_VISITS && isBlockBarrier(at)) return end("lost");
    if (count > MOST_VISITS || ++this.#nodes > MOST_NODES) return this.#lost(at, end);
    return this.#step(at, registers, new Map(visits).set(at, count), answers, end);
  }

  #lost(at: Instruction, end: (to: End["to"]) => End, why = "comes to no end"): End {
    if (!this.#reported.has(at)) this.report(at.line, `Inserted text with ${at.opcode} ${why}`);
    this.#reported.add(at);
    return end("lost");
  }

  #step(
    at: Instruction,
    registers: Registers,
    visits: ReadonlyMap<Instruction, number>,
    answers: Answers,
    end: (to: End["to"]) => End,
  ): Node {
    const { prefix } = this.walk.body.pair;
    const step = stepOf(at, registers, (name) => name.startsWith(prefix));
    const next = this.walk.after.next(at);
    if (step === undefined) return this.#lost(at, end, "is in no form that is known here");
    if (step.kind === "end") return end("return");
    if (step.kind === "set") {
      return this.#from(next[0], new Map([...registers, ...step.values]), visits, answers);
    }
    if (step.kind === "event") {
      const { event, results } = step;
      const given = results.map((name, index) => {
        const result: Term = { kind: "result", event, index };
        const { guard } = event;
        const old: Term = registers.get(name) ?? { kind: "start", register: name };
        const value: Term = guard === undefined || event.kind === "barrier"
          ? result
          : { kind: "apply", operation: "select", bits: 64, signed: false, inputs: [guard, result, old] };
        return [name, value] as const;
      });
      return {
        kind: "event",
        event,
        next: this.#from(next[0], new Map([...registers, ...given]), visits, answers),
      };
    }
    if (step.condition === undefined) return this.#from(next[0], registers, visits, answers);
    return this.#branch(at, step.condition, registers, visits, answers);
  }

  #branch(
    at: Instruction,
    condition: Term,
    registers: Registers,
    visits: ReadonlyMap<Instruction, number>,
    answers: Answers,
  ): Node {
    const question = askedBy(condition);
    const key = keyOf(question.term);
    const answer = condition.kind === "constant" ? condition.value !== 0n : answers.get(key);
    const known = (holds: boolean) => new Map(answers).set(key, holds === question.holds);
    const [taken, other] = this.walk.after.next(at);
    const missed = this.walk.after.next(at).length > 1 ? other : taken;
    if (answer !== undefined) {
      const holds = condition.kind === "constant" ? answer : answer === question.holds;
      return this.#from(holds ? taken : missed, registers, visits, answers);
    }
    return {
      kind: "branch",
      at,
      condition,
      yes: this.#from(taken, registers, visits, known(true)),
      no: this.#from(missed, registers, visits, known(false)),
    };
  }
}

/** What happens on one way from the root of a tree to one of its ends. */
export interface Path {
  readonly steps:
    readonly (Event | { readonly kind: "choice"; readonly condition: Term; readonly holds: boolean })[];
  readonly end: End;
}

export function pathsOf(root: Node): Path[] {
  const paths: Path[] = [];
  const visit = (node: Node, steps: Path["steps"]): void => {
    if (node.kind === "end") paths.push({ steps, end: node });
    else if (node.kind === "event") visit(node.next, [...steps, node.event]);
    else {
      const { condition } = node;
      visit(node.yes, [...steps, { kind: "choice", condition, holds: true }]);
      visit(node.no, [...steps, { kind: "choice", condition, holds: false }]);
    }
  };
  visit(root, []);
  return paths;
}
