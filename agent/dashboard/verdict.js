// @ts-check
/**
 * Is all on time? The one sentence of the page, from what the agent says of its state.
 *
 * It never says so of what it has not heard of lately: an engine whose clock stands, or a camera that sends nothing.
 */
import { ago, count, duration } from "./format.js";

/** @typedef {{ how: "good" | "bad" | "warn" | "waiting", text: string, more: string }} Sentence */

/** A miss is news for so long. */
const NEWS_NS = 60e9;
/** The agent looks at its engine several times a second. */
const SILENT_MS = 2_000;
/** So many periods without a request are a sensor that has gone quiet; and so much time, as fast ones may pause. */
const QUIET_PERIODS = 5;
const QUIET_NS = 2e9;

export class Verdict {
  /** @type {Map<string, { periodNs: number, requests: number, sinceNs: number }>} */
  #rhythms = new Map();
  #misses = 0;
  /** @type {number | undefined} */
  #missedNs;
  #nowNs = -1;
  #movedMs = 0;
  #first = true;

  /**
   * @param {{ name: string, periodNs: number | null }[]} tasks
   * @param {number} nowNs
   */
  constructor(tasks, nowNs) {
    for (const { name, periodNs } of tasks) {
      if (periodNs !== null) this.#rhythms.set(name, { periodNs, requests: 0, sinceNs: nowNs });
    }
  }

  /**
   * @param {any} state As the stream has it.
   * @param {number} nowMs Of the page's own clock, which grows even if the engine's does not.
   * @returns {Sentence}
   */
  of(state, nowMs) {
    const tasks = Object.values(state.tasks).filter((task) => task !== null);
    const sum = (/** @type {string} */ key) => tasks.reduce((total, task) => total + task[key], 0);
    const misses = sum("late") + sum("dropped") + sum("failed");
    const over = misses + sum("onTime");
    const moved = state.nowNs !== this.#nowNs;
    if (moved) this.#movedMs = nowMs;
    this.#nowNs = state.nowNs;
    // Of misses before the page was opened nobody knows when, unless the last request was one.
    const news = this.#first ? tasks.some(({ missRun }) => missRun > 0) : misses > this.#misses;
    if (news) this.#missedNs = state.nowNs;
    this.#misses = misses;
    this.#first = false;
    const quiet = this.#quiet(state);

    // What the page shows as an idle GPU has a reason, whatever else is wrong.
    const held = state.safeMode.on
      ? `; safe mode: no background runs (${state.safeMode.reasons.join(", ")})`
      : state.holds.length > 0
      ? `; background is held: ${state.holds.join(", ")}`
      : "";
    const of = `${count(misses)} of ${count(over)} requests ${misses === 1 ? "was" : "were"} not on time`;
    if (state.state !== "ready") {
      return {
        how: "bad",
        text: `The engine is ${STATES[state.state] ?? state.state}`,
        more: "critical work may not be served",
      };
    }
    if (nowMs - this.#movedMs > SILENT_MS) {
      const silent = duration((nowMs - this.#movedMs) * 1e6);
      return { how: "bad", text: "The engine is silent", more: `for ${silent}; nothing below is from now` };
    }
    if (this.#missedNs !== undefined && state.nowNs - this.#missedNs < NEWS_NS) {
      const last = ago(state.nowNs - this.#missedNs);
      return { how: "bad", text: "A request was not on time", more: `${of}; the last ${last}${held}` };
    }
    if (quiet !== undefined) {
      const { name, forNs } = quiet;
      return {
        how: "warn",
        text: `No requests from ${name}`,
        more: `for ${duration(forNs)}: does its sensor work?${held}`,
      };
    }
    if (state.safeMode.on) {
      const why = state.safeMode.reasons.join(", ");
      return { how: "warn", text: "Safe mode", more: `no background runs: ${why}; ${of}` };
    }
    if (misses > 0) return { how: "warn", text: "On time again", more: `${of}${held}` };
    if (over === 0) return { how: "waiting", text: "No requests yet", more: "everything is ready for them" };
    return {
      how: "good",
      text: "All requests on time",
      more: `${count(over)} so far, none late, dropped or failed${held}`,
    };
  }

  /** @param {any} state */
  #quiet({ nowNs, tasks }) {
    let worst;
    for (const [name, rhythm] of this.#rhythms) {
      const requests = tasks[name]?.requests ?? 0;
      if (requests !== rhythm.requests) Object.assign(rhythm, { requests, sinceNs: nowNs });
      const forNs = nowNs - rhythm.sinceNs;
      const quiet = requests > 0 && forNs > Math.max(QUIET_NS, QUIET_PERIODS * rhythm.periodNs);
      if (quiet && forNs > (worst?.forNs ?? 0)) worst = { name, forNs };
    }
    return worst;
  }
}

/** @type {Record<string, string>} */
const STATES = { loading: "loading yet", fault: "in fault", lost: "lost" };
