/** Do the quantiles come from the buckets that calypte.h describes? */
import fc from "fast-check";
import type { Histogram } from "../../ffi/engine.ts";
import {
  bucketBounds,
  bucketIndex,
  emptyHistogram,
  meanNs,
  mergeHistograms,
  quantileNs,
} from "../../ffi/histogram.ts";
import { assert, assertEquals, assertThrows } from "../assert.ts";

function histogramOf(durations: readonly number[]): Histogram {
  const histogram = emptyHistogram();
  for (const ns of durations) {
    const index = bucketIndex(ns);
    histogram.buckets[index] = (histogram.buckets[index] ?? 0) + 1;
    histogram.count++;
    histogram.sumNs += ns;
  }
  histogram.minNs = durations.length === 0 ? 0 : Math.min(...durations);
  histogram.maxNs = Math.max(0, ...durations);
  return histogram;
}

Deno.test("the buckets lie end to end, and each holds its own bounds", () => {
  for (let i = 0; i < 1024; i++) {
    const { lowNs, highNs } = bucketBounds(i);
    assertEquals(lowNs, i === 0 ? 0 : bucketBounds(i - 1).highNs);
    assertEquals([bucketIndex(lowNs), bucketIndex(highNs - 1)], [i, i]);
    if (lowNs >= 1024) assert((highNs - lowNs) / lowNs <= 1 / 32);
  }
  assertEquals(bucketBounds(1023).highNs, 2 ** 41);
});

Deno.test("the formula of calypte.h holds at its corners", () => {
  assertEquals([0, 31, 32, 1023, 1024, 1055, 1056, 2047, 2048].map(bucketIndex), [
    0,
    0,
    1,
    31,
    32,
    32,
    33,
    63,
    64,
  ]);
  assertEquals([2 ** 41 - 1, 2 ** 41, 2 ** 50].map(bucketIndex), [1023, 1023, 1023]);
});

Deno.test("a quantile is never too low, and at most one bucket too high", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2 ** 43 }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (durations, q) => {
        const sorted = durations.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(Math.ceil(q * sorted.length), 1) - 1] ?? 0;
        const got = quantileNs(histogramOf(durations), q);
        assert(got >= exact, `${got} < ${exact}`);
        const index = bucketIndex(exact);
        // The last bucket also holds what is longer, up to the maximum.
        const bound = index === 1023 ? Math.max(...durations) : bucketBounds(index).highNs;
        assert(got <= bound, `${got} for ${exact}`);
      },
    ),
  );
});

Deno.test("the quantiles 0 and 1 are the exact minimum and maximum", () => {
  const histogram = histogramOf([1500, 1501, 70_001]);
  assertEquals([quantileNs(histogram, 0), quantileNs(histogram, 1)], [1500, 70_001]);
});

Deno.test("a single duration is every quantile", () => {
  const histogram = histogramOf([123_457]);
  assertEquals([0.01, 0.5, 0.999].map((q) => quantileNs(histogram, q)), [123_457, 123_457, 123_457]);
});

Deno.test("an empty histogram has quantiles and mean 0", () => {
  assertEquals([quantileNs(emptyHistogram(), 0.99), meanNs(emptyHistogram())], [0, 0]);
});

Deno.test("merging equals counting all durations in one", () => {
  const [a, b] = [[5, 2000, 3_000_000], [1, 2001]];
  const merged = mergeHistograms([emptyHistogram(), histogramOf(a), emptyHistogram(), histogramOf(b)]);
  assertEquals(merged, histogramOf([...a, ...b]));
  assertEquals(meanNs(merged), 3_004_007 / 5);
});

Deno.test("quantiles, buckets and durations out of range are refused", () => {
  for (const q of [-0.1, 1.1, NaN]) {
    assertThrows(() => quantileNs(emptyHistogram(), q), RangeError, "from 0 to 1");
  }
  for (const i of [-1, 1024, 0.5]) assertThrows(() => bucketBounds(i), RangeError, "0 to 1023");
  for (const ns of [-1, NaN]) assertThrows(() => bucketIndex(ns), RangeError, ">= 0 ns");
});
