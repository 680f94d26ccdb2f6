/**
 * MAVLink frames from the messages' definitions: the other side of jetson/mavlink/, written from the protocol alone
 * (https://mavlink.io/en/guide/serialization.html) and sharing nothing with it, not even the checksum.
 */

type Scalar = "uint8_t" | "int8_t" | "uint16_t" | "int16_t" | "uint32_t" | "int32_t" | "uint64_t";

interface Field {
  type: Scalar;
  name: string;
  /** 0: not an array. */
  length: number;
}

export interface Definition {
  id: number;
  name: string;
  /** In the order of the definition. */
  fields: Field[];
  extensions: Field[];
}

const BYTES: Record<Scalar, number> = {
  uint8_t: 1,
  int8_t: 1,
  uint16_t: 2,
  int16_t: 2,
  uint32_t: 4,
  int32_t: 4,
  uint64_t: 8,
};

function field(text: string): Field {
  const [, type = "", length = "0", name = ""] = /^(\w+?)(?:\[(\d+)\])? (\w+)$/.exec(text) ?? [];
  if (!(type in BYTES)) throw new Error(`no field: ${text}`);
  return { type: type as Scalar, name, length: Number(length) };
}

function define(id: number, name: string, fields: string, extensions = ""): Definition {
  const list = (text: string) =>
    text.split(",").filter((part) => part.trim() !== "").map((part) => field(part.trim()));
  return { id, name, fields: list(fields), extensions: list(extensions) };
}

export const HEARTBEAT = define(
  0,
  "HEARTBEAT",
  "uint8_t type, uint8_t autopilot, uint8_t base_mode, uint32_t custom_mode, uint8_t system_status, uint8_t mavlink_version",
);
export const SYS_STATUS = define(
  1,
  "SYS_STATUS",
  `uint32_t onboard_control_sensors_present, uint32_t onboard_control_sensors_enabled,
   uint32_t onboard_control_sensors_health, uint16_t load, uint16_t voltage_battery, int16_t current_battery,
   int8_t battery_remaining, uint16_t drop_rate_comm, uint16_t errors_comm, uint16_t errors_count1,
   uint16_t errors_count2, uint16_t errors_count3, uint16_t errors_count4`,
  `uint32_t onboard_control_sensors_present_extended, uint32_t onboard_control_sensors_enabled_extended,
   uint32_t onboard_control_sensors_health_extended`,
);
export const BATTERY_STATUS = define(
  147,
  "BATTERY_STATUS",
  `uint8_t id, uint8_t battery_function, uint8_t type, int16_t temperature, uint16_t[10] voltages,
   int16_t current_battery, int32_t current_consumed, int32_t energy_consumed, int8_t battery_remaining`,
  "int32_t time_remaining, uint8_t charge_state, uint16_t[4] voltages_ext, uint8_t mode, uint32_t fault_bitmask",
);
export const EXTENDED_SYS_STATE = define(
  245,
  "EXTENDED_SYS_STATE",
  "uint8_t vtol_state, uint8_t landed_state",
);
export const ONBOARD_COMPUTER_STATUS = define(
  390,
  "ONBOARD_COMPUTER_STATUS",
  `uint64_t time_usec, uint32_t uptime, uint8_t type, uint8_t[8] cpu_cores, uint8_t[10] cpu_combined,
   uint8_t[4] gpu_cores, uint8_t[10] gpu_combined, int8_t temperature_board, int8_t[8] temperature_core,
   int16_t[4] fan_speed, uint32_t ram_usage, uint32_t ram_total, uint32_t[4] storage_type, uint32_t[4] storage_usage,
   uint32_t[4] storage_total, uint32_t[6] link_type, uint32_t[6] link_tx_rate, uint32_t[6] link_rx_rate,
   uint32_t[6] link_tx_max, uint32_t[6] link_rx_max`,
);
/** One that the agent does not read. */
export const SYSTEM_TIME = define(2, "SYSTEM_TIME", "uint64_t time_unix_usec, uint32_t time_boot_ms");

