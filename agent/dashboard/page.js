// @ts-check
/// <reference lib="dom" />
/** The page: says in one sentence whether all is on time, and shows why. It only looks; it changes nothing. */
import { HistoryChart, ResponseChart } from "./charts.js";
import { count, duration, percent, quantity } from "./format.js";
import { follow } from "./stream.js";
import { LEVELS, Timeline } from "./timeline.js";
import { Verdict } from "./verdict.js";

const MOST_EVENTS = 100;
const DRAG_PX = 8;

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function at(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

const timeline = new Timeline(at("timeline"));
/** @type {Map<string, { chart: ResponseChart, host: HTMLElement, words: HTMLElement }>} */
let tasks = new Map();
/** @type {HistoryChart | undefined} */
let fill;
/** @type {HistoryChart | undefined} */
let board;
/** @type {any} */
let hello;
/** Of the engine's clock, to `Date.now()`, in ms. */
let wallMs = 0;
let lastNs = 0;
/** @type {Verdict | undefined} */
let verdict;

/** @param {import("./verdict.js").Sentence} sentence */
function say({ how, text, more }) {
  const place = at("verdict");
  if (place.className !== how) place.className = how;
  // Said aloud only when it changes.
  if (at("verdict-text").textContent !== text) at("verdict-text").textContent = text;
  at("verdict-more").textContent = more;
  document.title = how === "bad" ? "! Calypte" : "Calypte";
}

/** @param {any} message */
function begin(message) {
  hello = message;
  wallMs = Date.now() - message.nowNs / 1e6;
  at("where").textContent = [message.mission.split("/").at(-1), message.device.name, message.version].filter(
    Boolean,
  )
    .join(" \u00b7 ");
  at("simulated").hidden = message.timing !== "simulated";
  document.body.classList.remove("stale");
  verdict = new Verdict(message.tasks, message.nowNs);
  timeline.begin(message.tasks.map(named), message.jobs.map(named), message.nowNs);
  showTime();
  for (const { chart } of tasks.values()) chart.end();
  at("tasks").replaceChildren();
  tasks = new Map(message.tasks.map((/** @type {any} */ task) => {
    const part = element("div", "", "task");
    const words = element("p", "no request yet");
    const chart = document.createElement("div");
    chart.role = "img";
    chart.ariaLabel = `Response times of ${task.name}; its deadline is ${duration(task.deadlineNs)}`;
    const rate = task.periodNs === null ? "" : `, every ${duration(task.periodNs)}`;
    const title = element("h3", task.name);
    title.append(element("small", `deadline ${duration(task.deadlineNs)}${rate}`));
    part.append(title, words, chart);
    at("tasks").append(part);
    return [task.name, { chart: new ResponseChart(chart, task.deadlineNs), host: chart, words }];
  }));
  // Minutes that were seen before the connection was lost stay, if it is the same clock.
  const goesOn = fill !== undefined && message.nowNs >= lastNs;
  lastNs = message.nowNs;
  if (goesOn) return;
  const share = { unit: "%", range: /** @type {[number, number]} */ ([0, 100]), side: 3 };
  fill?.end();
  fill = new HistoryChart(
    at("fill-chart"),
    [
      { label: "idle GPU filled, %", colour: "loop", scale: "share" },
      { label: "GPU busy, %", colour: "critical", scale: "share" },
    ],
    { share },
    message.nowNs,
  );
  board?.end();
  board = undefined;
  at("board-chart").replaceChildren(element("p", "power and temperature: unknown", "none"));
}

/** @param {{ name: string }} each */
const named = ({ name }) => name;

/** @param {any} state */
function show(state) {
  if (verdict !== undefined) say(verdict.of(state, performance.now()));
  lastNs = state.nowNs;
  at("gauge-fill").textContent = percent(state.idleFill);
  at("gauge-busy").textContent = percent(state.gpuBusy);
  at("gauge-power").textContent = quantity(state.powerWatts, "W");
  at("gauge-heat").textContent = quantity(state.temperatureCelsius, "\u00b0C");
  for (const [name, task] of Object.entries(state.tasks)) {
    const place = tasks.get(name);
    if (place === undefined || task === null) continue;
    place.words.textContent = task.requests === 0 ? "no request yet" : [
      `${count(task.requests)} requests`,
      `half within ${duration(task.responseP50Ns)}`,
      `99 % within ${duration(task.responseP99Ns)}`,
      `longest ${duration(task.worstNs)}`,
    ].map((part) => part.replaceAll(" ", "\u00a0")).join(" \u00b7 ");
    place.host.hidden = task.requests === 0;
    place.chart.set(task.histogram);
  }
  showJobs(state.jobs);
  const share = (/** @type {number | null} */ value) => value === null ? null : value * 100;
  fill?.add(state.nowNs, [share(state.idleFill), share(state.gpuBusy)]);
  if (state.powerWatts !== null || state.temperatureCelsius !== null) {
    board ??= new HistoryChart(
      at("board-chart"),
      [
        { label: "power, W", colour: "slice", scale: "W" },
        { label: "temperature, \u00b0C", colour: "bad", scale: "C" },
      ],
      { W: { unit: "W", side: 3 }, C: { unit: "\u00b0C", side: 1 } },
      state.nowNs,
    );
    board.add(state.nowNs, [state.powerWatts, state.temperatureCelsius]);
  }
  at("timeline").setAttribute("aria-label", timeline.words());
}

/** @param {Record<string, any>} jobs */
function showJobs(jobs) {
  const rows = Object.entries(jobs).filter(([, job]) => job !== null).map(([name, job]) => {
    const row = document.createElement("tr");
    const title = document.createElement("th");
    title.scope = "row";
    title.textContent = name;
    title.append(element("small", `weight ${job.weight}`));
    const state = document.createElement("td");
    const troubled = job.state === "quarantined";
    state.append(element("span", job.state, `chip${troubled ? " bad" : ""}`));
    if (job.why !== null) state.append(element("small", withLocalTime(job.why)));
    const levels = document.createElement("td");
    const strip = element("div", "", "levels");
    const shares = LEVELS.filter((level) => (job.gpuShareByLevel[level] ?? 0) > 0);
    for (const level of shares) {
      const part = document.createElement("i");
      part.style.width = `${job.gpuShareByLevel[level] * 100}%`;
      part.style.background = `var(--${level})`;
      strip.append(part);
    }
    const words = shares.map((level) =>
      `${level}\u00a0${percent(job.gpuShareByLevel[level]).replace(" ", "\u00a0")}`
    ).join(", ");
    levels.append(strip, element("small", words === "" ? "nothing yet" : words));
    const rate = job.unitsPerSecond >= 100 ? count(job.unitsPerSecond) : job.unitsPerSecond.toFixed(1);
    row.append(
      title,
      state,
      element("td", rate, "number"),
      element("td", count(job.units), "number wide"),
      levels,
    );
    return row;
  });
  at("jobs").replaceChildren(...rows);
}

/** @param {Date} when */
const clock = (when) => when.toLocaleTimeString([], { hour12: false });

/** @param {string} text What the agent says has times as `2026-11-23T13:54:48.421Z`. */
const withLocalTime = (text) => text.replace(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/, (iso) => clock(new Date(iso)));

/** @param {any} event */
function tell(event) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const when = new Date(wallMs + event.timeNs / 1e6);
  time.dateTime = when.toISOString();
  time.textContent = clock(when);
  item.append(time, element("span", event.source === null ? event.text : `${event.source}: ${event.text}`));
  const list = at("events");
  list.prepend(item);
  while (list.children.length > MOST_EVENTS) list.lastElementChild?.remove();
}

