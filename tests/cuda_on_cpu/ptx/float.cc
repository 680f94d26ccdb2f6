// Numbers of 32 and 64 bits with a point. Rounding, flushing and NaNs are as PTX says; what is approximate there is
// what the C library gives.
#include <cfenv>
#include <cmath>

#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

template <bool Ftz, class T>
T flush(T x) {
  if constexpr (Ftz) {
    uint32_t bits = std::bit_cast<uint32_t>(x);
    return (bits & 0x7f800000) == 0 ? std::bit_cast<T>(bits & 0x80000000) : x;
  } else {
    return x;
  }
}

// .sat: into 0 to 1, and NaN becomes 0.
template <bool Ftz, bool Sat, class T>
T finish(T x) {
  x = flush<Ftz>(x);
  if constexpr (Sat) x = x > 0 ? (x < 1 ? x : T{1}) : T{0};
  return x;
}

template <class T, class F, bool Ftz, bool Sat>
Flow float1(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a);
  each_lane(lanes, [&](uint32_t l) { d[l] = finish<Ftz, Sat>(F{}(flush<Ftz>(a[l]))); });
  return Flow::next;
}
template <class T, class F, bool Ftz, bool Sat>
Flow float2(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b);
  each_lane(lanes, [&](uint32_t l) { d[l] = finish<Ftz, Sat>(F{}(flush<Ftz>(a[l]), flush<Ftz>(b[l]))); });
  return Flow::next;
}
template <class T, bool Ftz, bool Sat, bool Relu>
[[gnu::always_inline]] inline void fma_lanes(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b), *c = w.row<T>(i.c);
  each_lane(lanes, [&](uint32_t l) {
    T r = finish<Ftz, Sat>(std::fma(flush<Ftz>(a[l]), flush<Ftz>(b[l]), flush<Ftz>(c[l])));
    d[l] = Relu && r < 0 ? T{0} : r;
  });
}
template <class T, bool Ftz, bool Sat>
Flow fma_anywhere(Warp &w, const Inst &i, uint32_t lanes) {
  fma_lanes<T, Ftz, Sat, false>(w, i, lanes);
  return Flow::next;
}
#if defined(__x86_64__)
// Without this, every product and sum would be a call into the C library.
template <class T, bool Ftz, bool Sat>
[[gnu::target("avx2,fma"), gnu::optimize("O3")]] Flow fma_here(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b), *c = w.row<T>(i.c);
  auto one = [&](uint32_t l) __attribute__((target("avx2,fma"), always_inline)) {
    T x = a[l], y = b[l], z = c[l];
    if constexpr (Ftz) {
      x = flush<true>(x), y = flush<true>(y), z = flush<true>(z);
    }
    T r;
    if constexpr (sizeof(T) == 4)
      r = __builtin_fmaf(x, y, z);
    else
      r = __builtin_fma(x, y, z);
    d[l] = finish<Ftz, Sat>(r);
  };
  if (lanes == UINT32_MAX) {
#pragma GCC ivdep
    for (uint32_t l = 0; l < 32; l++) one(l);
  } else {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) one(static_cast<uint32_t>(__builtin_ctz(rest)));
  }
  return Flow::next;
}
bool fma_is_here() {
  static const bool here = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return here;
}
#else
template <class T, bool Ftz, bool Sat>
constexpr Handler fma_here = fma_anywhere<T, Ftz, Sat>;
bool fma_is_here() { return false; }
#endif

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct Sqrt {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Rcp {
  template <class T>
  T operator()(T a) const {
    return 1 / a;
  }
};
struct Rsqrt {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(a)));
  }
};
struct Ex2 {
  template <class T>
  T operator()(T a) const {
    return std::exp2(a);
  }
};
struct Lg2 {
  template <class T>
  T operator()(T a) const {
    return std::log2(a);
  }
};
struct Sin {
  template <class T>
  T operator()(T a) const {
    return std::sin(a);
  }
};
struct Cos {
  template <class T>
  T operator()(T a) const {
    return std::cos(a);
  }
};
struct Tanh {
  template <class T>
  T operator()(T a) const {
    return std::tanh(a);
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};

template <class T>
T canonical_nan() {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<float>(0x7fffffffu);
  else
    return std::bit_cast<double>(0x7fffffffffffffffull);
}
// A NaN loses against a number, unless .NaN asks for it; -0 is less than +0.
template <bool Propagate, bool Largest>
struct Extreme {
  template <class T>
  T operator()(T a, T b) const {
    if (std::isnan(a) || std::isnan(b)) {
      if (Propagate || (std::isnan(a) && std::isnan(b))) return canonical_nan<T>();
      return std::isnan(a) ? b : a;
    }
    if (a == b) return std::signbit(a) == Largest ? b : a;
    return (a < b) == Largest ? b : a;
  }
};
template <bool Propagate, bool Largest>
struct XorSignExtreme {
  template <class T>
  T operator()(T a, T b) const {
    T r = Extreme<Propagate, Largest>{}(std::fabs(a), std::fabs(b));
    return std::copysign(r, std::signbit(a) != std::signbit(b) ? T{-1} : T{1});
  }
};
// copysign a, b: the sign is a's.
struct CopySign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};

// mode is the rounding that the C library knows.
template <Handler H>
Flow directed(Warp &w, const Inst &i, uint32_t lanes) {
  std::fesetround(static_cast<int>(i.mode));
  Flow f = H(w, i, lanes);
  std::fesetround(FE_TONEAREST);
  return f;
}

