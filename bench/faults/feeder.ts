/**
 * Who drops files into a directory queue, and what became of them?
 *
 * Files are written elsewhere and renamed in, a few ahead of the job. Afterwards each must be acknowledged exactly once:
 * in `done`, in `failed` with a reason, or still waiting; and what is in `done` must have a result.
 */
import { path } from "../../agent/std/mod.ts";
import { inputOf } from "./missions.ts";

const AHEAD = 12;
const EVERY_MS = 50;

export class Feeder {
  readonly #dir: string;
  readonly #aside: string;
  #next = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Names of all that were dropped. */
  readonly dropped: string[] = [];

  constructor(dir: string) {
    this.#dir = dir;
    this.#aside = `${dir}-aside`;
    Deno.mkdirSync(dir, { recursive: true });
    Deno.mkdirSync(this.#aside, { recursive: true });
  }

  start(): void {
    const fill = () => {
      for (let missing = AHEAD - this.waiting().length; missing > 0; missing--) this.drop(0);
    };
    fill();
    this.#timer = setInterval(fill, EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Returns the file's name. */
  drop(trigger: number): string {
    const name = `u${String(this.#next).padStart(6, "0")}${trigger === 0 ? "" : "-bad"}.raw`;
    const aside = path.join(this.#aside, name);
    Deno.writeFileSync(aside, inputOf(trigger, this.#next++));
    Deno.renameSync(aside, path.join(this.#dir, name));
    this.dropped.push(name);
    return name;
  }

  /** An operator takes a file away that does harm. */
  takeAway(name: string): void {
    try {
      Deno.removeSync(path.join(this.#dir, name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    const at = this.dropped.indexOf(name);
    if (at >= 0) this.dropped.splice(at, 1);
  }

  waiting(): string[] {
    return names(this.#dir);
  }

  /** Files that are in no state, or in more than one; and those in `done` that no result names. */
  account(
    results: ReadonlySet<string>,
  ): { dropped: number; done: number; failed: number; waiting: number; odd: string[] } {
    const waiting = new Set(this.waiting());
    const done = new Set(names(path.join(this.#dir, "done")));
    const failed = new Set(
      names(path.join(this.#dir, "failed")).filter((name) => !name.endsWith(".reason.json")),
    );
    const odd = this.dropped.filter((name) => {
      const states = [waiting, done, failed].filter((state) => state.has(name)).length;
      const answered = !done.has(name) || results.size === 0 ||
        [...results].some((result) => result.includes(name));
      return states !== 1 || !answered;
    });
    return { dropped: this.dropped.length, done: done.size, failed: failed.size, waiting: waiting.size, odd };
  }
}

function names(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].filter(({ isFile }) => isFile).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
