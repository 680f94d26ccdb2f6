/**
 * A file system in memory whose power can be cut at every step, and in the middle of one.
 *
 * A write or an append of n bytes is n + 1 steps, any other change is one. What a cut leaves is asked for afterwards, since
 * a disk has a choice there: everything, only what was synced, or anything in between.
 */
import type { StoreFiles } from "../../../agent/store/store_files.ts";

export class PowerCut extends Error {}

/** 0 <= value < 1. */
export type Random = () => number;

/** mulberry32: small and the same everywhere. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Inode {
  data: Uint8Array;
  synced: Uint8Array;
}

type NameChange = [name: string, inode: Inode | undefined][];

const EMPTY = new Uint8Array();

export class CrashFiles implements StoreFiles {
  /** Steps until the power goes. */
  stepsLeft = Infinity;
  steps = 0;
  /** Bytes that all files may take together. */
  capacityBytes = Infinity;
  readOnly = false;
  #names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #pending: NameChange[] = [];

  static of(files: ReadonlyMap<string, Uint8Array>): CrashFiles {
    const made = new CrashFiles();
    for (const [name, data] of files) made.#names.set(name, { data, synced: data });
    made.#durable = new Map(made.#names);
    return made;
  }

  contents(): Map<string, Uint8Array> {
    return new Map([...this.#names].map(([name, { data }]) => [name, data]));
  }

  list(): Promise<string[]> {
    return this.#act(() => [...this.#names.keys()]);
  }

  read(name: string): Promise<Uint8Array | undefined> {
    return this.#act(() => this.#names.get(name)?.data.slice());
  }

  write(name: string, bytes: Uint8Array): Promise<void> {
    return this.#act(() => {
      this.#step();
      const old = this.#names.get(name);
      const inode = old ?? this.#make(name);
      inode.data = EMPTY;
      this.#add(inode, bytes);
    });
  }

  append(name: string, bytes: Uint8Array): Promise<void> {
    return this.#act(() => {
      this.#step();
      this.#add(this.#names.get(name) ?? this.#make(name), bytes);
    });
  }

  sync(name: string): Promise<void> {
    return this.#act(() => {
      const inode = this.#names.get(name);
      if (inode === undefined) throw new Error(`no such file: ${name}`);
      this.#step();
      inode.synced = inode.data;
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#act(() => {
      const inode = this.#names.get(from);
      if (inode === undefined) throw new Error(`no such file: ${from}`);
      this.#step();
      this.#change([[to, inode], [from, undefined]]);
    });
  }

  remove(name: string): Promise<void> {
    return this.#act(() => {
      this.#step();
      if (this.#names.has(name)) this.#change([[name, undefined]]);
    });
  }

  syncFolder(): Promise<void> {
    return this.#act(() => {
      this.#step();
      this.#durable = new Map(this.#names);
      this.#pending = [];
    });
  }

  /** The process died, the machine did not. */
  afterKill(): CrashFiles {
    return CrashFiles.of(this.contents());
  }

  /** Nothing stayed but what was synced. */
  afterHardCut(): CrashFiles {
    return CrashFiles.of(new Map([...this.#durable].map(([name, { synced }]) => [name, synced])));
  }

  /** Some of what was not synced stayed, and some of that is rubbish. */
  afterCut(random: Random): CrashFiles {
    const names = new Map(this.#durable);
    for (const change of this.#pending) {
      if (random() < 0.5) continue;
      for (const [name, inode] of change) {
        if (inode === undefined) names.delete(name);
        else names.set(name, inode);
      }
    }
    return CrashFiles.of(new Map([...names].map(([name, inode]) => [name, torn(inode, random)])));
  }

  #act<T>(change: () => T): Promise<T> {
    try {
      return Promise.resolve(change());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #step(): void {
    if (this.readOnly) throw new Deno.errors.PermissionDenied("Read-only file system (os error 30)");
    if (this.stepsLeft <= 0) throw new PowerCut("the power is off");
    this.stepsLeft--;
    this.steps++;
  }

  #make(name: string): Inode {
    const inode = { data: EMPTY, synced: EMPTY };
    this.#change([[name, inode]]);
    return inode;
  }

  #change(change: NameChange): void {
    for (const [name, inode] of change) {
      if (inode === undefined) this.#names.delete(name);
      else this.#names.set(name, inode);
    }
    this.#pending.push(change);
  }

  #add(inode: Inode, bytes: Uint8Array): void {
    const used = [...this.#names.values()].reduce((sum, { data }) => sum + data.length, 0);
    const room = Math.max(0, this.capacityBytes - used);
    const taken = Math.min(bytes.length, room, this.stepsLeft);
    this.stepsLeft -= taken;
    this.steps += taken;
    const data = new Uint8Array(inode.data.length + taken);
    data.set(inode.data);
    data.set(bytes.subarray(0, taken), inode.data.length);
    inode.data = data;
    if (taken === bytes.length) return;
    if (taken === room) throw new Error("No space left on device (os error 28)");
    throw new PowerCut("the power is off");
  }
}

function torn({ data, synced }: Inode, random: Random): Uint8Array {
  const grew = data.length >= synced.length && synced.every((byte, index) => byte === data[index]);
  if (!grew && random() < 0.5) return synced;
  const kept = grew ? synced.length : 0;
  const length = kept + Math.floor(random() * (data.length - kept + 1));
  const bytes = data.slice(0, length);
  // Blocks that were allocated and not written read as zeros, or as whatever lay there.
  for (let at = kept; at < length; at++) {
    const chance = random();
    if (chance < 0.02) bytes[at] = 0;
    else if (chance < 0.03) bytes[at] = Math.floor(random() * 256);
  }
  return bytes;
}

/** Says where each of its operations began and where the middle of each write lay. */
export class MarkedFiles extends CrashFiles {
  readonly marks: number[] = [];
  override write(name: string, bytes: Uint8Array): Promise<void> {
    this.marks.push(this.steps, this.steps + Math.floor(bytes.length / 2));
    return super.write(name, bytes);
  }
  override sync(name: string): Promise<void> {
    this.marks.push(this.steps);
    return super.sync(name);
  }
  override rename(from: string, to: string): Promise<void> {
    this.marks.push(this.steps);
    return super.rename(from, to);
  }
  override syncFolder(): Promise<void> {
    this.marks.push(this.steps);
    return super.syncFolder();
  }
}
