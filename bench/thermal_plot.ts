/** Draws the flights of bench/thermal.ts: phases, temperatures, power, duty, battery, and the responses of critical work. */
import type { Flight, FlightKind, Moment } from "./thermal.ts";

const WIDTH = 960;
const LEFT = 64;
const RIGHT = 150;
const TOP = 66;
const HEIGHT = 150;
const GAP = 34;

const COLORS: Readonly<Record<FlightKind, string>> = {
  controlled: "#0b6e4f",
  energy: "#1f5fbf",
  uncontrolled: "#c0392b",
};
const PHASES: Readonly<Record<string, string>> = {
  disarmed: "#eceff1",
  "taking-off": "#fff3cd",
  cruising: "#e8f4ea",
  landing: "#fde2d4",
};

interface Panel {
  title: string;
  min: number;
  max: number;
  ticks: readonly number[];
  read: (moment: Moment) => number;
  lines?: readonly { at: number; text: string }[];
  /** Of the first flight only: what is the same in all. */
  once?: { read: (moment: Moment) => number; text: string };
}

/** `limitC`: the mission's; `tripC`: where the modelled board slows itself down. */
export function thermalSvg(flights: readonly Flight[], limitC = 80, tripC = 99): string {
  const worst = Math.max(1, ...flights.flatMap(({ moments }) => moments.map(({ worstMs }) => worstMs)));
  const panels: Panel[] = [
    {
      title: "junction, C (model)",
      min: 20,
      max: 120,
      ticks: [20, 40, 60, 80, 100, 120],
      read: ({ junctionC }) => junctionC,
      lines: [{ at: limitC, text: "stopBackgroundAbove" }, { at: tripC, text: "board slows down" }],
      once: { read: ({ ambientC }) => ambientC, text: "air" },
    },
    { title: "board, W (model)", min: 0, max: 25, ticks: [0, 5, 10, 15, 20, 25], read: ({ watts }) => watts },
    {
      title: "duty of background",
      min: 0,
      max: 1,
      ticks: [0, 0.5, 1],
      read: ({ duty }) => duty,
      once: { read: ({ batteryPercent }) => batteryPercent / 100, text: "battery" },
    },
    {
      title: "longest response, ms (deadline 15)",
      min: 0,
      max: Math.ceil(worst * 1.2),
      ticks: [0, Math.ceil(worst * 1.2)],
      read: ({ worstMs }) => worstMs,
    },
  ];
  const height = TOP + panels.length * (HEIGHT + GAP) + 20;
  const endS = Math.max(...flights.map(({ moments }) => moments.at(-1)?.atS ?? 1));
  const x = (atS: number) => LEFT + atS / endS * (WIDTH - LEFT - RIGHT);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    `<text x="${LEFT}" y="24" font-size="16">A simulated flight: heat, power and background</text>`,
    `<text x="${LEFT}" y="44" fill="#555">Scheduler, planner and control as they fly; GPU and board are models, nothing is measured. Minutes.</text>`,
  ];
  panels.forEach((panel, index) => {
    const top = TOP + index * (HEIGHT + GAP);
    parts.push(...panelOf(panel, flights, { top, x, endS, first: index === 0, legend: index === 1 }));
  });
  return parts.join("\n") + "\n</svg>\n";
}

interface Place {
  top: number;
  x: (atS: number) => number;
  endS: number;
  first: boolean;
  legend: boolean;
}

function panelOf(panel: Panel, flights: readonly Flight[], place: Place): string[] {
  const { top, x, endS, legend } = place;
  const { title, min, max, ticks, read, lines = [], once } = panel;
  const right = x(endS);
  const y = (value: number) => top + HEIGHT * (1 - (Math.min(max, Math.max(min, value)) - min) / (max - min));
  const parts = bands(flights[0]!.moments, place);
  for (const tick of ticks) {
    parts.push(
      `<line x1="${LEFT}" x2="${right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ccc" stroke-width="0.5"/>`,
      `<text x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
    );
  }
  for (const { at, text } of lines) {
    parts.push(
      `<line x1="${LEFT}" x2="${right}" y1="${y(at)}" y2="${y(at)}" stroke="#333" stroke-dasharray="5 4"/>`,
      `<text x="${right + 6}" y="${y(at) + 4}">${text}</text>`,
    );
  }
  for (let minute = 0; minute * 60 <= endS; minute += endS > 600 ? 5 : 1) {
    parts.push(`<text x="${x(minute * 60)}" y="${top + HEIGHT + 14}" text-anchor="middle">${minute}</text>`);
  }
  parts.push(`<text x="${LEFT}" y="${top - 6}" font-weight="bold">${title}</text>`);
  if (once !== undefined) {
    parts.push(line(flights[0]!.moments, x, (moment) => y(once.read(moment)), "#888", "2 3"));
    const last = flights[0]!.moments.at(-1)!;
    parts.push(`<text x="${right + 6}" y="${y(once.read(last)) + 4}" fill="#666">${once.text}</text>`);
  }
  flights.forEach(({ kind, moments }, index) => {
    parts.push(line(moments, x, (moment) => y(read(moment)), COLORS[kind]));
    if (legend) {
      parts.push(
        `<text x="${right + 6}" y="${top + 20 + index * 16}" fill="${COLORS[kind]}">${kind}</text>`,
      );
    }
  });
  return parts;
}

/** Where the phases lie. */
function bands(moments: readonly Moment[], { top, x, endS, first }: Place): string[] {
  const parts: string[] = [];
  for (let from = 0; from < moments.length;) {
    let to = from;
    while (to < moments.length && moments[to]!.phase === moments[from]!.phase) to++;
    const { phase, atS } = moments[from]!;
    const left = x(atS);
    const width = x(moments[to]?.atS ?? endS) - left;
    parts.push(
      `<rect x="${left}" y="${top}" width="${width}" height="${HEIGHT}" fill="${PHASES[phase] ?? "#eee"}"/>`,
    );
    if (first && width > 60) parts.push(`<text x="${left + 4}" y="${top + 12}" fill="#777">${phase}</text>`);
    from = to;
  }
  return parts;
}

function line(
  moments: readonly Moment[],
  x: (atS: number) => number,
  y: (moment: Moment) => number,
  color: string,
  dashes?: string,
): string {
  const points = moments.map((moment) => `${x(moment.atS).toFixed(1)},${y(moment).toFixed(1)}`).join(" ");
  const dashed = dashes === undefined ? "" : ` stroke-dasharray="${dashes}"`;
  return `<polyline points="${points}" fill="none" stroke="${color}" stroke-width="1.5"${dashed}/>`;
}
