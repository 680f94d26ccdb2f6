/**
 * Which input of a queue kills its job's process?
 *
 * Pure: it hears of deaths and of completed units, and says which file is to be given next. What was there at a death is a suspect
 * and is given alone from then on. One that was alone at a death waits until another input has been completed: a job that dies
 * over everything is to blame itself, and none of its inputs. Guilty is what was alone at two deaths, with a completed unit
 * in between; or, where nothing else is there to be tried, one of a job that has worked since the last guilty one.
 */

export interface InputName {
  name: string;
  /** See `QueueUnit`: another content under the same name is another input. */
  id: string;
}

export interface Suspect extends InputName {
  /** Deaths at which nothing else was under way. */
  lone: number;
  /** Another input was completed since the first of those: it is not the job. */
  jobWorks: boolean;
  guilty: boolean;
}

/** As JSON keeps it. */
export interface SuspectsState {
  suspects: Suspect[];
  /** A unit was completed since the last guilty one. */
  worked: boolean;
}

/** Keeps what is known of a job's inputs over restarts. Both return at once; `keep` begins to write at once. */
export interface SuspectsKeeper {
  suspectsOf(job: string, dir: string): SuspectsState | undefined;
  keepSuspects(job: string, dir: string, state: SuspectsState): void;
}

/** A unit with which the job's process died so often, while it was the only one there, is guilty. */
const MOST_DEATHS = 2;

export class InputSuspects {
  readonly #byName = new Map<string, Suspect>();
  #worked: boolean;
  readonly #changed: (state: SuspectsState) => void;

  /** `changed` is called with the state after each change of it. */
  constructor(state: SuspectsState | undefined, changed: (state: SuspectsState) => void = () => {}) {
    for (const suspect of state?.suspects ?? []) this.#byName.set(suspect.name, { ...suspect });
    this.#worked = state?.worked ?? false;
    this.#changed = changed;
  }

  /** The process died, with these under way. `sure`: over one of them, as far as anybody can tell. */
  died(underWay: readonly InputName[], sure: boolean): void {
    if (underWay.length === 0) return;
    for (const { name, id } of underWay) {
      const before = this.#byName.get(name);
      const suspect = before?.id === id ? before : { name, id, lone: 0, jobWorks: false, guilty: false };
      if (sure && underWay.length === 1) suspect.lone++;
      suspect.guilty ||= suspect.lone >= MOST_DEATHS && suspect.jobWorks;
      this.#byName.set(name, suspect);
    }
    this.#changed(this.#state());
  }

  /** The job has completed a unit of this input. */
  completed({ name, id }: InputName): void {
    let changed = !this.#worked;
    this.#worked = true;
    if (this.#byName.get(name)?.id === id) changed = this.#byName.delete(name) || changed;
    for (const suspect of this.#byName.values()) {
      if (suspect.lone === 0 || suspect.jobWorks) continue;
      changed = suspect.jobWorks = true;
    }
    if (changed) this.#changed(this.#state());
  }

  /** The guilty one is put away: what the job has done until now proves nothing of what comes. */
  putAway(name: string): void {
    this.#byName.delete(name);
    this.#worked = false;
    this.#changed(this.#state());
  }

  /** This input is there under that name now. Returns what is known of it. */
  look({ name, id }: InputName): Suspect | undefined {
    const suspect = this.#byName.get(name);
    if (suspect === undefined || suspect.id === id) return suspect;
    this.#byName.delete(name);
    this.#changed(this.#state());
    return undefined;
  }

  /** Forgets those whose files are gone. Returns the names of those that were guilty. */
  retain(present: ReadonlySet<string>): string[] {
    const gone = [...this.#byName.values()].filter(({ name }) => !present.has(name));
    for (const { name } of gone) this.#byName.delete(name);
    if (gone.length > 0) this.#changed(this.#state());
    return gone.filter(({ guilty }) => guilty).map(({ name }) => name);
  }

  /**
   * Which of `names` comes next, as an index, beside those under way; a guilty one is not to be run but put away. `undefined`: wait
   * for what is under way. `names` has at least one and none that is under way.
   */
  pick(names: readonly string[], underWay: readonly string[]): number | undefined {
    if (this.#byName.size === 0) return 0;
    const of = (name: string) => this.#byName.get(name);
    const find = (test: (suspect: Suspect) => boolean) =>
      names.findIndex((name) => {
        const suspect = of(name);
        return suspect !== undefined && test(suspect);
      });
    const guilty = find((suspect) => suspect.guilty);
    if (guilty >= 0) return guilty;
    const first = find(() => true);
    const isFree = underWay.length === 0;
    if (first < 0) return underWay.some((name) => of(name) !== undefined) ? undefined : 0;
    if (!isFree) return undefined;
    const tried = find(({ lone, jobWorks }) => lone > 0 && jobWorks);
    if (tried >= 0) return tried;
    const untried = find(({ lone }) => lone > 0);
    if (untried < 0) return first;
    return this.#other(names) ?? this.#alone(names, untried);
  }

  /** What shows whether the job works: far from the suspects, as bad inputs come in a row. */
  #other(names: readonly string[]): number | undefined {
    const clean = names.findLastIndex((name) => !this.#byName.has(name));
    if (clean >= 0) return clean;
    const other = names.findLastIndex((name) => this.#byName.get(name)?.lone === 0);
    return other < 0 ? undefined : other;
  }

  #alone(names: readonly string[], at: number): number {
    const suspect = this.#byName.get(names[at]!)!;
    // Several that killed, and none that works: that is the job.
    const isOnly = ![...this.#byName.values()].some((other) => other !== suspect && other.lone > 0);
    if (suspect.lone >= MOST_DEATHS && this.#worked && isOnly) {
      suspect.guilty = true;
      this.#changed(this.#state());
    }
    return at;
  }

  #state(): SuspectsState {
    return { suspects: [...this.#byName.values()].map((suspect) => ({ ...suspect })), worked: this.#worked };
  }
}

/** Throws `TypeError` if `value` is not what `changed` was given. */
export function parseSuspects(value: unknown): SuspectsState {
  const { suspects, worked } = (value ?? {}) as Record<string, unknown>;
  const good = typeof worked === "boolean" && Array.isArray(suspects) &&
    suspects.every((suspect) =>
      typeof suspect?.name === "string" && typeof suspect.id === "string" && Number.isInteger(suspect.lone) &&
      typeof suspect.jobWorks === "boolean" && typeof suspect.guilty === "boolean"
    );
  if (!good) throw new TypeError("it is no list of inputs under suspicion");
  return { suspects, worked };
}
