/** How do work and plans become the bytes that `calypte.h` asks for? */
import { CONSTANTS } from "./abi.ts";
import type {
  ArgSpec,
  OpenOptions,
  Plan,
  SimFaults,
  SimProfile,
  SourceSpec,
  StepSpec,
  WorkSpec,
} from "./engine.ts";
import { EngineError } from "./errors.ts";
import type { SafeModeRule } from "./safe_mode.ts";
import { checkInteger, sizeOf, StructView } from "./structs.ts";
import {
  ARG_KINDS,
  BACKENDS,
  CLOCKS,
  FEATURES,
  FROM,
  LEVEL_NUMBERS,
  numberOf,
  ON_MISS,
  QUEUES,
  SOURCES,
  WORK_KINDS,
  YIELDS,
} from "./words.ts";

/** A `calypte_options`. */
export function encodeOptions(options: OpenOptions, operation: string): Uint8Array {
  let disableFeatures = 0;
  for (const feature of options.disableFeatures ?? []) {
    disableFeatures |= 1 << numberOf(FEATURES, feature, "disableFeatures", operation);
  }
  const view = new StructView("options");
  return view.setNumbers({
    abiVersion: CONSTANTS.ABI_VERSION,
    sizeBytes: view.size,
    backend: numberOf(BACKENDS, options.backend, "backend", operation),
    clock: numberOf(CLOCKS, options.clock ?? "real", "clock", operation),
    deviceIndex: options.deviceIndex ?? 0,
    disableFeatures,
    seed: options.seed ?? 1,
    simSms: options.simSms ?? 0,
    resultsBytes: options.resultsBytes ?? 0,
    reserveSms: options.reserveSms ?? 0,
    flags: (options.worker === true ? CONSTANTS.OPEN_WORKER : 0) |
      (options.lockMemory === true ? CONSTANTS.OPEN_LOCK_MEMORY : 0),
  }).bytes;
}

/** A `calypte_sim_profile`. */
export function encodeSimProfile({ name, estimate, integrated, ...numbers }: SimProfile): Uint8Array {
  const view = new StructView("sim_profile");
  return view.setText("name", name).setNumbers({
    abiVersion: CONSTANTS.ABI_VERSION,
    sizeBytes: view.size,
    estimate: estimate ? 1 : 0,
    integrated: integrated === true ? 1 : 0,
    ...numbers,
  }).bytes;
}

/** A `calypte_sim_faults`. */
export function encodeSimFaults(faults: Partial<SimFaults>): Uint8Array {
  const view = new StructView("sim_faults");
  return view.setNumbers({ abiVersion: CONSTANTS.ABI_VERSION, sizeBytes: view.size, ...faults }).bytes;
}

/** A `calypte_work` with its steps, arguments, inputs and outputs behind it. */
export function encodeWork(spec: WorkSpec, operation: string): Uint8Array {
  const args = spec.steps.flatMap((step) => step.args);
  const ios = [...spec.inputs, ...spec.outputs];
  const stepsAt = sizeOf("work");
  const argsAt = stepsAt + spec.steps.length * sizeOf("step");
  const iosAt = argsAt + args.length * sizeOf("arg");
  const bytes = new Uint8Array(iosAt + ios.length * sizeOf("io"));

  encodeHead(new StructView("work", bytes), spec, args.length, operation);
  if (spec.steps.length > 0) {
    const step = new StructView("step", bytes, stepsAt);
    let firstArg = 0;
    for (const [i, each] of spec.steps.entries()) {
      encodeStep(step.moveTo(stepsAt + i * step.size), each, firstArg, operation);
      firstArg += each.args.length;
    }
  }
  for (const [i, each] of args.entries()) {
    encodeArg(new StructView("arg", bytes, argsAt + i * sizeOf("arg")), each, operation);
  }
  for (const [i, { buffer, offset, sizeBytes }] of ios.entries()) {
    new StructView("io", bytes, iosAt + i * sizeOf("io")).setNumbers({ buffer, offset, sizeBytes });
  }
  return bytes;
}

