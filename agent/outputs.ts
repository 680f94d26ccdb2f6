/**
 * From a result to the right sink, with its output.
 *
 * One route for each task and job: results from a GPU carry their output and go straight to the sink; simulated ones
 * pass through the bundle's CPU reference first. Of results that are not wanted (`every`), only those that a state
 * depends on are computed. What is skipped or lost is counted and logged once per cause.
 */
import type { Result } from "../ffi/engine.ts";
import type { Counters } from "./counters.ts";
import type { LoadedWork } from "./load.ts";
import type { Logger } from "./log.ts";
import type { DirectoryQueue, QueueUnit } from "./directory_queue.ts";
import { isStateful, OutputComputer, type Reference, type Turns } from "./reference.ts";
import { openSink, type Sink, type SinkOptions, type SinkTarget } from "./sinks.ts";
import { outputFields } from "./values.ts";

export interface RouteOptions {
  work: LoadedWork;
  sink: Sink;
  /** Only results whose number is a multiple of it reach the sink; >= 1. */
  every: number;
  /** Only for the simulator; `undefined`: the bundle has none. */
  reference: Reference | undefined;
  /** The mission wants outputs in a file or folder. */
  keepsOutput?: boolean;
  /** Simulated outputs are wanted: computed, or counted as skipped. False: results go nowhere anyway. */
  computes: boolean;
  /** Shared by all routes. */
  turns: Turns;
  counters: Counters;
  log: Logger;
  /** Of a result that the sink does not get: nobody needs the engine's copy. */
  settled: (position: number) => void;
  /** Where its inputs come from, if that is a folder. */
  queue?: DirectoryQueue | undefined;
}

export class Route {
  readonly #options: RouteOptions;
  readonly #computer: OutputComputer;
  readonly #stateful: boolean;
  /** Of a queue's results that the sink has, by position. */
  readonly #units = new Map<number, QueueUnit>();
  readonly #put: (result: Result, payload: Uint8Array | undefined) => void;

  constructor(options: RouteOptions) {
    this.#options = options;
    const { work, sink, reference, turns } = options;
    const { bundle, frames } = work;
    const fields = outputFields(bundle.manifest);
    this.#stateful = isStateful(bundle);
    this.#put = (result, payload) => {
      if (options.queue !== undefined) return this.#putQueued(options.queue, result, payload);
      if (!this.#wants(result)) return options.settled(result.position);
      sink.put({ work: work.name, bundle: bundle.digestHex, fields, result, payload });
    };
    const count = this.#countSkip();
    this.#computer = new OutputComputer({
      reference,
      turns,
      stateful: this.#stateful,
      outputBytes: work.outputBytes,
      // An index says nothing of a queue's inputs.
      ...(options.queue === undefined ? {} : { maxMemoBytes: 0 }),
      frame: (index, number) => {
        if (options.queue !== undefined) return options.queue.input(number);
        // What came over HTTP is gone by now.
        if (frames === undefined) return work.inputBytes === 0 ? new Uint8Array() : undefined;
        return frames.data.subarray(index * frames.frameBytes, (index + 1) * frames.frameBytes);
      },
      emit: this.#put,
      onSkip: (reason, result) => {
        if (this.#wants(result)) count(reason);
      },
    });
  }

  /** A file stays in its folder unless its result is whole and durable. */
  #putQueued(queue: DirectoryQueue, result: Result, payload: Uint8Array | undefined): void {
    const { work, sink, settled, keepsOutput } = this.#options;
    const unit = queue.claim(result.number);
    if (unit === undefined) return settled(result.position);
    if (result.failed || !result.complete) {
      queue.end(unit, "failed", "the unit was not completed");
      return settled(result.position);
    }
    // A simulated one that nobody computed, which says nothing against the file: it waits for a GPU.
    if (keepsOutput && payload === undefined) {
      queue.end(unit, "lost");
      return settled(result.position);
    }
    if (!this.#wants(result)) {
      queue.end(unit, "durable");
      return settled(result.position);
    }
    this.#units.set(result.position, unit);
    const { bundle } = work;
    const input = { name: unit.name, id: unit.id };
    const fields = outputFields(bundle.manifest);
    sink.put({ work: work.name, bundle: bundle.digestHex, fields, result, payload, input });
  }

  /** What the sink says of a result that it got. */
  ended(position: number, durable: boolean): void {
    const unit = this.#units.get(position);
    this.#units.delete(position);
    if (unit !== undefined) this.#options.queue?.end(unit, durable ? "durable" : "lost");
  }

  take(result: Result): void {
    if (!this.#wants(result) && !this.#stateful && this.#options.queue === undefined) {
      return this.#options.settled(result.position);
    }
    const { queue, settled } = this.#options;
    // An earlier agent's: its file is still there and is run again.
    if (queue !== undefined && !queue.arrived(result.number)) return settled(result.position);
    const { complete, dropped, failed, simulated } = result;
    if (simulated && this.#options.computes) this.#computer.push(result);
    else this.#put(result, complete && !dropped && !failed && !simulated ? result.payload : undefined);
  }

  #wants({ number }: Result): boolean {
    return number % this.#options.every === 0;
  }

  #countSkip(): (reason: string) => void {
    const { work, counters, log } = this.#options;
    return onceEach(
      (reason) => log.warn("outputs are left out", { work: work.name, why: reason }),
      () => counters.outputsSkipped++,
    );
  }

  /** Waits until all that was taken is computed and written. */
  async settle(): Promise<void> {
    await this.#computer.finish();
    await this.#options.sink.flush();
  }

  /** Computes what is left until `expired` resolves, then flushes and closes the sink. */
  async close(expired?: Promise<void>): Promise<void> {
    await this.#computer.finish(expired);
    await this.#options.sink.close();
  }
}

/** Calls `first` for a reason that is new, `always` for every one. */
function onceEach(first: (reason: string) => void, always: () => void): (reason: string) => void {
  const seen = new Set<string>();
  return (reason) => {
    always();
    if (seen.has(reason) || seen.size >= 16) return;
    seen.add(reason);
    first(reason);
  };
}

/** Opens the sink of one work; failed writes are counted, and logged once per cause. */
export function openCountedSink(
  target: SinkTarget,
  field: string,
  { counters, log, ...options }:
    & { counters: Counters; log: Logger }
    & Pick<SinkOptions, "onSettled" | "resume" | "durable" | "queue">,
): Promise<Sink> {
  const seen = new Set<string>();
  return openSink(target, field, {
    ...options,
    onNote: (text) => log.warn(text, { output: field }),
    onLost: (reason, results) => {
      counters.sinkErrors++;
      counters.resultsLost += results;
      if (seen.has(reason)) return;
      seen.add(reason);
      log.error("results cannot be written", { output: field, why: reason, results });
    },
  });
}
