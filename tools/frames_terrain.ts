/**
 * What colour has the ground at a world position? Fields of several crops, rows, soil and roads from a
 * seed. Knows nothing of cameras, obstacles or files. Uses only operations that IEEE 754 defines
 * exactly (no sin, no pow), so that every machine draws the same bytes.
 */

export type Colour = readonly [number, number, number];

/** A well-mixed 32-bit number for a lattice point. */
export function hash(seed: number, x: number, y: number): number {
  let h = (seed ^ Math.imul(x, 0x27d4eb2d) ^ Math.imul(y, 0x165667b1)) | 0;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}

/** The same as a number in [0, 1). */
export function unit(seed: number, x: number, y: number): number {
  return hash(seed, x, y) / 4294967296;
}

/** Smooth value noise in [0, 1), one lattice cell per unit. */
export function noise(seed: number, x: number, y: number): number {
  const ix = Math.floor(x), iy = Math.floor(y);
  const fx = x - ix, fy = y - iy;
  const sx = fx * fx * (3 - 2 * fx), sy = fy * fy * (3 - 2 * fy);
  const a = unit(seed, ix, iy), b = unit(seed, ix + 1, iy);
  const c = unit(seed, ix, iy + 1), d = unit(seed, ix + 1, iy + 1);
  const top = a + (b - a) * sx, bottom = c + (d - c) * sx;
  return top + (bottom - top) * sy;
}

/** Brightness is drawn in this many steps: enough to look natural, few enough for PNG to compress. */
const SHADES = 12;
const FIELD_WIDTH_PX = 250;
const FIELD_HEIGHT_PX = 190;
const ROAD_SPACING_PX = 900;

const CROPS: readonly { plant: Colour; gap: Colour; rowPx: number }[] = [
  { plant: [74, 126, 52], gap: [126, 102, 70], rowPx: 9 },
  { plant: [110, 148, 60], gap: [98, 112, 56], rowPx: 6 },
  { plant: [196, 174, 98], gap: [168, 146, 84], rowPx: 7 },
  { plant: [134, 104, 76], gap: [118, 90, 64], rowPx: 12 },
  { plant: [58, 104, 58], gap: [82, 120, 62], rowPx: 14 },
];
/** Row directions as integer-sided right triangles: exact unit vectors. */
const DIRECTIONS: readonly (readonly [number, number])[] = [[1, 0], [0, 1], [0.6, 0.8], [0.8, -0.6]];
const HEDGE: Colour = [52, 84, 44];
const ASPHALT: Colour = [122, 122, 126];
const VERGE: Colour = [150, 138, 108];

export interface Terrain {
  /** The ground's colour at a world position, in pixels. */
  colourAt(x: number, y: number): Colour;
}

function shaded(colour: Colour, brightness: number): Colour {
  const step = 0.76 + 0.48 * Math.floor(brightness * SHADES) / SHADES;
  return [
    Math.min(255, Math.round(colour[0] * step)),
    Math.min(255, Math.round(colour[1] * step)),
    Math.min(255, Math.round(colour[2] * step)),
  ];
}

export function createTerrain(seed: number): Terrain {
  function fieldColour(x: number, y: number, brightness: number): Colour {
    const bent = x + 60 * noise(seed + 1, x / 300, y / 300);
    const row = Math.floor(y / FIELD_HEIGHT_PX);
    // Every other row of fields is shifted, so that borders do not form one long cross.
    const shifted = bent + (row & 1) * FIELD_WIDTH_PX / 3;
    const column = Math.floor(shifted / FIELD_WIDTH_PX);
    const inX = shifted - column * FIELD_WIDTH_PX, inY = y - row * FIELD_HEIGHT_PX;
    if (inX < 5 || inY < 4) return shaded(HEDGE, brightness);

    const crop = CROPS[hash(seed + 2, column, row) % CROPS.length]!;
    const [dx, dy] = DIRECTIONS[hash(seed + 3, column, row) % DIRECTIONS.length]!;
    const across = x * dx + y * dy;
    const phase = across - Math.floor(across / crop.rowPx) * crop.rowPx;
    // Plants fail in patches: there the soil between the rows shows.
    const grows = noise(seed + 4, x / 24, y / 24) < 0.8;
    const planted = grows && phase < crop.rowPx * 0.62;
    return shaded(planted ? crop.plant : crop.gap, brightness);
  }

  function colourAt(x: number, y: number): Colour {
    const px = Math.floor(x), py = Math.floor(y);
    // The finest octave is drawn on 2 x 2 pixels: detail for block matching without per-pixel noise.
    const brightness = 0.62 * noise(seed + 5, x / 70, y / 70) + 0.24 * noise(seed + 6, x / 11, y / 11) +
      0.14 * unit(seed + 7, px >> 1, py >> 1);
    const road = x - 260 - 170 * noise(seed + 8, y / 420, 0);
    const distance = Math.abs(road - Math.round(road / ROAD_SPACING_PX) * ROAD_SPACING_PX);
    if (distance < 9) return distance < 0.9 && py % 18 < 9 ? [214, 210, 196] : shaded(ASPHALT, brightness);
    if (distance < 13) return shaded(VERGE, brightness);
    return fieldColour(x, y, brightness);
  }

  return { colourAt };
}