function encodeHead(
  view: StructView<"work">,
  spec: WorkSpec,
  argCount: number,
  operation: string,
): void {
  view.setText("name", spec.name).setBytes("digest", spec.digest).setNumbers({
    abiVersion: CONSTANTS.ABI_VERSION,
    sizeBytes: view.bytes.length,
    kind: numberOf(WORK_KINDS, spec.kind, "kind", operation),
    stepCount: spec.steps.length,
    argCount,
    inputCount: spec.inputs.length,
    outputCount: spec.outputs.length,
    keepOutput: spec.keepOutput ? 1 : 0,
    inputBytes: spec.inputBytes,
    outputBytes: spec.outputBytes,
    estimateNs: spec.estimateNs,
    outputChannel: spec.outputChannel ?? 0,
    ...encodeSource(spec.source, operation),
  });
  if (spec.kind !== "critical") {
    view.setNumber("preemptionBoundNs", spec.preemptionBoundNs);
    return;
  }
  view.setNumbers({
    queue: numberOf(QUEUES, spec.queue, "queue", operation),
    queueDepth: spec.queueDepth,
    from: numberOf(FROM, spec.from, "from", operation),
    onMiss: numberOf(ON_MISS, spec.onMiss, "onMiss", operation),
    deadlineNs: spec.deadlineNs,
    maxBlockingNs: spec.maxBlockingNs,
    yield: numberOf(YIELDS, spec.yield, "yield", operation),
    anticipate: spec.anticipate ? 1 : 0,
  });
}

function encodeSource(source: SourceSpec, operation: string) {
  const number = numberOf(SOURCES, source.kind, "source.kind", operation);
  if (source.kind === "api") return { source: number };
  if ("channel" in source) {
    return { source: number, channel: source.channel, periodNs: source.periodNs };
  }
  const { periodNs, phaseNs } = source;
  return { source: number, frames: source.kind === "frames" ? source.frames : 0, periodNs, phaseNs };
}

function encodeStep(view: StructView<"step">, step: StepSpec, firstArg: number, operation: string): void {
  view.setNumbers({
    kernel: step.kernel,
    level: numberOf(LEVEL_NUMBERS, step.level, "level", operation),
    sharedBytes: step.sharedBytes,
    workers: step.workers,
    firstArg,
    argCount: step.args.length,
    loopKernel: step.loopKernel ?? CONSTANTS.NONE,
    periodSlots: step.periodSlots ?? 0,
    runBlocks: step.runBlocks ?? 0,
    estimateNs: step.estimateNs,
    blockEstimateNs: step.blockEstimateNs,
  });
  for (let axis = 0; axis < 3; axis++) {
    view.setNumber("grid", step.grid[axis] ?? 0, axis).setNumber("block", step.block[axis] ?? 0, axis);
  }
}

function encodeArg(view: StructView<"arg">, arg: ArgSpec, operation: string): void {
  view.setNumber("kind", numberOf(ARG_KINDS, arg.kind, "kind of argument", operation));
  if (arg.kind === "buffer") view.setNumbers({ value: arg.buffer, offset: arg.offset });
  if (arg.kind !== "scalar") return;
  const { length } = arg.bytes;
  if (length < 1 || length > 8) {
    throw new EngineError(
      CONSTANTS.E_INVALID,
      operation,
      `a scalar argument has 1 to 8 bytes, not ${length}`,
    );
  }
  const wide = new Uint8Array(8);
  wide.set(arg.bytes);
  view.setNumber("sizeBytes", length).setBigint("value", new DataView(wide.buffer).getBigUint64(0, true));
}

/** A `calypte_safe_mode`; without a rule, one that is off. */
export function encodeSafeMode(rule: SafeModeRule | undefined): Uint8Array {
  const view = new StructView("safe_mode");
  return view.setNumbers({ abiVersion: CONSTANTS.ABI_VERSION, sizeBytes: view.size, ...rule }).bytes;
}

/** Writes a plan into `view`. */
export function encodePlan(view: StructView<"plan">, plan: Plan, operation: string): void {
  const { entries } = plan;
  if (entries.length > CONSTANTS.MAX_JOBS) {
    const reason = `a plan has at most ${CONSTANTS.MAX_JOBS} entries, not ${entries.length}`;
    throw new EngineError(CONSTANTS.E_LIMIT, operation, reason);
  }
  view.clear().setNumbers({
    abiVersion: CONSTANTS.ABI_VERSION,
    sizeBytes: view.size,
    id: checkInteger(plan.id, "u64", operation, "id"),
    leaseNs: checkInteger(plan.leaseNs, "u64", operation, "leaseNs"),
    entryCount: entries.length,
    dutyPermille: checkInteger(plan.dutyPermille ?? 0, "u32", operation, "dutyPermille"),
  });
  for (const [i, { job, weight, maxUnits }] of entries.entries()) {
    view.struct("entries", i).setNumbers({ job, weight, maxUnits });
  }
}
