// Are durations and arrivals learned as they are, and forgotten when they change?
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "backend/sim/rng.h"
#include "core/anticipation.h"
#include "core/rhythm.h"
#include "core/sketch.h"
#include "support.h"

using namespace calypte::core;
using namespace calypte::test;
using calypte::sim::Rng;

TEST_SUITE("sketch") {
  TEST_CASE("a quantile lies at most a sixteenth above the true one, over nine orders of magnitude") {
    Rng rng(1);
    for (uint64_t scale = 1'000; scale <= 1'000'000'000'000; scale *= 1'000) {
      Sketch sketch;
      std::vector<uint64_t> all;
      for (int i = 0; i < 2'000; ++i) {
        all.push_back(scale + rng.up_to(scale));
        sketch.add(all.back());
      }
      std::sort(all.begin(), all.end());
      for (const uint32_t permille : {500u, 900u, 990u}) {
        const uint64_t truth = all[all.size() * permille / 1000];
        CHECK(sketch.quantile(permille) >= truth);
        CHECK(sketch.quantile(permille) <= truth + truth / 12);
      }
    }
  }

  TEST_CASE("too few samples say nothing, and every duration has a bucket") {
    Sketch sketch;
    for (int i = 0; i < 7; ++i) sketch.add(1'000);
    CHECK(sketch.quantile(990) == 0);
    sketch.add(UINT64_MAX);
    sketch.add(0);
    CHECK(sketch.count() == 9);
    for (uint32_t at = 1; at < Sketch::kBuckets; ++at) {
      CHECK(Sketch::bucket(Sketch::lower_ns(at)) == at);
      CHECK(Sketch::bucket(Sketch::upper_ns(at) - 1) == at);
    }
  }

  TEST_CASE("what was long ago is forgotten") {
    Sketch sketch;
    for (int i = 0; i < 4'000; ++i) sketch.add(kMs);
    for (int i = 0; i < 40'000; ++i) sketch.add(10 * kUs);
    CHECK(sketch.quantile(990) < 11 * kUs);
  }
}

TEST_SUITE("rhythm") {
  // Arrivals every `period_ns`, each off by up to `jitter_ns` to either side.
  uint64_t feed(Rhythm & rhythm, Rng & rng, uint64_t from_ns, int count, uint64_t period_ns, uint64_t jitter_ns) {
    for (int i = 0; i < count; ++i) {
      rhythm.arrived(from_ns - jitter_ns + rng.up_to(2 * jitter_ns));
      from_ns += period_ns;
    }
    return from_ns;
  }

  TEST_CASE("a sensor's period, phase and jitter are found, and followed where arrivals stay away") {
    Rhythm rhythm;
    Rng rng(7);
    const uint64_t period_ns = 33'333'333;
    uint64_t next_ns = feed(rhythm, rng, kSecond, 200, period_ns, 200 * kUs);
    REQUIRE(rhythm.regular());
    CHECK(rhythm.period_ns() > period_ns - 30 * kUs);
    CHECK(rhythm.period_ns() < period_ns + 30 * kUs);
    CHECK(rhythm.jitter_ns() > 150 * kUs);
    CHECK(rhythm.jitter_ns() < 400 * kUs);
    next_ns += 5 * period_ns;  // five stayed away
    const uint64_t expected_ns = rhythm.next_ns(next_ns - period_ns / 2);
    CHECK(expected_ns > next_ns - 400 * kUs);
    CHECK(expected_ns < next_ns + 400 * kUs);
    feed(rhythm, rng, next_ns, 3, period_ns, 200 * kUs);
    CHECK(rhythm.regular());
  }

  TEST_CASE("99 of 100 arrivals fall into the window that is expected") {
    Rhythm rhythm;
    Rng rng(11);
    uint64_t at_ns = feed(rhythm, rng, kSecond, 300, 10 * kMs, 100 * kUs);
    int inside = 0;
    for (int i = 0; i < 1'000; ++i) {
      const uint64_t arrival_ns = at_ns - 100 * kUs + rng.up_to(200 * kUs);
      const Window window = rhythm.next_window(at_ns - 5 * kMs, 0);
      REQUIRE(window.known());
      inside += arrival_ns >= window.begin_ns && arrival_ns < window.end_ns ? 1 : 0;
      CHECK(window.end_ns - window.begin_ns < 600 * kUs);
      rhythm.arrived(arrival_ns);
      at_ns += 10 * kMs;
    }
    CHECK(inside >= 985);
  }

  TEST_CASE("another period is learned anew") {
    Rhythm rhythm;
    Rng rng(3);
    uint64_t at_ns = feed(rhythm, rng, kSecond, 50, 10 * kMs, 0);
    CHECK(rhythm.period_ns() == 10 * kMs);
    feed(rhythm, rng, at_ns, 50, 4 * kMs, 0);
    CHECK(rhythm.regular());
    CHECK(rhythm.period_ns() == 4 * kMs);
  }

  TEST_CASE("arrivals without memory have no period, and none is worth waiting for") {
    Rhythm rhythm;
    Rng rng(5);
    uint64_t at_ns = kSecond;
    for (int i = 0; i < 2'000; ++i) {
      // Exponential intervals, by the inverse of their distribution in 64 steps of the unit interval.
      double left = 1 - rng.unit(), sum = 0;
      while (left < 1) {
        left *= 1.015625;
        sum += 0.0155;
      }
      at_ns += static_cast<uint64_t>(sum * 10e6) + 1;
      rhythm.arrived(at_ns);
    }
    CHECK_FALSE(rhythm.regular());
    CHECK_FALSE(rhythm.next_window(at_ns + kMs, 10 * 15 * kUs).known());
  }

  TEST_CASE("a habit is worth waiting for, as often as its hazard says") {
    // Bursts of three, 1 ms apart to 10 us, at random distances of 20 to 60 ms.
    Rhythm rhythm;
    Rng rng(9);
    uint64_t at_ns = kSecond, hits = 0, windows = 0, waited_ns = 0;
    const uint64_t worth_ns = 300 * kUs;
    for (int burst = 0; burst < 2'000; ++burst) {
      at_ns += 20 * kMs + rng.up_to(40 * kMs);
      for (int i = 0; i < 3; ++i) {
        rhythm.arrived(at_ns);
        const uint64_t next_ns = at_ns + kMs - 10 * kUs + rng.up_to(20 * kUs);
        const Window window = rhythm.next_window(at_ns, worth_ns);
        if (burst > 100 && window.known() && window.begin_ns < at_ns + 5 * kMs) {
          windows += 1;
          waited_ns += window.end_ns - window.begin_ns;
          hits += i < 2 && next_ns >= window.begin_ns && next_ns < window.end_ns ? 1 : 0;
        }
        if (i < 2) at_ns = next_ns;
      }
    }
    CHECK_FALSE(rhythm.regular());
    CHECK(windows > 5'000);
    CHECK(hits * 3 > windows * 2 - windows / 20);  // two of three are followed by another
    CHECK(waited_ns <= windows * worth_ns * 2 / 3);
  }
}

TEST_SUITE("anticipation") {
  using Verdict = Anticipation::Verdict;

  // Two seconds of guesses, and the verdict behind them.
  Verdict two_seconds(Anticipation & anticipation, uint64_t & now_ns, int hits, int wrong, uint64_t ahead_ns) {
    for (int i = 0; i < hits; ++i) anticipation.settle(ahead_ns, true);
    for (int i = 0; i < wrong; ++i) anticipation.settle(ahead_ns, false);
    now_ns += 2 * kSecond;
    uint64_t lost_ppm = 0;
    return anticipation.judge(now_ns, 40'000, lost_ppm);
  }

  TEST_CASE("it stays on while it is right and cheap") {
    Anticipation anticipation(true);
    uint64_t now_ns = kSecond;
    for (int i = 0; i < 100; ++i) CHECK(two_seconds(anticipation, now_ns, 440, 3, 30 * kUs) == Verdict::same);
    CHECK(anticipation.on());
  }

  TEST_CASE("it goes off when it costs too much time or is mostly wrong, and tries again later and later") {
    for (const bool costly : {true, false}) {
      Anticipation anticipation(true);
      uint64_t now_ns = kSecond, off_ns = 0;
      std::vector<uint64_t> pauses_ns;
      for (int i = 0; i < 2'000; ++i) {
        const Verdict verdict = anticipation.on() ? costly ? two_seconds(anticipation, now_ns, 1'000, 0, 100 * kUs)
                                                           : two_seconds(anticipation, now_ns, 10, 20, 10 * kUs)
                                                  : two_seconds(anticipation, now_ns, 0, 0, 0);
        if (verdict == Verdict::off) off_ns = now_ns;
        if (verdict == Verdict::on) pauses_ns.push_back(now_ns - off_ns);
      }
      REQUIRE(pauses_ns.size() > 4);
      CHECK(pauses_ns[0] < 40 * kSecond);
      CHECK(pauses_ns[1] > pauses_ns[0]);
      CHECK(pauses_ns.back() < 500 * kSecond);
    }
  }

  TEST_CASE("who does not want it never has it") {
    Anticipation anticipation(false);
    uint64_t now_ns = kSecond;
    CHECK(two_seconds(anticipation, now_ns, 0, 0, 0) == Verdict::same);
    CHECK_FALSE(anticipation.on());
  }
}
