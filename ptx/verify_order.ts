/**
 * In which order, how strongly and by whom is the memory of the protocol touched?
 *
 * On every way through inserted text, whether a thread ever takes it or not. That the right values are written is
 * verify_block.ts's and verify_loop.ts's question.
 */

import type { Body } from "./verify_body.ts";
import type { Report } from "./verify_module.ts";
import { evaluate, type Event, type Values } from "./verify_terms.ts";
import { type Node, type Path, pathsOf } from "./verify_tree.ts";
import { GIVEN_UP, openMemory, PARAMETERS, placeOf, readFrom, specialOf, THREADS } from "./verify_world.ts";

export type Root = "enter" | "gather" | "body";

const unknown = () => undefined;
const NOTHING: Values = {
  start: unknown,
  parameter: unknown,
  special: unknown,
  variable: unknown,
  result: unknown,
};
const MEMORY = openMemory();
const OWN_PLACES = new Set(["record", "next of the record"]);
const SYSTEM_LOADS = new Set(["entry", "left", "pause", "step_word", "mirror"]);

/** An event of a path, and what it may touch: several places where that depends on the thread. */
interface Step {
  readonly event: Event;
  readonly places: ReadonlySet<string>;
}

/** Checks all ways through one tree, and gives back its reads of the record. `registers` are known where it begins. */
export function checkOrder(
  root: Node,
  from: Root,
  body: Body,
  registers: (register: string) => bigint | undefined,
  report: Report,
): Set<Event> {
  const written = new Map<number, Event>();
  const records = new Set<Event>();
  const read = new Set<number>();
  for (const path of pathsOf(root)) {
    const checker = new PathChecker(path, from, body, registers, report);
    checker.check();
    const phases = checker.phases();
    phases.written.forEach((event, phase) => written.set(phase, event));
    phases.read.forEach((phase) => read.add(phase));
    phases.records.forEach((event) => records.add(event));
  }
  for (const [phase, { instruction: { line } }] of written) {
    if (read.has(phase)) {
      report(line, "No barrier lies between thread 0's store to the record and others that read it");
    }
    // Before the way began, all may have read which block they run.
    if (phase === 0 && from !== "enter") {
      report(line, "The record is written before all threads are done with it");
    }
  }
  return records;
}

class PathChecker {
  readonly #steps: Step[] = [];
  readonly #loaded: Map<Event, bigint[]>[] = THREADS.map(() => new Map());

  constructor(
    readonly path: Path,
    readonly from: Root,
    readonly body: Body,
    readonly registers: (register: string) => bigint | undefined,
    readonly report: Report,
  ) {
    for (const step of path.steps) {
      if (step.kind !== "choice") this.#steps.push({ event: step, places: this.#placesOf(step) });
    }
  }

