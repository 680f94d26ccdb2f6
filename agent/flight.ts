/**
 * Conditions from the vehicle itself: phase and battery as the autopilot says them, the rest from another source.
 *
 * Without a link there is no phase, and by the mission's word no background. Says each change in the log.
 */
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { FlightPhase, FlightState } from "../jetson/flight_state.ts";
import type { Conditions, ConditionsSource } from "./conditions.ts";
import type { MissionFlight } from "./config_flight.ts";
import type { Logger } from "./log.ts";
import { totalGpuNs } from "./policy_snapshot.ts";
import { formatDurationNs } from "./quantity.ts";

export interface FlightConditionsOptions {
  /** The vehicle, asked once per look. */
  look: (nowNs: number) => FlightState;
  flight: Pick<MissionFlight, "systemId" | "onLinkLoss" | "linkTimeoutNs">;
  /** For what the vehicle does not say. */
  others: ConditionsSource;
  log: Logger;
}

const EVENT = { event: "flight" };
/** Of an armed vehicle with a link. */
const UNTOLD = "the autopilot does not send EXTENDED_SYS_STATE, or does not know itself; docs/MAVLINK.md";

export class FlightConditions implements ConditionsSource {
  readonly #options: FlightConditionsOptions;
  #askedSinceNs: number | undefined;
  #phase: FlightPhase = "unknown";
  #missing = false;

  constructor(options: FlightConditionsOptions) {
    this.#options = options;
  }

  current(nowNs: number): Conditions {
    const { look, others, flight: { onLinkLoss } } = this.#options;
    const state = look(nowNs);
    this.#say(state, nowNs);
    const { phase: _, batteryPercent: elsewhere, ...rest } = others.current(nowNs);
    const batteryPercent = state.batteryPercent ?? elsewhere;
    return {
      ...rest,
      phase: state.phase,
      ...(batteryPercent === undefined ? {} : { batteryPercent }),
      ...(onLinkLoss === "stop" && state.armed === undefined ? { keepOff: true } : {}),
    };
  }

  #say({ phase, linkAgeNs }: FlightState, nowNs: number): void {
    const { log, flight: { systemId, onLinkLoss, linkTimeoutNs } } = this.#options;
    const off = onLinkLoss === "stop" ? "; background is off until it comes (onLinkLoss: stop)" : "";
    const none = `no heartbeat of system ${systemId}'s autopilot for ${formatDurationNs(linkTimeoutNs)}`;
    this.#askedSinceNs ??= nowNs;
    if (linkAgeNs === Infinity) {
      if (this.#missing || nowNs - this.#askedSinceNs <= linkTimeoutNs) return;
      this.#missing = true;
      log.warn(`flight: ${none}${off}`, EVENT);
      return;
    }
    if (phase === this.#phase) return;
    if (phase === "link-lost") log.warn(`flight: the link is lost: ${none}${off}`, EVENT);
    else if (phase === "emergency") log.warn(`flight: emergency, was ${this.#phase}`, EVENT);
    else if (phase === "unknown") {
      log.warn(`flight: the phase is not known, was ${this.#phase}: ${UNTOLD}`, EVENT);
    } else log.info(`flight: ${phase}, was ${this.#phase}`, EVENT);
    this.#phase = phase;
  }
}

/** Which share of the time since the look before was the GPU busy? */
export class BusyShare {
  #last: { nowNs: number; busyNs: number } | undefined;

  /** `undefined`: there was no look before, or the engine is another one. */
  next({ nowNs, criticalBusyNs, jobs }: Pick<EngineSnapshot, "nowNs" | "criticalBusyNs" | "jobs">) {
    const busyNs = jobs.reduce((sum, job) => sum + totalGpuNs(job), criticalBusyNs);
    const last = this.#last;
    this.#last = { nowNs, busyNs };
    if (last === undefined || nowNs <= last.nowNs || busyNs < last.busyNs) return undefined;
    return Math.min(1, (busyNs - last.busyNs) / (nowNs - last.nowNs));
  }
}
