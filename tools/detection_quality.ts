/**
 * How many of a frame's obstacles did a detector find, and how many did it make up? Pure.
 *
 * A box found and an obstacle belong together if they overlap by half (intersection over union), the surest box first, each to the
 * obstacle that it covers best. Wires are not asked for: they are lines across the frame, and the poles that carry them are boxes.
 * Of an obstacle of which the frame's edge leaves a sliver, nothing is asked and nothing is held against the detector.
 */
import type { Obstacle } from "./frames_obstacles.ts";
import { FRAME_HEIGHT, FRAME_WIDTH } from "./make_frames.ts";

/** A row of the detector's output: x, y, w, h in pixels, score (0: none), class. */
export type Row = readonly number[];

export interface Tally {
  frames: number;
  found: number;
  missed: number;
  madeUp: number;
  /** Of those found. */
  rightClass: number;
}

const LEAST_OVERLAP = 0.5;
const LEAST_AT_EDGE_PX = 8;
/** 0: what grows; 1: what was built, or flies. */
const CLASSES: Partial<Record<Obstacle["kind"], number>> = { tree: 0, pole: 1, bird: 1 };

type Box = Pick<Obstacle, "x" | "y" | "w" | "h">;

export const EMPTY: Readonly<Tally> = { frames: 0, found: 0, missed: 0, madeUp: 0, rightClass: 0 };

/** `tally` and one more frame. */
export function judge(tally: Tally, rows: readonly Row[], obstacles: readonly Obstacle[]): Tally {
  const asked = obstacles.filter(({ kind }) => CLASSES[kind] !== undefined);
  const isTaken = new Array<boolean>(asked.length).fill(false);
  let { found, madeUp, rightClass } = tally;
  const sure = rows.filter((row) => row[4]! > 0).toSorted((a, b) => b[4]! - a[4]!);
  for (const [x = 0, y = 0, w = 0, h = 0, , label = 0] of sure) {
    let best = -1, most = LEAST_OVERLAP;
    for (const [i, obstacle] of asked.entries()) {
      const shared = overlap({ x, y, w, h }, obstacle);
      if (isTaken[i] || shared < most) continue;
      [best, most] = [i, shared];
    }
    if (best >= 0) {
      isTaken[best] = true;
      if (isSliver(asked[best]!)) continue;
      found++;
      if (label === CLASSES[asked[best]!.kind]) rightClass++;
    } else if (!asked.some((obstacle) => isSliver(obstacle) && overlap({ x, y, w, h }, obstacle) > 0)) {
      madeUp++;
    }
  }
  const missed = asked.filter((obstacle, i) => !isTaken[i] && !isSliver(obstacle)).length;
  return { frames: tally.frames + 1, found, missed: tally.missed + missed, madeUp, rightClass };
}

export const precisionOf = ({ found, madeUp }: Tally): number => found / Math.max(1, found + madeUp);
export const recallOf = ({ found, missed }: Tally): number => found / Math.max(1, found + missed);

function isSliver({ x, y, w, h }: Box): boolean {
  const atSide = x <= 0 || x + w >= FRAME_WIDTH, atEnd = y <= 0 || y + h >= FRAME_HEIGHT;
  return (atSide && w < LEAST_AT_EDGE_PX) || (atEnd && h < LEAST_AT_EDGE_PX);
}

function overlap(a: Box, b: Box): number {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  const both = Math.max(0, w) * Math.max(0, h);
  return both / (a.w * a.h + b.w * b.h - both);
}
