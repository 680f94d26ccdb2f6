/**
 * About how long does one pass over some instructions take?
 *
 * In issue slots of one warp. Coarse on purpose: it only has to tell which loops are long enough for a checkpoint and to
 * weigh them against each other; how many slots lie between two reads of the gate is measured on the device at load.
 */

import type { Instruction } from "./ast.ts";

/** Slots by opcode; 1 where absent. From the throughput table of the CUDA C++ Programming Guide, sm_80 and sm_90. */
const SLOTS: Readonly<Record<string, number>> = {
  // One issue slot each, but a unit of a quarter of the width or less.
  ...{
    rcp: 4,
    sqrt: 8,
    rsqrt: 4,
    sin: 4,
    cos: 4,
    lg2: 4,
    ex2: 4,
    tanh: 4,
    popc: 2,
    cvt: 2,
    shfl: 2,
    prmt: 1,
  },
  ...{ div: 16, rem: 20, mma: 16, wmma: 32, ldmatrix: 4, stmatrix: 4, bar: 16, barrier: 16 },
  ...{ atom: 16, red: 8, tex: 8, tld4: 8, suld: 8, membar: 32, fence: 32, call: 20, nanosleep: 100 },
};
const GLOBAL_SLOTS = 8;
const SHARED_SLOTS = 2;

export function slotsOf({ opcode, modifiers, operands }: Instruction): number {
  switch (opcode) {
    case "ld":
    case "st":
    case "ldu":
      if (modifiers.some((m) => m.startsWith(".param") || m.startsWith(".const"))) return 1;
      return modifiers.some((m) => m.startsWith(".shared")) ? SHARED_SLOTS : GLOBAL_SLOTS;
    case "cp":
      return modifiers.includes(".global") ? GLOBAL_SLOTS : 1;
    case "wgmma": {
      // The accumulators' registers tell the size of the product: 64 x N values over 128 threads.
      if (modifiers[0] !== ".mma_async") return 1;
      return operands[0]?.kind === "vector" ? Math.max(16, operands[0].items.length) : 64;
    }
    case "fma":
    case "mul":
    case "add":
      return modifiers.some((m) => m === ".f64") ? 2 : 1;
    default:
      return SLOTS[opcode] ?? 1;
  }
}
