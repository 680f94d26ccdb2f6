/** A payload as a frame of version 2, without a signature. */
import { crcByte, crcOf } from "./crc.ts";

export interface FrameContent {
  /** 1..255, as `componentId`. */
  systemId: number;
  componentId: number;
  /** Only the lowest byte is used. */
  sequence: number;
  /** 0..2^24-1. */
  messageId: number;
  crcExtra: number;
  /** 1..255 bytes; zeros at its end are left out, as version 2 wants it. */
  payload: Uint8Array;
}

const HEADER_BYTES = 10;

export function encodeFrame(content: FrameContent): Uint8Array {
  const { systemId, componentId, sequence, messageId, crcExtra, payload } = content;
  let length = payload.length;
  // The first byte always stays.
  while (length > 1 && payload[length - 1] === 0) length--;
  const end = HEADER_BYTES + length;
  const frame = new Uint8Array(end + 2);
  const id = [messageId & 0xff, messageId >> 8 & 0xff, messageId >> 16];
  frame.set([0xfd, length, 0, 0, sequence & 0xff, systemId, componentId, ...id]);
  frame.set(payload.subarray(0, length), HEADER_BYTES);
  const crc = crcByte(crcOf(frame, 1, end), crcExtra);
  frame.set([crc & 0xff, crc >> 8], end);
  return frame;
}
