/** How is an explanation put into words, and what would help? */
import { formatDurationNs } from "../quantity.ts";
import type { Ahead, Cause, Explanation, Part } from "./explain.ts";

/** Others are counted. */
const MOST_AHEAD = 3;

/** What it is, in a few words without a period. */
export function partText({ cause, ahead = [], job, clockKeys, users = [] }: Part): string {
  switch (cause) {
    case "sensor":
      return "from the sensor's time until it arrived";
    case "queueing":
      return ahead.length === 0 ? "other critical requests had the GPU" : `behind ${aheadText(ahead)}`;
    case "deferral":
      return "it let background come to its end (yield: when-needed)";
    case "host":
      return "the GPU was free for it, and the host had not launched it yet";
    case "drain":
      return job === undefined ? "background had to leave first" : `${job} had to leave first`;
    case "work":
      return "its own work, as long as it takes";
    case "clocks":
      return clockKeys === undefined
        ? "slower clocks"
        : `slower clocks (power mode ${clockKeys[0]}; faster in ${clockKeys[1]})`;
    case "foreign":
      return `longer than others around it, while ${users.join(", ")} used the GPU too`;
    case "fault":
      return "until it failed";
    case "slow":
      return "longer than others around it; nothing that was recorded accounts for it";
  }
}

function aheadText(ahead: readonly Ahead[]): string {
  const shown = ahead.slice(0, MOST_AHEAD).map(({ task, number, ns }) =>
    `${task}/${number} (${formatDurationNs(ns)})`
  );
  const left = ahead.length - shown.length;
  return shown.join(", ") + (left > 0 ? ` and ${left} more` : "");
}

const REMEDIES: Readonly<Record<Cause, string>> = {
  sensor: "shorten the way from the sensor to the agent, or count the deadline from arrival",
  queueing: "explain the request that it waited for; else lower rates, or give shorter work the GPU",
  deferral: "set yield: always for this task",
  host: "give the engine real-time priority and locked memory; calypte doctor says whether it may have them",
  drain: "set anticipate: true for this task, lower preemptionBound, or take smaller blocks in that job",
  work: "lengthen the deadline or shorten the work: the deadline is shorter than the execution alone",
  clocks: "hold the clocks, cool the board, or choose a power mode that lasts; calypte board shows them",
  foreign: "move that program off the GPU while this mission runs, or allow for it in the deadline",
  fault: "see calypte events, and the engine's messages",
  slow: "look for other programs on the GPU, and at clocks and temperatures: calypte board, calypte doctor",
};

export function remedyOf(cause: Cause): string {
  return REMEDIES[cause];
}

/** One line without its end, such as "detector/17 was late by 2.1 ms: …". */
export function headline({ id, outcome, totalNs, allowedNs, cause, parts }: Explanation): string {
  const lateNs = totalNs - allowedNs;
  const how = outcome === "late"
    ? `was late by ${formatDurationNs(lateNs)}`
    : outcome === "on-time"
    ? `was on time, with ${formatDurationNs(-lateNs)} left`
    : outcome === "dropped"
    ? "was dropped"
    : "failed";
  const part = parts.find((each) => each.cause === cause);
  const why = part === undefined ? "" : `: ${formatDurationNs(part.ns)} ${partText(part)}`;
  return `${id} ${how}${why}`;
}
