/**
 * Where do the bytes of an interpreted kernel lie?
 *
 * Memory is sequentially consistent: every store is seen by all threads at once.
 */

import { big, type Value } from "./interpreter_values.ts";

/** Global memory from address `BASE` on. */
export const BASE = 0x1000;

export class GlobalMemory {
  readonly view: DataView;
  constructor(bytes: number) {
    this.view = new DataView(new ArrayBuffer(bytes));
  }
  u32 = (address: number): number => this.view.getUint32(address - BASE, true);
  u64 = (address: number): bigint => this.view.getBigUint64(address - BASE, true);
  setU32 = (address: number, value: number): void => this.view.setUint32(address - BASE, value, true);
  setU64 = (address: number, value: bigint): void => this.view.setBigUint64(address - BASE, value, true);
}

export function load(view: DataView, at: number, size: number): Value {
  if (size === 8) return view.getBigUint64(at, true);
  return size === 4 ? view.getUint32(at, true) : size === 2 ? view.getUint16(at, true) : view.getUint8(at);
}

export function store(view: DataView, at: number, size: number, value: Value): void {
  if (size === 4 && typeof value === "number") return view.setUint32(at, value, true);
  const bitsOf = BigInt.asUintN(64, big(value));
  if (size === 8) view.setBigUint64(at, bitsOf, true);
  else if (size === 4) view.setUint32(at, Number(BigInt.asUintN(32, bitsOf)), true);
  else if (size === 2) view.setUint16(at, Number(BigInt.asUintN(16, bitsOf)), true);
  else view.setUint8(at, Number(BigInt.asUintN(8, bitsOf)));
}
