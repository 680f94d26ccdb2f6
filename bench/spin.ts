/**
 * What do the benchmarks run whose kernels only pass time? `spin` untouched and rewritten, as critical tasks and as
 * background jobs with blocks of known length.
 */
import type { ArgSpec, CriticalSpec, Engine, StepSpec } from "../ffi/mod.ts";
import { rewriteModule } from "../ptx/mod.ts";
import { quantilesOf } from "./statistics.ts";

export const THREADS = 256;
const WORD_BYTES = 4;
/** Of one step, each SM's blocks full: bounds the output buffer (1.1 GB on an H200). */
const MOST_WAVES = 1024;
const NO_INPUT = new Uint8Array();

/** Rounds of `spin` for 1 us. */
export interface Rates {
  alonePerUs: number;
  fullPerUs: number;
}

/** What level `loop` may leave of a critical task's time; the gate is read as often as that takes. */
export const LOOP_BOUND_NS = 10_000;

/** Kernels of one engine: `spin` untouched and at levels `block` and `loop`, with blocks whose length is known. */
export class Bench {
  readonly engine: Engine;
  readonly #plain: number;
  readonly #rewritten: Record<"block" | "loop", number>;
  readonly #mark: number;
  readonly #witness: number;
  readonly #out: number;
  readonly blocksResident: number;

  constructor(engine: Engine) {
    this.engine = engine;
    const ptx = Deno.readTextFileSync(new URL("./kernels/micro.ptx", import.meta.url));
    const untouched = engine.loadModule(ptx);
    this.#plain = engine.kernel(untouched, "spin");
    this.#mark = engine.kernel(untouched, "mark");
    const { blocksPerSm } = engine.kernelInfo(this.#plain, THREADS, 0);
    const pins = {
      minBlocksPerSm: new Map([["spin", blocksPerSm]]),
      maxThreads: new Map([["spin", THREADS]]),
    };
    const load = (level: "block" | "loop") => {
      const { text, kernels } = rewriteModule(ptx, {
        file: "micro.ptx",
        ...pins,
        levels: new Map([["spin", level]]),
      });
      if (kernels[0]?.level !== level) {
        throw new Error(`spin is not at level ${level}: ${kernels[0]?.reason}`);
      }
      return engine.kernel(engine.loadModule(text), "spin");
    };
    this.#rewritten = { block: load("block"), loop: load("loop") };
    const witness = rewriteModule(ptx, { file: "micro.ptx", levels: new Map([["witness", "block"]]) });
    this.#witness = engine.kernel(engine.loadModule(witness.text), "witness");
    this.blocksResident = blocksPerSm * engine.device().sms;
    this.#out = engine.createBuffer(this.blocksResident * MOST_WAVES * THREADS * WORD_BYTES);
  }

  /** A critical step that sets (1) or clears (0) the word in `buffer`. */
  mark(buffer: number, on: 0 | 1): StepSpec {
    const args = [{ kind: "buffer", buffer, offset: 0 } as const, word(on)];
    return {
      ...this.step("whole", 1, 0),
      kernel: this.#mark,
      block: [1, 1, 1],
      args,
    };
  }

  /** Background blocks that count, in `seen`, how often one begins while the word in `one` or `other` is set. */
  witness(blocks: number, rounds: number, [one, other]: [number, number], seen: number): StepSpec {
    const step = this.step("block", blocks, rounds);
    const words = [one, other, seen].map((buffer) => ({ kind: "buffer", buffer, offset: 0 } as const));
    return { ...step, kernel: this.#witness, args: [...step.args, ...words] };
  }

  step(level: "whole" | "block" | "loop", blocks: number, rounds: number, blockNs = 0): StepSpec {
    const args = [{ kind: "buffer", buffer: this.#out, offset: 0 } as const, word(rounds)];
    const waves = Math.ceil(blocks / this.blocksResident);
    return {
      kernel: level === "whole" ? this.#plain : this.#rewritten[level],
      level,
      grid: [blocks, 1, 1],
      block: [THREADS, 1, 1],
      sharedBytes: 0,
      workers: 0,
      args,
      estimateNs: waves * blockNs,
      blockEstimateNs: blockNs,
    };
  }

  job(name: string, steps: StepSpec[]): number {
    return this.engine.addWork({
      ...this.#common(name, steps),
      kind: "background",
      preemptionBoundNs: steps.some(({ level }) => level === "loop") ? LOOP_BOUND_NS : 0,
      source: { kind: "none", periodNs: 0, phaseNs: 0 },
    });
  }

  /** Every `periodNs`, with a deadline of the period unless `change` says otherwise. */
  task(name: string, steps: StepSpec[], periodNs: number, change: Partial<CriticalSpec> = {}): number {
    return this.engine.addWork({
      ...this.#common(name, steps),
      kind: "critical",
      source: { kind: "none", periodNs, phaseNs: periodNs },
      deadlineNs: periodNs,
      from: "arrival",
      queue: "latest",
      queueDepth: 1,
      onMiss: "publish-late",
      maxBlockingNs: 0,
      yield: "always",
      anticipate: false,
      ...change,
    });
  }

  /** Median GPU time of a job's unit by itself, in us. */
  unitUs(job: number, runs: number): number {
    const times = Array.from(
      { length: runs },
      () => this.engine.runOnce("background", job, NO_INPUT).durationNs,
    );
    return quantilesOf(times).p50 / 1000;
  }

  #common(name: string, steps: StepSpec[]) {
    const empty = {
      inputs: [],
      outputs: [],
      inputBytes: 0,
      outputBytes: 0,
      keepOutput: false,
      estimateNs: 0,
    };
    return { name, steps, digest: new Uint8Array(32), ...empty };
  }
}

function word(value: number): ArgSpec {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return { kind: "scalar", bytes };
}

/** Rounds of `spin` for a block of 1 us, by itself on an idle SM and with every SM full. */
export function calibrate(backend: "cuda" | "sim", open: () => Engine): Rates {
  if (backend === "sim") return { alonePerUs: 100, fullPerUs: 100 };
  using engine = open();
  const bench = new Bench(engine);
  const { sms } = engine.device();
  const perUs = (blocks: number) => {
    const [short, long] = [2000, 12000].map((rounds) =>
      bench.unitUs(bench.job(`calibrate-${blocks}-${rounds}`, [bench.step("whole", blocks, rounds)]), 9)
    );
    return 10000 / (long! - short!);
  };
  return { alonePerUs: perUs(sms), fullPerUs: perUs(bench.blocksResident) };
}
