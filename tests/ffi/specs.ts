/** Work in which every field has a value of its own. */
import type { BackgroundSpec, CriticalSpec, StepSpec } from "../../ffi/engine.ts";

export const STEP: StepSpec = {
  kernel: 5,
  level: "block",
  grid: [40, 8, 1],
  block: [128, 1, 1],
  sharedBytes: 1024,
  workers: 32,
  args: [{ kind: "buffer", buffer: 7, offset: 256 }, { kind: "scalar", bytes: Uint8Array.of(1, 2, 3, 4) }],
  estimateNs: 5_000_000_000,
  blockEstimateNs: 700,
};
const COMMON = {
  digest: new Uint8Array(32).fill(0xab),
  steps: [STEP, { ...STEP, level: "loop", args: [{ kind: "slot-count" }] }],
  inputs: [{ buffer: 1, offset: 0, sizeBytes: 100 }],
  outputs: [{ buffer: 2, offset: 0, sizeBytes: 10 }, { buffer: 3, offset: 256, sizeBytes: 7_000_000_000 }],
  inputBytes: 256,
  outputBytes: 12,
  keepOutput: true,
  estimateNs: 9,
} as const;
export const CRITICAL: CriticalSpec = {
  ...COMMON,
  kind: "critical",
  name: "obstacle-detector",
  source: { kind: "frames", frames: 11, periodNs: 33_333_333, phaseNs: 4 },
  deadlineNs: 15_000_000,
  from: "sensor",
  queue: "fifo",
  queueDepth: 2,
  onMiss: "drop",
  maxBlockingNs: 123,
  yield: "when-needed",
  anticipate: true,
};
export const BACKGROUND: BackgroundSpec = {
  ...COMMON,
  kind: "background",
  preemptionBoundNs: 0,
  name: "map",
  source: { kind: "none", periodNs: 66, phaseNs: 5 },
};
