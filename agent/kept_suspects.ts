/**
 * What is known of the inputs of all queues, over restarts?
 *
 * One section of the store, written as a whole. It counts for the same job with the same bundle and folder only: with another
 * bundle an input that killed may be a good one.
 */
import { parseSuspects, type SuspectsKeeper, type SuspectsState } from "./input_suspects.ts";
import type { Store } from "./store/store.ts";
import { path } from "./std/mod.ts";

const NAME = "suspects";
const VERSION = 1;

interface Kept {
  job: string;
  digest: string;
  dir: string;
  state: SuspectsState;
}

export class KeptSuspects implements SuspectsKeeper {
  readonly #store: Pick<Store, "writer">;
  readonly #digests: ReadonlyMap<string, string>;
  readonly #kept: Map<string, Kept>;

  private constructor(
    store: Pick<Store, "writer">,
    digests: ReadonlyMap<string, string>,
    kept: readonly Kept[],
  ) {
    this.#store = store;
    this.#digests = digests;
    this.#kept = new Map(kept.map((each) => [each.job, each]));
  }

  /** `digests`: of the bundles of all jobs there are, by their names. Never rejects. */
  static async of(
    store: Pick<Store, "sections" | "writer">,
    digests: ReadonlyMap<string, string>,
  ): Promise<KeptSuspects> {
    const kept = await store.sections.readJson(NAME, VERSION, parse) ?? [];
    return new KeptSuspects(store, digests, kept.filter(({ job, digest }) => digests.get(job) === digest));
  }

  suspectsOf(job: string, dir: string): SuspectsState | undefined {
    const kept = this.#kept.get(job);
    return kept?.dir === path.resolve(dir) ? kept.state : undefined;
  }

  keepSuspects(job: string, dir: string, state: SuspectsState): void {
    const digest = this.#digests.get(job) ?? "";
    this.#kept.set(job, { job, digest, dir: path.resolve(dir), state });
    this.#store.writer.putJson(NAME, VERSION, [...this.#kept.values()]);
    void this.#store.writer.flush();
  }
}

function parse(value: unknown): Kept[] {
  if (!Array.isArray(value)) throw new TypeError("it is no list of queues");
  return value.map(({ job, digest, dir, state }) => {
    if ([job, digest, dir].some((text) => typeof text !== "string")) {
      throw new TypeError("it is no list of queues");
    }
    return { job, digest, dir, state: parseSuspects(state) };
  });
}
