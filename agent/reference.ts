/**
 * What would the GPU have computed?
 *
 * The simulator has no GPU, so its results carry timing only. Their outputs are computed here by the bundle's CPU
 * reference, from the frame that the result names, in the order of the results. Nothing is invented: a result whose
 * output is not computed goes on without one and is counted as skipped. Real time is not kept: outputs may come
 * long after their results. A reference holds up the agent's thread while it runs, so all of them take turns.
 */
import type { Result } from "../ffi/engine.ts";
import type { Bundle } from "./bundle.ts";
import { importFile } from "./assets/typescript.ts";
import { InputError } from "./errors.ts";
import { path } from "./std/mod.ts";

/** What a bundle's reference module exports as `createReference(dir)`. */
export interface Reference {
  /** From one input blob to one output blob; with `state` buffers it remembers the units before. */
  run(input: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Loads the bundle's reference; `undefined`: it has none. Throws `InputError` if the module is not one. */
export async function loadReference(bundle: Bundle): Promise<Reference | undefined> {
  const { referenceFile, dir, file } = bundle;
  if (referenceFile === undefined) return undefined;
  const wrong = (rule: string, cause?: unknown) =>
    new InputError({ file, field: "reference", rule }, { cause });
  let module: Record<string, unknown>;
  try {
    module = await importFile(referenceFile);
  } catch (error) {
    throw wrong(`must be a TypeScript module that loads: ${firstLine(error)}`, error);
  }
  const create = module.createReference;
  if (typeof create !== "function") throw wrong("must export a function createReference(dir)");
  try {
    const reference: unknown = await create(path.resolve(dir));
    if (typeof reference === "object" && reference !== null && "run" in reference) {
      return reference as Reference;
    }
  } catch (error) {
    throw wrong(`must make a reference from the bundle's folder: ${firstLine(error)}`, error);
  }
  throw wrong("must return an object with a method run(input)");
}

/** Whether an output depends on the units before it. */
export function isStateful(bundle: Bundle): boolean {
  return bundle.manifest.buffers.some((buffer) => buffer.role === "state");
}

/**
 * One computation at a time for all works, each in a turn of the event loop of its own: whatever fell due during the
 * one before, such as the planner's timer, comes first.
 */
export class Turns {
  /** Called before each computation, for what must not wait until it ends. */
  before: () => void = () => {};
  #last: Promise<unknown> = Promise.resolve();

  /** `pause`: lets other work happen. Default: one turn of the timer queue. */
  constructor(readonly pause: () => Promise<void> = () => new Promise((done) => setTimeout(done, 0))) {}

  /** Waits for its turn, first come first served, then runs `step`. */
  take<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(this.pause).then(() => {
      this.before();
      return step();
    });
    this.#last = turn.catch(() => {});
    return turn;
  }
}

export interface OutputComputerOptions {
  /** `undefined`: the bundle has none, and every output is skipped. */
  reference: Reference | undefined;
  stateful: boolean;
  /** Bytes of one output blob. */
  outputBytes: number;
  /** The input blob of a frame; empty for work without input; `undefined`: it is not known any more. */
  frame: (index: number, number: number) => Uint8Array | undefined;
  /** Hands a result on, with its output or without. Called in the order of `push`. */
  emit: (result: Result, payload: Uint8Array | undefined) => void;
  /** An output was skipped: why. */
  onSkip: (reason: string, result: Result) => void;
  /** Shared with the other works. */
  turns: Turns;
  /** Results that may wait. Default 65,536. */
  maxWaiting?: number;
  /** Bytes of outputs remembered by frame. Default 128 MiB. */
  maxMemoBytes?: number;
}

const NO_REFERENCE = "the bundle has no reference";

const TOO_LATE = "the run ended before it was computed";

/** Computes the outputs of one task's or job's simulated results. */
export class OutputComputer {
  readonly #options: Required<OutputComputerOptions>;
  readonly #memo = new Map<number, Uint8Array>();
  #memoBytes = 0;
  readonly #waiting: Result[] = [];
  #working: Promise<void> | undefined;
  /** Gives up what is being computed. */
  #giveUp: () => void = () => {};
  /** Once set, every further output is skipped for this reason. */
  #ended: string | undefined;

