/**
 * Which durations does a histogram hold? Quantiles and sums of `calypte_histogram`.
 *
 * The buckets are those of calypte.h: 32 buckets of 32 ns below 1024 ns, then 32 per octave, so that above 1024 ns
 * a bucket is at most 1/32 as wide as its durations are long. Minimum, maximum, count and sum are exact.
 */
import { CONSTANTS } from "./abi.ts";
import type { Histogram } from "./engine.ts";

const PER_OCTAVE = 32;
/** The first octave, 2^10 = 1024 ns, has the index 1; what lies below is linear. */
const OCTAVE_BIAS = 9;
const LAST_BUCKET = CONSTANTS.HISTOGRAM_BUCKETS - 1;
const LAST_OCTAVE = 40;
const WORD_MAX = 2 ** 32 - 1;

/** A histogram without durations. */
export function emptyHistogram(): Histogram {
  return { count: 0, sumNs: 0, minNs: 0, maxNs: 0, buckets: new Uint32Array(CONSTANTS.HISTOGRAM_BUCKETS) };
}

/** The bucket of a duration. Those of 2^41 ns (36 minutes) and above lie in the last. */
export function bucketIndex(ns: number): number {
  if (!(ns >= 0)) throw new RangeError(`A duration must be >= 0 ns, not ${ns}`);
  if (ns < 1024) return Math.floor(ns / 32);
  // Not log2: it rounds up just below a power of two.
  let octave = 10;
  while (octave <= LAST_OCTAVE && ns >= 2 ** (octave + 1)) octave++;
  if (octave > LAST_OCTAVE) return LAST_BUCKET;
  return PER_OCTAVE * (octave - OCTAVE_BIAS) + Math.floor(ns / 2 ** (octave - 5)) - PER_OCTAVE;
}

/** The durations of bucket `index`: `lowNs` <= ns < `highNs`. The last one also holds all that is longer. */
export function bucketBounds(index: number): { lowNs: number; highNs: number } {
  if (!Number.isInteger(index) || index < 0 || index > LAST_BUCKET) {
    throw new RangeError(`A bucket must be an integer from 0 to ${LAST_BUCKET}, not ${index}`);
  }
  const row = Math.floor(index / PER_OCTAVE);
  const column = index % PER_OCTAVE;
  if (row === 0) return { lowNs: column * 32, highNs: column * 32 + 32 };
  const width = 2 ** (row + OCTAVE_BIAS - 5);
  const lowNs = (PER_OCTAVE + column) * width;
  return { lowNs, highNs: lowNs + width };
}

/**
 * The duration that a share `q` (0..1) of all durations does not exceed (nearest rank); 0 if there are none.
 *
 * Never too low: it is the longest duration that the rank's bucket can hold, at most 1/32 too long above 1024 ns
 * (32 ns below), and within the exact minimum and maximum. `q` = 0 and `q` = 1 are exactly those.
 */
export function quantileNs(histogram: Histogram, q: number): number {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`A quantile must be from 0 to 1, not ${q}`);
  const { count, minNs, maxNs, buckets } = histogram;
  if (count === 0) return 0;
  if (q === 0) return minNs;
  const rank = Math.ceil(q * count);
  if (rank >= count) return maxNs;
  let seen = 0;
  for (let i = 0; i < LAST_BUCKET; i++) {
    seen += buckets[i] ?? 0;
    if (seen >= rank) return Math.min(Math.max(bucketBounds(i).highNs - 1, minNs), maxNs);
  }
  return maxNs;
}

/** Mean duration, exact; 0 if there are none. */
export function meanNs(histogram: Histogram): number {
  return histogram.count === 0 ? 0 : histogram.sumNs / histogram.count;
}

/** All durations of several histograms in a new one. */
export function mergeHistograms(histograms: Iterable<Histogram>): Histogram {
  const sum = emptyHistogram();
  for (const each of histograms) {
    if (each.count === 0) continue;
    sum.minNs = sum.count === 0 ? each.minNs : Math.min(sum.minNs, each.minNs);
    sum.maxNs = Math.max(sum.maxNs, each.maxNs);
    sum.count += each.count;
    sum.sumNs += each.sumNs;
    for (let i = 0; i <= LAST_BUCKET; i++) {
      sum.buckets[i] = Math.min((sum.buckets[i] ?? 0) + (each.buckets[i] ?? 0), WORD_MAX);
    }
  }
  return sum;
}
