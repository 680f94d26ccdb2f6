/** What happens in the 25 minutes of the simulated flight, second by second: what is true, not what the agent knows of it. */

export type Landed = "on-ground" | "in-air" | "taking-off" | "landing";

export interface Moment {
  /** What a person would call it. */
  label: string;
  armed: boolean;
  landed: Landed;
  /** MAV_STATE: 3 standby, 4 active, 5 critical. */
  systemStatus: number;
  /** 0..100. */
  batteryPercent: number;
  /** Of the air around the board. */
  ambientC: number;
  /** Whether what the autopilot sends arrives. */
  linked: boolean;
}

export const FLIGHT_S = 25 * 60;

interface Part {
  fromS: number;
  label: string;
  armed: boolean;
  landed: Landed;
  systemStatus?: number;
  linked?: boolean;
}

/** In their order; each lasts until the next. */
export const PARTS: readonly Part[] = [
  { fromS: 0, label: "on the pad", armed: false, landed: "on-ground", systemStatus: 3 },
  { fromS: 60, label: "armed", armed: true, landed: "on-ground" },
  { fromS: 70, label: "take-off", armed: true, landed: "taking-off" },
  { fromS: 110, label: "survey", armed: true, landed: "in-air" },
  { fromS: 480, label: "hot climb", armed: true, landed: "in-air" },
  { fromS: 780, label: "survey", armed: true, landed: "in-air" },
  { fromS: 900, label: "no link", armed: true, landed: "in-air", linked: false },
  { fromS: 915, label: "survey", armed: true, landed: "in-air" },
  { fromS: 1020, label: "failsafe", armed: true, landed: "in-air", systemStatus: 5 },
  { fromS: 1040, label: "survey", armed: true, landed: "in-air" },
  // Below the mission's limit from some second of this on.
  { fromS: 1180, label: "way home", armed: true, landed: "in-air" },
  { fromS: 1320, label: "landing", armed: true, landed: "landing" },
  { fromS: 1400, label: "landed", armed: true, landed: "on-ground" },
  { fromS: 1410, label: "on the pad", armed: false, landed: "on-ground", systemStatus: 3 },
];

/** Percent per second, flying and not. */
const FLYING_DRAIN = 0.066;
const GROUND_DRAIN = 0.005;
const AIRBORNE_S = { from: 70, to: 1400 };

/** C at the seconds before; straight lines between. */
const AMBIENT: readonly [number, number][] = [[0, 22], [480, 22], [560, 44], [700, 44], [780, 26], [
  FLIGHT_S,
  22,
]];

export function partAt(second: number): Part {
  return PARTS.findLast(({ fromS }) => fromS <= second) ?? PARTS[0]!;
}

export function momentAt(second: number): Moment {
  const { label, armed, landed, systemStatus = 4, linked = true } = partAt(second);
  const airborneS = Math.min(Math.max(0, second - AIRBORNE_S.from), AIRBORNE_S.to - AIRBORNE_S.from);
  const batteryPercent = 100 - airborneS * FLYING_DRAIN - (second - airborneS) * GROUND_DRAIN;
  return { label, armed, landed, systemStatus, batteryPercent, ambientC: ambientAt(second), linked };
}

function ambientAt(second: number): number {
  const next = AMBIENT.findIndex(([at]) => at > second);
  if (next <= 0) return AMBIENT.at(next === 0 ? 0 : -1)![1];
  const [fromS, fromC] = AMBIENT[next - 1]!;
  const [toS, toC] = AMBIENT[next]!;
  return fromC + (toC - fromC) * (second - fromS) / (toS - fromS);
}
