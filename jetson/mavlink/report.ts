/**
 * What the agent says of itself, if it is asked to: ONBOARD_COMPUTER_STATUS (390) in version 2, as component 191 of the vehicle.
 *
 * The one message that ever leaves. What is not known is marked as unused.
 */
import { encodeFrame } from "./encode.ts";

export interface ComputerStatus {
  /** Monotonic, of which the message says "since boot". */
  nowNs: number;
  /** Share of the last second that the GPU was busy, 0..1. */
  gpuBusy?: number | undefined;
  temperatureCelsius?: number | undefined;
  memoryUsedBytes?: number | undefined;
  memoryTotalBytes?: number | undefined;
}

const ONBOARD_COMPUTER_STATUS = 390;
const CRC_EXTRA = 156;
const PAYLOAD_BYTES = 238;
/** MAV_COMP_ID_ONBOARD_COMPUTER. */
const COMPONENT = 191;
const MIB = 2 ** 20;

/** Where the fields lie in the payload. */
const TIME_USEC = 0;
const UPTIME_MS = 8;
const RAM_USAGE = 12;
const RAM_TOTAL = 16;
const STORAGE_AND_LINKS = 20;
const FAN_SPEED = 188;
const TYPE = 196;
const CPU_CORES = 197;
const GPU_CORES = 215;
const TEMPERATURE_BOARD = 229;

const U8_UNUSED = 0xff;
const I8_UNUSED = 0x7f;
const I16_UNUSED = 0x7fff;
const U32_UNUSED = 0xffff_ffff;

/** `sequence` counts the frames that were sent; only its lowest byte is used. */
export function encodeComputerStatus(status: ComputerStatus, systemId: number, sequence: number): Uint8Array {
  const payload = new Uint8Array(PAYLOAD_BYTES);
  writePayload(new DataView(payload.buffer), status);
  const header = { systemId, componentId: COMPONENT, sequence };
  return encodeFrame({ ...header, messageId: ONBOARD_COMPUTER_STATUS, crcExtra: CRC_EXTRA, payload });
}

function writePayload(view: DataView, status: ComputerStatus): void {
  view.setBigUint64(TIME_USEC, BigInt(Math.floor(status.nowNs / 1000)), true);
  view.setUint32(UPTIME_MS, Math.floor(status.nowNs / 1e6) % 2 ** 32, true);
  view.setUint32(RAM_USAGE, mebibytes(status.memoryUsedBytes), true);
  view.setUint32(RAM_TOTAL, mebibytes(status.memoryTotalBytes), true);
  for (let at = STORAGE_AND_LINKS; at < FAN_SPEED; at += 4) view.setUint32(at, U32_UNUSED, true);
  for (let at = FAN_SPEED; at < TYPE; at += 2) view.setInt16(at, I16_UNUSED, true);
  view.setUint8(TYPE, 0);
  for (let at = CPU_CORES; at < GPU_CORES; at++) view.setUint8(at, U8_UNUSED);
  for (let at = GPU_CORES; at < TEMPERATURE_BOARD; at++) view.setUint8(at, U8_UNUSED);
  if (status.gpuBusy !== undefined) {
    const percent = Math.round(Math.min(1, Math.max(0, status.gpuBusy)) * 100);
    view.setUint8(GPU_CORES, percent);
  }
  for (let at = TEMPERATURE_BOARD; at < PAYLOAD_BYTES; at++) view.setInt8(at, I8_UNUSED);
  if (status.temperatureCelsius !== undefined) {
    const degrees = Math.round(status.temperatureCelsius);
    view.setInt8(TEMPERATURE_BOARD, Math.min(I8_UNUSED - 1, Math.max(-128, degrees)));
  }
}

function mebibytes(bytes: number | undefined): number {
  return bytes === undefined ? U32_UNUSED : Math.min(U32_UNUSED - 1, Math.floor(bytes / MIB));
}
