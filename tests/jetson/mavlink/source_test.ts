import { assertEquals } from "@std/assert";
import { MavlinkSource } from "../../../jetson/mavlink/source.ts";
import {
  ARMED,
  BATTERY_STATUS,
  encodeFrame,
  heartbeat,
  joined,
  landed,
  SYS_STATUS,
  SYSTEM_TIME,
} from "./encoder.ts";

const SECOND = 1e9;

function source(): MavlinkSource {
  const source = new MavlinkSource({ systemId: 1, linkTimeoutNs: 3 * SECOND });
  source.look(SECOND);
  return source;
}

const FLYING = joined(heartbeat({ base_mode: ARMED }), landed(2, { sequence: 1 }));

Deno.test("from bytes to a phase: version 1, version 2 and signed frames, in one datagram or in several", () => {
  for (const options of [{ version: 1 }, { version: 2 }, { signed: true }] as const) {
    const flight = source();
    flight.receive(heartbeat({ base_mode: ARMED }, options));
    flight.receive(joined(
      landed(2, options),
      encodeFrame(SYS_STATUS, { battery_remaining: 73 }, options),
      encodeFrame(BATTERY_STATUS, { battery_remaining: 71 }, options),
    ));
    const state = {
      phase: "cruising" as const,
      armed: true,
      batteryPercent: 71,
      sinceNs: SECOND,
      linkAgeNs: 0,
    };
    assertEquals(flight.look(SECOND), state);
  }
});

Deno.test("other vehicles, other components and what came before the first look say nothing", () => {
  const flight = source();
  assertEquals(flight.receive(heartbeat({ base_mode: ARMED }, { systemId: 2 })), false);
  assertEquals(flight.receive(heartbeat({ base_mode: ARMED }, { componentId: 100 })), false);
  assertEquals(flight.look(SECOND).phase, "unknown");
  const early = new MavlinkSource({ systemId: 1, linkTimeoutNs: 3 * SECOND });
  assertEquals(early.receive(FLYING), false);
  assertEquals(early.look(SECOND).phase, "unknown");
  assertEquals(early.receive(FLYING), true);
  assertEquals(early.look(SECOND).phase, "cruising");
});

Deno.test("what waited while the agent was held up is not taken for new", () => {
  const flight = source();
  flight.receive(FLYING);
  assertEquals(flight.look(9 * SECOND).phase, "link-lost");
  flight.receive(FLYING);
  assertEquals(flight.look(10 * SECOND).phase, "cruising");
});

Deno.test("gaps are counted for each component by itself, over the wrap and over messages that are not read", () => {
  const flight = source();
  const numbers = (componentId: number, ...sequence: number[]) =>
    sequence.forEach((number) =>
      flight.receive(encodeFrame(SYSTEM_TIME, { time_boot_ms: 1 }, { componentId, sequence: number }))
    );
  numbers(1, 253, 254);
  numbers(2, 7, 8, 9);
  numbers(1, 255, 0, 1, 5);
  numbers(2, 10);
  assertEquals([flight.counts.lost, flight.counts.disordered], [3, 0]);
  // One of them comes late, one twice.
  numbers(1, 3, 5);
  assertEquals([flight.counts.lost, flight.counts.disordered], [2, 2]);
  // It was restarted: nothing of that was lost.
  numbers(2, 120, 0, 1);
  assertEquals(flight.counts.lost, 2 + 109);
});

Deno.test("counts tell frames from noise, and the vehicle's from others'", () => {
  const flight = source();
  flight.receive(FLYING);
  flight.receive(heartbeat({}, { systemId: 9 }));
  flight.receive(FLYING.subarray(0, 10));
  assertEquals(flight.counts, {
    datagrams: 3,
    frames: 3,
    accepted: 2,
    rejected: 1,
    lost: 0,
    disordered: 0,
  });
});
