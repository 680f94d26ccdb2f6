import { assert, assertEquals } from "@std/assert";
import { crcOf } from "../../../jetson/mavlink/crc.ts";
import { readFrames } from "../../../jetson/mavlink/frames.ts";
import { decodeMessage, SHAPES } from "../../../jetson/mavlink/messages.ts";
import {
  ARMED,
  BATTERY_STATUS,
  checksum,
  crcExtra,
  encodeFrame,
  EXTENDED_SYS_STATE,
  HEARTBEAT,
  heartbeat,
  joined,
  landed,
  payloadOf,
  SYS_STATUS,
  SYSTEM_TIME,
} from "./encoder.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.split(" ").map((byte) => parseInt(byte, 16)));
}

function messages(bytes: Uint8Array) {
  return readFrames(bytes).frames.map(({ messageId, payload }) => decodeMessage(messageId, payload));
}

Deno.test("the checksum is CRC-16/MCRF4XX, by its published check value", () => {
  const digits = new TextEncoder().encode("123456789");
  assertEquals(crcOf(digits, 0, digits.length), 0x6f91);
  assertEquals(checksum(digits), 0x6f91);
});

Deno.test("each message's extra byte and length are what its definition gives", () => {
  const definitions = [HEARTBEAT, SYS_STATUS, BATTERY_STATUS, EXTENDED_SYS_STATE];
  assertEquals(definitions.map(({ id }) => id), [...SHAPES.keys()]);
  for (const definition of definitions) {
    const expected = { crcExtra: crcExtra(definition), baseBytes: payloadOf(definition, {}, false).length };
    assertEquals(SHAPES.get(definition.id), expected, definition.name);
  }
});

Deno.test("golden frames of both versions are read as they were meant", () => {
  const armed = {
    kind: "heartbeat",
    vehicleType: 2,
    autopilot: 12,
    armed: true,
    systemStatus: 4,
  };
  const v1 = hex("fe 09 4e 01 01 00 00 00 00 00 02 0c d1 04 03 8e 38");
  const v2 = hex("fd 09 00 00 4e 01 01 00 00 00 00 00 00 00 02 0c d1 04 03 e0 a3");
  assertEquals(v1, heartbeat({ base_mode: 81 | ARMED }, { version: 1, sequence: 78 }));
  assertEquals(v2, heartbeat({ base_mode: 81 | ARMED }, { sequence: 78 }));
  for (const [version, bytes] of [[1, v1], [2, v2]] as const) {
    const { frames: [frame], rejected } = readFrames(bytes);
    assertEquals(rejected, 0);
    assertEquals([frame?.version, frame?.systemId, frame?.componentId, frame?.sequence], [version, 1, 1, 78]);
    assertEquals(messages(bytes), [armed as never]);
  }
});

Deno.test("SYS_STATUS: every field in its unit, in both versions", () => {
  const values = { load: 423, voltage_battery: 15_870, current_battery: 1234, battery_remaining: 67 };
  const expected = {
    kind: "sys-status" as const,
    load: 0.423,
    batteryVolts: 15.87,
    batteryAmperes: 12.34,
    batteryPercent: 67,
  };
  for (const version of [1, 2] as const) {
    assertEquals(messages(encodeFrame(SYS_STATUS, values, { version })), [expected]);
  }
});

Deno.test("BATTERY_STATUS: base fields in version 1, extensions too in version 2", () => {
  const values = {
    id: 3,
    battery_function: 2,
    temperature: -512,
    current_battery: 2500,
    battery_remaining: 41,
  };
  const base = {
    kind: "battery-status" as const,
    id: 3,
    function: 2,
    batteryPercent: 41,
    temperatureC: -5.12,
    batteryAmperes: 25,
    remainingNs: undefined,
    chargeState: undefined,
  };
  assertEquals(messages(encodeFrame(BATTERY_STATUS, values, { version: 1 })), [base]);
  const extended = { ...values, time_remaining: 600, charge_state: 2, fault_bitmask: 1 };
  assertEquals(messages(encodeFrame(BATTERY_STATUS, extended)), [{
    ...base,
    remainingNs: 600e9,
    chargeState: 2,
  }]);
});

Deno.test("EXTENDED_SYS_STATE: four landed states, and all others are not known", () => {
  const states = [0, 1, 2, 3, 4, 5, 255].map((state) => messages(landed(state))[0]);
  assertEquals(
    states.map((state) => state?.kind === "extended-sys-state" ? state.landed : "?"),
    [undefined, "on-ground", "in-air", "taking-off", "landing", undefined, undefined],
  );
});

