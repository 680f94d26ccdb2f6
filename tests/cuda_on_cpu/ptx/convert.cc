// cvt: from any type to any other, with rounding and saturation.
#include <cfenv>
#include <cmath>
#include <limits>

#include "ptx/half.h"
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

enum class Type : uint8_t { u8, s8, u16, s16, u32, s32, u64, s64, f16, bf16, f32, f64, none };

Type type_of(std::string_view t) {
  static constexpr std::string_view names[] = {"u8",  "s8",  "u16", "s16",  "u32", "s32",
                                               "u64", "s64", "f16", "bf16", "f32", "f64"};
  for (uint32_t k = 0; k < 12; k++) {
    if (t == names[k]) return static_cast<Type>(k);
  }
  return Type::none;
}
bool is_float(Type t) { return t >= Type::f16; }

struct How {
  Type to, from;
  Rounding rounding;
  bool integral;  // .rni and its like
  bool sat, ftz, relu;
};
uint32_t pack(How h) {
  return static_cast<uint32_t>(h.to) | static_cast<uint32_t>(h.from) << 4 | static_cast<uint32_t>(h.rounding) << 8 |
         h.integral << 12 | h.sat << 13 | h.ftz << 14 | h.relu << 15;
}
How unpack(uint32_t m) {
  return {static_cast<Type>(m & 15),
          static_cast<Type>(m >> 4 & 15),
          static_cast<Rounding>(m >> 8 & 15),
          (m >> 12 & 1) != 0,
          (m >> 13 & 1) != 0,
          (m >> 14 & 1) != 0,
          (m >> 15 & 1) != 0};
}

double integral(double x, Rounding r) {
  switch (r) {
    case Rounding::zero:
      return std::trunc(x);
    case Rounding::down:
      return std::floor(x);
    case Rounding::up:
      return std::ceil(x);
    default:
      return std::nearbyint(x);
  }
}
float flush_f32(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x; }

uint64_t load_lane(const uint8_t *row, uint32_t bytes, uint32_t lane) {
  uint64_t v = 0;
  memcpy(&v, row + lane * bytes, bytes);
  return v;
}

// A whole number, sign-extended where its type has a sign.
int64_t whole(Type t, uint64_t v) {
  switch (t) {
    case Type::u8:
      return static_cast<uint8_t>(v);
    case Type::s8:
      return static_cast<int8_t>(v);
    case Type::u16:
      return static_cast<uint16_t>(v);
    case Type::s16:
      return static_cast<int16_t>(v);
    case Type::u32:
      return static_cast<uint32_t>(v);
    case Type::s32:
      return static_cast<int32_t>(v);
    default:
      return static_cast<int64_t>(v);
  }
}
uint32_t bits_of(Type t) { return t <= Type::s8 ? 8 : t <= Type::s16 ? 16 : t <= Type::s32 ? 32 : 64; }
bool has_sign(Type t) { return t == Type::s8 || t == Type::s16 || t == Type::s32 || t == Type::s64; }

