/**
 * What happens around the workers of the protocol model: the background stream, the critical tasks, the lease and the
 * dispatcher; and what virtual blocks and step words must never do. The workers are in protocol_model.ts.
 */

import {
  At,
  ENTRY,
  GATE,
  GENERATION,
  GRANTED,
  type Instance,
  LAUNCH_N,
  LEFT_UNDONE,
  MAX_WORKERS,
  MEANT,
  MIRROR,
  type Mistake,
  NO_GENERATION,
  type Op,
  PC,
  QUEUE,
  RAN,
  RECORD_NEXT,
  SCRIPTS,
  SHUT,
  SOMEONE_LEFT,
  STATE_BYTES,
  STORED,
  STREAM,
  Stream,
  UNCOUNTED_FROM,
  UNCOUNTED_TO,
  WHOLE,
  WORD,
  WORKER_BYTES,
  WORKERS,
  WRITES_GRANTED,
  WRITES_STORED,
} from "./protocol_state.ts";

export type Emit = (next: Uint8Array, label: string, violation: string) => void;

export abstract class Surroundings {
  protected s = new Uint8Array(STATE_BYTES);
  protected from: Uint8Array = this.s;
  protected emit: Emit = () => {};
  protected violation = "";
  protected readonly steps: number;
  /** Blocks of a run. */
  protected readonly run: number;
  protected readonly scripts: readonly (readonly Op[])[];
  protected readonly labels: readonly (readonly string[])[];
  protected readonly willWrite: readonly (readonly number[])[];

  protected readonly mistakes: ReadonlySet<Mistake>;

  constructor(readonly instance: Instance, ...mistakes: Mistake[]) {
    this.mistakes = new Set(mistakes);
    this.steps = instance.totals.length;
    this.run = instance.run ?? 1;
    this.scripts = Object.values(instance.scripts);
    this.labels = Object.entries(instance.scripts).map(([name, ops]) =>
      ops.map((op) => `${name}: ${Object.values(op).join(" ")}`)
    );
    this.willWrite = this.scripts.map((
      ops,
    ) => [...ops.map((_, at) => ops.slice(at).reduce((all, op) => all | this.writes(op), 0)), 0]);
  }

  /** One action of worker `w` if it has any; with `local`, only if no other process can tell when. */
  protected abstract worker(w: number, changing: number, running: number, local: boolean): boolean;

  start(): Uint8Array {
    const s = new Uint8Array(STATE_BYTES);
    const { granted, workers, queue } = this.instance;
    s[GRANTED] = granted;
    s[STORED] = s[STORED + 1] = workers;
    s.set(queue, QUEUE);
    for (let w = 0; w < MAX_WORKERS; w++) {
      s[WORKERS + w * WORKER_BYTES + GENERATION] = this.has("records start as zeros") ? 0 : NO_GENERATION;
      if (this.has("records reset, no generations")) s[WORKERS + w * WORKER_BYTES + RECORD_NEXT] = w;
    }
    return s;
  }

  /** Calls `emit` for each action that `state` allows. */
  expand(state: Uint8Array, emit: Emit): void {
    this.from = state;
    this.emit = emit;
    const changing = this.scripts.reduce((all, _, i) => all | this.willWrite[i]![state[SCRIPTS + i]!]!, 0);
    const running = this.count((pc) => pc > At.Start);
    if (this.stream(changing, true)) return;
    for (let w = 0; w < state[LAUNCH_N]!; w++) if (this.worker(w, changing, running, true)) return;
    this.scripts.forEach((_, i) => this.script(i));
    this.stream(changing, false);
    for (let w = 0; w < state[LAUNCH_N]!; w++) this.worker(w, changing, running, false);
  }

  /** What is wrong with a state in which nothing can happen any more; empty when all is well. */
  atEnd(s: Uint8Array): string {
    if (this.scripts.some((ops, i) => s[SCRIPTS + i] !== ops.length)) return "the dispatcher waits for ever";
    if (s[STREAM]! >= Stream.Launch) return "a launch never ends";
    if (this.instance.held) return "";
    const all = this.instance.units * this.steps;
    return s[WORD] === all && s[MIRROR] === all
      ? ""
      : "the entries are used up, and a granted unit is not complete";
  }

  /** True when the units are complete. */
  isComplete(s: Uint8Array): boolean {
    return s[MIRROR] === this.instance.units * this.steps;
  }

  protected has(mistake: Mistake): boolean {
    return this.mistakes.has(mistake);
  }

  protected writes(op: Op): number {
    if (op.op === "close" || op.op === "open") return 1 << this.gateWord(op.gateWord);
    return op.op === "grant" ? WRITES_GRANTED : op.op === "store" ? WRITES_STORED : 0;
  }

  protected gateWord(writer: number): number {
    return this.has("one gate word for all writers") ? 0 : writer;
  }

  protected count(where: (pc: number) => boolean): number {
    let count = 0;
    for (let w = 0; w < this.from[LAUNCH_N]!; w++) {
      if (where(this.from[WORKERS + w * WORKER_BYTES + PC]!)) count++;
    }
    return count;
  }

  protected act(label: string, change: () => void): void {
    this.s.set(this.from);
    this.violation = "";
    change();
    this.emit(this.s, label, this.violation);
  }

  protected fail(what: string): void {
    if (this.violation === "") this.violation = what;
  }

  // ---- critical tasks, lease, dispatcher

