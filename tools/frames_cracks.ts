/**
 * What does a concrete wall look like from close by, and where are its cracks?
 *
 * Draws a surface from a seed, with what is easily taken for a crack and is none: joints, pores, stains, scratches,
 * edges of shadows. Knows nothing of tiles or files. Only operations that IEEE 754 defines exactly, so that every machine
 * draws the same bytes.
 */
import { randomOf } from "./bundle_source.ts";
import { noise, unit } from "./frames_terrain.ts";

export interface Surface {
  width: number;
  height: number;
  /** [height, width, 3]. */
  rgb: Uint8Array<ArrayBuffer>;
  /** [height, width]: 255 where there is a crack, 0 elsewhere. */
  mask: Uint8Array<ArrayBuffer>;
}

/** Densities are for a piece of this size. */
const PIECE_PIXELS = 640 * 360;
/** Shades are drawn in steps, so that PNG can compress them. */
const SHADE_STEP = 3;
/** Thinner branches than this are not drawn. */
const LEAST_WIDTH_PX = 1.3;

type Random = () => number;

interface Layers {
  width: number;
  height: number;
  /** How much of the light is taken, 0..1, by what is in the surface: the largest of all that is drawn there. */
  dark: Float32Array;
  /** Likewise, by what lies on it; both together leave the product. */
  shade: Float32Array;
  /** How much is added, 0..1. */
  light: Float32Array;
  crack: Float32Array;
}

/** `density`: cracks and everything else, 1 for about one crack on 640 x 360 pixels. */
export function drawSurface(seed: number, width: number, height: number, density = 1): Surface {
  const random = randomOf(seed);
  const layers: Layers = {
    width,
    height,
    dark: new Float32Array(width * height),
    shade: new Float32Array(width * height),
    light: new Float32Array(width * height),
    crack: new Float32Array(width * height),
  };
  const pieces = density * width * height / PIECE_PIXELS;
  const many = (mean: number, draw: () => void) => {
    const count = Math.floor(mean * pieces * 2 * random() + random());
    for (let i = 0; i < count; i++) draw();
  };
  many(1.6, () => stain(layers, random));
  // One crosses the whole picture, however large that is.
  many(0.5 / Math.sqrt(pieces), () => shadow(layers, random));
  many(14, () => pore(layers, random));
  many(1, () => joint(layers, random));
  many(1.2, () => scratch(layers, random));
  many(1.3, () => crackFrom(layers, random));
  return light(layers, seed, random);
}

function light({ width, height, dark, shade, light, crack }: Layers, seed: number, random: Random): Surface {
  const base = 105 + 100 * random();
  const [coarse, middle, fine, grain] = [40 * random(), 26 * random(), 22 * random(), 4 + 14 * random()];
  const [slopeX, slopeY] = [(random() - 0.5) * 50 / width, (random() - 0.5) * 50 / height];
  const tint = [1, 0.95 + 0.06 * random(), 0.88 + 0.14 * random()];
  const rgb = new Uint8Array(width * height * 3);
  const mask = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const texture = coarse * (noise(seed + 1, x / 90, y / 90) - 0.5) +
        middle * (noise(seed + 2, x / 21, y / 21) - 0.5) + fine * (noise(seed + 3, x / 4, y / 4) - 0.5) +
        grain * (unit(seed + 4, x >> 1, y >> 1) - 0.5) + slopeX * (x - width / 2) + slopeY * (y - height / 2);
      const level = (base + texture) * (1 - shade[at]!) * (1 - dark[at]!) + 90 * light[at]!;
      const shown = Math.floor(Math.min(255, Math.max(0, level)) / SHADE_STEP) * SHADE_STEP;
      for (let c = 0; c < 3; c++) rgb[at * 3 + c] = Math.min(255, Math.round(shown * tint[c]!));
      mask[at] = crack[at]! >= 0.5 ? 255 : 0;
    }
  }
  return { width, height, rgb, mask };
}

/** A disc with an edge one pixel wide; `soft`: an edge as wide as the disc. */
function stamp(
  { width, height }: Layers,
  target: Float32Array,
  x: number,
  y: number,
  radius: number,
  strength: number,
  soft = false,
): void {
  const reach = radius + 1;
  const [fromX, toX] = [Math.max(0, Math.ceil(x - reach)), Math.min(width - 1, Math.floor(x + reach))];
  const [fromY, toY] = [Math.max(0, Math.ceil(y - reach)), Math.min(height - 1, Math.floor(y + reach))];
  for (let py = fromY; py <= toY; py++) {
    for (let px = fromX; px <= toX; px++) {
      const distance = Math.sqrt((px - x) * (px - x) + (py - y) * (py - y));
      const inside = Math.min(1, Math.max(0, soft ? 1 - distance / radius : radius + 0.5 - distance));
      const value = strength * inside;
      const at = py * width + px;
      if (value > target[at]!) target[at] = value;
    }
  }
}

function anywhere({ width, height }: Layers, random: Random): [number, number] {
  return [random() * width, random() * height];
}

