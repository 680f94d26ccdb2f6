#include "core/anticipation.h"

#include <algorithm>

namespace calypte::core {
namespace {

constexpr uint64_t kLookNs = 2'000'000'000;
// Fewer guesses than this say nothing.
constexpr uint64_t kLeastGuesses = 8;
constexpr uint64_t kFirstPauseNs = 30'000'000'000, kLongestPauseNs = 480'000'000'000;

}  // namespace

void Anticipation::settle(uint64_t ahead_ns, bool hit) {
  (hit ? books_.hits : books_.wrong) += 1;
  books_.ahead_ns += ahead_ns;
}

Anticipation::Verdict Anticipation::judge(uint64_t now_ns, uint64_t most_lost_ppm, uint64_t &lost_ppm) {
  lost_ppm = 0;
  if (!wanted_ || now_ns < judged_ns_ + kLookNs) return Verdict::same;
  const uint64_t span_ns = now_ns - judged_ns_;
  const bool first = judged_ns_ == 0;
  const uint64_t hits = books_.hits - judged_.hits, wrong = books_.wrong - judged_.wrong;
  lost_ppm = (books_.ahead_ns - judged_.ahead_ns) * 1'000'000 / span_ns;
  judged_ = books_;
  judged_ns_ = now_ns;
  if (first) return Verdict::same;  // since when is not known
  if (!on_) {
    if (now_ns < retry_ns_) return Verdict::same;
    on_ = true;
    return Verdict::on;
  }
  const bool pays = lost_ppm <= most_lost_ppm && (hits + wrong < kLeastGuesses || wrong <= hits);
  if (pays) {
    if (hits >= kLeastGuesses) pause_ns_ = 0;
    return Verdict::same;
  }
  on_ = false;
  pause_ns_ = std::clamp(2 * pause_ns_, kFirstPauseNs, kLongestPauseNs);
  retry_ns_ = now_ns + pause_ns_;
  return Verdict::off;
}

}  // namespace calypte::core