// Out of range is clamped; NaN becomes 0, as the hardware does for types of up to 32 bits, and the most negative
// number's bits for 64.
uint64_t clamp_to(Type t, double x) {
  uint32_t bits = bits_of(t);
  if (std::isnan(x)) return bits == 64 ? uint64_t{1} << 63 : 0;
  double top = std::ldexp(1.0, static_cast<int>(bits - (has_sign(t) ? 1 : 0)));
  if (x >= top)
    return has_sign(t) ? (uint64_t{1} << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  if (has_sign(t)) return x < -top ? uint64_t{1} << (bits - 1) : static_cast<uint64_t>(static_cast<int64_t>(x));
  return x <= 0 ? 0 : static_cast<uint64_t>(x);
}

uint64_t clamp_whole(const How &h, int64_t v) {
  bool from_u64 = h.from == Type::u64 && v < 0;  // beyond what int64_t can say
  uint32_t bits = bits_of(h.to);
  if (has_sign(h.to)) {
    int64_t top = bits == 64 ? INT64_MAX : (int64_t{1} << (bits - 1)) - 1;
    if (from_u64 || v > top) return static_cast<uint64_t>(top);
    return static_cast<uint64_t>(v < -top - 1 ? -top - 1 : v);
  }
  if (v < 0 && !from_u64) return 0;
  if (bits == 64) return static_cast<uint64_t>(v);
  uint64_t top = (uint64_t{1} << bits) - 1;
  return static_cast<uint64_t>(v) > top ? top : static_cast<uint64_t>(v);
}

float narrowed(double x, Rounding r) {
  static constexpr int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
  if (r == Rounding::nearest) return static_cast<float>(x);
  std::fesetround(modes[static_cast<int>(r)]);
  volatile double in = x;
  volatile float out = static_cast<float>(in);
  std::fesetround(FE_TONEAREST);
  return out;
}

template <class W>
uint64_t whole_to_float(const How &h, W v) {
  static constexpr int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
  if (h.to == Type::f16 || h.to == Type::bf16) {
    double x = static_cast<double>(v);  // 64 bits lose some here, where a half has long been infinite or all its bits
    return h.to == Type::f16 ? float_to_f16(x, h.rounding) : float_to_bf16(x, h.rounding);
  }
  const bool directed = h.rounding != Rounding::nearest;
  if (directed) std::fesetround(modes[static_cast<int>(h.rounding)]);
  volatile W in = v;
  uint64_t r;
  if (h.to == Type::f32) {
    volatile float f = static_cast<float>(in);
    r = std::bit_cast<uint32_t>(static_cast<float>(f));
  } else {
    volatile double d = static_cast<double>(in);
    r = std::bit_cast<uint64_t>(static_cast<double>(d));
  }
  if (directed) std::fesetround(FE_TONEAREST);
  return r;
}

uint64_t convert_one(const How &h, uint64_t v) {
  if (!is_float(h.from)) {
    int64_t n = whole(h.from, v);
    if (!is_float(h.to))
      return h.sat ? clamp_whole(h, n) : static_cast<uint64_t>(whole(h.to, static_cast<uint64_t>(n)));
    return h.from == Type::u64 ? whole_to_float(h, static_cast<uint64_t>(n)) : whole_to_float(h, n);
  }
  double x = 0;
  if (h.from == Type::f16) x = f16_to_float(static_cast<uint16_t>(v));
  if (h.from == Type::bf16) x = bf16_to_float(static_cast<uint16_t>(v));
  if (h.from == Type::f32) {
    float f = std::bit_cast<float>(static_cast<uint32_t>(v));
    x = h.ftz ? flush_f32(f) : f;
  }
  if (h.from == Type::f64) x = std::bit_cast<double>(v);
  if (!is_float(h.to)) return clamp_to(h.to, integral(x, h.rounding));
  if (h.integral) x = integral(x, h.rounding);
  if (h.sat) x = x > 0 ? (x < 1 ? x : 1) : 0;
  if (h.relu && x < 0) x = 0;
  if (h.to == Type::f16) return float_to_f16(x, h.rounding);
  if (h.to == Type::bf16) return float_to_bf16(x, h.rounding);
  if (h.to == Type::f64) return std::bit_cast<uint64_t>(x);
  if (h.from == Type::f32 && std::isnan(x)) return 0x7fffffff;
  float f = narrowed(x, h.rounding);
  if (h.ftz) f = flush_f32(f);
  return std::bit_cast<uint32_t>(f);
}

// mode: the conversion; b, c: how many bytes the lanes of d and a have.
Flow convert(Warp &w, const Inst &i, uint32_t lanes) {
  How h = unpack(i.mode);
  bool extend = !is_float(h.to) && has_sign(h.to);
  each_lane(lanes, [&](uint32_t l) {
    uint64_t v = convert_one(h, load_lane(w.rows + i.a, i.c, l));
    if (extend) v = static_cast<uint64_t>(whole(h.to, v));
    memcpy(w.rows + i.d + l * i.b, &v, i.b);
  });
  return Flow::next;
}

// The plain ones, which are many: between whole numbers, and from 32 bits to float and back.
struct Plain {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};
template <class D, class A, class V>
Flow widen(Warp &w, const Inst &i, uint32_t lanes) {
  D *d = w.row<D>(i.d);
  const A *a = w.row<A>(i.a);
  each_lane(lanes, [&](uint32_t l) { d[l] = static_cast<D>(static_cast<V>(a[l])); });
  return Flow::next;
}
template <class D, class A>
Handler whole_handler(Type to, Type from) {
  // What counts is the narrower of the two types; then the sign of the source's type.
  Type narrow = bits_of(to) <= bits_of(from) ? to : from;
  switch (narrow) {
    case Type::u8:
      return widen<D, A, uint8_t>;
    case Type::s8:
      return widen<D, A, int8_t>;
    case Type::u16:
      return widen<D, A, uint16_t>;
    case Type::s16:
      return widen<D, A, int16_t>;
    case Type::u32:
      return widen<D, A, uint32_t>;
    case Type::s32:
      return widen<D, A, int32_t>;
    case Type::u64:
      return widen<D, A, uint64_t>;
    default:
      return widen<D, A, int64_t>;
  }
}
template <class A>
Handler whole_to(Type to, Type from, uint32_t bytes) {
  return bytes == 2   ? whole_handler<uint16_t, A>(to, from)
         : bytes == 4 ? whole_handler<uint32_t, A>(to, from)
                      : whole_handler<uint64_t, A>(to, from);
}

struct F16ToF32 {
  float operator()(uint16_t h) const { return f16_to_float(h); }
};
struct BF16ToF32 {
  float operator()(uint16_t h) const { return bf16_to_float(h); }
};

// Two floats into a word, a being the upper half.
template <bool IsB>
Flow pack_halves(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  const float *a = w.row<float>(i.a), *b = w.row<float>(i.b);
  How h = unpack(i.mode);
  each_lane(lanes, [&](uint32_t l) {
    float x = a[l], y = b[l];
    if (h.relu) x = x < 0 ? 0 : x, y = y < 0 ? 0 : y;
    uint32_t high = IsB ? float_to_bf16(x, h.rounding) : float_to_f16(x, h.rounding),
             low = IsB ? float_to_bf16(y, h.rounding) : float_to_f16(y, h.rounding);
    d[l] = high << 16 | low;
  });
  return Flow::next;
}

struct ToTf32 {
  uint32_t operator()(uint32_t a) const {
    if ((a & 0x7f800000) == 0x7f800000) return a;
    return (a + 0x1000) & 0xffffe000;  // to nearest, ties away
  }
};
struct ToTf32Even {
  uint32_t operator()(uint32_t a) const {
    if ((a & 0x7f800000) == 0x7f800000) return a;
    return (a + 0xfff + (a >> 13 & 1)) & 0xffffe000;
  }
};

}  // namespace

