import { assert, assertEquals } from "../../assert.ts";
import { randomOf } from "../../../bench/statistics.ts";
import {
  attainment,
  compare,
  idleFill,
  intervalOf,
  longestMissRun,
  medianOf,
  overlapOf,
  pairedOf,
  percentile,
  ratioOf,
  type Span,
  unionOf,
} from "../../../bench/eval/statistics.ts";

Deno.test("a request without an answer is a miss at every limit and lies above all others", () => {
  const responses = [10, 20, Infinity, 30];
  assertEquals(attainment(responses, 1e12), 0.75);
  assertEquals(attainment(responses, 20), 0.5);
  assertEquals([percentile(responses, 0.5), percentile(responses, 0.75), percentile(responses, 0.99)], [
    20,
    30,
    Infinity,
  ]);
  assertEquals(longestMissRun([1, 9, 9, 1, Infinity, 9, 9], 5), 3);
});

Deno.test("percentiles are nearest ranks, and none of nothing", () => {
  assertEquals(percentile([5, 1, 4, 2, 3], 0.5), 3);
  assertEquals(percentile(Array.from({ length: 1000 }, (_, i) => i + 1), 0.999), 999);
  assert(Number.isNaN(percentile([], 0.5)));
});

Deno.test("idle fill counts background within idle time only, and overlaps once", () => {
  const window: Span = [0, 100];
  const critical: Span[] = [[0, 20], [10, 30]];
  assertEquals(idleFill([[30, 100]], critical, window), 1);
  assertEquals(idleFill([[0, 65]], critical, window), 0.5);
  assertEquals(idleFill([[30, 60], [50, 65], [-9, 2], [200, 300]], critical, window), 0.5);
  assertEquals(idleFill([], critical, window), 0);
  assert(Number.isNaN(idleFill([[0, 1]], [[0, 100]], window)));
  assertEquals(overlapOf(unionOf([[0, 5], [10, 15]], window), unionOf([[3, 12]], window)), 4);
});

Deno.test("the bootstrap's interval holds the median, is repeatable, and needs five rounds", () => {
  const rounds = [1.0, 1.2, 0.9, 1.1, 1.05];
  const interval = intervalOf(rounds);
  assertEquals(interval, intervalOf(rounds));
  assertEquals(interval.median, 1.05);
  assert(interval.low >= 0.9 && interval.low < 1.05 && interval.high > 1.05 && interval.high <= 1.2);
  assert(Number.isNaN(intervalOf([1, 2, 3, 4]).low));
  assertEquals([intervalOf([3, 1, 2]).least, intervalOf([3, 1, 2]).most], [1, 3]);
  assertEquals([medianOf([Infinity, 1, Infinity]), medianOf([1, 2]), medianOf([])], [Infinity, 1.5, NaN]);
});

Deno.test("a win is told only if the whole interval says so", () => {
  const rounds = (values: number[]) => new Map(values.map((value, i) => [i + 1, value]));
  const theirs = rounds([10, 11, 10, 12, 10]);
  assertEquals(compare(rounds([5, 6, 5, 5, 6]), theirs, "lower").verdict, "better");
  assertEquals(compare(rounds([5, 6, 5, 5, 6]), theirs, "higher").verdict, "worse");
  assertEquals(compare(rounds([5, 30, 9, 9, 13]), theirs, "lower").verdict, "no difference shown");
  assertEquals(compare(rounds([5, 5]), theirs, "lower").verdict, "too few rounds");
  assertEquals(compare(rounds([5, 6, 5, 5, 6]), new Map(), "lower").verdict, "too few rounds");
});

/** Independent draws from a skewed distribution whose median is 1. */
function draws(random: () => number, count: number): number[] {
  return Array.from({ length: count }, () => Math.exp(random() + random() + random() - 1.5));
}

Deno.test("intervals hold the true median about as often as they say, and that of five rounds is their range", () => {
  const random = randomOf(7);
  const held = (rounds: number) => {
    let count = 0;
    for (let i = 0; i < 400; i++) {
      const { low, high } = intervalOf(draws(random, rounds));
      if (low <= 1 && 1 <= high) count++;
    }
    return count / 400;
  };
  const five = held(5);
  assert(five > 0.9 && five < 0.975, `${five}`); // 1 - 2 / 2^5 = 0.9375
  for (const rounds of [6, 7, 9, 12, 20]) {
    const share = held(rounds);
    assert(share > 0.93, `${rounds} rounds: ${share}`); // 0.95, less what 400 draws may lack
  }
  const rounds = draws(random, 5);
  const { low, high, least, most } = intervalOf(rounds);
  assertEquals([low, high], [least, most]);
});

Deno.test("two systems that do the same are rarely told apart", () => {
  const random = randomOf(11);
  const of = () => new Map(draws(random, 5).map((value, i) => [i + 1, value]));
  assertEquals(intervalOf([1, 2, 3, 4, 5, 6, 7, 8, 9]).low, 2); // 2 (1 + 9) / 2^9 = 0.039
  let told = 0;
  for (let i = 0; i < 400; i++) if (compare(of(), of(), "lower").verdict !== "no difference shown") told++;
  assert(told / 400 < 0.1, `${told} of 400`);
});

Deno.test("what disturbs a whole round is no difference between systems", () => {
  const random = randomOf(3);
  const noise = draws(random, 5).map((value) => 10 * value);
  const rounds = (factor: number) => new Map(noise.map((value, i) => [i + 1, value * factor]));
  const { ratio, verdict } = compare(rounds(0.99), rounds(1), "lower");
  assertEquals(verdict, "better");
  assert(Math.abs(ratio.median - 0.99) < 1e-9 && ratio.high - ratio.low < 1e-9);
  // Rounds that only one of them has are compared with nothing.
  assertEquals(pairedOf(new Map([[1, 2], [2, 9]]), new Map([[1, 4]]), ratioOf).rounds, 1);
});

Deno.test("two that never answer, or attain nothing, are alike; one that does not is told from one that does", () => {
  const all = (value: number) => new Map([1, 2, 3, 4, 5].map((round) => [round, value]));
  assertEquals(compare(all(Infinity), all(Infinity), "lower").verdict, "no difference shown");
  assertEquals(compare(all(0), all(0), "higher").verdict, "no difference shown");
  assertEquals(compare(all(5), all(Infinity), "lower").verdict, "better");
  assertEquals(compare(all(Infinity), all(5), "lower").verdict, "worse");
  assertEquals(compare(all(0.5), all(0), "higher").verdict, "better");
});

Deno.test("idle fill of random work agrees with counting microseconds, and lies between 0 and 1", () => {
  const random = randomOf(5);
  for (let i = 0; i < 50; i++) {
    const window: Span = [0, 500];
    const spans = (count: number) =>
      Array.from({ length: count }, (): Span => {
        const from = Math.floor(random() * 600) - 50;
        return [from, from + Math.floor(random() * 60)];
      });
    const [busy, critical] = [spans(12), spans(5)];
    const isIn = (list: Span[], at: number) => list.some(([from, to]) => from <= at && at < to);
    let idle = 0, filled = 0;
    for (let at = 0; at < 500; at++) {
      if (isIn(critical, at)) continue;
      idle++;
      if (isIn(busy, at)) filled++;
    }
    const fill = idleFill(busy, critical, window);
    assertEquals(fill, filled / idle);
    assert(fill >= 0 && fill <= 1);
  }
});