struct Choice {
  Handler handler = nullptr, directed = nullptr;
};

template <class T, class F>
Choice choose1(bool ftz, bool sat) {
  if constexpr (sizeof(T) == 4) {
    if (ftz)
      return sat ? Choice{float1<T, F, true, true>, directed<float1<T, F, true, true>>}
                 : Choice{float1<T, F, true, false>, directed<float1<T, F, true, false>>};
  }
  return sat ? Choice{float1<T, F, false, true>, directed<float1<T, F, false, true>>}
             : Choice{float1<T, F, false, false>, directed<float1<T, F, false, false>>};
}
template <class T, class F>
Choice choose2(bool ftz, bool sat) {
  if constexpr (sizeof(T) == 4) {
    if (ftz)
      return sat ? Choice{float2<T, F, true, true>, directed<float2<T, F, true, true>>}
                 : Choice{float2<T, F, true, false>, directed<float2<T, F, true, false>>};
  }
  return sat ? Choice{float2<T, F, false, true>, directed<float2<T, F, false, true>>}
             : Choice{float2<T, F, false, false>, directed<float2<T, F, false, false>>};
}
template <class T, bool Ftz, bool Sat>
Choice choose_fma() {
  if (fma_is_here()) return {fma_here<T, Ftz, Sat>, directed<fma_here<T, Ftz, Sat>>};
  return {fma_anywhere<T, Ftz, Sat>, directed<fma_anywhere<T, Ftz, Sat>>};
}

template <class F>
Choice one(bool is_float, bool ftz, bool sat) {
  return is_float ? choose1<float, F>(ftz, sat) : choose1<double, F>(false, sat);
}
template <class F>
Choice two(bool is_float, bool ftz, bool sat) {
  return is_float ? choose2<float, F>(ftz, sat) : choose2<double, F>(false, sat);
}

Choice extreme(bool is_float, const Statement &s, bool largest) {
  bool ftz = s.has("ftz"), nan = s.has("NaN");
  if (s.has("xorsign")) {
    return largest ? (nan ? two<XorSignExtreme<true, true>>(is_float, ftz, false)
                          : two<XorSignExtreme<false, true>>(is_float, ftz, false))
                   : (nan ? two<XorSignExtreme<true, false>>(is_float, ftz, false)
                          : two<XorSignExtreme<false, false>>(is_float, ftz, false));
  }
  return largest
             ? (nan ? two<Extreme<true, true>>(is_float, ftz, false) : two<Extreme<false, true>>(is_float, ftz, false))
             : (nan ? two<Extreme<true, false>>(is_float, ftz, false)
                    : two<Extreme<false, false>>(is_float, ftz, false));
}

}  // namespace

bool select_float(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0], t = c.type();
  if (t != "f32" && t != "f64") return false;
  bool f = t == "f32", ftz = s.has("ftz"), sat = s.has("sat");
  Choice h;
  int operands = 1;
  if (op == "add")
    h = two<Add>(f, ftz, sat), operands = 2;
  else if (op == "sub")
    h = two<Sub>(f, ftz, sat), operands = 2;
  else if (op == "mul")
    h = two<Mul>(f, ftz, sat), operands = 2;
  else if (op == "div")
    h = two<Div>(f, ftz, sat), operands = 2;
  else if (op == "min" || op == "max")
    h = extreme(f, s, op == "max"), operands = 2;
  else if (op == "copysign")
    h = two<CopySign>(f, false, false), operands = 2;
  else if (op == "fma" || op == "mad") {
    operands = 3;
    h = !f    ? (sat ? choose_fma<double, false, true>() : choose_fma<double, false, false>())
        : ftz ? (sat ? choose_fma<float, true, true>() : choose_fma<float, true, false>())
              : (sat ? choose_fma<float, false, true>() : choose_fma<float, false, false>());
  } else if (op == "sqrt")
    h = one<Sqrt>(f, ftz, false);
  else if (op == "rcp")
    h = one<Rcp>(f, ftz, false);
  else if (op == "rsqrt")
    h = one<Rsqrt>(f, ftz, false);
  else if (op == "ex2")
    h = one<Ex2>(f, ftz, false);
  else if (op == "lg2")
    h = one<Lg2>(f, ftz, false);
  else if (op == "sin")
    h = one<Sin>(f, ftz, false);
  else if (op == "cos")
    h = one<Cos>(f, ftz, false);
  else if (op == "tanh")
    h = one<Tanh>(f, ftz, false);
  else if (op == "abs")
    h = one<Abs>(f, ftz, false);
  else if (op == "neg")
    h = one<Neg>(f, ftz, false);
  else
    return false;
  int mode = s.has("rz") ? FE_TOWARDZERO : s.has("rm") ? FE_DOWNWARD : s.has("rp") ? FE_UPWARD : FE_TONEAREST;
  Handler handler = mode == FE_TONEAREST ? h.handler : h.directed;
  uint32_t bytes = f ? 4 : 8;
  // min and max of three.
  if (operands == 2 && c.operands() == 4) c.unknown();
  c.want(static_cast<size_t>(operands) + 1, static_cast<size_t>(operands) + 1);
  uint32_t a = c.source(1, bytes), b = operands > 1 ? c.source(2, bytes) : kNone,
           third = operands > 2 ? c.source(3, bytes) : kNone, d = c.dest(0, bytes);
  Inst i = c.make(handler);
  i.d = d, i.a = a, i.b = b, i.c = third, i.mode = static_cast<uint32_t>(mode);
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
