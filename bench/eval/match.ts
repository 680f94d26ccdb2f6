/** Which answer belongs to which scheduled arrival? Pure. */

export interface Answer {
  /** Scheduled, by the window's clock: from its beginning. */
  atNs: number;
  launchNs: number;
  doneNs: number;
  dropped: boolean;
}

export const DROPPED = -1;
export const UNFINISHED = -2;

export interface Matched {
  /** -1: never launched. */
  launchNs: number[];
  /** `DROPPED`, `UNFINISHED`, or when it was complete. */
  doneNs: number[];
  /** Answers within the window that no arrival is near. */
  unmatched: number;
}

/**
 * For each arrival the answer whose scheduled time lies nearest, at most `toleranceNs` away, each once. `arrivalsNs` and the
 * answers must be ascending by time.
 */
export function match(
  arrivalsNs: readonly number[],
  answers: readonly Answer[],
  toleranceNs: number,
): Matched {
  const launchNs = arrivalsNs.map(() => -1);
  const doneNs = arrivalsNs.map(() => UNFINISHED as number);
  let unmatched = 0, next = 0;
  for (const { atNs, launchNs: launched, doneNs: done, dropped } of answers) {
    while (next < arrivalsNs.length && arrivalsNs[next]! < atNs - toleranceNs) next++;
    if (next < arrivalsNs.length && Math.abs(arrivalsNs[next]! - atNs) <= toleranceNs) {
      launchNs[next] = dropped ? -1 : launched;
      doneNs[next] = dropped ? DROPPED : done;
      next++;
    } else if (atNs >= 0 && atNs <= (arrivalsNs.at(-1) ?? -1)) unmatched++;
  }
  return { launchNs, doneNs, unmatched };
}