/** @type {Record<string, (data: any) => void>} */
const HEARD = { hello: begin, state: show, trace: (part) => timeline.add(part), event: tell };

void follow("/v1/stream", {
  message: (event, data) => HEARD[event]?.(data),
  lost(why) {
    document.body.classList.add("stale");
    const more = `${why}; trying again. Nothing below is from now`;
    say({ how: "bad", text: "No connection to the agent", more });
  },
  askToken(wrong) {
    at("token-wrong").textContent = wrong ? "That is not this agent's token." : "";
    const dialog = /** @type {HTMLDialogElement} */ (at("ask"));
    const input = /** @type {HTMLInputElement} */ (at("token"));
    input.value = "";
    dialog.showModal();
    return new Promise((resolve) =>
      dialog.addEventListener("close", () => resolve(input.value), { once: true })
    );
  },
});

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let drawnMs = 0;
/** @param {number} nowMs */
function frame(nowMs) {
  // Who wants no motion gets a picture a second.
  const stale = document.body.classList.contains("stale");
  if (hello !== undefined && !stale && nowMs - drawnMs >= (calm.matches ? 1_000 : 33)) {
    drawnMs = nowMs;
    timeline.draw();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

function showTime() {
  at("span").textContent = duration(timeline.spanNs);
  const button = at("pause");
  button.setAttribute("aria-pressed", `${timeline.paused}`);
  button.textContent = timeline.paused ? "Go on" : "Pause";
}

function pause() {
  timeline.togglePause();
  showTime();
}

/** @param {1 | -1} by */
function zoom(by) {
  timeline.zoom(by);
  showTime();
}

/** Where a finger or the mouse holds the picture. @type {number | undefined} */
let heldPx;
at("timeline").addEventListener("pointerdown", (event) => {
  if (event.isPrimary && event.button === 0) heldPx = event.clientX;
});
addEventListener("pointermove", (event) => {
  if (heldPx === undefined || !event.isPrimary) return;
  const px = event.clientX - heldPx;
  // A tap that trembles is no drag.
  if (!timeline.paused && Math.abs(px) < DRAG_PX) return;
  heldPx = event.clientX;
  timeline.drag(px);
  showTime();
});
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => heldPx = undefined);

function help() {
  const dialog = /** @type {HTMLDialogElement} */ (at("keys"));
  if (!dialog.open) dialog.showModal();
}

at("pause").addEventListener("click", pause);
at("closer").addEventListener("click", () => zoom(-1));
at("wider").addEventListener("click", () => zoom(1));
at("help").addEventListener("click", help);
/** @type {Record<string, () => void>} */
const KEYS = {
  " ": pause,
  "+": () => zoom(-1),
  "=": () => zoom(-1),
  "-": () => zoom(1),
  "ArrowLeft": () => timeline.move(-1),
  "ArrowRight": () => timeline.move(1),
  "?": help,
};
document.addEventListener("keydown", (event) => {
  const { target } = event;
  const types = target instanceof HTMLInputElement ||
    target instanceof HTMLButtonElement && event.key === " ";
  if (types || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  }
  const action = KEYS[event.key];
  if (action === undefined) return;
  event.preventDefault();
  action();
});

for (
  const [name, words] of [
    ["critical", "critical request"],
    ["wait", "it waits"],
    ["bad", "not on time"],
    ["ink", "deadline"],
    ["loop", "background, level loop"],
    ["block", "block"],
    ["slice", "slice"],
    ["whole", "whole"],
  ]
) {
  const item = document.createElement("li");
  const mark = document.createElement("i");
  mark.style.background = `var(--${name})`;
  if (name === "ink") mark.style.width = "2px";
  item.append(mark, words ?? "");
  at("legend").append(item);
}
