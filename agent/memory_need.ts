/**
 * How much memory does a bundle need while it is loaded and runs?
 *
 * Reckoned from the manifest alone, item by item, before anything is loaded. Pure: it knows neither device nor engine. Not in
 * it, as nobody knows it beforehand: room for the spilled registers of kernels, and the context that the driver makes for
 * each process.
 */
import { type Bundle, inputLayout, outputLayout } from "./bundle.ts";
import type { BackgroundJob, CriticalTask } from "./config.ts";
import { formatBytes } from "./quantity.ts";

export interface MemoryItem {
  /** Such as `weights`. */
  what: string;
  sizeBytes: number;
}

export interface MemoryNeed {
  /** What the GPU's memory holds; none is empty. */
  items: readonly MemoryItem[];
  /** Requests or units under way, in host memory: the GPU's own where the two share it. */
  slots: MemoryItem;
  /** On top, while the work is tried at load: a copy of its buffers, so that they begin as the bundle says. */
  copyBytes: number;
}

/** How a bundle is used. */
export type Use = { kind: "critical"; queueDepth: number } | { kind: "background" };

/** What the driver takes for the code of a bundle and its printf and stack room: measured loosely, and rather too much. */
const CODE_BYTES = 4 * 2 ** 20;
/** cuMemAlloc gives large buffers whole pages and packs small ones. */
const PAGE_BYTES = 2 * 2 ** 20;
const LARGE_BYTES = 2 ** 20;
const ALIGN_BYTES = 512;
/** kUnitSlots and kLargeUnitBytes of background_job.h: slots for units. A slot without bytes still has an address. */
const UNIT_SLOTS = 8;
const LARGE_UNIT_BYTES = 4 * 2 ** 20;
const LEAST_SLOT_BYTES = 256;
/** Of critical_task.cc: slots beyond the requests that wait. */
const SPARE_SLOTS = 3;
/** Control block, slot tables and numbers of workers, with room; and the records, 16 bytes for each worker. */
const CONTROL_BYTES = 8192;
const RECORD_BYTES = 16;
const MOST_WORKERS = 65_535;

export function useOf(work: CriticalTask | BackgroundJob): Use {
  return "onMiss" in work ? { kind: "critical", queueDepth: work.queueDepth } : { kind: "background" };
}

export function memoryNeed(bundle: Bundle, use: Use): MemoryNeed {
  const { buffers } = bundle.manifest;
  const of = (...roles: string[]) =>
    allocated(buffers.filter(({ role }) => roles.includes(role)).map(({ sizeBytes }) => sizeBytes));
  const items = [
    { what: "weights", sizeBytes: of("weight") },
    { what: "state", sizeBytes: of("state") },
    { what: "scratch", sizeBytes: of("scratch") },
    { what: "inputs and outputs", sizeBytes: of("input", "output") },
    { what: "control words", sizeBytes: use.kind === "critical" ? 0 : controlBytes(bundle) },
    { what: "code", sizeBytes: CODE_BYTES },
  ];
  return {
    items: items.filter(({ sizeBytes }) => sizeBytes > 0),
    slots: { what: "units under way", sizeBytes: slotsBytes(bundle, use) },
    copyBytes: of("weight", "state", "scratch", "input", "output"),
  };
}

/** What the GPU's memory holds. `integrated`: CPU and GPU share theirs. */
export function itemsOn({ items, slots }: MemoryNeed, integrated: boolean): readonly MemoryItem[] {
  return integrated ? [...items, slots] : items;
}

export function bytesOn(need: MemoryNeed, integrated: boolean): number {
  return itemsOn(need, integrated).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** `700 MiB for weights, 96 MiB for scratch`, the largest first. */
export function itemsText(items: readonly MemoryItem[]): string {
  return items.toSorted((a, b) => b.sizeBytes - a.sizeBytes)
    .map(({ what, sizeBytes }) => `${formatBytes(sizeBytes)} for ${what}`).join(", ");
}

function allocated(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + roundUp(size, size < LARGE_BYTES ? ALIGN_BYTES : PAGE_BYTES), 0);
}

function slotsBytes({ manifest }: Bundle, use: Use): number {
  const sizes = [inputLayout(manifest).sizeBytes, outputLayout(manifest).sizeBytes];
  const [inputBytes = 0, outputBytes = 0] = sizes;
  if (use.kind === "critical") return (use.queueDepth + SPARE_SLOTS) * (inputBytes + outputBytes);
  const slots = inputBytes + outputBytes > LARGE_UNIT_BYTES ? UNIT_SLOTS / 2 : UNIT_SLOTS;
  return slots * (Math.max(inputBytes, LEAST_SLOT_BYTES) + Math.max(outputBytes, LEAST_SLOT_BYTES));
}

/** How many workers are resident is found at load: as many as there are blocks at most. */
function controlBytes({ manifest }: Bundle): number {
  const blocks = manifest.steps.map((step) =>
    step.kind === "kernel" ? step.grid[0] * step.grid[1] * step.grid[2] : 1
  );
  const workers = Math.min(MOST_WORKERS, Math.max(1, ...blocks));
  return CONTROL_BYTES + roundUp(workers * RECORD_BYTES, ALIGN_BYTES);
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
