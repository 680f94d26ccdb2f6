/**
 * Which actions can happen next in the protocol of docs/PREEMPTION.md? A state machine for the checker beside it.
 *
 * One action is one access to shared memory. The processes: workers (of each the thread 0, which decides for its block),
 * the background stream (waits, entry number, one launch for each step), and scripts: critical tasks, lease, dispatcher.
 *
 * Left out: weak memory (memory is sequentially consistent here, so fences are not checked; only what a worker reads on
 * entering comes in any order), `pause` (it is read and written like `hold`), level `slice`
 * (it is launched like `whole`), time, statistics, and numbers that wrap. Actions that touch only what nobody else will
 * ever write are not interleaved: whoever has one does it first, alone. That loses no behaviour, because they commute with
 * all others. A worker's record is written and read by that worker only, so its accesses are part of the action ahead.
 *
 * A checkpoint in a block is two actions: it may see the gate closed at any moment of the block, and may abandon the block at
 * any later one, however the gate stands by then. Whatever words it reads in whatever order, no more can happen. That a
 * block may be run again is taken for granted here: what it did is undone (checkpoints.ts has to prove that it may be).
 *
 * What is drawn beyond the total counts as the total: no rule tells the two apart.
 *
 * The page has a worker that leaves wait for nothing, and check no total. Here it stores `left` first and counts behind
 * it, which is no loss: its count could only matter to the completion of the step. That there is none then is asserted
 * whenever `completed` reaches the total: nobody has left this entry with work undone, nobody is between a first block
 * and its count, and nobody draws until the counter is reset.
 */

import {
  ABANDON_LABELS,
  ALL_READ,
  ASK_LABELS,
  At,
  CLOSED,
  COMPLETED,
  COUNT,
  ENTRY,
  GATE,
  GATE_READS,
  GENERATION,
  GRANTED,
  HIGH_WORDS,
  LAST_READ,
  LAUNCH_N,
  LEFT,
  LEFT_IN_ENTRY,
  LEFT_UNDONE,
  LOW_WORDS,
  MAX_WORKERS,
  MEANT,
  MIRROR,
  NEXT,
  PC,
  READ,
  type Read,
  READ_LABELS,
  READS,
  RECORD_NEXT,
  RUN_LABELS,
  SHUT,
  SOMEONE_LEFT,
  STEP_LABELS,
  STORED,
  STREAM,
  Stream,
  THREAD_WORD,
  TICKET,
  UNIT_ENDED,
  WORD,
  WORKER_BYTES,
  WORKERS,
  WRITERS,
} from "./protocol_state.ts";
import { Surroundings } from "./protocol_surroundings.ts";

export class Model extends Surroundings {
  /** For each step, what whoever reaches the total does, in this order. */
  protected readonly endings = this.instance.totals.map((_, step) => this.ending(step));

  protected override worker(w: number, changing: number, running: number, local: boolean): boolean {
    const o = WORKERS + w * WORKER_BYTES, at = this.from[o + PC]!;
    if (at === At.Ended) return false;
    if (at === At.Start) {
      const all = this.instance.resident >= this.from[LAUNCH_N]!;
      if (local || (!all && running >= this.instance.resident)) return false;
      this.act(STEP_LABELS[w]![at]!, () => {
        this.s[o + PC] = At.Enter;
        this.s[o + SHUT] = this.shut();
      });
      return true;
    }
    if (at === At.Enter) return this.entering(w, o, changing, local);
    if (at === At.InBlock && this.instance.abandons && !local) this.checkpointInBlock(w, o);
    const isLocal = (at === At.Begin && !this.has("records reset, no generations")) ||
      (at === At.Gate0 && (changing & LOW_WORDS) === 0) || (at === At.Gate1 && (changing & HIGH_WORDS) === 0);
    if (local !== isLocal) return false;
    const label = at === At.Run ? RUN_LABELS[w]![this.from[o + NEXT]!]! : STEP_LABELS[w]![at]!;
    this.act(
      label,
      () => this.step(w, o, at),
    );
    return true;
  }

  protected shut(): number {
    return this.s[MEANT]! | (this.s[SOMEONE_LEFT]! & LEFT_UNDONE ? LEFT_IN_ENTRY : 0);
  }

  // Read where an action comes from, as it is asked for ahead of actions too; only the end of a launch changes it.
  protected stepOfLaunch(): number {
    const { entrySteps } = this.instance;
    return entrySteps[(this.from[STREAM]! - Stream.Launch) % entrySteps.length]!;
  }

