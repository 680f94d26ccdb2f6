/**
 * How do results become lines of JSON?
 *
 * Whole lines at the end of one file. What a crash left half-written is cut off before anything follows it.
 */
import { makeFolder, setAside, sizeOf, syncFolder } from "./earlier.ts";
import { describeRecord, type InputMark, type ResultRecord, type SinkOptions, type Writer } from "./sinks.ts";
import { path } from "./std/mod.ts";
import { decodeOutputs } from "./values.ts";

/**
 * What may come again is what the engine's store of 16 MiB holds: at most 161,000 results, and no value takes more than
 * eleven times its bytes as text.
 */
const TAIL_BYTES = 256 * 2 ** 20;
const TAIL_LINES = 200_000;
const CHUNK_BYTES = 2 ** 20;
const NEWLINE = 10;
/** All that `heldOf` looks at lies in front of the values. */
const HEAD_BYTES = 512;

export async function openJsonl(file: string, options: SinkOptions): Promise<Writer> {
  const folder = path.dirname(file);
  const unmake = await makeFolder(folder);
  const goesOn = options.resume === true || options.queue === true;
  if (goesOn && await sizeOf(file) !== undefined) return await resume(file, options);
  const restore = goesOn ? () => Promise.resolve() : await setAside(file);
  const handle = await Deno.open(file, { write: true, createNew: true });
  await syncFolder(folder);
  return lineWriter(handle, 0, new Map(), new Set(), async () => {
    await Deno.remove(file);
    await restore();
    await unmake();
  });
}

async function resume(file: string, { onNote }: SinkOptions): Promise<Writer> {
  const handle = await Deno.open(file, { read: true, write: true });
  try {
    const { goodBytes, sizeBytes, held, inputs } = await readTail(handle);
    if (goodBytes < sizeBytes) {
      await handle.truncate(goodBytes);
      onNote?.(`the last line of ${file} was torn: ${sizeBytes - goodBytes} bytes are cut off`);
    }
    await handle.seek(goodBytes, Deno.SeekMode.Start);
    // What is skipped as there must be there for good.
    await handle.sync();
    return lineWriter(handle, goodBytes, held, inputs, () => Promise.resolve());
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** Arrival and completion by number, of results that are in the file: a number alone may be another engine's. */
type Held = Map<number, string>;

function lineWriter(
  handle: Deno.FsFile,
  beginBytes: number,
  held: Held,
  inputs: Set<string>,
  undo: () => Promise<void>,
): Writer {
  const encoder = new TextEncoder();
  let goodBytes = beginBytes;
  const unsynced: string[] = [];
  return {
    holds: ({ result: { number, arrivalNs, doneNs } }) =>
      Promise.resolve(held.get(number) === `${arrivalNs} ${doneNs}`),
    forget: () => held.clear(),
    holdsInput: ({ id }: InputMark) => Promise.resolve(inputs.has(id)),
    async write(records) {
      const bytes = encoder.encode(records.map(lineOf).join(""));
      try {
        for (let at = 0; at < bytes.length;) at += await handle.write(bytes.subarray(at));
        goodBytes += bytes.length;
        for (const { input } of records) if (input !== undefined) unsynced.push(input.id);
      } catch (error) {
        // No torn line: what follows starts where the last good line ended.
        await handle.truncate(goodBytes).catch(() => {});
        await handle.seek(goodBytes, Deno.SeekMode.Start);
        throw error;
      }
    },
    async sync() {
      // Of a sync that fails nobody knows what is on the disk: those inputs are not held, and are run again.
      const ids = unsynced.splice(0);
      await handle.syncData();
      for (const id of ids) remember(inputs, id);
    },
    end: () => handle.close(),
    undo,
  };
}

function lineOf(record: ResultRecord): string {
  const values = record.payload === undefined ? null : decodeOutputs(record.fields, record.payload);
  return JSON.stringify({ ...describeRecord(record), values }) + "\n";
}

interface Tail {
  sizeBytes: number;
  /** Where the last whole line ends. */
  goodBytes: number;
  held: Held;
  /** Ids of inputs. */
  inputs: Set<string>;
}

function remember(inputs: Set<string>, id: string): void {
  inputs.add(id);
  if (inputs.size > TAIL_LINES) inputs.delete(inputs.values().next().value!);
}

/** Reads the last lines of a file, as far back as a result may lie that comes again. */
async function readTail(handle: Deno.FsFile): Promise<Tail> {
  const { size: sizeBytes } = await handle.stat();
  const begin = Math.max(0, sizeBytes - TAIL_BYTES);
  await handle.seek(begin, Deno.SeekMode.Start);
  const chunk = new Uint8Array(CHUNK_BYTES);
  const held = new Map<number, string>();
  const inputs = new Set<string>();
  let head = new Uint8Array();
  let goodBytes = begin;
  // A line that began before `begin`, or that holds zeros in place of what never reached the disk, is none.
  let sound = begin === 0;
  let at = begin;
  for (let count = await handle.read(chunk); count !== null; count = await handle.read(chunk)) {
    const bytes = chunk.subarray(0, count);
    for (let from = 0; from < count;) {
      const end = bytes.indexOf(NEWLINE, from);
      const part = bytes.subarray(from, end < 0 ? count : end);
      if (part.includes(0)) sound = false;
      if (head.length < HEAD_BYTES) head = joined(head, part.subarray(0, HEAD_BYTES - head.length));
      if (end < 0) break;
      if (sound) {
        const [number, times, input] = heldOf(head) ?? [];
        if (input !== undefined) remember(inputs, input);
        if (number !== undefined && times !== undefined) {
          held.delete(number);
          held.set(number, times);
          if (held.size > TAIL_LINES) held.delete(held.keys().next().value!);
        }
      }
      if (sound || begin > 0 && goodBytes === begin) goodBytes = at + end + 1;
      [sound, head, from] = [true, new Uint8Array(), end + 1];
    }
    at += count;
  }
  return { sizeBytes, goodBytes, held, inputs };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

const DECODER = new TextDecoder();
const HEAD =
  /^\{"work":"[^"]*","kind":"(?:background|critical)","(?:unit|number)":(\d+),.{0,120}?"arrivalNs":(\d+),"doneNs":(\d+),(?:"inputId":"([0-9a-f]{32})",)?/;

/** Number, arrival and completion, and id of the input, of a line; `undefined`: not one of ours. */
function heldOf(head: Uint8Array): [number, string, string | undefined] | undefined {
  const found = HEAD.exec(DECODER.decode(head));
  return found === null ? undefined : [Number(found[1]), `${found[2]} ${found[3]}`, found[4]];
}
