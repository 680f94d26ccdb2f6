import { assertEquals } from "@std/assert";
import { FlightTracker } from "../../jetson/flight_state.ts";
import type {
  BatteryStatus,
  ExtendedSysState,
  FlightMessage,
  Heartbeat,
} from "../../jetson/mavlink/messages.ts";

const SECOND = 1e9;

function beat(armed: boolean, values: Partial<Heartbeat> = {}): Heartbeat {
  return { kind: "heartbeat", vehicleType: 2, autopilot: 12, armed, systemStatus: 4, ...values };
}

function landed(state: ExtendedSysState["landed"]): ExtendedSysState {
  return { kind: "extended-sys-state", landed: state };
}

function battery(percent: number | undefined, values: Partial<BatteryStatus> = {}): BatteryStatus {
  return {
    kind: "battery-status",
    id: 0,
    function: 1,
    batteryPercent: percent,
    temperatureC: undefined,
    batteryAmperes: undefined,
    remainingNs: undefined,
    chargeState: undefined,
    ...values,
  };
}

function sysStatus(percent: number | undefined): FlightMessage {
  return {
    kind: "sys-status",
    load: undefined,
    batteryVolts: undefined,
    batteryAmperes: undefined,
    batteryPercent: percent,
  };
}

function tracker(): FlightTracker {
  return new FlightTracker({ linkTimeoutNs: 3 * SECOND });
}

function phaseAfter(...messages: FlightMessage[]): string {
  const flight = tracker();
  for (const message of messages) flight.accept(message, SECOND);
  return flight.state(SECOND).phase;
}

Deno.test("before the first heartbeat nothing is known, whatever else was said", () => {
  const flight = tracker();
  flight.accept(landed("in-air"), SECOND);
  flight.accept(sysStatus(80), SECOND);
  assertEquals(flight.state(SECOND), {
    phase: "unknown",
    armed: undefined,
    sinceNs: 0,
    linkAgeNs: Infinity,
  });
});

Deno.test("armed, each landed state is its phase; disarmed, none of them is", () => {
  const states = ["taking-off", "in-air", "landing", undefined] as const;
  assertEquals(
    states.map((state) => phaseAfter(beat(true), landed(state))),
    ["taking-off", "cruising", "landing", "unknown"],
  );
  for (const state of states) assertEquals(phaseAfter(beat(false), landed(state)), "disarmed");
  assertEquals(phaseAfter(beat(true)), "unknown");
});

Deno.test("armed on the ground is taking off before the flight, landing after it, and taking off again once it was disarmed", () => {
  assertEquals(phaseAfter(beat(true), landed("on-ground")), "taking-off");
  const flown = [beat(true), landed("in-air"), landed("on-ground")];
  assertEquals(phaseAfter(...flown), "landing");
  assertEquals(phaseAfter(...flown, beat(false), beat(true)), "taking-off");
});

Deno.test("emergency: by the system's state, armed in a failsafe, or by a battery that fails in flight", () => {
  const air = landed("in-air");
  for (const systemStatus of [5, 6, 8]) {
    assertEquals(phaseAfter(air, beat(true, { systemStatus })), "emergency");
  }
  assertEquals(phaseAfter(beat(false, { systemStatus: 5 })), "disarmed");
  for (const systemStatus of [6, 8]) assertEquals(phaseAfter(beat(false, { systemStatus })), "emergency");
  for (const chargeState of [4, 5]) {
    assertEquals(phaseAfter(air, beat(true), battery(3, { chargeState })), "emergency");
    assertEquals(phaseAfter(air, beat(false), battery(3, { chargeState })), "disarmed");
    assertEquals(phaseAfter(air, beat(true), battery(3, { chargeState, function: 4 })), "cruising");
  }
  assertEquals(phaseAfter(air, beat(true), battery(3, { chargeState: 2 })), "cruising");
  assertEquals(phaseAfter(air, beat(true, { systemStatus: undefined })), "cruising");
});

Deno.test("heartbeats of ground stations and of what is no autopilot say nothing", () => {
  assertEquals(phaseAfter(beat(true, { vehicleType: 6 })), "unknown");
  assertEquals(phaseAfter(beat(true), landed("in-air"), beat(false, { autopilot: 8 })), "cruising");
});

Deno.test("the link is lost when the last heartbeat is older than the timeout, and is back with the next", () => {
  const flight = tracker();
  flight.accept(beat(true), SECOND);
  flight.accept(landed("in-air"), SECOND);
  flight.accept(sysStatus(60), SECOND);
  assertEquals(flight.state(4 * SECOND).phase, "cruising");
  // Other messages do not keep the link up: they do not say whether it is armed.
  flight.accept(landed("in-air"), 4 * SECOND);
  assertEquals(flight.state(4 * SECOND + 1), {
    phase: "link-lost",
    armed: undefined,
    sinceNs: 4 * SECOND + 1,
    linkAgeNs: 3 * SECOND + 1,
  });
  flight.accept(beat(true), 6 * SECOND);
  assertEquals(flight.state(6 * SECOND), {
    phase: "cruising",
    armed: true,
    batteryPercent: 60,
    sinceNs: 6 * SECOND,
    linkAgeNs: 0,
  });
});

Deno.test("a landed state that was not repeated within the timeout is not known any more", () => {
  const flight = tracker();
  flight.accept(landed("in-air"), SECOND);
  flight.accept(beat(true), 4 * SECOND);
  assertEquals(flight.state(4 * SECOND).phase, "cruising");
  assertEquals(flight.state(4 * SECOND + 1).phase, "unknown");
});

Deno.test("the battery is the lowest of those that fly the vehicle, each for ten seconds", () => {
  const flight = tracker();
  const percent = (seconds: number) => {
    flight.accept(beat(true), seconds * SECOND);
    return flight.state(seconds * SECOND).batteryPercent;
  };
  assertEquals(percent(1), undefined);
  flight.accept(battery(80, { id: 0 }), SECOND);
  flight.accept(battery(55, { id: 1 }), 2 * SECOND);
  flight.accept(sysStatus(70), 5 * SECOND);
  flight.accept(battery(5, { id: 2, function: 4 }), 5 * SECOND);
  flight.accept(battery(4, { id: 3, function: 3 }), 5 * SECOND);
  flight.accept(battery(undefined, { id: 4 }), 5 * SECOND);
  assertEquals([5, 12, 13, 15, 16].map(percent), [55, 55, 70, 70, undefined]);
});

Deno.test("a phase that goes on keeps the time of its beginning", () => {
  const flight = tracker();
  flight.accept(landed("in-air"), SECOND);
  flight.accept(beat(true), SECOND);
  assertEquals(flight.state(SECOND).sinceNs, SECOND);
  flight.accept(beat(true), 2 * SECOND);
  assertEquals(flight.state(2 * SECOND).sinceNs, SECOND);
  flight.accept(landed("landing"), 3 * SECOND);
  assertEquals(flight.state(3 * SECOND).sinceNs, 3 * SECOND);
});
