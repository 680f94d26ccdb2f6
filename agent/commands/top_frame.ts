/** How does a running agent look on so many columns and rows? Pure: what the stream said, drawn as lines. */
import { formatDurationNs, formatPowerW, formatTemperatureC } from "../quantity.ts";
import { table } from "../summary.ts";

/** `hello` of the stream, as far as it is drawn. */
export interface Hello {
  version: string;
  mission: string;
  timing: "measured" | "simulated";
  device: { name: string };
  tasks: readonly { name: string; deadlineNs: number }[];
  jobs: readonly { name: string; isolation: string }[];
}

/** `state` of the stream, as far as it is drawn. */
export interface State {
  nowNs: number;
  state: string;
  holds: readonly string[];
  safeMode: { on: boolean; reasons: readonly string[] };
  planId: number;
  idleFill: number | null;
  gpuBusy: number | null;
  powerWatts: number | null;
  temperatureCelsius: number | null;
  tasks: Readonly<Record<string, TaskState | null>>;
  jobs: Readonly<Record<string, JobState | null>>;
}

interface TaskState {
  requests: number;
  onTime: number;
  late: number;
  dropped: number;
  failed: number;
  missRun: number;
  responseP50Ns: number;
  responseP99Ns: number;
  worstNs: number;
}

interface JobState {
  state: string;
  why: string | null;
  units: number;
  unitsPerSecond: number;
  gpuShareByLevel: Readonly<Record<string, number>>;
  weight: number;
}

export interface Frame {
  hello: Hello;
  state: State;
  /** Oldest first; the last of them are drawn, as far as there is room. */
  events: readonly string[];
  /** Why there is nothing new; `undefined`: the agent answers. */
  away: string | undefined;
  columns: number;
  rows: number;
  color: boolean;
}

const BAR = 20;

/** At most `rows` lines of at most `columns` characters, colours apart. */
export function topFrame(frame: Frame): string[] {
  const { hello, state, events, away, columns, rows, color } = frame;
  const paint = (code: number, text: string) => color ? `\x1b[${code}m${text}\x1b[0m` : text;
  const plain = (text: string): Row => ({ text, code: undefined });
  const all: Row[] = [
    { text: headText(hello, state), code: 1 },
    plain(gpuText(state)),
    ...(away === undefined ? [] : [{ text: away, code: 31 }]),
    ...(state.safeMode.on ? [{ text: `safe mode: ${state.safeMode.reasons.join(", ")}`, code: 33 }] : []),
    ...heldText(state).map((text) => ({ text, code: 33 })),
    ...tasksRows(hello, state),
    ...jobsRows(hello, state),
  ];
  const room = rows - all.length - 2;
  if (events.length > 0 && room > 0) all.push(plain(""), ...events.slice(-room).map(plain));
  return all.slice(0, rows).map(({ text, code }) => {
    const cut = printable(text).slice(0, columns);
    return code === undefined ? cut : paint(code, cut);
  });
}

interface Row {
  text: string;
  code: number | undefined;
}

/** What could steer a terminal is not for it. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd");
}

function headText({ version, mission, timing, device }: Hello, { state, planId }: State): string {
  const simulated = timing === "simulated" ? "SIMULATED " : "";
  return `calypte ${version}  ${state}  ${simulated}${device.name}  plan ${planId}  ${mission}`;
}

function gpuText({ gpuBusy, idleFill, powerWatts, temperatureCelsius }: State): string {
  return [
    `GPU ${bar(gpuBusy)} ${percent(gpuBusy)} busy`,
    `idle filled ${percent(idleFill)}`,
    ...(powerWatts === null ? [] : [formatPowerW(powerWatts)]),
    ...(temperatureCelsius === null ? [] : [formatTemperatureC(temperatureCelsius)]),
  ].join("  ");
}

function heldText({ holds }: State): string[] {
  const others = holds.filter((hold) => hold !== "safe-mode");
  return others.length === 0 ? [] : [`background held: ${others.join(", ")}`];
}

function tasksRows({ tasks }: Hello, { tasks: states }: State): Row[] {
  const shown = tasks.flatMap(({ name, deadlineNs }) => {
    const task = states[name];
    return task == null ? [] : [{ name, deadlineNs, task }];
  });
  if (shown.length === 0) return [];
  const head = [
    "critical",
    "deadline",
    "requests",
    "late",
    "dropped",
    "failed",
    "in a row",
    "p50",
    "p99",
    "worst",
  ];
  const texts = table(
    head,
    shown.map(({ name, deadlineNs, task }) => [
      ...[name, formatDurationNs(deadlineNs), `${task.requests}`, `${task.late}`, `${task.dropped}`],
      ...[`${task.failed}`, `${task.missRun}`],
      ...[task.responseP50Ns, task.responseP99Ns, task.worstNs].map(formatDurationNs),
    ]),
  );
  return [
    { text: "", code: undefined },
    ...texts.map((text, row) => {
      const task = shown[row - 1]?.task;
      return { text, code: row === 0 ? 4 : task !== undefined && task.missRun > 0 ? 31 : undefined };
    }),
  ];
}

function jobsRows({ jobs }: Hello, { jobs: states }: State): Row[] {
  const shown = jobs.flatMap(({ name }) => {
    const job = states[name];
    return job == null ? [] : [{ name, job }];
  });
  if (shown.length === 0) return [];
  const texts = table(
    ["background", "state", "weight", "units", "units/s", "GPU time by level"],
    shown.map(({ name, job }) => [
      ...[name, job.state, `${job.weight}`, `${job.units}`, job.unitsPerSecond.toFixed(1)],
      levels(job.gpuShareByLevel),
    ]),
  );
  return [
    { text: "", code: undefined },
    ...texts.map((text, row) => {
      const job = shown[row - 1]?.job;
      const why = job?.why == null ? "" : `  ${job.why.replace(/T([\d:]+)\.\d+Z/, " $1 UTC")}`;
      const code = row === 0
        ? 4
        : job?.state === "running"
        ? 32
        : job?.state === "quarantined"
        ? 31
        : undefined;
      return { text: text + why, code };
    }),
  ];
}

function levels(share: Readonly<Record<string, number>>): string {
  const some = Object.entries(share).filter(([, part]) => part > 0).sort((a, b) => b[1] - a[1]);
  return some.map(([level, part]) => `${level} ${percent(part)}`).join(" ") || "-";
}

function bar(share: number | null): string {
  const full = Math.round(BAR * Math.min(1, Math.max(0, share ?? 0)));
  return `[${"#".repeat(full)}${".".repeat(BAR - full)}]`;
}

function percent(share: number | null): string {
  return share === null ? "-" : `${Math.round(100 * share)} %`;
}