  /** The first virtual block of what is drawn when `ticket` is the counter's value, the total at most. */
  protected drawn(ticket: number): number {
    const runs = ticket + (this.has("drawing begins at 0") ? 0 : this.from[LAUNCH_N]!);
    const first = this.has("runs are drawn without their length") ? runs : runs * this.run;
    return Math.min(first, this.totalOfLaunch());
  }

  /** Level `loop`: what the running block's checkpoints may lead to. */
  protected checkpointInBlock(w: number, o: number): void {
    const s = this.from;
    if (s[o + CLOSED] !== 0) this.act(ABANDON_LABELS[w]![s[GATE] === 0 ? 1 : 0], () => this.abandon(o));
    else if (s[GATE] !== 0 || s[LEFT] === s[ENTRY]) this.act(ASK_LABELS[w]!, () => this.s[o + CLOSED] = 1);
  }

  protected abandon(o: number): void {
    const s = this.s, next = s[o + NEXT]!;
    this.undo(this.stepOfLaunch(), next, 0b01);
    if (this.has("an abandoned block is taken for done")) s[o + RECORD_NEXT] = next + 1;
    else if (!this.has("an abandoned block is not stored")) s[o + RECORD_NEXT] = next;
    if (this.has("an abandoned block is counted")) s[o + COUNT]!++;
    if (this.has("what was completed ahead of an abandoned block is not counted")) s[o + COUNT] = 0;
    s[o + CLOSED] = 0;
    s[o + PC] = this.has("leaving does not stick") ? At.LeaveAdd : At.Left;
  }

  protected totalOfLaunch(): number {
    return this.instance.totals[this.stepOfLaunch()]!;
  }

  /** Rule 1: thread 0 reads and decides for its worker. */
  protected entering(w: number, o: number, changing: number, local: boolean): boolean {
    const read = (what: Read, bit: number) => {
      const isLocal = WRITERS[what] !== 0 && (changing & WRITERS[what]) === 0;
      if (local !== isLocal) return false;
      this.act(READ_LABELS[w]![what]!, () => {
        this.s[o + READ]! |= bit;
        this.threadReads(w, o, what);
      });
      return true;
    };
    if (this.from[o + READ] === ALL_READ) return read(LAST_READ, 0);
    let acted = false;
    for (const [i, what] of READS.entries()) {
      const bit = 1 << i;
      if ((this.from[o + READ]! & bit) === 0 && !(local && acted)) acted = read(what, bit) || acted;
    }
    return acted;
  }

  protected threadReads(w: number, o: number, read: Read): void {
    const s = this.s, step = this.stepOfLaunch();
    if (read === "word") s[o + THREAD_WORD] = s[WORD]!;
    const word = s[o + THREAD_WORD]!;
    const notMine = (read === "word" && word % this.steps !== step && !this.has("no step check")) ||
      (read === "word" && Math.floor(word / this.steps) >= s[GRANTED]! && !this.has("no granted check")) ||
      (read === "stored" && s[STORED + step] !== s[LAUNCH_N] && !this.has("no check of the stored workers"));
    // What else it reads changes nothing.
    if (notMine) {
      s[o + NEXT] = this.totalOfLaunch();
      return this.end(o);
    }
    const closed = (read === "gate 0-3" && (s[GATE]! & LOW_WORDS) !== 0) ||
      (read === "gate 4-7" && (s[GATE]! & HIGH_WORDS) !== 0) ||
      ((read === "control" || read === LAST_READ) && s[LEFT] === s[ENTRY]);
    if (closed) {
      s[o + CLOSED] = 1;
      s[o + READ]! |= GATE_READS;
    }
    if (s[o + READ] !== ALL_READ) return;
    const again = this.steps === 1 && !this.has("left is not read again behind the step word");
    if (again && read !== LAST_READ && s[o + CLOSED] === 0) return;
    this.decide(w, o);
  }

  protected decide(w: number, o: number): void {
    const s = this.s, next = this.nextOf(w, o);
    if (s[o + CLOSED] === 0 && (this.decidesLate() || next < this.totalOfLaunch())) {
      s[o + PC] = At.Begin;
      return;
    }
    const noticed = s[o + CLOSED] !== 0;
    s[o + NEXT] = noticed ? next : this.totalOfLaunch();
    if (noticed && !this.has("leaving does not stick")) s[o + PC] = At.EnterLeft;
    else this.end(o);
  }

  /** Whether a worker without work begins, and sees only then that it has none. */
  protected decidesLate(): boolean {
    return this.has("finished workers counted") || this.has("records reset, no generations");
  }

  protected nextOf(w: number, o: number): number {
    const s = this.s;
    if (this.has("records reset, no generations")) return s[o + RECORD_NEXT]!;
    if (s[o + GENERATION] === s[o + THREAD_WORD]) return s[o + RECORD_NEXT]!;
    return this.has("first blocks do not lie a run apart") ? w : w * this.run;
  }

