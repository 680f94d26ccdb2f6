/**
 * What does a state of the protocol model consist of, and what can an instance of it vary? Types, the layout of a state
 * in bytes, and labels; what happens is in protocol_model.ts.
 */

/** What can be done wrong. Each makes an instance fail, as the tests show. */
export type Mistake =
  | "one gate word for all writers"
  | "no step check"
  | "no granted check"
  | "records reset, no generations"
  | "finished workers counted"
  | "no check of the stored workers"
  | "leaving does not stick"
  | "left is not cleared between the units of an entry"
  | "left is not read again behind the step word"
  | "completed never reset"
  | "completed reset behind the step word"
  | "worker 0 moves the step on"
  | "gate read before the whole block has ended"
  | "records start as zeros"
  | "ticket never reset"
  | "ticket reset behind the step word"
  | "the end of a unit does not stick"
  | "the end of a unit sticks behind the step word"
  | "drawing begins at 0"
  | "a worker that comes back draws"
  | "a drawn block is dropped on leaving"
  | "a draw is stored only by who goes on"
  | "a draw is stored behind the verdict's barrier"
  | "the step word is not stored on beginning"
  | "what a leaving worker completed is not counted"
  | "runs are drawn without their length"
  | "first blocks do not lie a run apart"
  | "a run goes on beyond the total"
  | "who was dealt the rest does not store it"
  | "an abandoned block is counted"
  | "an abandoned block is taken for done"
  | "an abandoned block is not stored"
  | "what was completed ahead of an abandoned block is not counted";

/** One access by the dispatcher or by a critical task's stream. Gate words: 0 hold, 1 task A, 2 task B. */
export type Op =
  | { op: "close" | "open"; gateWord: number }
  | { op: "await"; mirror: number }
  | { op: "store"; step: number; workers: number; idle?: boolean } // idle: while no launch is under way
  | { op: "grant"; units: number }
  | { op: "enqueue"; items: readonly number[] };

export interface Instance {
  /** Virtual blocks of each step, at most 8. */
  totals: readonly number[];
  /** Steps that an entry launches; the others are `whole`. */
  entrySteps: readonly number[];
  /** How often an entry launches them, `left` cleared in between. Default 1. */
  unitsOfEntry?: number;
  units: number;
  /** At the start; entries and grants raise it. */
  granted: number;
  /** N that is stored at the start, and how many of a launch's workers can be resident together. */
  workers: number;
  resident: number;
  /** What is queued at the start: entries, or WHOLE. */
  queue: readonly number[];
  scripts: Readonly<Record<string, readonly Op[]>>;
  /** Blocks that a worker draws at a time, a power of two. Default 1. */
  run?: number;
  /** Level `loop`: a block may be abandoned once it has seen the gate closed. */
  abandons?: boolean;
  /** The lease ends for good: the units need not get done. */
  held?: boolean;
  /** Workers may go on to the next unit within an entry, so that the search does not end there. */
  unitsRunOn?: boolean;
}

/** An entry with N workers that writes `granted` ahead of its launches; with 0 it leaves that to the dispatcher. */
export function entry(workers: number, granted: number): number {
  return workers | (granted << 4);
}

/** A queued launch of step 1 at level `whole`, with the stream's writes of step word and mirror behind it. */
export const WHOLE = 15;

export const NO_GENERATION = 255;
export const MAX_WORKERS = 3, MAX_SCRIPTS = 4, MAX_QUEUE = 8;

// Where each variable lies in a state. GATE and MEANT have a bit for each gate word; MEANT is what its writer wants.
export const WORD = 0,
  GRANTED = 1,
  STORED = 2,
  COMPLETED = 4,
  LEFT = 5,
  ENTRY = 6,
  GATE = 7,
  MEANT = 8,
  MIRROR = 9;
