/**
 * The engine and its native library, for the rest of the agent.
 *
 * ```ts
 * using library = openLibrary(libraryPath());
 * using engine = NativeEngine.open(library, { backend: "sim", clock: "virtual" });
 * ```
 */
export { CONSTANTS } from "./abi.ts";
export * from "./engine.ts";
export { codeName, EngineError, type ErrorCodeName } from "./errors.ts";
export {
  bucketBounds,
  bucketIndex,
  emptyHistogram,
  meanNs,
  mergeHistograms,
  quantileNs,
} from "./histogram.ts";
export { Library, LIBRARY_VARIABLE, libraryPath, openLibrary } from "./library.ts";
export { type AttachOptions, NativeEngine } from "./native_engine.ts";
export {
  RING_FORMATS,
  type RingFormat,
  RingReader,
  type RingRecord,
  type RingShape,
  RingWriter,
} from "./ring.ts";
export {
  linksOfSystemFolder,
  listSystemFolder,
  readSystemFile,
  systemAccessBy,
  writeSystemFile,
} from "./system_files.ts";
export type { Outcome, TracePart, TraceRecord, TraceRequest, TraceSlice } from "./trace.ts";
export { notify, probe, serve } from "./without_engine.ts";
