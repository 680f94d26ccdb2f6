// What numbers are 16-bit floats? Conversions to and from float, and sums of products without a second rounding.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace cuda_on_cpu {

inline float f16_to_float(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    float f = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -f : f;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline float bf16_to_float(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

enum class Rounding : uint8_t { nearest, zero, down, up, nearest_away };

// A double, rounded once to a float of so many exponent and mantissa bits; as an integer of 1 + exponent + mantissa
// bits.
inline uint32_t round_to(double x, int exponent_bits, int mantissa_bits, Rounding how) {
  uint64_t bits = std::bit_cast<uint64_t>(x);
  uint32_t sign = static_cast<uint32_t>(bits >> 63);
  uint32_t all = (1u << exponent_bits) - 1, top = sign << (exponent_bits + mantissa_bits);
  if (std::isnan(x)) return (all << mantissa_bits) | ((1u << mantissa_bits) - 1);
  if (std::isinf(x)) return top | all << mantissa_bits;
  if (x == 0) return top;
  int e;
  double m = std::frexp(std::fabs(x), &e);  // 0.5 <= m < 1
  int bias = (1 << (exponent_bits - 1)) - 1;
  int stored = e - 1 + bias;
  int keep = mantissa_bits + 1;  // bits of the significand
  if (stored < 1) keep -= 1 - stored;
  // Below half of the least subnormal one bit is left for rounding.
  uint64_t significand = static_cast<uint64_t>(std::ldexp(m, 53));
  int drop = 53 - keep;
  uint64_t kept = drop >= 64 ? 0 : significand >> drop;
  uint64_t rest = drop >= 64 ? significand : significand & ((uint64_t{1} << drop) - 1);
  uint64_t half = drop >= 64 ? UINT64_MAX : uint64_t{1} << (drop - 1);
  bool up = how == Rounding::nearest        ? rest > half || (rest == half && (kept & 1))
            : how == Rounding::nearest_away ? rest >= half
            : how == Rounding::up           ? rest != 0 && !sign
            : how == Rounding::down         ? rest != 0 && sign
                                            : false;
  kept += up;
  uint64_t value = stored < 1 ? kept : (static_cast<uint64_t>(stored - 1) << mantissa_bits) + kept;
  if (value >= static_cast<uint64_t>(all) << mantissa_bits) {
    bool to_infinity = how == Rounding::nearest || how == Rounding::nearest_away || (how == Rounding::up && !sign) ||
                       (how == Rounding::down && sign);
    value =
        to_infinity ? static_cast<uint64_t>(all) << mantissa_bits : (static_cast<uint64_t>(all) << mantissa_bits) - 1;
  }
  return top | static_cast<uint32_t>(value);
}

// NaN becomes 0x7fff, as on the hardware.
inline uint16_t float_to_f16(double x, Rounding how = Rounding::nearest) {
  return static_cast<uint16_t>(round_to(x, 5, 10, how));
}
inline uint16_t float_to_bf16(double x, Rounding how = Rounding::nearest) {
  return static_cast<uint16_t>(round_to(x, 8, 7, how));
}

// a * b + c in double, with the last bit set where the sum is not exact: rounding that once more to 16 bits is right.
// The product of two such floats is exact in double.
inline double odd_fma(double a, double b, double c) {
  double p = a * b, s = p + c;
  if (!std::isfinite(s)) return s;
  double t = s - p, error = (p - (s - t)) + (c - t);
  if (error == 0) return s;
  uint64_t bits = std::bit_cast<uint64_t>(s);
  if (bits & 1) return s;
  // Towards the exact sum.
  bool grows = (error > 0) == (s > 0);
  return std::bit_cast<double>(grows ? bits + 1 : bits - 1);
}

}  // namespace cuda_on_cpu