  protected begin(w: number, o: number): void {
    const s = this.s;
    if (this.has("records reset, no generations") && w === 0 && s[COMPLETED] === 0) {
      for (let v = 0; v < MAX_WORKERS; v++) s[WORKERS + v * WORKER_BYTES + RECORD_NEXT] = v;
    }
    const next = this.nextOf(w, o), word = s[o + THREAD_WORD]!, isBack = s[o + GENERATION] === word;
    s[o + NEXT] = s[o + RECORD_NEXT] = next;
    if (!this.has("the step word is not stored on beginning")) s[o + GENERATION] = word;
    s[o + COUNT] = 0;
    if (next < this.totalOfLaunch()) {
      s[o + PC] = isBack && this.has("a worker that comes back draws") ? At.Draw : At.Run;
    } else if (this.has("finished workers counted")) s[o + PC] = At.Add;
    else this.end(o);
  }

  protected step(w: number, o: number, at: At): void {
    const s = this.s, word = s[o + THREAD_WORD]!;
    const early = this.has("gate read before the whole block has ended");
    switch (at) {
      case At.EnterLeft:
        s[LEFT] = s[ENTRY]!;
        return this.end(o);
      case At.Begin:
        return this.begin(w, o);
      case At.Run:
        if ((s[o + SHUT]! & LEFT_IN_ENTRY) !== 0) {
          this.fail("a worker goes on although another had left the entry");
        }
        if ((s[SOMEONE_LEFT]! & UNIT_ENDED) !== 0) {
          this.fail("a worker goes on to the next unit within an entry");
        }
        if (s[o + SHUT] !== 0) this.fail("a virtual block starts behind a closed gate");
        if (Math.floor(word / this.steps) >= s[GRANTED]!) this.fail("a unit runs that nobody asked for");
        this.effect(this.stepOfLaunch(), s[o + NEXT]!, 0b01);
        s[o + PC] = early ? At.Gate0 : At.InBlock;
        return;
      case At.InBlock:
        this.effect(this.stepOfLaunch(), s[o + NEXT]!, 0b10);
        return this.endOfBlock(o, early ? At.Draw : At.Gate0);
      case At.Gate0:
        return this.look(o, (s[GATE]! & LOW_WORDS) !== 0, At.Gate1);
      case At.Gate1:
        return this.look(o, (s[GATE]! & HIGH_WORDS) !== 0, At.Control);
      case At.Control:
        return this.look(o, s[LEFT] === s[ENTRY], early ? At.InBlock : At.Draw);
      case At.Draw:
        return this.draw(o);
      case At.Left:
        s[LEFT] = s[ENTRY]!;
        s[o + PC] = At.LeaveAdd;
        return;
      case At.LeaveAdd:
        if (
          !this.has("finished workers counted") &&
          !this.has("what a leaving worker completed is not counted")
        ) {
          s[COMPLETED]! += s[o + COUNT]!;
        }
        if (s[COMPLETED]! >= this.totalOfLaunch()) this.fail("a worker that leaves completes the step");
        return this.end(o);
      case At.Add:
        return this.add(w, o);
      default:
        return this.moveStepOn(o, at, word);
    }
  }

  /** Rule 3: within a run the next block follows at once. */
  protected endOfBlock(o: number, checkpoint: At): void {
    const s = this.s, next = s[o + NEXT]! + 1;
    const ends = next === this.totalOfLaunch() && !this.has("a run goes on beyond the total");
    const goesOn = next % this.run !== 0 && !ends;
    s[o + COUNT]!++;
    s[o + CLOSED] = checkpoint === At.Draw ? s[o + CLOSED]! : 0;
    if (goesOn) s[o + NEXT] = next;
    else s[o + SHUT] = this.shut();
    s[o + PC] = goesOn ? At.Run : checkpoint;
    if (goesOn || s[LAUNCH_N]! * this.run < this.totalOfLaunch()) return;
    // The first runs were all there is.
    s[o + NEXT] = this.totalOfLaunch();
    if (!this.has("who was dealt the rest does not store it")) s[o + RECORD_NEXT] = this.totalOfLaunch();
    s[o + PC] = At.Add;
  }

  protected look(o: number, closed: boolean, then: At): void {
    if (closed) this.s[o + CLOSED] = 1;
    this.s[o + PC] = then;
  }

