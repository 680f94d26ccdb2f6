/**
 * Which misses fell into times when somebody else used the GPU, and may attainment be claimed?
 *
 * Attainment is the share of requests that were on time. It says something about this agent only if all who use the GPU are accounted
 * for: seen and named in the mission, or, where they cannot be seen, declared there. Pure: sightings and counts come
 * as arguments, in the order of time. Misses between two looks count as somebody's who was there at either.
 */
import type { Logger } from "../log.ts";
import type { GpuUser, Sighting } from "./foreign.ts";

export interface ForeignUser extends GpuUser {
  /** The mission names it. */
  declared: boolean;
}

/** Plain JSON, for the status and the summary. */
export interface ForeignReport {
  /** Those who were there at the last look. */
  users: ForeignUser[];
  /** Why there may be more; `null`: these are all. */
  unknown: string | null;
  /** What the mission declares; `null`: it does not say. */
  declared: readonly string[] | null;
  /** Requests that missed while one of them was there. */
  missesMeanwhile: number;
  /** The same for each name that was ever seen; two at a time both have them. */
  byName: Record<string, { declared: boolean; missesMeanwhile: number }>;
  /** Why no attainment is claimed for this run; `null`: it is. */
  withheld: string | null;
}

/** What NVML and /proc/PID/comm give of a name, which the kernel cuts off. */
const COMM_CHARACTERS = 15;

export class ForeignAccounts {
  readonly #declared: readonly string[] | undefined;
  readonly #log: Logger;
  #users: ForeignUser[] = [];
  #unknown: string | undefined;
  #blindOnce: string | undefined;
  /** At the last look; `undefined`: there was none. */
  #misses: number | undefined;
  #looks = 0;
  #missesMeanwhile = 0;
  readonly #byName = new Map<string, { declared: boolean; missesMeanwhile: number }>();
  #said = "";

  /** `declared`: of the mission. */
  constructor(declared: readonly string[] | undefined, log: Logger) {
    this.#declared = declared;
    this.#log = log;
  }

  /** One look. `misses`: of all critical tasks since the start. */
  take({ users, blind }: Sighting, misses: number): void {
    const before = this.#users;
    this.#looks++;
    this.#users = users.map((user) => ({ ...user, declared: this.#isDeclared(user.name) }));
    this.#unknown = blind;
    this.#blindOnce ??= blind;
    for (const { name, declared } of this.#users) {
      if (!this.#byName.has(name)) this.#byName.set(name, { declared, missesMeanwhile: 0 });
    }
    this.#attribute(misses, [...before, ...this.#users]);
    this.#say();
  }

  /** At the end of the run: who was there at the last look was there until now. */
  settle(misses: number): void {
    this.#attribute(misses, this.#users);
  }

  report(): ForeignReport {
    return {
      users: this.#users.map((user) => ({ ...user })),
      unknown: this.#unknown ?? null,
      declared: this.#declared ?? null,
      missesMeanwhile: this.#missesMeanwhile,
      byName: Object.fromEntries([...this.#byName].map(([name, counts]) => [name, { ...counts }])),
      withheld: this.#withheld() ?? null,
    };
  }

  #attribute(misses: number, users: readonly GpuUser[]): void {
    // Before the first look nobody knows who was there.
    const missed = Math.max(0, misses - (this.#misses ?? misses));
    this.#misses = misses;
    const there = new Set(users.map(({ name }) => name));
    if (there.size > 0) this.#missesMeanwhile += missed;
    for (const name of there) this.#byName.get(name)!.missesMeanwhile += missed;
  }

  #withheld(): string | undefined {
    const unnamed = [...this.#byName].filter(([, { declared }]) => !declared).map(([name]) => name);
    if (unnamed.length > 0) {
      return `${unnamed.join(", ")} used the GPU too, which device.foreign does not name`;
    }
    // A declaration stands for what cannot be seen.
    if (this.#declared !== undefined) return undefined;
    if (this.#blindOnce !== undefined) {
      return `other users of the GPU are not known: ${this.#blindOnce}; device.foreign can declare them, [] that there are none`;
    }
    return this.#looks === 0 ? "nobody has looked yet for other users of the GPU" : undefined;
  }

  #isDeclared(name: string): boolean {
    return this.#declared?.some((declared) => cut(declared) === cut(name)) === true;
  }

  /** Once for each change. */
  #say(): void {
    const names = this.#users.map(({ name, declared }) => `${name}${declared ? "" : " (not declared)"}`);
    const text = [...new Set(names)].sort().join(", ");
    if (text === this.#said) return;
    this.#said = text;
    const fields = { event: "foreign" };
    if (text === "") this.#log.info("nobody else uses the GPU any more", fields);
    else this.#log.warn(`the GPU is also used by ${text}`, fields);
  }
}

function cut(name: string): string {
  return name.slice(0, COMM_CHARACTERS);
}

/** Share of requests on time, 0..1; `null`: there were none, or it is not claimed. No report: nobody else can be there. */
export function attainmentOf(
  { requests, late, dropped, failed }: { requests: number; late: number; dropped: number; failed: number },
  report: ForeignReport | undefined,
): number | null {
  if (requests === 0 || (report !== undefined && report.withheld !== null)) return null;
  return Math.max(0, Number((1 - (late + dropped + failed) / requests).toFixed(6)));
}
