/**
 * In which phase is the flight, by what the autopilot says?
 *
 * Messages and the time go in; the state comes out. Reads no clock and knows no network. What is not said, or was said too long
 * ago, is not known: nothing is guessed in favour of background.
 */
import type { BatteryStatus, ExtendedSysState, FlightMessage, Heartbeat } from "./mavlink/messages.ts";

/** `unknown`: the link is there but does not tell, or it never was. `link-lost`: it was there. */
export type FlightPhase =
  | "unknown"
  | "disarmed"
  | "taking-off"
  | "cruising"
  | "landing"
  | "emergency"
  | "link-lost";

export interface FlightState {
  phase: FlightPhase;
  /** `undefined`: not known. */
  armed: boolean | undefined;
  /** The lowest that any battery which flies the vehicle reports, 0..100; absent: not known. */
  batteryPercent?: number;
  /** When the phase began, on the clock that `now` comes from. */
  sinceNs: number;
  /** Since the autopilot's last heartbeat; Infinity: there was none. */
  linkAgeNs: number;
}

export interface FlightStateOptions {
  /** > 0. Without a heartbeat for this long the link is lost; a landed state that is older is not known. */
  linkTimeoutNs: number;
}

/** MAV_TYPE_GCS and MAV_AUTOPILOT_INVALID: whoever says so flies nothing. */
const GROUND_STATION = 6;
const NO_AUTOPILOT = 8;
/** MAV_STATE. */
const CRITICAL = 5;
const EMERGENCY = 6;
const FLIGHT_TERMINATION = 8;
/** MAV_BATTERY_CHARGE_STATE. */
const BATTERY_EMERGENCY = 4;
const BATTERY_FAILED = 5;
/** MAV_BATTERY_FUNCTION: no flight ends when these are empty. */
const AVIONICS = 3;
const PAYLOAD = 4;
/** Batteries report about every two seconds. */
const BATTERY_MAX_AGE_NS = 10e9;
/** More than any vehicle has; what is beyond is not read. */
const MAX_BATTERIES = 16;

interface Seen<T> {
  message: T;
  atNs: number;
}

interface Battery {
  percent: number | undefined;
  failing: boolean;
}

export class FlightTracker {
  readonly #linkTimeoutNs: number;
  #heartbeat: Seen<Heartbeat> | undefined;
  #landed: Seen<ExtendedSysState["landed"]> | undefined;
  /** By battery; -1: of SYS_STATUS. */
  readonly #batteries = new Map<number, Seen<Battery>>();
  /** Whether it has left the ground since it was armed. */
  #flown = false;
  #phase: FlightPhase = "unknown";
  #sinceNs = 0;

  constructor({ linkTimeoutNs }: FlightStateOptions) {
    this.#linkTimeoutNs = linkTimeoutNs;
  }

  /** What the vehicle's autopilot said. `nowNs` may not go back. */
  accept(message: FlightMessage, nowNs: number): void {
    switch (message.kind) {
      case "heartbeat":
        if (message.vehicleType === GROUND_STATION || message.autopilot === NO_AUTOPILOT) return;
        this.#heartbeat = { message, atNs: nowNs };
        if (!message.armed) this.#flown = false;
        return;
      case "extended-sys-state":
        this.#landed = { message: message.landed, atNs: nowNs };
        if (message.landed === "in-air" || message.landed === "landing") this.#flown = true;
        return;
      case "sys-status":
        return this.#battery(-1, { percent: message.batteryPercent, failing: false }, nowNs);
      case "battery-status":
        if (message.function === PAYLOAD || message.function === AVIONICS) return;
        return this.#battery(message.id, batteryOf(message), nowNs);
    }
  }

  state(nowNs: number): FlightState {
    const linkAgeNs = this.#heartbeat === undefined ? Infinity : nowNs - this.#heartbeat.atNs;
    const heartbeat = linkAgeNs <= this.#linkTimeoutNs ? this.#heartbeat?.message : undefined;
    const phase = heartbeat === undefined
      ? (this.#heartbeat === undefined ? "unknown" : "link-lost")
      : this.#phaseOf(heartbeat, nowNs);
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#sinceNs = nowNs;
    }
    const batteryPercent = heartbeat === undefined ? undefined : this.#lowest(nowNs);
    return {
      phase,
      armed: heartbeat?.armed,
      ...(batteryPercent === undefined ? {} : { batteryPercent }),
      sinceNs: this.#sinceNs,
      linkAgeNs,
    };
  }

  #phaseOf({ armed, systemStatus }: Heartbeat, nowNs: number): FlightPhase {
    if (systemStatus === EMERGENCY || systemStatus === FLIGHT_TERMINATION) return "emergency";
    if (!armed) return "disarmed";
    // Failsafe: it still flies, though not as it should. On the ground it is what prevents arming.
    if (systemStatus === CRITICAL || this.#fresh(nowNs).some(({ failing }) => failing)) return "emergency";
    const landed = this.#landed;
    if (landed === undefined || nowNs - landed.atNs > this.#linkTimeoutNs) return "unknown";
    switch (landed.message) {
      case "in-air":
        return "cruising";
      case "on-ground":
        // With turning propellers: about to leave, or just back.
        return this.#flown ? "landing" : "taking-off";
      case undefined:
        return "unknown";
      default:
        return landed.message;
    }
  }

  #battery(id: number, message: Battery, nowNs: number): void {
    if (this.#batteries.has(id) || this.#batteries.size < MAX_BATTERIES) {
      this.#batteries.set(id, { message, atNs: nowNs });
    }
  }

  #fresh(nowNs: number): Battery[] {
    return [...this.#batteries.values()]
      .filter(({ atNs }) => nowNs - atNs <= BATTERY_MAX_AGE_NS)
      .map(({ message }) => message);
  }

  #lowest(nowNs: number): number | undefined {
    const known = this.#fresh(nowNs).flatMap(({ percent }) => percent ?? []);
    return known.length === 0 ? undefined : Math.min(...known);
  }
}

function batteryOf({ batteryPercent, chargeState }: BatteryStatus): Battery {
  return {
    percent: batteryPercent,
    failing: chargeState === BATTERY_EMERGENCY || chargeState === BATTERY_FAILED,
  };
}
