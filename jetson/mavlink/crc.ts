/**
 * The checksum of MAVLink frames: CRC-16/MCRF4XX (what MAVLink calls X.25, less that one's last inversion), followed by a byte
 * that stands for the message's definition, `CRC_EXTRA`, so that two sides which disagree on a message do not understand each other.
 */

const START = 0xffff;

export function crcByte(crc: number, byte: number): number {
  const low = (byte ^ crc) & 0xff;
  const mixed = (low ^ (low << 4)) & 0xff;
  return ((crc >> 8) ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4)) & 0xffff;
}

/** Over `bytes` from `begin` to before `end`, without a message's extra byte. */
export function crcOf(bytes: Uint8Array, begin: number, end: number): number {
  let crc = START;
  for (let at = begin; at < end; at++) crc = crcByte(crc, bytes[at]!);
  return crc;
}