  #values(thread: number): Values {
    const { prefix } = this.body.pair;
    const known = (name: string) => name.startsWith(prefix) ? name.slice(prefix.length) : "";
    return {
      start: this.registers,
      parameter: (name) => PARAMETERS.get(known(name)),
      special: (name) => specialOf(name, THREADS[thread] ?? [0, 0, 0], 0),
      variable: (name) => known(name) === "" ? undefined : BigInt(GIVEN_UP),
      result: (event, index) => this.#loaded[thread]?.get(event)?.[index],
    };
  }

  #placesOf(event: Event): Set<string> {
    const places = new Set<string>();
    const { address } = event;
    if (address === undefined || event.kind === "other") return places;
    THREADS.forEach((_, thread) => {
      const values = this.#values(thread);
      if (event.guard !== undefined && evaluate(event.guard, values) === 0n) return;
      const at = evaluate(address, values);
      places.add(at === undefined ? "memory that is not known" : placeOf(Number(at)));
      if (at === undefined || event.kind !== "load") return;
      const words = Array.from(
        { length: event.words },
        (_, i) => readFrom(MEMORY, Number(at) + i * event.bytes, event.bytes),
      );
      if (!words.includes(undefined)) this.#loaded[thread]?.set(event, words.filter((w) => w !== undefined));
    });
    return places;
  }

  check(): void {
    for (const step of this.#steps) this.#checkStrength(step);
    this.#checkStepWord();
    if (this.from === "enter") this.#checkEnter();
    if (this.from === "gather") this.#checkGather();
    const { to } = this.path.end;
    if (this.from !== "body" && (to === "original" || to === "port")) this.#checkDecided();
    for (const { event, places } of this.#steps) {
      if (isWrite(event) && !places.has("given_up")) this.#checkParty(event);
    }
  }

  #isAt(step: Step | undefined, place: string): boolean {
    return step?.places.has(place) ?? false;
  }

  #checkStrength({ event, places }: Step): void {
    const { instruction: { modifiers, line }, kind } = event;
    const has = (...names: string[]) => names.some((name) => modifiers.includes(name));
    const isSystem = (has(".relaxed", ".acquire", ".release") && has(".sys")) || has(".volatile");
    for (const place of places) {
      const fail = (rule: string) => this.report(line, rule);
      const isOwn = OWN_PLACES.has(place);
      if (kind === "load") {
        if (place.startsWith("gate") || SYSTEM_LOADS.has(place)) {
          // In a loop the answer may be late by one checkpoint, but it must not come from a cache line that stays.
          const isFresh = this.from === "body" && has(".weak") && has(".L1::no_allocate");
          if (!isSystem && !isFresh) fail(`${place} is read by a load that may give an old value`);
        } else if (place === "the stored workers") { if (!isSystem) fail(`${place} is read by a weak load`); }
        else if (place === "given_up") { if (!has(".volatile")) fail("given_up is read by a weak load"); }
        else if (!isOwn) fail(`A load from ${place}`);
        continue;
      }
      if (!isWrite(event)) continue;
      const isAdd = kind !== "store";
      const isAllowed = isAdd
        ? ["completed", "leaves", "abandoned", "ticket"].includes(place)
        : ["left", "step_word", "completed", "ticket", "*mirror", "given_up"].includes(place) || isOwn;
      if (!isAllowed) fail(`A worker must not write ${place}`);
      else if (isAdd && !(has(".relaxed", ".release", ".acq_rel") && has(".gpu", ".sys"))) {
        fail(`${place} is added to in a scope that is too small`);
      } else if (place === "given_up") { if (!has(".volatile")) fail("given_up is written weakly"); }
      else if (!isAdd && !isOwn && !isSystem) fail(`${place} is written by a store that may be seen late`);
    }
  }

  /** What must come before, between and behind the writes that end a step. */
  #checkStepWord(): void {
    const at = this.#steps.findIndex((s) => isWrite(s.event) && this.#isAt(s, "step_word"));
    const mirror = this.#steps.findIndex((s) => isWrite(s.event) && this.#isAt(s, "*mirror"));
    const counted = this.#steps.findIndex((s) => s.event.kind === "fetch" && this.#isAt(s, "completed"));
    const step = this.#steps[at];
    const line = (index: number) => this.#steps[index]?.event.instruction.line ?? 0;
    const order = this.#steps[counted]?.event.instruction.modifiers ?? [];
    const [releases, acquires] = [[".release", ".acq_rel"], [".acquire", ".acq_rel"]].map((names) =>
      names.some((name) => order.includes(name))
    );
    if (counted >= 0 && !releases && !this.#hasFence(0, counted)) {
      this.report(line(counted), "A worker counts its blocks without a fence behind what they wrote");
    }
    if (step === undefined) {
      if (mirror >= 0) this.report(line(mirror), "*mirror is written without step_word");
      return;
    }
    if (counted < 0 || counted > at) this.report(line(at), "step_word is written by who has not counted");
    const lastWrite = this.#steps.findLastIndex((s, i) => i < at && isWrite(s.event));
    // The host reads what a unit wrote once it is over, which is where `left` is written; between steps nobody but the GPU does.
    const isLast = this.#steps.some((s, i) =>
      i > counted && i < at && isWrite(s.event) && this.#isAt(s, "left")
    );
    if (!this.#hasFence(lastWrite, at, isLast ? ".sys" : undefined)) {
      const scope = isLast ? " of system scope" : "";
      this.report(line(at), `step_word is written without a fence${scope} behind everything else`);
    }
    const reset = this.#steps.findIndex((s, i) => i > counted && s.event.kind === "store");
    if (counted >= 0 && !acquires && !this.#hasFence(counted, reset)) {
      this.report(line(reset), "The counters are set back without a fence behind the count");
    }
    if (mirror < at) this.report(line(at), "*mirror must be written behind step_word");
    this.#steps.forEach(({ event, places }, i) => {
      if (i > at && isWrite(event) && !places.has("*mirror")) {
        this.report(line(i), `${[...places][0]} is written behind step_word`);
      }
    });
  }

  #hasFence(after: number, before: number, scope?: string): boolean {
    return this.#steps.some(({ event }, i) =>
      i >= after && i < before && event.kind === "fence" && event.guard === undefined &&
      (scope === undefined || event.instruction.modifiers.includes(scope))
    );
  }

  /** Different ones: at the same barrier threads may meet more than once. */
  #barriersBefore(index: number): number {
    const ahead = this.#steps.slice(0, index).filter(({ event }) => event.kind === "barrier");
    return new Set(ahead.map(({ event }) => event.instruction)).size;
  }

  /** By barriers that lie ahead: where the record is written, and where others than thread 0 read it. */
  phases(): { written: Map<number, Event>; read: Set<number>; records: Set<Event> } {
    const [written, read] = [new Map<number, Event>(), new Set<number>()];
    const records = new Set<Event>();
    this.#steps.forEach((step, i) => {
      if (![...step.places].some((place) => OWN_PLACES.has(place))) return;
      if (step.event.kind === "load") records.add(step.event);
      if (isWrite(step.event)) written.set(this.#barriersBefore(i), step.event);
      else if (this.#comers(step.event).length > 0) read.add(this.#barriersBefore(i));
    });
    return { written, read, records };
  }

  #checkEnter(): void {
    const word = this.#steps.find((s) => s.event.kind === "load" && this.#isAt(s, "step_word"));
    if (word !== undefined && (word.event.words !== 2 || word.event.bytes !== 8)) {
      this.report(word.event.instruction.line, "step_word and granted are read by one load");
    }
  }

  #checkGather(): void {
    this.#checkReturned();
    this.#steps.forEach((step, i) => {
      const { event, places } = step;
      const isGate = event.kind === "load" && [...places].some((p) => p.startsWith("gate") || p === "pause");
      if (isGate && this.#barriersBefore(i) === 0) {
        this.report(event.instruction.line, "The gate is read before all threads have ended the block");
      }
    });
  }

  /**
   * No way leads to a virtual block past the decision whether to run it: the way is closed where the barrier says so, or, within
   * a run, where runs are of one block.
   */
  #checkDecided(): void {
    const barriers = this.#steps.filter(({ event: { kind, values } }) =>
      kind === "barrier" && values.length > 0
    );
    const isDecided = barriers.some(({ event }) => {
      const says = event.instruction.modifiers.includes(".and") ? 0n : 1n;
      return this.#isShut({ ...NOTHING, result: (of) => of === event ? says : undefined });
    });
    const mask = `${this.body.pair.prefix}run_mask`;
    const isWithinRun = this.from === "gather" &&
      this.#isShut({ ...NOTHING, parameter: (name) => name === mask ? 0n : undefined });
    if (isDecided || isWithinRun) return;
    const line = this.path.end.at?.line ?? this.body.pair.after.line;
    this.report(line, "A way leads to a virtual block past the decision whether to run it");
  }

  /** Where threads that have returned are counted, nobody goes on before all have. */
  #checkReturned(): void {
    const [first] = this.#steps.flatMap(({ event }) => event.kind === "barrier" ? [event.instruction] : []);
    const last = this.#steps.findLast(({ event }) => event.instruction === first)?.event;
    const isCounting = first?.modifiers.includes(".and") && last?.values[0]?.kind === "constant";
    if (first === undefined || !isCounting || this.path.end.to === "lost") return;
    if (!this.#isShut({ ...NOTHING, result: (of) => of === last ? 0n : undefined })) {
      this.report(first.line, "Threads that have returned must wait until all have");
    }
  }

  /** Whether what is known of these values keeps every thread away. */
  #isShut(values: Values): boolean {
    return this.path.steps.some((step) => {
      if (step.kind !== "choice") return false;
      const test = evaluate(step.condition, values);
      return test !== undefined && (test !== 0n) !== step.holds;
    });
  }

  /** Threads but thread 0 that the way does not keep away from an event. */
  #comers(event: Event): (readonly [number, number, number])[] {
    return THREADS.slice(1).filter((thread) => {
      // Nothing but the thread's own index is known, so that only this can keep it away.
      const special = (name: string) => name.startsWith("%tid") ? specialOf(name, thread, 0) : undefined;
      const values: Values = { ...NOTHING, special };
      if (event.guard !== undefined && evaluate(event.guard, values) === 0n) return false;
      return this.path.steps.slice(0, this.path.steps.indexOf(event)).every((step) => {
        if (step.kind !== "choice") return true;
        const test = evaluate(step.condition, values);
        return test === undefined || (test !== 0n) === step.holds;
      });
    });
  }

  #checkParty(event: Event): void {
    const [other] = this.#comers(event);
    if (other === undefined) return;
    this.report(
      event.instruction.line,
      `Only thread 0 may do this, and thread (${other.join(", ")}) comes by, too`,
    );
  }
}

function isWrite({ kind }: Event): boolean {
  return kind === "store" || kind === "add" || kind === "fetch";
}
