/** Whatever comes in, nothing throws and nothing is made up. Seeded: the same bytes each time. */
import { assert, assertEquals } from "@std/assert";
import { readFrames } from "../../../jetson/mavlink/frames.ts";
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
const ROUNDS = 20_000;

/** Mulberry32. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

function anyFrame(random: Random): Uint8Array {
  const options = {
    version: random(2) === 0 ? 1 : 2,
    sequence: random(256),
    signed: random(4) === 0,
    componentId: 1 + random(255),
  } as const;
  switch (random(5)) {
    case 0:
      return heartbeat({ base_mode: random(256), system_status: random(256) }, options);
    case 1:
      return landed(random(256), options);
    case 2:
      return encodeFrame(SYS_STATUS, { load: random(65_536), battery_remaining: random(256) }, options);
    case 3:
      return encodeFrame(
        BATTERY_STATUS,
        { battery_remaining: random(256), charge_state: random(256), id: random(256) },
        options,
      );
    default:
      return encodeFrame(SYSTEM_TIME, { time_boot_ms: random(2 ** 31) }, options);
  }
}

function noise(random: Random, most: number): Uint8Array {
  // Half of the bytes are starts of frames, so that more of the parser is reached than its first line.
  return Uint8Array.from({ length: random(most) }, () => random(2) === 0 ? 0xfd + random(2) : random(256));
}

function damaged(frame: Uint8Array, random: Random): Uint8Array {
  if (random(2) === 0) return frame.slice(0, random(frame.length));
  const bytes = frame.slice();
  for (let flips = 1 + random(3); flips > 0; flips--) bytes[random(bytes.length)]! ^= 1 << random(8);
  return bytes;
}

function key(bytes: Uint8Array): string {
  return bytes.join();
}

Deno.test("random bytes: nothing throws, and hardly any of it has the right checksum", () => {
  const random = randomOf(1);
  let known = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = noise(random, 600);
    const { frames } = readFrames(bytes);
    known += frames.filter((frame) => frame.known).length;
    for (const { payload, systemId, componentId, messageId } of frames) {
      assert(payload.byteOffset + payload.byteLength <= bytes.byteOffset + bytes.byteLength);
      assert(systemId >= 1 && componentId >= 1 && messageId >= 0 && messageId < 2 ** 24);
    }
  }
  // 16 bits of checksum let one in 65,536 candidates pass, and few candidates name a known message.
  assert(known <= 5, `${known} known messages in noise`);
});

Deno.test("whole frames between damaged ones: all that is read was sent, and most of what was sent is read", () => {
  const random = randomOf(2);
  let sent = 0;
  let read = 0;
  for (let round = 0; round < ROUNDS / 10; round++) {
    const parts: Uint8Array[] = [];
    const whole = new Set<string>();
    for (let count = random(8); count > 0; count--) {
      const frame = anyFrame(random);
      const payload = key(readFrames(frame).frames[0]!.payload);
      if (random(3) > 0) {
        parts.push(frame);
        whole.add(payload);
        sent++;
      } else {
        const bytes = damaged(frame, random);
        parts.push(bytes);
        // Damage to the signature alone, or two flips that undo each other, leave the message whole; and any bytes do for a signature.
        const left = readFrames(joined(bytes, new Uint8Array(13))).frames[0];
        if (left?.known && key(left.payload) === payload) whole.add(payload);
      }
      if (random(4) === 0) parts.push(noise(random, 20));
    }
    for (const frame of readFrames(joined(...parts)).frames) {
      if (!frame.known) continue;
      assert(whole.has(key(frame.payload)), `round ${round}: message ${frame.messageId} was never sent`);
    }
    read += readFrames(joined(...parts)).frames.length;
  }
  assert(read > sent * 0.95, `${read} of ${sent}`);
});

Deno.test("damaged frames of a flying vehicle never make it fly, nor anything else", () => {
  const random = randomOf(3);
  const flight = new MavlinkSource({ systemId: 1, linkTimeoutNs: 3 * SECOND });
  flight.look(SECOND);
  const frames = [
    heartbeat({ base_mode: ARMED, system_status: 6 }),
    heartbeat({ base_mode: ARMED }, { version: 1 }),
    landed(2),
    encodeFrame(SYS_STATUS, { battery_remaining: 90 }),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    const frame = frames[random(frames.length)]!;
    const bytes = damaged(frame, random);
    if (key(bytes) !== key(frame)) flight.receive(bytes);
  }
  assertEquals(flight.look(SECOND), {
    phase: "unknown",
    armed: undefined,
    sinceNs: 0,
    linkAgeNs: Infinity,
  });
  assertEquals(flight.counts.accepted, 0);
});

Deno.test("a state stands whatever noise comes in between", () => {
  const random = randomOf(4);
  const flight = new MavlinkSource({ systemId: 1, linkTimeoutNs: 3 * SECOND });
  for (let second = 1; second <= 500; second++) {
    flight.look(second * SECOND);
    flight.receive(heartbeat({ base_mode: ARMED }));
    flight.receive(landed(2));
    flight.receive(encodeFrame(SYS_STATUS, { battery_remaining: 50 }));
    for (let count = 0; count < 20; count++) flight.receive(noise(random, 300));
    const { phase, batteryPercent } = flight.look(second * SECOND);
    assertEquals([phase, batteryPercent], ["cruising", 50]);
  }
});
