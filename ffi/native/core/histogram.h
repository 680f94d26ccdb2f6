// How are durations counted without allocation? Log-linear buckets as calypte.h describes them.
// Quantiles are the reader's business.
#pragma once

#include "calypte.h"

namespace calypte::core {

inline constexpr uint32_t kHistogramLinearEndNs = 1024;
static_assert(CALYPTE_HISTOGRAM_BUCKETS == 32 + 31 * 32, "31 octaves of 32 buckets above the linear part");

// Bucket of a duration; durations beyond the last octave fall into the last bucket.
constexpr uint32_t histogram_bucket(uint64_t ns) {
  if (ns < kHistogramLinearEndNs) return static_cast<uint32_t>(ns / 32);
  const uint32_t exponent = 63u - static_cast<uint32_t>(__builtin_clzll(ns));
  if (exponent > 40) return CALYPTE_HISTOGRAM_BUCKETS - 1;
  return 32 * (exponent - 9) + static_cast<uint32_t>((ns >> (exponent - 5)) & 31);
}

inline void histogram_add(calypte_histogram &histogram, uint64_t ns) {
  if (histogram.count == 0 || ns < histogram.min_ns) histogram.min_ns = ns;
  if (ns > histogram.max_ns) histogram.max_ns = ns;
  histogram.count += 1;
  histogram.sum_ns += ns;
  histogram.buckets[histogram_bucket(ns)] += 1;
}

}  // namespace calypte::core
