/**
 * Did the flight go as it must? Judged by the script, which the agent does not know: from what was true, not from what it
 * was told or believed.
 */
import type { Flight } from "./fly.ts";
import { type Moment, momentAt } from "./script.ts";

/** A heartbeat each second, and one turn of the planner. */
const KNOWN_AFTER_S = 1.5;
/** The mission's link timeout, and one turn of the planner. */
const LOST_AFTER_S = 4;
/** `stopBackgroundAbove` says yes again so far below its limit. */
const COOLED_C = 3;
/** What was launched when the plan changed may come to its end. */
const LEAVING_S = 1e-3;
/** Where background may run, most of the GPU's time is its own. */
const AT_LEAST = 0.5;

function mayRun({ armed, landed, systemStatus }: Moment): boolean {
  return !armed || (landed === "in-air" && systemStatus === 4);
}

/** Whether something holds throughout the last `seconds`. */
function standing(atS: number, seconds: number, holds: (moment: Moment) => boolean): boolean {
  if (atS < seconds) return false;
  for (let back = 0; back <= seconds; back += 0.25) if (!holds(momentAt(atS - back))) return false;
  return true;
}

/** Why there must be no background now. `hot`: it was beyond the limit, and has not cooled down since. */
function reasonAgainst(fromS: number, hot: boolean, limits: Flight["limits"]): string | undefined {
  const { batteryPercent = -Infinity } = limits;
  if (standing(fromS, KNOWN_AFTER_S, (moment) => !mayRun(moment))) return momentAt(fromS).label;
  if (standing(fromS, LOST_AFTER_S, ({ linked }) => !linked)) return "no link";
  if (standing(fromS, KNOWN_AFTER_S, (moment) => moment.batteryPercent < batteryPercent)) {
    return "low battery";
  }
  return hot ? "too hot" : undefined;
}

export interface Verdict {
  /** What is wrong; empty: nothing. */
  wrong: string[];
  /** Seconds without background, by why there had to be none. */
  stoppedS: Record<string, number>;
  /** Background's share while cruising with nothing against it. */
  cruisingShare: number;
}

export function judge({ ticks, responses, summary, deadlineMs, limits }: Flight): Verdict {
  const wrong: string[] = [];
  const stoppedS: Record<string, number> = {};
  const limitC = limits.temperatureC ?? Infinity;
  let freeS = 0;
  let usedS = 0;
  let hot = false;
  let stopped = false;
  for (const tick of ticks) {
    const lastS = tick.toS - tick.fromS;
    const celsius = tick.conditions.temperatureC ?? Infinity;
    hot = celsius > limitC || (hot && celsius > limitC - COOLED_C);
    const reason = reasonAgainst(tick.fromS, hot, limits);
    const runningS = stopped ? 0 : LEAVING_S;
    stopped = reason !== undefined;
    if (reason !== undefined) {
      stoppedS[reason] = (stoppedS[reason] ?? 0) + lastS;
      if (tick.background * lastS > runningS) {
        wrong.push(
          `${tick.fromS.toFixed(2)} s: ${reason}, yet background had ${(tick.background * 100).toFixed(1)} %`,
        );
      }
      continue;
    }
    const good = (moment: Moment) => moment.armed && moment.linked && mayRun(moment);
    if (!standing(tick.fromS, LOST_AFTER_S, good) || tick.conditions.phase !== "cruising") continue;
    if ((tick.conditions.batteryPercent ?? 0) < (limits.batteryPercent ?? 0)) continue;
    freeS += lastS;
    usedS += lastS * tick.background;
  }
  for (const [name, task] of Object.entries(summary.critical)) {
    if (task.misses > 0) wrong.push(`${name}: ${task.misses} of ${task.requests} deadlines were missed`);
  }
  const slow = responses.filter(({ ms }) => ms > deadlineMs);
  if (slow.length > 0) wrong.push(`${slow.length} responses took more than ${deadlineMs} ms`);
  if (responses.length === 0) wrong.push("there was no critical request");
  const cruisingShare = freeS === 0 ? 0 : usedS / freeS;
  if (cruisingShare < AT_LEAST) {
    wrong.push(`while cruising, background had ${(cruisingShare * 100).toFixed(0)} % of the GPU only`);
  }
  return { wrong, stoppedS, cruisingShare };
}
