/**
 * Which frames does a folder hold?
 *
 * Loads recorded camera frames, the inputs of a mission's periodic tasks. All lie in memory, one after the other,
 * as the engine wants them. Decodes PNG; raw files are taken as they are.
 */
import { decode } from "fast-png";
import { InputError, type Problem, problemsOf, reasonOf, throwIfAny } from "./errors.ts";
import { path } from "./std/mod.ts";

/** More does not fit one buffer of the engine. */
export const MAX_FRAMES_BYTES = 2 * 2 ** 30;
/** A PNG says how large it is; this bounds what a forged one makes us allocate. */
const MAX_SIDE = 16384;

export interface Frames {
  dir: string;
  /** Pixels; 0 for raw files, whose shape is not known. */
  width: number;
  height: number;
  /** 3 (RGB) for PNG, 0 for raw files. */
  channels: number;
  /** Bytes of one frame. PNG: height x width x channels, row by row. */
  frameBytes: number;
  /** At least 1. */
  count: number;
  /** `count` frames of `frameBytes`, in the order of `names`. */
  data: Uint8Array;
  /** File names in the order of their code units. */
  names: readonly string[];
}

interface Frame {
  width: number;
  height: number;
  channels: number;
  pixels: Uint8Array;
}

/**
 * Loads every `*.png` or every `*.raw` of `dir`. `expectBytes`: what the bundle's input takes. Throws one
 * `InputError` with every problem found.
 */
export async function loadFrames(dir: string, expectBytes?: number): Promise<Frames> {
  const names = await frameNames(dir);
  await checkRawTotal(dir, names);
  const first = await loadFrame(dir, names[0] ?? "");
  const { width, height, channels } = first;
  const frameBytes = first.pixels.length;
  checkSizes(dir, names, first, expectBytes);

  const data = new Uint8Array(frameBytes * names.length);
  const problems: Problem[] = [];
  for (const [i, name] of names.entries()) {
    try {
      const frame = i === 0 ? first : await loadFrame(dir, name);
      if (frame.pixels.length !== frameBytes || frame.width !== width) {
        const rule = `must be as large as ${names[0]} (${sizeText(first)}), not ${sizeText(frame)}`;
        problems.push({ file: path.join(dir, name), field: "", rule });
      } else data.set(frame.pixels, i * frameBytes);
    } catch (error) {
      problems.push(...problemsOf(error));
    }
  }
  throwIfAny(problems);
  return { dir, width, height, channels, frameBytes, count: names.length, data, names };
}

async function frameNames(dir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (!entry.isDirectory && /\.(png|raw)$/.test(entry.name)) names.push(entry.name);
    }
  } catch (error) {
    throw new InputError(
      { file: dir, field: "", rule: `must be a folder of frames, but ${reasonOf(error)}` },
      {
        cause: error,
      },
    );
  }
  const whole = { file: dir, field: "" };
  if (names.length === 0) throw new InputError({ ...whole, rule: "must hold frames: files *.png or *.raw" });
  if (new Set(names.map((name) => path.extname(name))).size > 1) {
    throw new InputError({ ...whole, rule: "must hold either *.png or *.raw, not both" });
  }
  return names.sort();
}

/** Raw files tell their size without being read. */
async function checkRawTotal(dir: string, names: readonly string[]): Promise<void> {
  let total = 0;
  for (const name of names) {
    if (name.endsWith(".raw")) total += (await statFile(path.join(dir, name))).size;
  }
  if (total > MAX_FRAMES_BYTES) throw tooMuch(dir, names.length);
}

function tooMuch(dir: string, count: number): InputError {
  const rule = `must hold at most 2 GiB of frames in all; these ${count} are more`;
  return new InputError({
    file: dir,
    field: "",
    rule,
    remedy: "use fewer frames; they are played in a loop",
  });
}

