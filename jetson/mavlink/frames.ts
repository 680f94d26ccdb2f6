/**
 * Which MAVLink frames, version 1 and 2, are in these bytes?
 *
 * A datagram holds whole frames, so each is read on its own: what was cut off takes nothing of the next one along. A
 * frame counts only if its checksum is right; otherwise the search goes on one byte further. Any bytes may come: nothing
 * throws. Signatures are skipped, not verified: whoever can send to the port can lie anyway about frames without one.
 */
import { crcByte, crcOf } from "./crc.ts";
import { SHAPES } from "./messages.ts";

export interface Frame {
  version: 1 | 2;
  /** 1..255, as all ids of systems and components. */
  systemId: number;
  componentId: number;
  /** 0..255, counted by the component over all its messages. */
  sequence: number;
  messageId: number;
  /** A view of the bytes that were read. Version 2 leaves zeros at the end out. */
  payload: Uint8Array;
  signed: boolean;
  /** Whether its definition is known, so that the whole checksum was. */
  known: boolean;
}

export interface ReadFrames {
  frames: Frame[];
  /** What looked like the start of a frame and was none: noise, damage, or the rest was cut off. */
  rejected: number;
}

const START_V1 = 0xfe;
const START_V2 = 0xfd;
const HEADER_V1 = 6;
const HEADER_V2 = 10;
const CHECKSUM = 2;
const SIGNATURE = 13;
const SIGNED = 0x01;
/** After so many starts that were none the rest of the datagram is given up: it shall not cost more than a real one. */
const MAX_REJECTED = 64;

export function readFrames(bytes: Uint8Array): ReadFrames {
  const frames: Frame[] = [];
  let rejected = 0;
  const end = bytes.length;
  for (let at = 0; at < end && rejected < MAX_REJECTED;) {
    const start = bytes[at];
    if (start !== START_V1 && start !== START_V2) {
      at++;
      continue;
    }
    const found = start === START_V1 ? readV1(bytes, at, end) : readV2(bytes, at, end);
    if (found === undefined) {
      rejected++;
      at++;
      continue;
    }
    if (found.frame === undefined) rejected++;
    else frames.push(found.frame);
    at = found.end;
  }
  return { frames, rejected };
}

interface Found {
  /** `undefined`: its checksum is right, yet it must not be read. */
  frame: Frame | undefined;
  end: number;
}

function readV1(bytes: Uint8Array, at: number, end: number): Found | undefined {
  const payloadAt = at + HEADER_V1;
  const payloadEnd = payloadAt + (bytes[at + 1] ?? 0);
  if (payloadEnd + CHECKSUM > end) return undefined;
  const messageId = bytes[at + 5]!;
  const shape = SHAPES.get(messageId);
  // Version 1 knows neither truncation nor extensions.
  if (shape !== undefined && payloadEnd - payloadAt !== shape.baseBytes) return undefined;
  const header = { systemId: bytes[at + 3]!, componentId: bytes[at + 4]! };
  if (!checked(bytes, at + 1, payloadEnd, shape?.crcExtra) || !possible(header)) return undefined;
  return {
    frame: {
      version: 1,
      ...header,
      sequence: bytes[at + 2]!,
      messageId,
      payload: bytes.subarray(payloadAt, payloadEnd),
      signed: false,
      known: shape !== undefined,
    },
    end: payloadEnd + CHECKSUM,
  };
}

function readV2(bytes: Uint8Array, at: number, end: number): Found | undefined {
  if (at + HEADER_V2 + CHECKSUM > end) return undefined;
  const payloadAt = at + HEADER_V2;
  const payloadEnd = payloadAt + bytes[at + 1]!;
  const flags = bytes[at + 2]!;
  const signed = (flags & SIGNED) !== 0;
  const frameEnd = payloadEnd + CHECKSUM + (signed ? SIGNATURE : 0);
  if (frameEnd > end) return undefined;
  const messageId = bytes[at + 7]! | bytes[at + 8]! << 8 | bytes[at + 9]! << 16;
  const shape = SHAPES.get(messageId);
  const header = { systemId: bytes[at + 5]!, componentId: bytes[at + 6]! };
  if (!checked(bytes, at + 1, payloadEnd, shape?.crcExtra) || !possible(header)) return undefined;
  // The protocol: a frame with an incompatibility flag that is not understood is dropped.
  if ((flags & ~SIGNED) !== 0) return { frame: undefined, end: frameEnd };
  return {
    frame: {
      version: 2,
      ...header,
      sequence: bytes[at + 4]!,
      messageId,
      payload: bytes.subarray(payloadAt, payloadEnd),
      signed,
      known: shape !== undefined,
    },
    end: frameEnd,
  };
}

/** 0 means "all" and sends nothing. */
function possible({ systemId, componentId }: { systemId: number; componentId: number }): boolean {
  return systemId !== 0 && componentId !== 0;
}

/**
 * Whether the two bytes behind `to` are the checksum of what is before. Without the message's extra byte: whether they could be,
 * with any; that lets one in 256 damaged frames pass, enough to count sequence numbers by, and nothing else is read of such a frame.
 */
function checked(bytes: Uint8Array, from: number, to: number, crcExtra: number | undefined): boolean {
  const wanted = bytes[to]! | bytes[to + 1]! << 8;
  const crc = crcOf(bytes, from, to);
  if (crcExtra !== undefined) return crcByte(crc, crcExtra) === wanted;
  for (let extra = 0; extra < 256; extra++) if (crcByte(crc, extra) === wanted) return true;
  return false;
}