  protected script(i: number): void {
    const op = this.scripts[i]![this.from[SCRIPTS + i]!];
    if (!op || (op.op === "await" && this.from[MIRROR]! < op.mirror)) return;
    if (op.op === "store" && op.idle && this.from[STREAM]! >= Stream.Launch) return;
    this.act(this.labels[i]![this.from[SCRIPTS + i]!]!, () => {
      const s = this.s;
      s[SCRIPTS + i]!++;
      if (op.op === "store") s[STORED + op.step] = op.workers;
      if (op.op === "grant") s[GRANTED] = op.units;
      if (op.op === "enqueue") s.set(op.items, s.indexOf(0, QUEUE));
      if (op.op === "close") {
        s[GATE]! |= 1 << this.gateWord(op.gateWord);
        s[MEANT]! |= 1 << op.gateWord;
      }
      if (op.op === "open") {
        s[GATE]! &= ~(1 << this.gateWord(op.gateWord));
        s[MEANT]! &= ~(1 << op.gateWord);
        for (let w = 0; w < MAX_WORKERS; w++) s[WORKERS + w * WORKER_BYTES + SHUT]! &= ~(1 << op.gateWord);
      }
    });
  }

  // ---- the background stream

  /** Acts if it can; with `local`, only if no other process can tell when. */
  protected stream(changing: number, local: boolean): boolean {
    const at = this.from[STREAM]!;
    if (at >= Stream.Launch) return false;
    if (at === Stream.Idle) {
      if (this.from[QUEUE] === 0 || !local) return false;
      this.act("stream: takes the next item", () => this.take());
      return true;
    }
    if (at >= Stream.Whole) {
      if (local) return false;
      this.act(`stream: ${Stream[at]}`, () => this.whole(at));
      return true;
    }
    const bit = 1 << (at - Stream.Wait0);
    if ((this.from[GATE]! & bit) !== 0 || local !== ((changing & bit) === 0)) return false;
    this.act(`stream: finds gate word ${at - Stream.Wait0} open`, () => {
      this.s[STREAM] = at === Stream.Wait2 ? Stream.Launch : at + 1;
      if (at !== Stream.Wait2) return;
      this.s[ENTRY]!++;
      this.launch();
    });
    return true;
  }

  protected take(): void {
    const s = this.s, item = s[QUEUE]!;
    s.copyWithin(QUEUE, QUEUE + 1, WORKERS);
    s[WORKERS - 1] = 0;
    if (item !== WHOLE) s[LAUNCH_N] = item & 15;
    if (item >> 4 !== 0 && item >> 4 < s[GRANTED]!) this.fail("granted shrinks");
    if (item >> 4 !== 0) s[GRANTED] = item >> 4;
    s[STREAM] = item === WHOLE ? Stream.Whole : Stream.Wait0;
  }

  protected launch(): void {
    for (let w = 0; w < this.s[LAUNCH_N]!; w++) this.s[WORKERS + w * WORKER_BYTES + PC] = At.Start;
  }

  protected whole(at: Stream): void {
    const s = this.s;
    if (at === Stream.Whole) {
      for (let v = 0; v < this.instance.totals[1]!; v++) this.effect(1, v, 0b11);
    }
    if (at === Stream.WholeWord) this.moveOn(s[WORD]!);
    if (at === Stream.WholeMirror) s[MIRROR] = s[WORD]!;
    s[STREAM] = at === Stream.WholeMirror ? Stream.Idle : at + 1;
  }

  // ---- what virtual blocks do

  /** Runs the halves (bits) of one virtual block: each a `+=` on the output, behind a read of the step before. */
  protected effect(step: number, v: number, halves: number): void {
    const s = this.s, bits = halves << (2 * v);
    if (step > 0 && this.ran(0) !== this.allRan(0)) this.fail(`step ${step} runs before step 0 is done`);
    if (v >= this.instance.totals[step]!) this.fail(`virtual block ${v} of step ${step} does not exist`);
    if ((this.ran(step) & bits) !== 0) this.fail(`virtual block ${v} of step ${step} runs twice`);
    s[RAN + 2 * step]! |= bits & 0xff;
    s[RAN + 2 * step + 1]! |= bits >> 8;
  }

  /** What a block did before it was abandoned, it does again: at level `loop` only where nobody can tell. */
  protected undo(step: number, v: number, halves: number): void {
    const s = this.s, bits = ~(halves << (2 * v));
    s[RAN + 2 * step]! &= bits & 0xff;
    s[RAN + 2 * step + 1]! &= (bits >> 8) & 0xff;
  }

  protected ran(step: number): number {
    return this.s[RAN + 2 * step]! | (this.s[RAN + 2 * step + 1]! << 8);
  }

  protected allRan(step: number): number {
    return (1 << (2 * this.instance.totals[step]!)) - 1;
  }

  /** What must hold in the very moment in which `completed` reaches the total: the rest of rule 5 relies on it. */
  protected complete(step: number, by: number): void {
    const s = this.s;
    if (this.ran(step) !== this.allRan(step)) this.fail(`step ${step} is said to be done, and is not`);
    if ((s[SOMEONE_LEFT]! & LEFT_UNDONE) !== 0) {
      this.fail("a step is completed in an entry that a worker left");
    }
    for (let w = 0; w < s[LAUNCH_N]!; w++) {
      const pc = s[WORKERS + w * WORKER_BYTES + PC]!;
      if (w !== by && pc >= UNCOUNTED_FROM && pc <= UNCOUNTED_TO) {
        this.fail("a step is completed under a worker that may still draw or count");
      }
    }
  }

  protected moveOn(word: number): void {
    const s = this.s, step = word % this.steps;
    if (word !== s[WORD]) this.fail("the step word does not grow by one step");
    if (this.ran(step) !== this.allRan(step)) this.fail(`step ${step} is said to be done, and is not`);
    s[WORD] = word + 1;
    if (s[WORD] % this.steps === 0) s.fill(0, RAN, LAUNCH_N);
  }
}
