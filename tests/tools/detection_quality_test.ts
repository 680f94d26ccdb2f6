import { assertEquals } from "../assert.ts";
import { EMPTY, judge, precisionOf, recallOf, type Tally } from "../../tools/detection_quality.ts";
import type { Obstacle } from "../../tools/frames_obstacles.ts";

const tree: Obstacle = { kind: "tree", x: 100, y: 100, w: 20, h: 20 };
const pole: Obstacle = { kind: "pole", x: 300, y: 50, w: 23, h: 9 };
const row = (
  x: number,
  y: number,
  w: number,
  h: number,
  score = 0.9,
  label = 0,
) => [x, y, w, h, score, label];
const counts = ({ found, missed, madeUp, rightClass }: Tally) => [found, missed, madeUp, rightClass];

Deno.test("a box that covers an obstacle by half finds it; one that does not is made up, and the obstacle missed", () => {
  assertEquals(counts(judge(EMPTY, [row(104, 100, 20, 20)], [tree])), [1, 0, 0, 1]);
  assertEquals(counts(judge(EMPTY, [row(112, 100, 20, 20)], [tree])), [0, 1, 1, 0]);
});

Deno.test("an obstacle is found once: the second box on it is made up, whichever comes first in the output", () => {
  const rows = [row(102, 100, 20, 20, 0.6), row(100, 100, 20, 20, 0.8)];
  assertEquals(counts(judge(EMPTY, rows, [tree])), [1, 0, 1, 1]);
});

Deno.test("rows without a score are no boxes, and the class counts for what was found only", () => {
  const rows = [row(300, 50, 23, 9, 0.7, 0), row(0, 0, 0, 0, 0)];
  assertEquals(counts(judge(EMPTY, rows, [tree, pole])), [1, 1, 0, 0]);
});

Deno.test("wires are not asked for, and slivers at the frame's edge count neither way", () => {
  const wire: Obstacle = { kind: "wire", x: 0, y: 0, w: 170, h: 60 };
  const sliver: Obstacle = { kind: "tree", x: 635, y: 100, w: 5, h: 30 };
  assertEquals(counts(judge(EMPTY, [], [wire, sliver])), [0, 0, 0, 0]);
  assertEquals(counts(judge(EMPTY, [row(635, 100, 5, 30)], [sliver])), [0, 0, 0, 0]);
  assertEquals(counts(judge(EMPTY, [row(620, 100, 18, 30)], [sliver])), [0, 0, 0, 0]);
});

Deno.test("precision and recall are over all frames", () => {
  const tally = judge(judge(EMPTY, [row(100, 100, 20, 20)], [tree, pole]), [row(10, 10, 20, 20)], []);
  assertEquals([tally.frames, precisionOf(tally), recallOf(tally)], [2, 0.5, 0.5]);
});
