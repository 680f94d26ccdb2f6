/**
 * How do many small files come back from a machine that gives back few, each of a bounded size? Tar files that are kept whole
 * after each cell: what kills the harness costs the cell that is under way. Only cells of this call are in them.
 */
import { path } from "../../agent/std/mod.ts";

/** Of one file, before the next is begun; with the largest cell still below 16 MiB. */
const FULL_BYTES = 11 * 2 ** 20;
/** All that there may be. */
const MOST_FILES = 6;

export class Archive {
  readonly #from: string;
  readonly #to: string;
  readonly #fullBytes: number;
  #file = 1;
  #names: string[] = [];
  #bytes = 0;

  private constructor(from: string, to: string, fullBytes: number) {
    this.#from = from;
    this.#to = to;
    this.#fullBytes = fullBytes;
  }

  /** `from`: a run's folder. `to`: made if it is not there. */
  static async open(from: string, to: string, fullBytes = FULL_BYTES): Promise<Archive> {
    await Deno.mkdir(to, { recursive: true });
    return new Archive(from, path.resolve(to), fullBytes);
  }

  /** Adds a file of the run's folder. Throws with tar's words. */
  async add(name: string): Promise<void> {
    const { size } = await Deno.stat(path.join(this.#from, name));
    if (this.#names.length > 0 && this.#bytes + size > this.#fullBytes && this.#file < MOST_FILES) {
      this.#file++;
      this.#names = [];
      this.#bytes = 0;
    }
    this.#names.push(name);
    this.#bytes += size;
    await this.#write();
  }

  /** Small files of the run's folder, as far as they are there, into a file of their own. */
  async rest(): Promise<void> {
    await this.#tar("run.tar", [
      "run.json",
      "sharing.json",
      "failed.json",
      "preemption.json",
      "figures.json",
    ]);
  }

  async #write(): Promise<void> {
    await this.#tar(`cells-${this.#file}.tar`, this.#names);
    await this.rest();
  }

  async #tar(name: string, names: readonly string[]): Promise<void> {
    const there: string[] = [];
    for (const one of names) {
      if (await exists(path.join(this.#from, one))) there.push(one);
    }
    if (there.length === 0) return;
    const file = path.join(this.#to, name);
    const args = ["-C", this.#from, "-cf", `${file}.part`, ...there];
    const { success, stderr } = await new Deno.Command("tar", { args, stdin: "null" }).output();
    if (!success) throw new Error(`tar failed: ${new TextDecoder().decode(stderr).trim()}`);
    await Deno.rename(`${file}.part`, file);
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    return (await Deno.stat(file)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