Deno.test("values that the sender marks as invalid, or that cannot be, are not known", () => {
  const nothing = encodeFrame(SYS_STATUS, {
    load: 1001,
    voltage_battery: 0xffff,
    current_battery: -1,
    battery_remaining: -1,
  });
  assertEquals(messages(nothing), [{
    kind: "sys-status",
    load: undefined,
    batteryVolts: undefined,
    batteryAmperes: undefined,
    batteryPercent: undefined,
  }]);
  for (const percent of [-1, -100, 101, 127]) {
    const [message] = messages(encodeFrame(BATTERY_STATUS, {
      battery_remaining: percent,
      temperature: 0x7fff,
      current_battery: -1,
      time_remaining: 0,
      charge_state: 200,
    }));
    assertEquals(message, {
      kind: "battery-status",
      id: 0,
      function: 0,
      batteryPercent: undefined,
      temperatureC: undefined,
      batteryAmperes: undefined,
      remainingNs: undefined,
      chargeState: undefined,
    });
  }
  const [strange] = messages(heartbeat({ system_status: 9 }));
  assertEquals(strange?.kind === "heartbeat" && strange.systemStatus, undefined);
});

Deno.test("zeros that version 2 leaves out are zeros, also where all but one byte is left out", () => {
  const all = encodeFrame(SYS_STATUS, {});
  assertEquals(all[1], 1);
  assertEquals(messages(all), messages(encodeFrame(SYS_STATUS, {}, { untruncated: true })));
  assertEquals(messages(landed(0)), [{ kind: "extended-sys-state", landed: undefined }]);
  const [battery] = messages(encodeFrame(BATTERY_STATUS, {}));
  assert(battery?.kind === "battery-status" && battery.id === 0 && battery.function === 0);
});

Deno.test("a signed frame is read, its signature is skipped, the next frame is found behind it", () => {
  const bytes = joined(landed(2, { signed: true, sequence: 1 }), landed(4, { sequence: 2 }));
  const { frames, rejected } = readFrames(bytes);
  assertEquals(frames.map(({ sequence, signed }) => [sequence, signed]), [[1, true], [2, false]]);
  assertEquals(rejected, 0);
});

Deno.test("a frame with an incompatibility flag that is not understood is dropped, the next one is not", () => {
  const bytes = joined(landed(2, { flags: 0x02, sequence: 1 }), landed(4, { sequence: 2 }));
  const { frames, rejected } = readFrames(bytes);
  assertEquals(frames.map(({ sequence }) => sequence), [2]);
  assertEquals(rejected, 1);
});

Deno.test("messages that are not read still count, by header and by what their checksum can be", () => {
  const bytes = joined(encodeFrame(SYSTEM_TIME, { time_boot_ms: 0xfdfe_fdfe }, { sequence: 9 }), landed(2));
  const { frames, rejected } = readFrames(bytes);
  assertEquals(frames.map(({ messageId, known }) => [messageId, known]), [[2, false], [245, true]]);
  assertEquals(rejected, 0);
});

Deno.test("version 1 must have its exact length, and id 0 sends nothing", () => {
  const short = heartbeat({}, { version: 1 });
  const body = [8, ...short.subarray(2, 14)];
  const crc = checksum([...body, crcExtra(HEARTBEAT)]);
  assertEquals(readFrames(Uint8Array.from([0xfe, ...body, crc & 0xff, crc >> 8])).frames, []);
  assertEquals(readFrames(heartbeat({}, { systemId: 0 })).frames, []);
  assertEquals(readFrames(heartbeat({}, { componentId: 0 })).frames, []);
});

Deno.test("noise between frames, also bytes that look like a start, hides none of them", () => {
  const noise = hex("00 fe 01 fd 02 fe");
  const { frames, rejected } = readFrames(
    joined(noise, landed(2, { sequence: 1 }), noise, landed(3, { sequence: 2 })),
  );
  assertEquals(frames.map(({ sequence }) => sequence), [1, 2]);
  assert(rejected >= 6);
});

Deno.test("a datagram full of starts is given up soon, a frame ahead of them is read", () => {
  const { frames, rejected } = readFrames(joined(landed(2), new Uint8Array(60_000).fill(0xfd)));
  assertEquals([frames.length, rejected], [1, 64]);
});

Deno.test("every single flipped bit of a frame is noticed", () => {
  for (const whole of [heartbeat(), heartbeat({}, { version: 1 }), encodeFrame(SYS_STATUS, { load: 5 })]) {
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = whole.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const read = readFrames(bytes).frames.filter(({ known }) => known);
      assertEquals(read, [], `bit ${bit}`);
    }
  }
});

Deno.test("a frame that was cut anywhere is not read", () => {
  const whole = encodeFrame(BATTERY_STATUS, { battery_remaining: 50, fault_bitmask: 0xffff_ffff });
  for (let length = 0; length < whole.length; length++) {
    assertEquals(readFrames(whole.subarray(0, length)).frames, [], `${length} bytes`);
  }
  const signed = landed(2, { signed: true });
  assertEquals(readFrames(signed.subarray(0, -1)).frames, []);
});