  /** Rule 3, behind the gate: draws, stores what was drawn, and decides. */
  protected draw(o: number): void {
    const s = this.s, total = this.totalOfLaunch();
    const next = this.drawn(s[TICKET]!), goesOn = s[o + CLOSED] === 0 && next < total;
    s[TICKET]!++;
    const ending = this.endings[this.stepOfLaunch()]!, reset = ending.indexOf(At.ResetTicket);
    if (this.count((pc) => ending.includes(pc) && ending.indexOf(pc) <= reset) > 0) {
      this.fail("a worker draws from a counter that is about to be reset");
    }
    if (goesOn && this.has("a draw is stored behind the verdict's barrier") && s[o + RECORD_NEXT] !== next) {
      this.fail("the threads of a block disagree about its next virtual block");
    }
    s[o + NEXT] = next;
    if (goesOn || next === total || !this.has("a draw is stored only by who goes on")) {
      s[o + RECORD_NEXT] = next;
    }
    if (!goesOn && this.has("a drawn block is dropped on leaving")) s[o + RECORD_NEXT] = total;
    s[o + CLOSED] = 0;
    if (goesOn) s[o + PC] = At.Run;
    else if (next === total) s[o + PC] = At.Add;
    else s[o + PC] = this.has("leaving does not stick") ? At.LeaveAdd : At.Left;
  }

  /** Rule 5, the count. */
  protected add(w: number, o: number): void {
    const s = this.s, byWorkers = this.has("finished workers counted");
    s[COMPLETED]! += byWorkers ? 1 : s[o + COUNT]!;
    const goal = byWorkers ? s[LAUNCH_N]! : this.totalOfLaunch();
    if (s[COMPLETED]! > goal) this.fail("more is counted as completed than there is");
    if (this.has("worker 0 moves the step on") ? w !== 0 : s[COMPLETED] !== goal) return this.end(o);
    this.complete(this.stepOfLaunch(), w);
    s[o + PC] = this.endings[this.stepOfLaunch()]![0]!;
  }

  protected ending(step: number): At[] {
    const ending: At[] = [];
    if (!this.has("completed never reset") && !this.has("completed reset behind the step word")) {
      ending.push(At.ResetCompleted);
    }
    if (!this.has("ticket never reset") && !this.has("ticket reset behind the step word")) {
      ending.push(At.ResetTicket);
    }
    const sticks = step === this.steps - 1 && !this.has("the end of a unit does not stick");
    const sticksLate = this.has("the end of a unit sticks behind the step word");
    if (sticks && !sticksLate) ending.push(At.UnitLeft);
    ending.push(At.Word);
    if (sticks && sticksLate) ending.push(At.UnitLeft);
    if (this.has("completed reset behind the step word")) ending.push(At.ResetCompleted);
    if (this.has("ticket reset behind the step word")) ending.push(At.ResetTicket);
    return [...ending, At.Mirror];
  }

  /** Rule 5, behind the count: reset, move on. */
  protected moveStepOn(o: number, at: At, word: number): void {
    const s = this.s, ending = this.endings[this.stepOfLaunch()]!;
    if (at === At.ResetCompleted) s[COMPLETED] = 0;
    if (at === At.ResetTicket) s[TICKET] = 0;
    if (at === At.UnitLeft) s[LEFT] = s[ENTRY]!;
    if (at === At.Word) {
      this.moveOn(word);
      if (s[WORD]! % this.steps === 0 && !this.instance.unitsRunOn) s[SOMEONE_LEFT]! |= UNIT_ENDED;
    }
    if (at !== At.Mirror) {
      s[o + PC] = ending[ending.indexOf(at) + 1]!;
      return;
    }
    if (word + 1 <= s[MIRROR]!) this.fail("the mirror does not grow");
    s[MIRROR] = word + 1;
    this.end(o);
  }

  /** The worker ends; with the last one the launch ends, and stream order goes on. */
  protected end(o: number): void {
    const s = this.s;
    if (s[o + NEXT]! < this.totalOfLaunch()) s[SOMEONE_LEFT]! |= LEFT_UNDONE;
    s.fill(0, o, o + GENERATION);
    for (let w = 0; w < s[LAUNCH_N]!; w++) if (s[WORKERS + w * WORKER_BYTES + PC] !== At.Ended) return;
    s[STREAM]!++;
    const { entrySteps, unitsOfEntry = 1 } = this.instance;
    const launched = s[STREAM]! - Stream.Launch;
    if (launched < entrySteps.length * unitsOfEntry) {
      // Each further unit of an entry is as good as an entry of its own.
      if (launched % entrySteps.length === 0) {
        if (!this.has("left is not cleared between the units of an entry")) s[LEFT] = 0;
        s[SOMEONE_LEFT] = 0;
      }
      return this.launch();
    }
    s[STREAM] = Stream.Idle;
    s[SOMEONE_LEFT] = s[LAUNCH_N] = 0;
  }
}
