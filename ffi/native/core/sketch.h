// How long does this usually take? A histogram of durations that forgets: sixteen buckets to the octave, from 256 ns to
// 70 minutes, halved when it is full, so that what it says is of the last few thousand samples.
#pragma once

#include <array>
#include <cstdint>

namespace calypte::core {

class Sketch {
 public:
  void add(uint64_t ns) {
    const uint32_t at = bucket(ns);
    counts_[at] += 1;
    total_ += 1;
    if (at >= end_) end_ = at + 1;
    if (total_ == kFull) halve();
  }

  uint32_t count() const { return total_; }

  // The upper edge of the bucket that holds the quantile `permille` (0..1000), at most 1/16 above the true value;
  // 0 while fewer than `least` samples are known.
  uint64_t quantile(uint32_t permille, uint32_t least = 8) const {
    if (total_ < least || total_ == 0) return 0;
    // From the top, where the interesting quantiles lie.
    uint64_t above = uint64_t{total_} * (1000 - permille) / 1000;
    for (uint32_t at = end_; at-- > 0;) {
      if (counts_[at] > above) return upper_ns(at);
      above -= counts_[at];
    }
    return upper_ns(0);
  }

  // As it was saved. False, and nothing is added: it cannot be so.
  bool restore(uint32_t at, uint32_t count) {
    if (at >= kBuckets || count == 0 || count >= kFull - total_ || counts_[at] != 0) return false;
    counts_[at] = static_cast<uint16_t>(count);
    total_ += count;
    if (at >= end_) end_ = at + 1;
    return true;
  }

  uint32_t in(uint32_t at) const { return counts_[at]; }
  uint32_t end() const { return end_; }

  static constexpr uint32_t kSub = 16;
  static constexpr uint32_t kFirstOctave = 8;
  static constexpr uint32_t kOctaves = 34;
  static constexpr uint32_t kBuckets = kSub * (kOctaves + 1);

  static constexpr uint32_t bucket(uint64_t ns) {
    if (ns >> kFirstOctave == 0) return static_cast<uint32_t>(ns * kSub >> kFirstOctave);
    const uint32_t octave = 63 - static_cast<uint32_t>(__builtin_clzll(ns));
    const uint32_t sub = static_cast<uint32_t>(ns >> (octave - 4)) & (kSub - 1);
    const uint32_t at = (octave - kFirstOctave + 1) * kSub + sub;
    return at < kBuckets ? at : kBuckets - 1;
  }
  // Durations in bucket `at` are below this.
  static constexpr uint64_t upper_ns(uint32_t at) {
    const uint32_t row = at / kSub, sub = at % kSub;
    if (row == 0) return (uint64_t{sub} + 1) << (kFirstOctave - 4);
    return (uint64_t{kSub} + sub + 1) << (row - 1 + kFirstOctave - 4);
  }
  static constexpr uint64_t lower_ns(uint32_t at) { return at == 0 ? 0 : upper_ns(at - 1); }

 private:
  static constexpr uint32_t kFull = 4096;

  void halve() {
    total_ = 0;
    for (uint32_t at = 0; at < end_; ++at) total_ += counts_[at] /= 2;
  }

  std::array<uint16_t, kBuckets> counts_{};
  uint32_t total_ = 0;
  uint32_t end_ = 0;  // behind the highest bucket that was ever used
};

}  // namespace calypte::core
