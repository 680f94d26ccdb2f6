/**
 * Which kernels of a module run at which level, and at which occupancy?
 *
 * Loads a module as it is and, for background work, rewritten by the checkpoint compiler: every kernel that is
 * proven safe gets level `block`, the others stay `whole` with the reason in words. On a GPU the occupancy of the untouched
 * kernel is measured first and the rewritten one is pinned to it, because ptxas otherwise picks another register target
 * (docs/PREEMPTION.md). Each text is loaded once per engine.
 */
import { CONSTANTS } from "../ffi/abi.ts";
import type { Engine } from "../ffi/engine.ts";
import { EngineError } from "../ffi/errors.ts";
import type { CheckpointCompiler, Pin } from "./checkpoint.ts";
import { InputError } from "./errors.ts";

/** One launch shape, as far as occupancy is concerned. */
export interface Shape {
  threads: number;
  sharedBytes: number;
}

export interface LoadedKernel {
  /** Engine id of the kernel to launch. */
  id: number;
  /** Engine id of the kernel as the bundle has it. */
  untouchedId: number;
  level: "whole" | "block";
  notes: readonly string[];
}

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

  /** The kernels named in `shapes`; `file` is for messages. Throws `InputError` if the driver refuses the module. */
  load(
    ptx: string,
    file: string,
    shapes: ReadonlyMap<string, readonly Shape[]>,
    preemptible: boolean,
  ): ReadonlyMap<string, LoadedKernel> {
    const key = JSON.stringify([preemptible, [...shapes], ptx]);
    const known = this.#loaded.get(key);
    if (known !== undefined) return known;
    const untouched = this.#untouched(ptx, file);
    const ids = new Map([...shapes.keys()].map((name) => [name, this.#engine.kernel(untouched, name)]));
    const kernels = preemptible
      ? this.#rewrite(ptx, file, shapes, ids)
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

  #rewrite(
    ptx: string,
    file: string,
    shapes: ReadonlyMap<string, readonly Shape[]>,
    ids: ReadonlyMap<string, number>,
  ): Map<string, LoadedKernel> {
    const pins = new Map<string, Pin>();
    for (const [name, id] of ids) {
      const pin = this.#pin(id, shapes.get(name) ?? []);
      if (pin !== undefined) pins.set(name, pin);
    }
    const rewritten = this.#checkpoint.rewrite(ptx, file, [...ids.keys()], pins);
    const kernels = new Map<string, LoadedKernel>();
    for (const [name, untouchedId] of ids) {
      const verdict = rewritten.kernels.get(name);
      if (verdict?.level !== "block") {
        kernels.set(
          name,
          whole(untouchedId, verdict?.reasons ?? ["the checkpoint compiler does not know it"]),
        );
        continue;
      }
      const id = this.#engine.kernel(this.#module(rewritten.text), name);
      const fits = (shapes.get(name) ?? []).every((shape) =>
        this.#engine.kernelInfo(id, shape.threads, shape.sharedBytes).blocksPerSm > 0
      );
      kernels.set(
        name,
        fits
          ? { id, untouchedId, level: "block", notes: verdict.reasons }
          : whole(untouchedId, ["rewritten, a block of it no longer fits an SM"]),
      );
    }
    return kernels;
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
      return this.#module(ptx);
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
