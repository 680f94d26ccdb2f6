/** The flight as a picture: phase, temperature, battery, background's duty and response over time. */
import { path } from "../../agent/std/mod.ts";
import type { Flight } from "./fly.ts";
import { FLIGHT_S, PARTS } from "./script.ts";

const WIDTH = 1000;
const LEFT = 90;
const RIGHT = 20;
const TOP = 64;
const GAP = 26;
const FONT = 'font-family="sans-serif" font-size="11"';
const COLORS: Record<string, string> = {
  "unknown": "#bbbbbb",
  "disarmed": "#9fb8c8",
  "taking-off": "#e8a33d",
  "cruising": "#6aa36a",
  "landing": "#c9803a",
  "emergency": "#c0392b",
  "link-lost": "#7b5ea7",
};

interface Panel {
  title: string;
  height: number;
  draw: (y: (share: number) => number, top: number) => string[];
}

const x = (second: number) => LEFT + second / FLIGHT_S * (WIDTH - LEFT - RIGHT);
const fixed = (value: number) => value.toFixed(1);

function text(atX: number, atY: number, content: string, anchor = "start", fill = "#333"): string {
  return `<text x="${fixed(atX)}" y="${
    fixed(atY)
  }" ${FONT} text-anchor="${anchor}" fill="${fill}">${content}</text>`;
}

function line(points: readonly (readonly [number, number])[], color: string, width = 1.4): string {
  const list = points.map(([atX, atY]) => `${fixed(atX)},${fixed(atY)}`).join(" ");
  return `<polyline points="${list}" fill="none" stroke="${color}" stroke-width="${width}"/>`;
}

function level(atY: number, label: string, color: string): string[] {
  const ends = `x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${fixed(atY)}" y2="${fixed(atY)}"`;
  return [
    `<line ${ends} stroke="${color}" stroke-dasharray="4 3"/>`,
    text(WIDTH - RIGHT, atY - 3, label, "end", color),
  ];
}

/** Scale marks at the left. */
function marks(y: (share: number) => number, labels: readonly [number, string][]): string[] {
  return labels.map(([share, label]) => text(LEFT - 6, y(share) + 4, label, "end", "#666"));
}

/** Of values between two ends, as shares; `undefined` breaks no line, as it has no point. */
function scale(least: number, most: number): (value: number) => number {
  return (value) => Math.min(1, Math.max(0, (value - least) / (most - least)));
}

interface Bin {
  atS: number;
  values: number[];
}

function binned(items: readonly { atS: number; value: number }[], seconds: number): Bin[] {
  const bins: Bin[] = [];
  for (const { atS, value } of items) {
    const index = Math.floor(atS / seconds);
    (bins[index] ??= { atS: (index + 0.5) * seconds, values: [] }).values.push(value);
  }
  return bins.filter((bin) => bin !== undefined);
}

/** Which colour is which phase, in the line above the phases. */
function legend(top: number): string[] {
  let atX = WIDTH - RIGHT;
  return Object.entries(COLORS).toReversed().flatMap(([phase, color]) => {
    atX -= phase.length * 6 + 24;
    const box = `x="${atX}" y="${top - 14}" width="10" height="10"`;
    return [`<rect ${box} fill="${color}"/>`, text(atX + 14, top - 5, phase)];
  });
}

