/**
 * What do the four messages say that the agent reads? Values that the sender marks as invalid, and such as cannot be, are
 * `undefined`: not known.
 *
 * Field order on the wire is by size, not as in the definition (https://mavlink.io/en/guide/serialization.html); names and
 * units are those of https://mavlink.io/en/messages/common.html.
 */

export const HEARTBEAT = 0;
export const SYS_STATUS = 1;
export const BATTERY_STATUS = 147;
export const EXTENDED_SYS_STATE = 245;

export interface MessageShape {
  /** Stands for the definition in the checksum. */
  crcExtra: number;
  /** Without extensions: what version 1 sends, exactly. */
  baseBytes: number;
}

export const SHAPES: ReadonlyMap<number, MessageShape> = new Map([
  [HEARTBEAT, { crcExtra: 50, baseBytes: 9 }],
  [SYS_STATUS, { crcExtra: 124, baseBytes: 31 }],
  [BATTERY_STATUS, { crcExtra: 154, baseBytes: 36 }],
  [EXTENDED_SYS_STATE, { crcExtra: 130, baseBytes: 2 }],
]);

export interface Heartbeat {
  kind: "heartbeat";
  /** MAV_TYPE; 6: a ground station. */
  vehicleType: number;
  /** MAV_AUTOPILOT; 8: not an autopilot. */
  autopilot: number;
  armed: boolean;
  /** MAV_STATE 0..8. */
  systemStatus: number | undefined;
}

export interface SysStatus {
  kind: "sys-status";
  /** Of the autopilot's main loop: 0..1. */
  load: number | undefined;
  batteryVolts: number | undefined;
  /** Below 0: it is being charged. */
  batteryAmperes: number | undefined;
  /** 0..100. */
  batteryPercent: number | undefined;
}

export interface BatteryStatus {
  kind: "battery-status";
  id: number;
  /** MAV_BATTERY_FUNCTION; 0: not known, 1: all, 2: propulsion, 3: avionics, 4: payload. */
  function: number;
  batteryPercent: number | undefined;
  temperatureC: number | undefined;
  batteryAmperes: number | undefined;
  remainingNs: number | undefined;
  /** MAV_BATTERY_CHARGE_STATE 1..7. */
  chargeState: number | undefined;
}

export interface ExtendedSysState {
  kind: "extended-sys-state";
  landed: "on-ground" | "in-air" | "taking-off" | "landing" | undefined;
}

export type FlightMessage = Heartbeat | SysStatus | BatteryStatus | ExtendedSysState;

const ARMED = 128;
const LANDED = [undefined, "on-ground", "in-air", "taking-off", "landing"] as const;
const CENTI = 100;

/**
 * Of a frame whose checksum is right. `payload` may be shorter than the message: what is missing behind its end is zero. `undefined`:
 * another message.
 */
export function decodeMessage(messageId: number, payload: Uint8Array): FlightMessage | undefined {
  const read = new Fields(payload);
  switch (messageId) {
    case HEARTBEAT:
      return {
        kind: "heartbeat",
        vehicleType: read.u8(4),
        autopilot: read.u8(5),
        armed: (read.u8(6) & ARMED) !== 0,
        systemStatus: within(read.u8(7), 0, 8),
      };
    case SYS_STATUS:
      return {
        kind: "sys-status",
        load: scaled(within(read.u16(12), 0, 1000), 1000),
        batteryVolts: scaled(unless(read.u16(14), 0xffff), 1000),
        batteryAmperes: scaled(unless(read.i16(16), -1), CENTI),
        batteryPercent: within(read.i8(30), 0, 100),
      };
    case BATTERY_STATUS: {
      const seconds = read.i32(36);
      return {
        kind: "battery-status",
        id: read.u8(32),
        function: read.u8(33),
        batteryPercent: within(read.i8(35), 0, 100),
        temperatureC: scaled(unless(read.i16(8), 0x7fff), CENTI),
        batteryAmperes: scaled(unless(read.i16(30), -1), CENTI),
        remainingNs: seconds > 0 ? seconds * 1e9 : undefined,
        chargeState: within(read.u8(40), 1, 7),
      };
    }
    case EXTENDED_SYS_STATE:
      return { kind: "extended-sys-state", landed: LANDED[read.u8(1)] };
    default:
      return undefined;
  }
}

function within(value: number, least: number, most: number): number | undefined {
  return value >= least && value <= most ? value : undefined;
}

function unless(value: number, invalid: number): number | undefined {
  return value === invalid ? undefined : value;
}

function scaled(value: number | undefined, parts: number): number | undefined {
  return value === undefined ? undefined : value / parts;
}

/** Little-endian; zero behind the end. */
class Fields {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(at: number): number {
    return this.#bytes[at] ?? 0;
  }

  i8(at: number): number {
    return this.u8(at) << 24 >> 24;
  }

  u16(at: number): number {
    return this.u8(at) | this.u8(at + 1) << 8;
  }

  i16(at: number): number {
    return this.u16(at) << 16 >> 16;
  }

  i32(at: number): number {
    return this.u16(at) | this.u16(at + 2) << 16;
  }
}
