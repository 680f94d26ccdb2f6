/** What is an engine while it is loaded? Each loading call goes to it and into the journal, or into the journal alone. */
import type { IsolatedJob, KernelInfo, OutputRing, WorkKind, WorkSpec } from "../../ffi/engine.ts";
import type { PluginInfo, PluginSpec, PluginStep } from "../../ffi/plugin.ts";
import type { NativeEngine } from "../../ffi/mod.ts";
import { LoadJournal } from "./journal.ts";

export abstract class LoadedEngine {
  protected readonly journal = new LoadJournal();
  /** The engine at present. */
  protected abstract readonly native: NativeEngine;
  /** False: the engine is loaded already, with what comes now. */
  protected abstract readonly loading: boolean;

  loadModule(ptx: string): number {
    return this.#load("module", () => this.journal.loadModule(ptx));
  }

  kernel(module: number, name: string): number {
    const known = this.journal.knownKernel(module, name);
    return known ?? this.#load("kernel", () => this.journal.kernel(module, name));
  }

  kernelInfo(kernel: number, threads: number, sharedBytes: number): KernelInfo {
    return this.native.kernelInfo(kernel, threads, sharedBytes);
  }

  createBuffer(sizeBytes: number): number {
    return this.#load("buffer", () => this.journal.createBuffer(sizeBytes));
  }

  writeBuffer(buffer: number, offset: number, data: Uint8Array): void {
    this.#load(undefined, () => this.journal.writeBuffer(buffer, offset, data));
  }

  readBuffer(buffer: number, offset: number, sizeBytes: number): Uint8Array {
    return this.native.readBuffer(buffer, offset, sizeBytes);
  }

  plugin(spec: PluginSpec): number {
    return this.#load("plugin", () => this.journal.plugin(spec));
  }

  pluginInfo(plugin: number): PluginInfo {
    return this.native.pluginInfo(plugin);
  }

  pluginStep(plugin: number, step: number): PluginStep {
    return this.native.pluginStep(plugin, step);
  }

  addFrames(data: Uint8Array, frameBytes: number, count: number): number {
    return this.#load("frames", () => this.journal.addFrames(data, frameBytes, count));
  }

  socket(path: string): number {
    return this.#load("channel", () => this.journal.socket(path));
  }

  ringInput(path: string): number {
    return this.#load("channel", () => this.journal.ringInput(path));
  }

  external(path: string): number {
    return this.#load("channel", () => this.journal.external(path));
  }

  ringOutput(ring: OutputRing): number {
    return this.#load("channel", () => this.journal.ringOutput(ring));
  }

  addWork(spec: WorkSpec): number {
    const id = this.#load(spec.kind, () => this.journal.addWork(spec));
    this.native.expectWork(id, spec);
    return id;
  }

  runOnce(kind: WorkKind, work: number, input: Uint8Array): { output: Uint8Array; durationNs: number } {
    return this.native.runOnce(kind, work, input);
  }

  checkSurplus(job: number, input: Uint8Array, launches: number): number {
    return this.native.checkSurplus(job, input, launches);
  }

  isolatedOf(): IsolatedJob {
    return this.native.isolatedOf();
  }

  /** A function: what is known of the job is asked for when an engine is loaded with it. */
  addIsolated(job: IsolatedJob | (() => IsolatedJob), page: string): number {
    const known = typeof job === "function" ? job : () => job;
    return this.#load("background", () => this.journal.addIsolated(known, page));
  }

  #load<T extends number | void>(kind: Parameters<LoadJournal["forgetLast"]>[0], record: () => T): T {
    const given = record();
    if (!this.loading) return given;
    try {
      this.journal.runLast(this.native);
      return given;
    } catch (error) {
      this.journal.forgetLast(kind);
      throw error;
    }
  }
}
