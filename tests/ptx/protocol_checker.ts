/**
 * Does any state that the model can reach break a rule? Breadth first, so that a counterexample is as short as
 * can be. States are kept whole and compared byte by byte: no hash collision hides one.
 */
import type { Model } from "./protocol_model.ts";
import { STATE_BYTES } from "./protocol_state.ts";

export interface Verdict {
  states: number;
  /** States in which nothing can happen any more. */
  ends: number;
  /** Ends with all units complete. */
  completeEnds: number;
  /** Each kind of action that was seen. */
  actions: Set<string>;
  /** What went wrong first, or empty. */
  violation: string;
  /** The actions that lead there. */
  trace: string[];
}

const MAX_STATES = 12_000_000;
const FIRST_CAPACITY = 1 << 14;

/** All states found so far, numbered in the order of discovery. */
class States {
  count = 0;
  #bytes = new Uint8Array(FIRST_CAPACITY * STATE_BYTES);
  #parents = new Int32Array(FIRST_CAPACITY);
  #table = new Int32Array(FIRST_CAPACITY * 2).fill(-1);

  /** The state's bytes; valid until the next `add`. */
  at(index: number): Uint8Array {
    return this.#bytes.subarray(index * STATE_BYTES, (index + 1) * STATE_BYTES);
  }

  parentOf(index: number): number {
    return this.#parents[index]!;
  }

  add(state: Uint8Array, parent: number): void {
    if (this.count === this.#parents.length) this.#grow();
    const slot = this.#slotOf(state, 0);
    if (this.#table[slot] !== -1) return;
    this.#table[slot] = this.count;
    this.#parents[this.count] = parent;
    this.#bytes.set(state, this.count * STATE_BYTES);
    this.count++;
  }

  /** Where `bytes`, from `offset`, is in the table or belongs. */
  #slotOf(bytes: Uint8Array, offset: number): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < STATE_BYTES; i++) hash = Math.imul(hash ^ bytes[offset + i]!, 0x01000193);
    hash ^= hash >>> 15;
    const mask = this.#table.length - 1;
    for (let slot = hash & mask;; slot = (slot + 1) & mask) {
      const index = this.#table[slot]!;
      if (index === -1 || this.#isSame(index * STATE_BYTES, bytes, offset)) return slot;
    }
  }

  #isSame(start: number, bytes: Uint8Array, offset: number): boolean {
    for (let i = 0; i < STATE_BYTES; i++) if (this.#bytes[start + i] !== bytes[offset + i]) return false;
    return true;
  }

  #grow(): void {
    if (this.count >= MAX_STATES) throw new Error(`Cannot check instance: more than ${MAX_STATES} states`);
    const bytes = new Uint8Array(this.#bytes.length * 2);
    bytes.set(this.#bytes);
    const parents = new Int32Array(this.#parents.length * 2);
    parents.set(this.#parents);
    this.#bytes = bytes;
    this.#parents = parents;
    this.#table = new Int32Array(this.#table.length * 2).fill(-1);
    for (let i = 0; i < this.count; i++) this.#table[this.#slotOf(bytes, i * STATE_BYTES)] = i;
  }
}

/** Visits every state that `model` can reach, or stops at the first that breaks a rule. */
export function check(model: Model): Verdict {
  const states = new States();
  const from = new Uint8Array(STATE_BYTES);
  const verdict: Verdict = {
    states: 0,
    ends: 0,
    completeEnds: 0,
    actions: new Set(),
    violation: "",
    trace: [],
  };
  states.add(model.start(), -1);
  for (let i = 0; i < states.count && verdict.violation === ""; i++) {
    from.set(states.at(i));
    let actions = 0;
    let last = "";
    model.expand(from, (next, label, violation) => {
      actions++;
      verdict.actions.add(label);
      if (violation === "") return states.add(next, i);
      if (verdict.violation === "") [verdict.violation, last] = [violation, label];
    });
    if (actions === 0) {
      verdict.ends++;
      if (model.isComplete(from)) verdict.completeEnds++;
      verdict.violation = model.atEnd(from);
    }
    if (verdict.violation !== "") {
      verdict.trace = [...traceTo(model, states, i), last].filter((step) => step !== "");
    }
  }
  verdict.states = states.count;
  return verdict;
}

function traceTo(model: Model, states: States, index: number): string[] {
  const trace: string[] = [];
  for (let child = index, parent = states.parentOf(child); parent >= 0; parent = states.parentOf(child)) {
    const target = states.at(child);
    let found = "";
    model.expand(states.at(parent), (next, label) => {
      if (found === "" && next.every((byte, i) => byte === target[i])) found = label;
    });
    trace.push(found);
    child = parent;
  }
  return trace.reverse();
}

/** The counterexample in words, a line for each turn of a process. */
export function explain(verdict: Verdict): string {
  const lines: string[] = [];
  let lastActor = "";
  for (const step of verdict.trace) {
    const [actor, what] = step.split(": ", 2) as [string, string];
    if (actor === lastActor) lines[lines.length - 1] += `, ${what}`;
    else lines.push(step);
    lastActor = actor;
  }
  return [...lines, `=> ${verdict.violation}`].join("\n");
}
