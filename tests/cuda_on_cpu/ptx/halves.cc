// Arithmetic of 16-bit floats, alone and in pairs: computed in double and rounded once.
#include "ptx/half.h"
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

struct Fp16 {
  static double to(uint16_t h) { return f16_to_float(h); }
  static uint16_t from(double x) { return float_to_f16(x); }
};
struct Bf16 {
  static double to(uint16_t h) { return bf16_to_float(h); }
  static uint16_t from(double x) { return float_to_bf16(x); }
};

enum class Op : uint8_t { add, sub, mul, fma, neg, abs, min, max, min_nan, max_nan, ex2, tanh };
// mode: the operation, 256: .sat, 512: .relu, 1024: .ftz
constexpr uint32_t kSat = 256, kRelu = 512, kFtz = 1024;

template <class H>
uint16_t half_op(uint32_t mode, uint16_t a, uint16_t b, uint16_t c) {
  if (mode & kFtz) {
    auto flush = [](uint16_t &x) {
      if ((x & 0x7c00) == 0) x &= 0x8000;
    };
    flush(a), flush(b), flush(c);
  }
  double x = H::to(a), y = H::to(b), z = H::to(c), r = 0;
  switch (static_cast<Op>(mode & 255)) {
    case Op::neg:
      return a ^ 0x8000;
    case Op::abs:
      return a & 0x7fff;
    case Op::add:
      r = odd_fma(x, 1, y);
      break;
    case Op::sub:
      r = odd_fma(x, 1, -y);
      break;
    case Op::mul:
      r = x * y;
      break;
    case Op::fma:
      r = odd_fma(x, y, z);
      break;
    case Op::ex2:
      r = std::exp2(x);
      break;
    case Op::tanh:
      r = std::tanh(x);
      break;
    default: {
      Op op = static_cast<Op>(mode & 255);
      bool largest = op == Op::max || op == Op::max_nan, propagate = op == Op::min_nan || op == Op::max_nan;
      if (std::isnan(x) || std::isnan(y)) {
        if (propagate || (std::isnan(x) && std::isnan(y))) return 0x7fff;
        return std::isnan(x) ? b : a;
      }
      if (x == y) return std::signbit(x) == largest ? b : a;
      return (x < y) == largest ? b : a;
    }
  }
  if ((mode & kSat) != 0) r = r > 0 ? (r < 1 ? r : 1) : 0;
  if ((mode & kRelu) != 0 && r < 0) r = 0;
  uint16_t h = H::from(r);
  if ((mode & kFtz) && (h & 0x7c00) == 0) h &= 0x8000;
  return h;
}

template <class H>
Flow single(Warp &w, const Inst &i, uint32_t lanes) {
  uint16_t *d = w.row<uint16_t>(i.d);
  const uint16_t *a = w.row<uint16_t>(i.a), *b = w.row<uint16_t>(i.b), *c = w.row<uint16_t>(i.c);
  each_lane(lanes, [&](uint32_t l) { d[l] = half_op<H>(i.mode, a[l], b[l], c[l]); });
  return Flow::next;
}
template <class H>
Flow pair(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  const uint32_t *a = w.row<uint32_t>(i.a), *b = w.row<uint32_t>(i.b), *c = w.row<uint32_t>(i.c);
  each_lane(lanes, [&](uint32_t l) {
    uint32_t low =
        half_op<H>(i.mode, static_cast<uint16_t>(a[l]), static_cast<uint16_t>(b[l]), static_cast<uint16_t>(c[l]));
    uint32_t high = half_op<H>(i.mode, static_cast<uint16_t>(a[l] >> 16), static_cast<uint16_t>(b[l] >> 16),
                               static_cast<uint16_t>(c[l] >> 16));
    d[l] = low | high << 16;
  });
  return Flow::next;
}

}  // namespace

bool select_half(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0], t = c.type();
  bool is_bf = t == "bf16" || t == "bf16x2", is_pair = t == "f16x2" || t == "bf16x2";
  if (!is_bf && !is_pair && t != "f16") return false;
  size_t operands = 1;
  Op o;
  if (op == "add")
    o = Op::add, operands = 2;
  else if (op == "sub")
    o = Op::sub, operands = 2;
  else if (op == "mul")
    o = Op::mul, operands = 2;
  else if (op == "fma")
    o = Op::fma, operands = 3;
  else if (op == "min")
    o = s.has("NaN") ? Op::min_nan : Op::min, operands = 2;
  else if (op == "max")
    o = s.has("NaN") ? Op::max_nan : Op::max, operands = 2;
  else if (op == "neg")
    o = Op::neg;
  else if (op == "abs")
    o = Op::abs;
  else if (op == "ex2")
    o = Op::ex2;
  else if (op == "tanh")
    o = Op::tanh;
  else
    return false;
  if (s.has("xorsign") || s.has("oob")) c.unknown();
  c.want(operands + 1, operands + 1);
  uint32_t bytes = is_pair ? 4 : 2;
  uint32_t a = c.source(1, bytes), b = operands > 1 ? c.source(2, bytes) : a,
           third = operands > 2 ? c.source(3, bytes) : a, d = c.dest(0, bytes);
  Inst i = c.make(is_pair ? (is_bf ? pair<Bf16> : pair<Fp16>) : is_bf ? single<Bf16> : single<Fp16>);
  i.d = d, i.a = a, i.b = b, i.c = third;
  i.mode = static_cast<uint32_t>(o) | (s.has("sat") ? kSat : 0) | (s.has("relu") ? kRelu : 0) |
           (s.has("ftz") && !is_bf ? kFtz : 0);
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
