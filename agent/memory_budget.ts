/**
 * Does a mission need more GPU memory than it may have? Reckoned from the bundles, before anything is loaded.
 *
 * Nothing is allocated once an engine is ready, so that what is checked here is what a job ever has; its process's own
 * context, which the driver makes, is not counted.
 */
import type { BlobLayout, Bundle } from "./bundle.ts";
import { inputLayout, outputLayout } from "./bundle.ts";
import type { Mission } from "./config.ts";
import { InputError } from "./errors.ts";
import { formatBytes } from "./quantity.ts";

/** What the driver takes for the code of a module and its printf and stack room: measured loosely, and rather too much. */
const MODULE_BYTES = 4 << 20;
/** kUnitSlots and kLargeUnitBytes of the CUDA backend: inputs and outputs of units that may be under way. */
const UNIT_SLOTS = 8;
const LARGE_UNIT_BYTES = 4 << 20;

export interface Need {
  /** Buffers without a file: intermediate results, inputs, outputs. */
  buffersBytes: number;
  weightsBytes: number;
  codeBytes: number;
  /** Slots for units under way. In host memory, which is the GPU's where the two share it. */
  slotsBytes: number;
}

export function needOf(bundle: Bundle): Need {
  const { buffers } = bundle.manifest;
  const sum = (weights: boolean) =>
    buffers.filter(({ name }) => bundle.weights.has(name) === weights)
      .reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  const unitBytes = [inputLayout(bundle.manifest), outputLayout(bundle.manifest)]
    .reduce((bytes, { sizeBytes }: BlobLayout) => bytes + sizeBytes, 0);
  const slots = unitBytes > LARGE_UNIT_BYTES ? UNIT_SLOTS / 2 : UNIT_SLOTS;
  return {
    buffersBytes: sum(false),
    weightsBytes: sum(true),
    codeBytes: MODULE_BYTES,
    slotsBytes: slots * unitBytes,
  };
}

export interface DeviceMemory {
  /** Before anything is loaded; 0: not known. */
  freeBytes: number;
  /** CPU and GPU share it. */
  integrated: boolean;
}

/** Throws `InputError` for the first limit that does not hold: a job's, that of all jobs, the device's with critical work first. */
export function checkMemory(
  mission: Mission,
  bundles: ReadonlyMap<string, Bundle>,
  { freeBytes, integrated }: DeviceMemory,
): void {
  const total = (name: string) => {
    const bundle = bundles.get(name);
    if (bundle === undefined) return 0;
    const { buffersBytes, weightsBytes, codeBytes, slotsBytes } = needOf(bundle);
    return buffersBytes + weightsBytes + codeBytes + (integrated ? slotsBytes : 0);
  };
  const { file, backgroundMemoryBytes } = mission;
  let all = 0;
  for (const { name, memoryBytes } of mission.background) {
    const bytes = total(name);
    all += bytes;
    if (memoryBytes === 0 || bytes <= memoryBytes) continue;
    throw new InputError({
      file,
      field: `background.${name}.memory`,
      rule: `must be at least what its bundle needs, which is ${words(bundles.get(name)!, integrated)}`,
      remedy: `give it ${formatBytes(bytes)}, or take a smaller bundle`,
    });
  }
  if (backgroundMemoryBytes > 0 && all > backgroundMemoryBytes) {
    throw new InputError({
      file,
      field: "device.backgroundMemory",
      rule: `must be at least what the background jobs need together, which is ${formatBytes(all)}`,
      remedy: "raise it, or leave a job out",
    });
  }
  if (freeBytes === 0) return;
  // While a work is tried at load, what it keeps is copied aside.
  const works = [...mission.critical, ...mission.background].map(({ name }) => ({
    name,
    bytes: total(name),
  }));
  let used = 0;
  for (const { name, bytes } of works) {
    used += bytes;
    if (used + bytes <= freeBytes) continue;
    const field = mission.critical.some((task) => task.name === name)
      ? `critical.${name}`
      : `background.${name}`;
    throw new InputError({
      file,
      field,
      rule:
        `must fit the device's memory: with those before it that takes ${
          formatBytes(used)
        }, and as much as its own ` +
        `${formatBytes(bytes)} again while it is tried; ${formatBytes(freeBytes)} are free`,
      remedy: "leave a work out, take smaller bundles, or end what else takes memory of this device",
    });
  }
}

function words(bundle: Bundle, integrated: boolean): string {
  const { buffersBytes, weightsBytes, codeBytes, slotsBytes } = needOf(bundle);
  const parts = [
    `${formatBytes(buffersBytes)} for buffers`,
    `${formatBytes(weightsBytes)} for weights`,
    `${formatBytes(codeBytes)} for code`,
    ...(integrated ? [`${formatBytes(slotsBytes)} for units under way`] : []),
  ];
  return parts.join(", ");
}
