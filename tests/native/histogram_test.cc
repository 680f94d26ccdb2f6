// Do the buckets lie where calypte.h says, and are minimum and maximum exact?
#include "core/histogram.h"

#include <doctest/doctest.h>

#include <initializer_list>

#include "backend/sim/rng.h"

using calypte::core::histogram_add;
using calypte::core::histogram_bucket;

TEST_CASE("durations below 1024 ns fall into buckets of 32 ns") {
  for (uint64_t ns = 0; ns < 1024; ++ns) CHECK(histogram_bucket(ns) == ns / 32);
}

TEST_CASE("the first octave follows the linear part without a gap") {
  CHECK(histogram_bucket(1023) == 31);
  CHECK(histogram_bucket(1024) == 32);
  CHECK(histogram_bucket(1024 + 31) == 32);
  CHECK(histogram_bucket(1024 + 32) == 33);
  CHECK(histogram_bucket(2047) == 63);
  CHECK(histogram_bucket(2048) == 64);
}

TEST_CASE("each bucket begins where the formula of the header says") {
  for (uint32_t e = 10; e <= 40; ++e) {
    for (uint32_t m = 0; m < 32; ++m) {
      const uint64_t lower_ns = (uint64_t{32} + m) << (e - 5);
      const uint32_t bucket = 32 * (e - 9) + m;
      CAPTURE(lower_ns);
      CHECK(histogram_bucket(lower_ns) == bucket);
      CHECK(histogram_bucket(lower_ns - 1) == bucket - 1);
    }
  }
}

TEST_CASE("the last octave ends in the last bucket, and so does everything beyond") {
  CHECK(histogram_bucket((uint64_t{1} << 41) - 1) == CALYPTE_HISTOGRAM_BUCKETS - 1);
  CHECK(histogram_bucket(uint64_t{1} << 41) == CALYPTE_HISTOGRAM_BUCKETS - 1);
  CHECK(histogram_bucket(UINT64_MAX) == CALYPTE_HISTOGRAM_BUCKETS - 1);
}

TEST_CASE("a longer duration never falls into a lower bucket") {
  calypte::sim::Rng rng(7);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t a = rng.next() >> rng.up_to(63);
    const uint64_t b = a + (rng.next() >> rng.up_to(63)) / 2;
    if (b < a) continue;
    CHECK_MESSAGE(histogram_bucket(a) <= histogram_bucket(b), a << " and " << b);
  }
}

TEST_CASE("minimum, maximum, count and sum are exact") {
  static calypte_histogram histogram;
  histogram = {};
  for (const uint64_t ns : {5'000u, 70u, 1'000'000u, 70u}) histogram_add(histogram, ns);
  CHECK(histogram.count == 4);
  CHECK(histogram.sum_ns == 1'005'140);
  CHECK(histogram.min_ns == 70);
  CHECK(histogram.max_ns == 1'000'000);
  CHECK(histogram.buckets[70 / 32] == 2);
}

TEST_CASE("a duration of 0 ns is a minimum like any other") {
  static calypte_histogram histogram;
  histogram = {};
  histogram_add(histogram, 100);
  histogram_add(histogram, 0);
  CHECK(histogram.min_ns == 0);
  CHECK(histogram.buckets[0] == 1);
}