bool select_convert(Coder &c) {
  const Statement &s = c.statement();
  if (s.parts[0] != "cvt" || s.parts.size() < 3) return false;
  std::string_view to_name = s.parts[s.parts.size() - 2], from_name = s.parts.back();
  How h{type_of(to_name), type_of(from_name), Rounding::nearest, false, s.has("sat"), s.has("ftz"), s.has("relu")};
  h.integral = s.has("rni") || s.has("rzi") || s.has("rmi") || s.has("rpi");
  if (s.has("rz") || s.has("rzi")) h.rounding = Rounding::zero;
  if (s.has("rm") || s.has("rmi")) h.rounding = Rounding::down;
  if (s.has("rp") || s.has("rpi")) h.rounding = Rounding::up;
  if ((to_name == "f16x2" || to_name == "bf16x2") && from_name == "f32" && !s.has("rs") && !h.sat) {
    c.want(3, 3);
    uint32_t a = c.source(1, 4), b = c.source(2, 4), d = c.dest(0, 4);
    h.to = to_name == "f16x2" ? Type::f16 : Type::bf16;
    Inst i = c.make(h.to == Type::f16 ? pack_halves<false> : pack_halves<true>);
    i.d = d, i.a = a, i.b = b, i.mode = pack(h);
    c.push(i);
    return true;
  }
  if (to_name == "tf32" && from_name == "f32" && !h.sat && !h.relu)
    return emit1(c, s.has("rna") ? unary<uint32_t, uint32_t, ToTf32> : unary<uint32_t, uint32_t, ToTf32Even>, 4, 4);
  if (h.to == Type::none || h.from == Type::none || s.has("rna") || s.has("scaled::n2::ue8m0")) c.unknown();
  c.want(2, 2);
  uint32_t from_bytes = std::max(2u, bytes_of_type(from_name)), to_bytes = std::max(2u, bytes_of_type(to_name));
  Row a = c.source_row(c.operand(1), from_bytes), d = c.dest_row(c.operand(0));
  if (a.is_predicate || d.is_predicate || a.bytes < from_bytes || d.bytes < to_bytes)
    c.refuse("a register of cvt is too narrow for its type");
  Handler handler = convert;
  if (!is_float(h.to) && !is_float(h.from) && !h.sat) {
    handler = a.bytes == 2   ? whole_to<uint16_t>(h.to, h.from, d.bytes)
              : a.bytes == 4 ? whole_to<uint32_t>(h.to, h.from, d.bytes)
                             : whole_to<uint64_t>(h.to, h.from, d.bytes);
  } else if (a.bytes == from_bytes && d.bytes == to_bytes && h.rounding == Rounding::nearest && !h.integral && !h.sat &&
             !h.ftz && !h.relu) {
    if (h.from == Type::s32 && h.to == Type::f32) handler = unary<float, int32_t, Plain>;
    if (h.from == Type::u32 && h.to == Type::f32) handler = unary<float, uint32_t, Plain>;
    if (h.from == Type::u16 && h.to == Type::f32) handler = unary<float, uint16_t, Plain>;
    if (h.from == Type::s16 && h.to == Type::f32) handler = unary<float, int16_t, Plain>;
    if (h.from == Type::s64 && h.to == Type::f32) handler = unary<float, int64_t, Plain>;
    if (h.from == Type::f16 && h.to == Type::f32) handler = unary<float, uint16_t, F16ToF32>;
    if (h.from == Type::bf16 && h.to == Type::f32) handler = unary<float, uint16_t, BF16ToF32>;
    if (h.from == Type::f32 && h.to == Type::f64) handler = unary<double, float, Plain>;
  }
  Inst i = c.make(handler);
  i.d = d.place, i.a = a.place, i.b = d.bytes, i.c = a.bytes, i.mode = pack(h);
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