function panels({ ticks, responses, deadlineMs, limits }: Flight): Panel[] {
  const temperature = scale(20, 100);
  const ms = (value: number) => scale(Math.log10(0.1), Math.log10(20))(Math.log10(Math.max(0.1, value)));
  const response = binned(responses.map(({ atS, ms }) => ({ atS, value: ms })), 5);
  const duty = binned(ticks.map(({ fromS, background }) => ({ atS: fromS, value: background })), 2);
  const known =
    (of: (tick: Flight["ticks"][number]) => number | undefined, share: (value: number) => number) =>
    (y: (share: number) => number) =>
      ticks.flatMap((tick, index) => {
        const value = of(tick);
        return value === undefined || index % 8 !== 0 ? [] : [[x(tick.fromS), y(share(value))] as const];
      });
  return [
    {
      title: "what happens",
      height: 18,
      draw: (_, top) =>
        PARTS.flatMap(({ fromS, label }, index) => {
          const toS = PARTS[index + 1]?.fromS ?? FLIGHT_S;
          const wide = x(toS) - x(fromS) > label.length * 6;
          const ends = `x1="${fixed(x(fromS))}" x2="${fixed(x(fromS))}" y1="${top}" y2="${top + 18}"`;
          return [
            `<line ${ends} stroke="#999"/>`,
            ...(wide ? [text((x(fromS) + x(toS)) / 2, top + 13, label, "middle")] : []),
          ];
        }),
    },
    {
      title: "phase, as known",
      height: 22,
      draw: (_, top) => {
        const parts: { phase: string; fromS: number; toS: number }[] = [];
        for (const { fromS, toS, conditions: { phase } } of ticks) {
          const last = parts.at(-1);
          if (last?.phase === phase) last.toS = toS;
          else parts.push({ phase, fromS, toS });
        }
        return legend(top).concat(parts.flatMap(({ phase, fromS, toS }) => {
          const width = x(toS) - x(fromS);
          const box = `x="${fixed(x(fromS))}" y="${top}" width="${fixed(width)}" height="22"`;
          return [
            `<rect ${box} fill="${COLORS[phase]}"><title>${phase} from ${fixed(fromS)} s</title></rect>`,
            ...(width > phase.length * 7
              ? [text((x(fromS) + x(toS)) / 2, top + 15, phase, "middle", "#fff")]
              : []),
          ];
        }));
      },
    },
    {
      title: "temperature (model)",
      height: 110,
      draw: (y) => [
        ...marks(y, [[0, "20 C"], [0.5, "60 C"], [1, "100 C"]]),
        line(known(({ conditions }) => conditions.temperatureC, temperature)(y), "#c0392b"),
        ...(limits.temperatureC === undefined ? [] : level(
          y(temperature(limits.temperatureC)),
          `background stops above ${limits.temperatureC} C`,
          "#c0392b",
        )),
      ],
    },
    {
      title: "battery, as known",
      height: 80,
      draw: (y) => [
        ...marks(y, [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]]),
        line(known(({ conditions }) => conditions.batteryPercent, (value) => value / 100)(y), "#2c6fa8"),
        ...(limits.batteryPercent === undefined ? [] : level(
          y(limits.batteryPercent / 100),
          `background stops below ${limits.batteryPercent} %`,
          "#2c6fa8",
        )),
      ],
    },
    {
      title: "background's duty",
      height: 90,
      draw: (y) => {
        const tops = duty.map(({ atS, values }) =>
          `${fixed(x(atS))},${fixed(y(values.reduce((a, b) => a + b, 0) / values.length))}`
        );
        const [first, last] = [duty[0]?.atS ?? 0, duty.at(-1)?.atS ?? 0];
        const points = [`${fixed(x(first))},${fixed(y(0))}`, ...tops, `${fixed(x(last))},${fixed(y(0))}`]
          .join(" ");
        return [
          ...marks(y, [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]]),
          `<polygon points="${points}" fill="#6aa36a" fill-opacity="0.7"/>`,
        ];
      },
    },
    {
      title: "response of the detector",
      height: 110,
      draw: (y) => [
        ...marks(y, [[0, "0.1 ms"], [ms(1), "1 ms"], [ms(10), "10 ms"]]),
        line(response.map(({ atS, values }) => [x(atS), y(ms(median(values)))]), "#333"),
        line(response.map(({ atS, values }) => [x(atS), y(ms(Math.max(...values)))]), "#d08a00", 1),
        text(LEFT + 6, y(0.66), "black: median of 5 s, orange: the longest of 5 s"),
        ...level(y(ms(deadlineMs)), `deadline ${deadlineMs} ms`, "#c0392b"),
      ],
    },
  ];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

export function plot(flight: Flight, missionFile: string, seed: number): string {
  const parts: string[] = [];
  let top = TOP;
  for (const { title, height, draw } of panels(flight)) {
    const bottom = top + height;
    const box = `x="${LEFT}" y="${top}" width="${WIDTH - LEFT - RIGHT}" height="${height}"`;
    parts.push(text(LEFT, top - 5, title), `<rect ${box} fill="none" stroke="#ddd"/>`);
    parts.push(...draw((share) => bottom - share * height, top));
    top = bottom + GAP;
  }
  for (let minute = 0; minute * 60 <= FLIGHT_S; minute += 5) {
    parts.push(text(x(minute * 60), top - GAP + 14, `${minute} min`, "middle", "#666"));
  }
  const profile = flight.summary.profile;
  const device = `${profile?.name}${profile?.estimate ? ", estimated times" : ""}`;
  const height = top + 4;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${LEFT}" y="20" font-family="sans-serif" font-size="15" fill="#111">` +
    `25 simulated minutes of ${path.basename(missionFile)}</text>`,
    text(
      LEFT,
      36,
      `simulator (${device}, seed ${seed}), scripted autopilot, modelled heat: nothing here was measured`,
    ),
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}
