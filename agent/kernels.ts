/**
 * Which kernels of a module run at which level, and at which occupancy?
 *
 * Loads a module as it is and, for background work, rewritten by the checkpoint compiler: every kernel at level `block`
 * where that is proven safe, else at `slice`, else `whole`, with the reason in words; and once more with checkpoints in
 * its loops where those are safe too, so that the engine can choose. On a GPU the occupancy of the untouched kernel is
 * measured first and the rewritten one is pinned to it, because ptxas otherwise picks another register target
 * (docs/PREEMPTION.md). Each text is loaded once per engine.
 */
import { CONSTANTS } from "../ffi/abi.ts";
import type { Engine } from "../ffi/engine.ts";
import { EngineError } from "../ffi/errors.ts";
import type { CheckpointCompiler, Pin, RewriteRequest, RewriteResult } from "./checkpoint.ts";
import { InputError } from "./errors.ts";

/** One launch shape, as far as occupancy is concerned. */
export interface Shape {
  threads: number;
  /** Of these, along x. */
  threadsX: number;
  sharedBytes: number;
}

export interface LoadedKernel {
  /** Engine id of the kernel to launch. */
  id: number;
  /** Engine id of the kernel as the bundle has it. */
  untouchedId: number;
  level: "whole" | "slice" | "block";
  /** Engine id of the kernel at level `loop`; absent: it has no such level. */
  loopId?: number;
  /** Why it is at no higher level than `slice` or `whole`, and what else there is to know. */
  notes: readonly string[];
  /** Why it has no level `loop`; absent: it has one, or was not asked for it. */
  whyNoLoop?: string;
}

/** What rewriting has to know of how a module's kernels are launched. */
export interface Use {
  shapes: ReadonlyMap<string, readonly Shape[]>;
  overlaps: RewriteRequest["overlaps"];
  /** False: `block` at most. */
  loops: boolean;
}

/** Occupancy that a checkpoint in a loop may cost before the kernel does without. */
const LOSS_ALLOWED = 0.05;
/** Threads along x of which the first read the gate in a loop (ptx/loop_text.ts). */
const LEAST_THREADS_X = 8;

type Rewritten = { result: RewriteResult; module: number } | { refused: string };

export class KernelLoader {
  readonly #engine: Engine;
  readonly #checkpoint: CheckpointCompiler;
  /** Module ids by text. */
  readonly #modules = new Map<string, number>();
  readonly #loaded = new Map<string, ReadonlyMap<string, LoadedKernel>>();

  constructor(engine: Engine, checkpoint: CheckpointCompiler) {
    this.#engine = engine;
    this.#checkpoint = checkpoint;
  }

