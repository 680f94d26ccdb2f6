/**
 * How does a TypeScript program write or read a ring (`calypte_ring.h`), such as a camera's frames or an engine's outputs?
 *
 * ```ts
 * using library = openLibrary(libraryPath());
 * using writer = RingWriter.create(library, "/dev/shm/cam0", { slots: 4, slotBytes: 640 * 360 * 3, expiryNs: 500e6 });
 * writer.write(frame, { number: 0, sensorNs: library.nowNs() });
 *
 * using reader = RingReader.open(library, "/dev/shm/detections");
 * for (;;) if (reader.wait(100e6)) handle(reader.read());
 * ```
 *
 * Thread rule: a ring belongs to the thread that opened it, and every method returns at once but `wait`, which blocks that
 * thread (V8 included) for up to its time. A program that serves other things too waits in a Worker, or briefly. Times
 * are nanoseconds of the monotonic clock.
 */
import { CONSTANTS } from "./abi.ts";
import { check, EngineError } from "./errors.ts";
import { cString, type Library } from "./library.ts";
import { checkInteger, StructView } from "./structs.ts";

/** In the order of CALYPTE_RING_RAW and those behind it in calypte_ring.h. */
export const RING_FORMATS = ["raw", "gray8", "rgb8", "bgr8", "rgba8", "nv12"] as const;
export type RingFormat = typeof RING_FORMATS[number];

/** CALYPTE_RING_LATE and CALYPTE_RING_SIMULATED. */
const LATE = 1;
const SIMULATED = 2;

export interface RingShape {
  /** 2..65536. */
  slots: number;
  /** Of payload, at most 2^30; rounded up to a multiple of 64. */
  slotBytes: number;
  /** Default `raw`; others need the three that follow, and the image must fit into a slot. */
  format?: RingFormat;
  width?: number;
  height?: number;
  /** Bytes from row to row. */
  stride?: number;
  /** A heartbeat older than this: the writer is gone. Default 0: the writer tells nothing. */
  expiryNs?: number;
}

export interface RingRecord {
  /** In the ring, from 0. */
  sequence: number;
  /** The writer's own, such as the request's number. */
  number: number;
  /** 0: unknown. */
  sensorNs: number;
  doneNs: number;
  late: boolean;
  /** Simulated: there is no payload. */
  simulated: boolean;
  payload: Uint8Array;
}

/** What both ends have in common. */
class RingHandle implements Disposable {
  readonly path: string;
  protected readonly library: Library;
  protected readonly id: number;
  #closed = false;

  protected constructor(library: Library, path: string, id: number) {
    this.library = library;
    this.path = path;
    this.id = id;
  }

  /** The ring's shape as it is in the file, the records completed, and those lost to this reader. */
  info(): Required<RingShape> & { head: number; overruns: number } {
    const view = new StructView("shm_info");
    this.call("describe", (id) => this.library.symbols.calypte_shm_info_of(id, bytesOf(view)));
    const { slotCount: slots, format, ...rest } = view.numbers(
      "slotCount",
      "format",
      "slotBytes",
      "width",
      "height",
      "stride",
      "expiryNs",
      "head",
      "overruns",
    );
    return { slots, format: RING_FORMATS[format] ?? "raw", ...rest };
  }

  /** Whether the ring's writer lives, by its heartbeat. */
  alive(): boolean {
    return this.call("ask for the heartbeat of", (id) => this.library.symbols.calypte_shm_alive(id)) === 1;
  }

  /** The file stays. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A closed library has let go of nothing, but no call reaches it any more.
    if (!this.library.closed) this.library.symbols.calypte_shm_close(this.id);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  protected call(what: string, call: (id: number) => number): number {
    const operation = `${what} ring '${this.path}'`;
    if (this.#closed) throw new EngineError(CONSTANTS.E_CLOSED, operation, "it is closed; open it again");
    return check(call(this.id), operation, this.library);
  }
}

/** The one writer of a ring. */
export class RingWriter extends RingHandle {
  readonly #record = new StructView("shm_record");

  /** Takes over a ring of the same shape, replaces one of another, or makes one. `EngineError` -9: it has a writer. */
  static create(library: Library, path: string, shape: RingShape): RingWriter {
    const operation = `create ring '${path}'`;
    const { slots, slotBytes, format = "raw", width = 0, height = 0, stride = 0, expiryNs = 0 } = shape;
    const view = new StructView("shm_info").setNumbers({
      slotCount: slots,
      format: RING_FORMATS.indexOf(format),
      slotBytes,
      width,
      height,
      stride,
      expiryNs,
    });
    const id = library.symbols.calypte_shm_create(cString(path, operation), bytesOf(view));
    return new RingWriter(library, path, check(id, operation, library));
  }

  /** Writes a record and wakes the readers. `doneNs`: default now. */
  write(
    payload: Uint8Array<ArrayBuffer>,
    about: { number: number; sensorNs?: number; doneNs?: number; late?: boolean },
  ): void {
    const { number, sensorNs = 0, doneNs = 0, late = false } = about;
    const record = bytesOf(
      this.#record.clear().setNumbers({ number, sensorNs, doneNs, flags: late ? LATE : 0 }),
    );
    const { symbols } = this.library;
    this.call("write", (id) => symbols.calypte_shm_write(id, payload, BigInt(payload.length), record));
  }

  /** Tells readers that this writer lives; every record does so too. */
  heartbeat(): void {
    this.call("beat for", (id) => this.library.symbols.calypte_shm_heartbeat(id));
  }
}

/** One of any number of readers; it gets what is written from `open` on. */
export class RingReader extends RingHandle {
  readonly #record = new StructView("shm_record");
  #payload = new Uint8Array(0);

  /** `EngineError` -7: there is no such file. */
  static open(library: Library, path: string): RingReader {
    const operation = `open ring '${path}'`;
    const id = library.symbols.calypte_shm_open(cString(path, operation));
    return new RingReader(library, path, check(id, operation, library));
  }

  /** Blocks until there is a record, at most `timeoutNs` (up to 60 s). False: none came. */
  wait(timeoutNs: number): boolean {
    const timeout = BigInt(checkInteger(timeoutNs, "u64", "wait for a record", "timeoutNs"));
    return this.call("wait for", (id) => this.library.symbols.calypte_shm_wait(id, timeout)) === 1;
  }

  /** The next record, with a payload of its own; `undefined`: there is none now. Never blocks. */
  read(): RingRecord | undefined {
    if (this.#payload.length === 0) this.#payload = new Uint8Array(this.info().slotBytes);
    const payload = this.#payload;
    const view = this.#record;
    const { symbols } = this.library;
    const size = BigInt(payload.length);
    if (this.call("read", (id) => symbols.calypte_shm_read(id, payload, size, bytesOf(view))) === 0) {
      return undefined;
    }
    const { flags, payloadBytes, ...rest } = view.numbers(
      "sequence",
      "number",
      "sensorNs",
      "doneNs",
      "flags",
      "payloadBytes",
    );
    return {
      ...rest,
      late: (flags & LATE) !== 0,
      simulated: (flags & SIMULATED) !== 0,
      payload: payload.slice(0, payloadBytes),
    };
  }

  /** Goes on with the newest record, or goes back to the oldest that is still there. */
  seek(to: "newest" | "oldest"): void {
    const newest = to === "newest" ? 1 : 0;
    this.call("seek in", (id) => this.library.symbols.calypte_shm_seek(id, newest));
  }
}

function bytesOf(view: { bytes: Uint8Array }): Uint8Array<ArrayBuffer> {
  return view.bytes as Uint8Array<ArrayBuffer>;
}
