/**
 * How does a mask become something to look at? A PNG, and the outlines of its patches as GeoJSON.
 *
 * A mask is an output u8 [height, width]; other outputs are left out. Coordinates are pixels, x to the right and y down: the
 * file says so, as nobody here knows where on Earth the camera was.
 */
import { encode } from "fast-png";
import type { Bundle } from "./bundle.ts";
import type { Problem } from "./errors.ts";
import { type Patch, patchesOf, type Point } from "./outlines.ts";
import type { ResultRecord } from "./sinks.ts";
import { type OutputField, outputFields } from "./values.ts";

/** How masks are written. */
export interface MaskOptions {
  /** Tiles in a row of the picture that was cut up, frame by frame; absent: each frame is a picture by itself. */
  across?: number;
}

export interface MaskFiles {
  png: Uint8Array;
  geojson: Uint8Array;
}

const ENCODER = new TextEncoder();

/** `undefined`: the bundle has a mask, and one only. */
export function maskProblem(
  { manifest }: Pick<Bundle, "manifest">,
): Pick<Problem, "rule" | "remedy"> | undefined {
  const { length } = outputFields(manifest).filter(isMask);
  if (length === 1) return undefined;
  const rule =
    `must be binaries for ${manifest.name}, which has ${length} outputs u8 [height, width], not one`;
  return { rule, remedy: "leave it out" };
}

/** `record` has a payload, and its bundle a mask. */
export function maskFilesOf(record: ResultRecord, { across }: MaskOptions): MaskFiles {
  const field = record.fields.find(isMask);
  if (field === undefined || record.payload === undefined) throw new Error(`${record.work} has no mask`);
  const [height = 0, width = 0] = field.shape ?? [];
  const mask = record.payload.subarray(field.offset, field.offset + field.sizeBytes);
  const { frameIndex } = record.result;
  const [left, top] = across === undefined
    ? [0, 0]
    : [frameIndex % across * width, Math.floor(frameIndex / across) * height];
  const features = patchesOf(mask, width, height).map((patch) => featureOf(patch, left, top));
  const collection = {
    type: "FeatureCollection",
    coordinates: `pixels of the ${
      across === undefined ? "frame" : "picture of all tiles"
    }: x to the right, y down`,
    work: record.work,
    frameIndex,
    simulated: record.result.simulated,
    features,
  };
  // Few shades and large areas: a higher level makes it hardly smaller, and takes longer.
  const png = encode({ width, height, data: mask, channels: 1, depth: 8 }, { zlib: { level: 6 } });
  return { png: new Uint8Array(png), geojson: ENCODER.encode(JSON.stringify(collection) + "\n") };
}

function isMask({ dtype, shape }: OutputField): boolean {
  return dtype === "u8" && shape?.length === 2;
}

function featureOf({ areaPx, box, polygons }: Patch, left: number, top: number): unknown {
  const moved = polygons.map((rings) =>
    rings.map((ring) => ring.map(([x, y]): Point => [x + left, y + top]))
  );
  const [x, y, width, height] = box;
  return {
    type: "Feature",
    geometry: moved.length === 1
      ? { type: "Polygon", coordinates: moved[0] }
      : { type: "MultiPolygon", coordinates: moved },
    properties: { areaPx, box: [x + left, y + top, width, height] },
  };
}
