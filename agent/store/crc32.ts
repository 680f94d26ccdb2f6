/** Are these the bytes that were written? CRC-32 as in zlib (polynomial 0xEDB88320): against chance, not against malice. */

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ ((value & 1) * 0xedb88320);
  return value;
});

/** Eight hexadecimal digits. */
export function crc32Hex(...parts: readonly Uint8Array[]): string {
  let value = 0xffffffff;
  for (const bytes of parts) {
    for (let at = 0; at < bytes.length; at++) value = (value >>> 8) ^ TABLE[(value ^ bytes[at]!) & 0xff]!;
  }
  return ((value ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}
