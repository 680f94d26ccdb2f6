/**
 * Which obstacles stand where, and how are they drawn? Every obstacle knows its bounding box, so that
 * the drawn frames come with ground truth. Knows nothing of terrain or files.
 */
import { type Colour, unit } from "./frames_terrain.ts";

export type ObstacleKind = "tree" | "pole" | "wire" | "bird";

/** A bounding box in frame pixels, clipped to the frame. */
export interface Obstacle {
  kind: ObstacleKind;
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Canvas {
  width: number;
  height: number;
  rgb: Uint8Array;
}

/** Boxes of which fewer pixels than this are inside the frame are not reported. */
const MIN_SIDE_PX = 3;
const TREE_CELL_PX = 120;
const POLE_SPACING_PX = 170;
/** The power line crosses the survey area from left to right with this slope. */
const LINE_SLOPE = 0.25;
const LINE_SPACING_PX = 420;

function put(canvas: Canvas, x: number, y: number, colour: Colour): void {
  if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return;
  canvas.rgb.set(colour, (y * canvas.width + x) * 3);
}

function darken(canvas: Canvas, x: number, y: number): void {
  if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return;
  const at = (y * canvas.width + x) * 3;
  for (let c = 0; c < 3; c++) canvas.rgb[at + c] = canvas.rgb[at + c]! >> 1;
}

function clip(kind: ObstacleKind, canvas: Canvas, x0: number, y0: number, x1: number, y1: number) {
  const left = Math.max(0, x0), top = Math.max(0, y0);
  const w = Math.min(canvas.width, x1) - left, h = Math.min(canvas.height, y1) - top;
  return w >= MIN_SIDE_PX && h >= MIN_SIDE_PX ? [{ kind, x: left, y: top, w, h }] : [];
}

function drawTree(canvas: Canvas, x: number, y: number, radius: number, seed: number): Obstacle[] {
  for (let dy = -radius; dy <= radius; dy++) {
    for (let dx = -radius; dx <= radius; dx++) {
      if (dx * dx + dy * dy <= radius * radius) {
        darken(canvas, x + dx + (radius >> 1), y + dy + (radius >> 1));
      }
    }
  }
  for (let dy = -radius; dy <= radius; dy++) {
    for (let dx = -radius; dx <= radius; dx++) {
      const leaf = unit(seed, (dx + 64) >> 1, (dy + 64) >> 1);
      const edge = radius * radius * (0.75 + 0.25 * leaf);
      if (dx * dx + dy * dy > edge) continue;
      // Lit from the upper left.
      const light = 0.7 + 0.5 * leaf - 0.25 * (dx + dy) / radius;
      put(canvas, x + dx, y + dy, [Math.round(38 * light), Math.round(78 * light), Math.round(34 * light)]);
    }
  }
  return clip("tree", canvas, x - radius, y - radius, x + radius + 1, y + radius + 1);
}

function drawPole(canvas: Canvas, x: number, y: number): Obstacle[] {
  for (let i = 0; i < 26; i++) darken(canvas, x + i, y + (i >> 1));
  for (let dy = -4; dy <= 4; dy++) {
    for (let dx = -4; dx <= 4; dx++) {
      if (dx * dx + dy * dy <= 18) {
        put(canvas, x + dx, y + dy, dx + dy < 0 ? [226, 222, 214] : [138, 130, 122]);
      }
    }
  }
  for (let dx = -11; dx <= 11; dx++) put(canvas, x + dx, y, [70, 60, 54]);
  return clip("pole", canvas, x - 11, y - 4, x + 12, y + 5);
}

function drawWire(canvas: Canvas, x0: number, y0: number, x1: number, y1: number): Obstacle[] {
  for (const offset of [-8, 8]) {
    for (let x = x0; x <= x1; x++) {
      const y = y0 + Math.round((y1 - y0) * (x - x0) / (x1 - x0)) + offset;
      put(canvas, x, y, [34, 34, 38]);
      darken(canvas, x + 14, y + 8);
    }
  }
  return clip("wire", canvas, x0, Math.min(y0, y1) - 8, x1 + 1, Math.max(y0, y1) + 9);
}

function drawBird(canvas: Canvas, x: number, y: number, span: number): Obstacle[] {
  for (let d = -span; d <= span; d++) {
    const dy = -(Math.abs(d) >> 1);
    for (let t = 0; t < 2; t++) put(canvas, x + d, y + dy + t, [238, 238, 232]);
  }
  for (let dy = -3; dy <= 4; dy++) put(canvas, x, y + dy, [60, 56, 54]);
  return clip("bird", canvas, x - span, y - Math.max(3, span >> 1), x + span + 1, y + 5);
}

/**
 * Draws everything that stands in or flies through the window of the world whose upper left corner is
 * (`left`, `top`), and returns the boxes. `index` is the frame's number: birds move with it.
 */
export function drawObstacles(
  canvas: Canvas,
  seed: number,
  left: number,
  top: number,
  index: number,
): Obstacle[] {
  const found: Obstacle[] = [];
  const firstCell = (at: number) => Math.floor(at / TREE_CELL_PX) - 1;
  for (let cy = firstCell(top); cy <= firstCell(top + canvas.height) + 2; cy++) {
    for (let cx = firstCell(left); cx <= firstCell(left + canvas.width) + 2; cx++) {
      if (unit(seed + 20, cx, cy) > 0.22) continue;
      const x = Math.floor((cx + unit(seed + 21, cx, cy)) * TREE_CELL_PX) - left;
      const y = Math.floor((cy + unit(seed + 22, cx, cy)) * TREE_CELL_PX) - top;
      found.push(
        ...drawTree(canvas, x, y, 8 + Math.floor(10 * unit(seed + 23, cx, cy)), seed + cx * 31 + cy),
      );
    }
  }

  const lineY = (line: number, x: number) => Math.round(line * LINE_SPACING_PX + LINE_SLOPE * x);
  const firstLine = Math.floor((top - LINE_SLOPE * (left + canvas.width)) / LINE_SPACING_PX);
  const lastLine = Math.ceil((top + canvas.height - LINE_SLOPE * left) / LINE_SPACING_PX);
  const firstPole = Math.floor(left / POLE_SPACING_PX) - 1;
  for (let line = firstLine; line <= lastLine; line++) {
    // Poles are drawn above the wires that they carry.
    for (const pass of ["wire", "pole"]) {
      for (let pole = firstPole; pole * POLE_SPACING_PX < left + canvas.width + 12; pole++) {
        const x = pole * POLE_SPACING_PX, next = x + POLE_SPACING_PX;
        const y = lineY(line, x) - top;
        if (pass === "pole") found.push(...drawPole(canvas, x - left, y));
        else found.push(...drawWire(canvas, x - left, y, next - left, lineY(line, next) - top));
      }
    }
  }

  const birds = Math.floor(4 * unit(seed + 30, index >> 3, 0));
  for (let b = 0; b < birds; b++) {
    const flock = (index >> 3) * 8 + b;
    const x = Math.floor(unit(seed + 31, flock, 0) * canvas.width) + (index & 7) * (8 + 3 * b) - 30;
    const y = Math.floor(unit(seed + 32, flock, 0) * canvas.height) - (index & 7) * (5 - 2 * b);
    found.push(...drawBird(canvas, x, y, 6 + 2 * b));
  }
  return found;
}