/** A plain file that is not empty. */
async function statFile(file: string): Promise<Deno.FileInfo> {
  const fail = (rule: string, cause?: unknown) => new InputError({ file, field: "", rule }, { cause });
  const info = await Deno.stat(file).catch((error) => {
    throw fail(reasonOf(error), error);
  });
  if (!info.isFile) throw fail("must be a plain file");
  if (info.size === 0) throw fail("must not be empty");
  if (info.size > MAX_FRAMES_BYTES) throw fail("must be at most 2 GiB");
  return info;
}

function checkSizes(
  dir: string,
  names: readonly string[],
  first: Frame,
  expectBytes: number | undefined,
): void {
  const frameBytes = first.pixels.length;
  if (expectBytes !== undefined && frameBytes !== expectBytes) {
    const rule = `must have ${expectBytes} bytes, as the bundle's input, not ${sizeText(first)}`;
    throw new InputError({ file: path.join(dir, names[0] ?? ""), field: "", rule });
  }
  if (frameBytes * names.length > MAX_FRAMES_BYTES) throw tooMuch(dir, names.length);
}

function sizeText(frame: Frame): string {
  const { width, height, channels, pixels } = frame;
  return channels === 0
    ? `${pixels.length} bytes`
    : `${width} x ${height} x ${channels} (${pixels.length} bytes)`;
}

async function loadFrame(dir: string, name: string): Promise<Frame> {
  const file = path.join(dir, name);
  const fail = (rule: string, cause?: unknown) => new InputError({ file, field: "", rule }, { cause });
  await statFile(file);
  const bytes = await Deno.readFile(file).catch((error) => {
    throw fail(reasonOf(error), error);
  });
  if (name.endsWith(".raw")) return { width: 0, height: 0, channels: 0, pixels: bytes };
  return decodePng(bytes, fail);
}

/** 8-bit RGB, without alpha. */
function decodePng(bytes: Uint8Array, fail: (rule: string, cause?: unknown) => InputError): Frame {
  checkHeader(bytes, fail);
  let png: ReturnType<typeof decode>;
  try {
    png = decode(bytes, { checkCrc: true });
  } catch (error) {
    throw fail(
      `cannot be decoded: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
      error,
    );
  }
  const { width, height, channels, data } = png;
  if (data.length !== width * height * channels) throw fail("cannot be decoded: the picture is cut off");
  return { width, height, channels: 3, pixels: rgb(data, channels, width * height) };
}

/** Refuses, before anything is allocated, what would not be taken afterwards. */
function checkHeader(bytes: Uint8Array, fail: (rule: string) => InputError): void {
  if (bytes.length < 33 || String.fromCharCode(...bytes.subarray(12, 16)) !== "IHDR") {
    throw fail("cannot be decoded: not a PNG");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height, depth, colour] = [view.getUint32(16), view.getUint32(20), bytes[24], bytes[25]];
  if (width === 0 || height === 0 || width > MAX_SIDE || height > MAX_SIDE) {
    throw fail(`must be 1 to ${MAX_SIDE} pixels wide and high, not ${width} x ${height}`);
  }
  const COLOURS: Record<number, string> = {
    0: "grey",
    2: "RGB",
    3: "palette",
    4: "grey with alpha",
    6: "RGBA",
  };
  if ((colour !== 2 && colour !== 6) || depth !== 8) {
    throw fail(
      `must be 8-bit RGB or RGBA, not ${depth}-bit ${COLOURS[colour ?? -1] ?? "of an unknown kind"}`,
    );
  }
}

function rgb(data: ArrayLike<number>, channels: number, count: number): Uint8Array {
  if (channels === 3) return Uint8Array.from(data);
  const pixels = new Uint8Array(count * 3);
  for (let i = 0, from = 0, to = 0; i < count; i++, from += channels, to += 3) {
    pixels[to] = data[from] ?? 0;
    pixels[to + 1] = data[from + 1] ?? 0;
    pixels[to + 2] = data[from + 2] ?? 0;
  }
  return pixels;
}