/** CRC-16/MCRF4XX, bit by bit: reflected polynomial 0x8408, start 0xffff, no final inversion. */
export function checksum(bytes: Iterable<number>): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >> 1) ^ 0x8408 : crc >> 1;
  }
  return crc;
}

/** By size, the largest first; extensions keep their places behind. */
function wireOrder({ fields, extensions }: Definition): Field[] {
  return [...fields.toSorted((a, b) => BYTES[b.type] - BYTES[a.type]), ...extensions];
}

export function crcExtra(definition: Definition): number {
  const bytes = [...new TextEncoder().encode(`${definition.name} `)];
  for (const { type, name, length } of wireOrder({ ...definition, extensions: [] })) {
    bytes.push(...new TextEncoder().encode(`${type} ${name} `));
    if (length > 0) bytes.push(length);
  }
  const crc = checksum(bytes);
  return (crc & 0xff) ^ (crc >> 8);
}

export type Values = Record<string, number | bigint | number[]>;

/** Absent fields are 0. */
export function payloadOf(definition: Definition, values: Values, extensions: boolean): number[] {
  const known = [...definition.fields, ...definition.extensions].map(({ name }) => name);
  for (const name of Object.keys(values)) {
    if (!known.includes(name)) throw new Error(`${definition.name} has no field ${name}`);
  }
  return wireOrder(extensions ? definition : { ...definition, extensions: [] }).flatMap(
    ({ type, name, length }) => {
      const given = values[name] ?? 0;
      const items = Array.isArray(given) ? given : [given];
      return Array.from(
        { length: Math.max(1, length) },
        (_, index) => littleEndian(items[index] ?? 0, BYTES[type]),
      ).flat();
    },
  );
}

function littleEndian(value: number | bigint, size: number): number[] {
  const bits = BigInt.asUintN(size * 8, BigInt(value));
  return Array.from({ length: size }, (_, index) => Number((bits >> BigInt(8 * index)) & 0xffn));
}

export interface FrameOptions {
  version?: 1 | 2;
  systemId?: number;
  componentId?: number;
  sequence?: number;
  /** Version 2: zeros at the end stay. */
  untruncated?: boolean;
  signed?: boolean;
  /** Version 2: further incompatibility flags. */
  flags?: number;
}

export function encodeFrame(definition: Definition, values: Values, options: FrameOptions = {}): Uint8Array {
  const { version = 2, systemId = 1, componentId = 1, sequence = 0, signed = false, flags = 0 } = options;
  const payload = payloadOf(definition, values, version === 2);
  let body: number[];
  if (version === 1) {
    body = [payload.length, sequence, systemId, componentId, definition.id, ...payload];
  } else {
    while (options.untruncated !== true && payload.length > 1 && payload.at(-1) === 0) payload.pop();
    const id = littleEndian(definition.id, 3);
    body = [payload.length, flags | (signed ? 1 : 0), 0, sequence, systemId, componentId, ...id, ...payload];
  }
  const crc = checksum([...body, crcExtra(definition)]);
  const signature = signed ? Array.from({ length: 13 }, (_, index) => 0xfd - index) : [];
  return Uint8Array.from([version === 1 ? 0xfe : 0xfd, ...body, crc & 0xff, crc >> 8, ...signature]);
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export const ARMED = 128;

/** A quadrotor with PX4 that is in order. */
export function heartbeat(values: Values = {}, options: FrameOptions = {}): Uint8Array {
  return encodeFrame(
    HEARTBEAT,
    { type: 2, autopilot: 12, base_mode: 81, system_status: 4, mavlink_version: 3, ...values },
    options,
  );
}

/** MAV_LANDED_STATE. */
export function landed(state: number, options: FrameOptions = {}): Uint8Array {
  return encodeFrame(EXTENDED_SYS_STATE, { landed_state: state }, options);
}
