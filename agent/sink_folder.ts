/**
 * How do results become files?
 *
 * A binary and a sidecar for each that has an output; or, of masks, a picture, outlines and a sidecar. The sidecar is there
 * only if the others are whole, on the disk too: contents are synced before they get their names, and the folder between
 * the others' names and the sidecars'.
 */
import { exists, makeAside, makeFolder, moveTo, setFolderAside, syncFolder } from "./earlier.ts";
import { maskFilesOf, type MaskOptions } from "./mask_files.ts";
import { describeRecord, type InputMark, type ResultRecord, type SinkOptions, type Writer } from "./sinks.ts";
import { path } from "./std/mod.ts";

/** Files that are written at the same time: a disk takes their syncs together. */
const AT_A_TIME = 16;
const ENCODER = new TextEncoder();
const PART = /^\.(\d{8,}|[\w.-]{1,64}-[0-9a-f]{32})\.(bin|png|geojson|json)\.part$/;
/** The sidecar comes last. */
const BINARY_FILES = ["bin", "json"];
const MASK_FILES = ["png", "geojson", "json"];

/** `masks`: results are written as such. Absent: as they are. */
export async function openFolder(dir: string, options: SinkOptions, masks?: MaskOptions): Promise<Writer> {
  const extensions = masks === undefined ? BINARY_FILES : MASK_FILES;
  const { durable = true } = options;
  const resume = options.resume === true || options.queue === true;
  const unmake = await makeFolder(dir);
  const restore = resume ? () => Promise.resolve() : await setFolderAside(dir);
  await removeParts(dir);
  // What is skipped as there must be there for good.
  if (resume) await syncFolder(dir);
  let aside: Promise<string> | undefined;
  const move = async (stem: string) => {
    aside ??= makeAside(dir);
    const target = await aside;
    const files = extensions.map((extension) => `${stem}.${extension}`);
    await moveTo(dir, target, files);
    options.onNote?.(`${path.join(dir, stem)} is of another result with the same number: moved to ${target}`);
  };
  return {
    holds: (record) => holds(dir, record, move),
    forget() {},
    async holdsInput(input) {
      if (!await exists(path.join(dir, `${stemOfInput(input)}.json`))) return false;
      // The sync behind its name may have been the one that failed.
      await syncFolder(dir);
      return true;
    },
    write: (records, lose) => writeAll(dir, records, lose, durable, masks),
    // Writing has done it.
    sync: () => Promise.resolve(),
    end() {},
    async undo() {
      await restore();
      await unmake();
    },
  };
}

/** What a crash left half-written. */
async function removeParts(dir: string): Promise<void> {
  const parts: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) if (isFile && PART.test(name)) parts.push(name);
  for (const name of parts) await Deno.remove(path.join(dir, name));
}

/** Another result with the same number is set aside: neither is lost. */
async function holds(
  dir: string,
  record: ResultRecord,
  move: (stem: string) => Promise<void>,
): Promise<boolean> {
  if (record.payload === undefined) return false;
  const sidecar = path.join(dir, `${stemOf(record)}.json`);
  if (!await exists(sidecar)) return false;
  if (await isOf(sidecar, record)) return true;
  await move(stemOf(record));
  return false;
}

async function isOf(sidecar: string, { result }: ResultRecord): Promise<boolean> {
  try {
    const { arrivalNs, doneNs } = JSON.parse(await Deno.readTextFile(sidecar));
    return arrivalNs === result.arrivalNs && doneNs === result.doneNs;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return false;
    throw error;
  }
}

/** One that is made from an input is named after it, whichever number it has. */
function stemOf({ result, input }: ResultRecord): string {
  if (input !== undefined) return stemOfInput(input);
  return String(result.number).padStart(8, "0");
}

function stemOfInput({ name, id }: InputMark): string {
  return `${name.replace(/[^\w.-]/g, "_").replace(/^\./, "_").slice(0, 64)}-${id}`;
}

async function writeAll(
  dir: string,
  records: readonly ResultRecord[],
  lose: (record: ResultRecord, error: unknown) => void,
  durable: boolean,
  masks: MaskOptions | undefined,
): Promise<void> {
  const extensions = masks === undefined ? BINARY_FILES : MASK_FILES;
  let going = records.filter(({ payload }) => payload !== undefined);
  const each = async (step: (record: ResultRecord) => Promise<void>) => {
    const done: ResultRecord[] = [];
    for (let from = 0; from < going.length; from += AT_A_TIME) {
      await Promise.all(
        going.slice(from, from + AT_A_TIME).map(async (record) => {
          try {
            await step(record);
            done.push(record);
          } catch (error) {
            lose(record, error);
            for (const name of extensions) await remove(partOf(dir, record, name));
          }
        }),
      );
    }
    going = done;
  };
  const syncNames = async () => {
    if (!durable || going.length === 0) return;
    try {
      await syncFolder(dir);
    } catch (error) {
      for (const record of going.splice(0)) lose(record, error);
    }
  };
  await each(async (record) => {
    for (const [name, bytes] of contentsOf(record, masks)) {
      await writePart(partOf(dir, record, name), bytes, durable);
    }
  });
  for (const name of extensions) {
    await each((record) =>
      Deno.rename(partOf(dir, record, name), path.join(dir, `${stemOf(record)}.${name}`))
    );
    if (name === "json" || name === extensions.at(-2)) await syncNames();
  }
}

/** By extension, in the order of writing. */
function contentsOf(record: ResultRecord, masks: MaskOptions | undefined): [string, Uint8Array][] {
  if (masks === undefined) return [["bin", record.payload!], ["json", sidecarOf(record, {})]];
  const { png, geojson } = maskFilesOf(record, masks);
  const stem = stemOf(record);
  const own = { file: `${stem}.png`, outlines: `${stem}.geojson` };
  return [["png", png], ["geojson", geojson], ["json", sidecarOf(record, own)]];
}

/** Under this name nobody takes it for a whole file. */
function partOf(dir: string, record: ResultRecord, extension: string): string {
  return path.join(dir, `.${stemOf(record)}.${extension}.part`);
}

async function writePart(file: string, bytes: Uint8Array, durable: boolean): Promise<void> {
  using handle = await Deno.open(file, { write: true, create: true, truncate: true });
  for (let at = 0; at < bytes.length;) at += await handle.write(bytes.subarray(at));
  if (durable) await handle.syncData();
}

async function remove(file: string): Promise<void> {
  await Deno.remove(file).catch(() => {});
}

/** `files`: what is instead of the binary, in which buffers have offsets. */
function sidecarOf(record: ResultRecord, files: Record<string, string>): Uint8Array {
  const isBinary = files["file"] === undefined;
  const sidecar = {
    ...describeRecord(record),
    ...(isBinary ? { file: `${stemOf(record)}.bin` } : files),
    buffers: record.fields.map(({ name, offset, sizeBytes, dtype, shape }) => ({
      name,
      ...(isBinary ? { offset, bytes: sizeBytes } : {}),
      ...(dtype === undefined ? {} : { dtype, shape }),
    })),
  };
  return ENCODER.encode(JSON.stringify(sidecar, null, 2) + "\n");
}