/** A unit vector; all directions are about equally likely. */
function direction(random: Random): [number, number] {
  for (;;) {
    const [x, y] = [random() * 2 - 1, random() * 2 - 1];
    const length = Math.sqrt(x * x + y * y);
    if (length > 0.1 && length <= 1) return [x / length, y / length];
  }
}

function stain(layers: Layers, random: Random): void {
  const [x, y] = anywhere(layers, random);
  const strength = 0.06 + 0.2 * random();
  const radius = 15 + 70 * random();
  for (let i = 0; i < 5; i++) {
    const [dx, dy] = direction(random);
    stamp(layers, layers.shade, x + dx * radius / 2, y + dy * radius / 2, radius, strength, true);
  }
}

/** A half plane's edge would do as well; a band has two. */
function shadow(layers: Layers, random: Random): void {
  const [x, y] = anywhere(layers, random);
  const [dx, dy] = direction(random);
  const half = 12 + 60 * random();
  const edge = 1 + 12 * random();
  const strength = 0.1 + 0.3 * random();
  for (let py = 0, at = 0; py < layers.height; py++) {
    for (let px = 0; px < layers.width; px++, at++) {
      const off = Math.abs((px - x) * dy - (py - y) * dx);
      const value = strength * Math.min(1, Math.max(0, (half - off) / edge));
      if (value > layers.shade[at]!) layers.shade[at] = value;
    }
  }
}

function pore(layers: Layers, random: Random): void {
  const [x, y] = anywhere(layers, random);
  stamp(layers, layers.dark, x, y, 0.8 + 3.5 * random() * random(), 0.15 + 0.5 * random());
}

/** Straight, from one side to the other or not quite. */
function joint(layers: Layers, random: Random): void {
  const [x, y] = anywhere(layers, random);
  // Mostly along the picture's sides, as walls are.
  const [dx, dy] = random() < 0.35 ? direction(random) : random() < 0.5 ? [1, 0] : [0, 1];
  const radius = 0.7 + 2.2 * random();
  const strength = 0.2 + 0.45 * random();
  const length = 60 + 800 * random();
  for (let s = 0; s < length; s += 0.5) {
    stamp(layers, layers.dark, x + dx! * s, y + dy! * s, radius, strength);
  }
}

/** Light, thin and nearly straight. */
function scratch(layers: Layers, random: Random): void {
  let [x, y] = anywhere(layers, random);
  let [dx, dy] = direction(random);
  const bend = (random() - 0.5) * 0.01;
  const strength = 0.15 + 0.4 * random();
  const length = 30 + 200 * random();
  for (let s = 0; s < length; s += 0.5) {
    [dx, dy] = normal(dx - dy * bend, dy + dx * bend);
    [x, y] = [x + dx / 2, y + dy / 2];
    stamp(layers, layers.light, x, y, 0.9, strength);
  }
}

function normal(x: number, y: number): [number, number] {
  const length = Math.sqrt(x * x + y * y);
  return [x / length, y / length];
}

function crackFrom(layers: Layers, random: Random): void {
  const [x, y] = anywhere(layers, random);
  const depth = 0.32 + 0.4 * random();
  crack(layers, random, x, y, direction(random), {
    widthPx: 1.8 + 3 * random(),
    lengthPx: 90 + 420 * random(),
    turn: 0.5 + 0.7 * random(),
    depth,
  });
}

interface Crack {
  widthPx: number;
  lengthPx: number;
  /** How far it turns at a corner; corners are 4 to 14 pixels apart. */
  turn: number;
  depth: number;
}

/** Goes roughly along `main`, in short pieces; branches grow thinner. */
function crack(
  layers: Layers,
  random: Random,
  startX: number,
  startY: number,
  main: [number, number],
  { widthPx, lengthPx, turn, depth }: Crack,
): void {
  let [x, y] = [startX, startY];
  let [dx, dy] = main;
  const widths = Math.floor(random() * 0x7fffffff);
  let corner = 0;
  for (let s = 0; s < lengthPx; s += 0.5) {
    if (s >= corner) {
      corner = s + 4 + 10 * random();
      const kick = (random() * 2 - 1) * turn;
      [dx, dy] = normal(0.75 * dx + 0.25 * main[0] - dy * kick, 0.75 * dy + 0.25 * main[1] + dx * kick);
      if (random() < 0.07 && widthPx * 0.6 > LEAST_WIDTH_PX) {
        const side = random() < 0.5 ? 1 : -1;
        const branch = normal(dx - dy * side, dy + dx * side);
        const rest = { widthPx: widthPx * 0.65, lengthPx: (lengthPx - s) * 0.5, turn, depth };
        crack(layers, random, x, y, branch, rest);
      }
    }
    [x, y] = [x + dx / 2, y + dy / 2];
    const ends = Math.min(1, 0.4 + Math.min(s, lengthPx - s) / 30);
    const radius = Math.max(LEAST_WIDTH_PX, widthPx * ends * (0.6 + 0.8 * noise(widths, s / 22, 0))) / 2;
    stamp(layers, layers.dark, x, y, radius, depth);
    stamp(layers, layers.crack, x, y, radius, 1);
  }
}
