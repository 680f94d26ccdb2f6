// Where does the simulator's randomness come from? One small generator, written here so that a seed means
// the same on every machine and with every standard library. Not for cryptography.
#pragma once

#include <cstdint>

namespace calypte::sim {

// splitmix64 (Steele, Lea, Flood 2014): a bijection, so streams of different seeds never merge.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  // The generator of one thing among many: the same (seed, kind, index) always draws the same numbers.
  Rng(uint64_t seed, uint64_t kind, uint64_t index) : state_(seed) {
    state_ = next() ^ kind * 0xd1342543de82ef95;
    state_ = next() ^ index * 0x2545f4914f6cdd1d;
  }

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }

  // 0..limit, both included.
  uint64_t up_to(uint64_t limit) {
    return static_cast<uint64_t>(
        (static_cast<unsigned __int128>(next()) * (static_cast<unsigned __int128>(limit) + 1)) >> 64);
  }

  // [0, 1), exact multiples of 2^-53.
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  // Mean 0, deviation 1, within -6..6: the sum of twelve uniforms, which needs no libm.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += unit();
    return sum;
  }

  // Mean 0, deviation 1, within -3.5..3.5: the sum of four uniforms of 16 bits each, for what is drawn very often.
  double rough_normal() {
    const uint64_t bits = next();
    const uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    constexpr double kMean = 2 * 65'535.0, kScale = 1 / 37'837.2;  // 65536 / sqrt(3)
    return (static_cast<double>(sum) - kMean) * kScale;
  }

  // `ns` times a factor close to lognormal: exp(deviation * z) to second order.
  uint64_t jittered(uint64_t ns, double deviation) { return spread(ns, deviation * normal()); }
  uint64_t roughly_jittered(uint64_t ns, double deviation) { return spread(ns, deviation * rough_normal()); }

 private:
  static uint64_t spread(uint64_t ns, double x) {
    return static_cast<uint64_t>(static_cast<double>(ns) * (1 + x + x * x / 2));
  }

  uint64_t state_;
};

}  // namespace calypte::sim