  constructor(options: OutputComputerOptions) {
    this.#options = {
      maxWaiting: 65_536,
      maxMemoBytes: 128 * 2 ** 20,
      ...options,
    };
    if (options.reference === undefined) this.#ended = NO_REFERENCE;
  }

  push(result: Result): void {
    const { maxWaiting, stateful, emit, onSkip } = this.#options;
    const empty = !result.complete || result.dropped || result.failed;
    if (this.#waiting.length >= maxWaiting) {
      // What came before is still under way, so the order of results breaks here, and only here.
      const reason = "the reference cannot keep up";
      if (stateful) this.#ended = reason;
      if (!empty) onSkip(reason, result);
      emit(result, undefined);
      return;
    }
    this.#waiting.push(result);
    this.#working ??= this.#work();
  }

  /** Waits until all is computed, but once `expired` resolves, skips what is left, also what is being computed. */
  async finish(expired?: Promise<void>): Promise<void> {
    expired?.then(() => {
      this.#ended ??= TOO_LATE;
      this.#giveUp();
    });
    await this.#working;
  }

  async #work(): Promise<void> {
    await Promise.resolve();
    for (let result = this.#waiting.shift(); result !== undefined; result = this.#waiting.shift()) {
      const payload = await this.#output(result);
      this.#options.emit(result, payload);
    }
    this.#working = undefined;
  }

  async #output(result: Result): Promise<Uint8Array | undefined> {
    const { outputBytes, turns, onSkip } = this.#options;
    if (!result.complete || result.dropped || result.failed) return undefined;
    if (outputBytes === 0) return new Uint8Array();
    const { maxMemoBytes } = this.#options;
    const known = maxMemoBytes === 0 ? undefined : this.#memo.get(result.frameIndex);
    if (known !== undefined) return known;
    if (this.#ended === undefined) return await turns.take(() => this.#compute(result));
    onSkip(this.#ended, result);
    return undefined;
  }

  async #compute(result: Result): Promise<Uint8Array | undefined> {
    const { reference, stateful, frame, outputBytes, onSkip } = this.#options;
    // It may have ended while this waited for its turn.
    if (this.#ended !== undefined || reference === undefined) {
      onSkip(this.#ended ?? NO_REFERENCE, result);
      return undefined;
    }
    try {
      const input = frame(result.frameIndex, result.number);
      if (input === undefined) throw new Error("the input is not kept");
      const output = await this.#orUndefined(reference.run(input));
      if (output === undefined && this.#ended === TOO_LATE) {
        onSkip(TOO_LATE, result);
        return undefined;
      }
      if (!(output instanceof Uint8Array)) throw new TypeError("it gave no Uint8Array");
      if (output.byteLength !== outputBytes) {
        throw new RangeError(`it gave ${output.byteLength} bytes where the output has ${outputBytes}`);
      }
      if (!stateful) this.#remember(result.frameIndex, output);
      return output;
    } catch (error) {
      const reason = `the reference failed: ${firstLine(error)}`;
      // A state that missed a unit is wrong for good.
      if (stateful) this.#ended = reason;
      onSkip(reason, result);
      return undefined;
    }
  }

  /** `undefined` if it is given up. A reference that never answers must not keep the run from ending. */
  #orUndefined(output: Uint8Array | Promise<Uint8Array>): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      this.#giveUp = () => resolve(undefined);
      Promise.resolve(output).then(resolve, reject);
    });
  }

  #remember(frameIndex: number, output: Uint8Array): void {
    if (this.#options.maxMemoBytes === 0) return;
    if (this.#memoBytes + output.byteLength > this.#options.maxMemoBytes) return;
    this.#memo.set(frameIndex, output);
    this.#memoBytes += output.byteLength;
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