export const SOMEONE_LEFT = 10,
  STREAM = 11,
  RAN = 12,
  LAUNCH_N = 16,
  TICKET = 17,
  SCRIPTS = 18,
  QUEUE = SCRIPTS + MAX_SCRIPTS;
export const WORKERS = QUEUE + MAX_QUEUE, WORKER_BYTES = 8;
export const STATE_BYTES = WORKERS + MAX_WORKERS * WORKER_BYTES;

// Within a worker. SHUT: who had the gate closed when the worker's last run of blocks ended, and has not opened it since.
// READ: which reads of entering are done, a bit for each; behind it COUNT, the blocks run in this launch.
// CLOSED: what a look at the gate has seen so far, on entering, in a block or behind one.
export const PC = 0,
  NEXT = 1,
  SHUT = 2,
  READ = 3,
  COUNT = READ,
  THREAD_WORD = 4,
  CLOSED = 5,
  GENERATION = 6,
  RECORD_NEXT = 7;

export enum At {
  Ended,
  Start,
  Enter,
  EnterLeft,
  Begin,
  Run,
  InBlock,
  Gate0,
  Gate1,
  Control,
  Draw,
  Left,
  LeaveAdd,
  Add,
  ResetCompleted,
  ResetTicket,
  UnitLeft,
  Word,
  Mirror,
}
/** From here to there a worker runs, or has run, blocks that `completed` does not count yet. */
export const UNCOUNTED_FROM = At.Run, UNCOUNTED_TO = At.Add;
export enum Stream {
  Idle,
  Wait0,
  Wait1,
  Wait2,
  Whole,
  WholeWord,
  WholeMirror,
  Launch,
}

/** What thread 0 reads on entering: all at once, in any order. `granted` comes with the step word, in one load. */
export const READS = ["word", "stored", "gate 0-3", "gate 4-7", "control"] as const;
/** Behind those, in a job of one step: whether a unit has ended meanwhile. */
export const LAST_READ = "left again";
export type Read = typeof READS[number] | typeof LAST_READ;
export const ALL_READ = (1 << READS.length) - 1;
export const GATE_READS = 0b11100;

export const LOW_WORDS = 0b011, HIGH_WORDS = 0b100, LEFT_IN_ENTRY = 0b1000;
export const WRITES_GRANTED = 0b1000, WRITES_STORED = 0b10000; // beside a bit for each gate word
/** Bits of SOMEONE_LEFT: what happened within the entry that executes now. */
export const LEFT_UNDONE = 1, UNIT_ENDED = 2;
/** Which scripts' writes a read can notice; 0: it can notice what workers write. */
export const WRITERS: Readonly<Record<Read, number>> = {
  "word": 0,
  "stored": WRITES_STORED,
  "gate 0-3": LOW_WORDS,
  "gate 4-7": HIGH_WORDS,
  "control": 0,
  "left again": 0,
};

// Labels are made once: a new string for each action would take much of the checker's time.
const WORKER_NUMBERS = [...Array(MAX_WORKERS).keys()];
export const ASK_LABELS = WORKER_NUMBERS.map((w) => `worker ${w}: sees the gate closed in its block`);
/** While the gate is closed, and when it has been opened since. */
export const ABANDON_LABELS = WORKER_NUMBERS.map((w) =>
  [
    `worker ${w}: abandons its block`,
    `worker ${w}: abandons its block behind an open gate`,
  ] as const
);
export const STEP_LABELS = WORKER_NUMBERS.map((w) =>
  Object.values(At).filter((at) => typeof at === "string").map((at) => `worker ${w}: ${at}`)
);
export const RUN_LABELS = WORKER_NUMBERS.map((w) =>
  [...Array(256).keys()].map((v) => `worker ${w}: Run ${v}`)
);
export const READ_LABELS = WORKER_NUMBERS.map((w) => (
  Object.fromEntries(Object.keys(WRITERS).map((read) => [read, `worker ${w}: reads ${read}`]))
));