  /**
   * The kernels named in `shapes`; `file` is for messages, `use` absent for critical work. Throws `InputError` if the
   * driver refuses the module.
   */
  load(
    ptx: string,
    file: string,
    shapes: ReadonlyMap<string, readonly Shape[]>,
    use: Use | undefined,
  ): ReadonlyMap<string, LoadedKernel> {
    const key = JSON.stringify([[...shapes], use && [[...use.overlaps], use.loops], ptx]);
    const known = this.#loaded.get(key);
    if (known !== undefined) return known;
    const untouched = this.#untouched(ptx, file);
    const ids = new Map([...shapes.keys()].map((name) => [name, this.#engine.kernel(untouched, name)]));
    const kernels = use !== undefined
      ? this.#rewrite(ptx, file, use, ids)
      : new Map([...ids].map(([name, id]) => [name, whole(id, [])]));
    this.#loaded.set(key, kernels);
    return kernels;
  }

  blocksPerSm(kernel: LoadedKernel, shape: Shape): number {
    return this.#engine.kernelInfo(kernel.id, shape.threads, shape.sharedBytes).blocksPerSm;
  }

  untouchedBlocksPerSm(kernel: LoadedKernel, shape: Shape): number {
    return this.#engine.kernelInfo(kernel.untouchedId, shape.threads, shape.sharedBytes).blocksPerSm;
  }

  #rewrite(ptx: string, file: string, use: Use, ids: ReadonlyMap<string, number>): Map<string, LoadedKernel> {
    const { shapes, overlaps } = use;
    const pins = new Map<string, Pin>();
    for (const [name, id] of ids) {
      const pin = this.#pin(id, shapes.get(name) ?? []);
      if (pin !== undefined) pins.set(name, pin);
    }
    const request = { ptx, file, kernels: [...ids.keys()], pins, overlaps };
    const plain = this.#loadRewritten({ ...request, level: "block" });
    if ("refused" in plain) return new Map([...ids].map(([name, id]) => [name, whole(id, [plain.refused])]));
    const loop = use.loops ? this.#loadRewritten({ ...request, level: "loop" }) : undefined;
    const kernels = new Map<string, LoadedKernel>();
    for (const [name, untouchedId] of ids) {
      const verdict = plain.result.kernels.get(name);
      const level = verdict?.level;
      if (level !== "block" && level !== "slice") {
        const notes = verdict?.reasons ?? ["the checkpoint compiler does not know it"];
        kernels.set(name, whole(untouchedId, notes));
        continue;
      }
      const id = this.#engine.kernel(plain.module, name);
      if (this.#occupancy(id, shapes.get(name)) === 0) {
        kernels.set(name, whole(untouchedId, ["rewritten, a block of it no longer fits an SM"]));
        continue;
      }
      const notes = level === "slice" ? verdict?.reasons ?? [] : [];
      const kernel: LoadedKernel = { id, untouchedId, level, notes };
      kernels.set(
        name,
        loop === undefined ? kernel : this.#withLoop(kernel, name, loop, shapes.get(name) ?? []),
      );
    }
    return kernels;
  }

  #withLoop(
    kernel: LoadedKernel,
    name: string,
    loop: Rewritten,
    shapes: readonly Shape[],
  ): LoadedKernel {
    const without = (whyNoLoop: string) => ({ ...kernel, whyNoLoop });
    if ("refused" in loop) return without(loop.refused);
    const verdict = loop.result.kernels.get(name);
    if (verdict?.level !== "loop") return without(verdict?.reasons.join("; ") ?? "");
    if (shapes.some(({ threadsX }) => threadsX < LEAST_THREADS_X)) {
      return without(`a block has fewer than ${LEAST_THREADS_X} threads along x`);
    }
    const loopId = this.#engine.kernel(loop.module, name);
    const [before, after] = [this.#occupancy(kernel.untouchedId, shapes), this.#occupancy(loopId, shapes)];
    if (after < before * (1 - LOSS_ALLOWED)) {
      return without(`that leaves ${after} instead of ${before} resident blocks per SM`);
    }
    return { ...kernel, loopId };
  }

  /** Resident blocks per SM at the least favourable of these shapes. */
  #occupancy(id: number, shapes: readonly Shape[] = []): number {
    const each = shapes.map(({ threads, sharedBytes }) =>
      this.#engine.kernelInfo(id, threads, sharedBytes).blocksPerSm
    );
    return Math.min(Infinity, ...each);
  }

  /** A module that the driver refuses only when it is rewritten is our fault, not the user's: its kernels stay as they are. */
  #loadRewritten(request: RewriteRequest): Rewritten {
    const result = this.#checkpoint.rewrite(request);
    try {
      return { result, module: this.#module(result.text) };
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== CONSTANTS.E_MODULE) throw error;
      return { refused: `the driver refuses it when rewritten to level ${request.level}: ${error.reason}` };
    }
  }

  /** The occupancy of the largest shape. The simulator has no ptxas to pin, so there is nothing to measure. */
  #pin(kernel: number, shapes: readonly Shape[]): Pin | undefined {
    if (this.#engine.backend !== "cuda") return undefined;
    const largest = shapes.toSorted((a, b) => b.threads - a.threads || b.sharedBytes - a.sharedBytes)[0];
    if (largest === undefined) return undefined;
    const { blocksPerSm } = this.#engine.kernelInfo(kernel, largest.threads, largest.sharedBytes);
    return blocksPerSm === 0 ? undefined : { minBlocksPerSm: blocksPerSm, maxThreads: largest.threads };
  }

  #untouched(ptx: string, file: string): number {
    try {
      return this.#module(this.#checkpoint.forDriver(ptx, file, this.#engine.device().ptxVersion));
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== CONSTANTS.E_MODULE) throw error;
      throw new InputError({ file, field: "", rule: `must be PTX that the driver takes: ${error.reason}` }, {
        cause: error,
      });
    }
  }

  #module(ptx: string): number {
    let id = this.#modules.get(ptx);
    if (id === undefined) {
      id = this.#engine.loadModule(ptx);
      this.#modules.set(ptx, id);
    }
    return id;
  }
}

function whole(id: number, notes: readonly string[]): LoadedKernel {
  return { id, untouchedId: id, level: "whole", notes };
}
