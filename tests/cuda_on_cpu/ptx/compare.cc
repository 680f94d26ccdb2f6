// Comparisons, and choices that follow from them.
#include <cmath>

#include "ptx/half.h"
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

float flushed(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  return (bits & 0x7f800000) == 0 ? std::bit_cast<float>(bits & 0x80000000) : x;
}
// Half-precision numbers compare as the floats that they are.
struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};
struct Ftz {
  float f;
};

template <class T>
auto value(T x) {
  if constexpr (std::is_same_v<T, F16>)
    return f16_to_float(x.bits);
  else if constexpr (std::is_same_v<T, BF16>)
    return bf16_to_float(x.bits);
  else if constexpr (std::is_same_v<T, Ftz>)
    return flushed(x.f);
  else
    return x;
}

template <class T>
bool unordered(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) || std::isnan(b);
  else
    return false;
}

struct Eq {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct Ne {
  template <class T>
  bool operator()(T a, T b) const {
    return a != b && !unordered(a, b);
  }
};
struct Lt {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct Le {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Gt {
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct Ge {
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
struct Equ {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b || unordered(a, b);
  }
};
struct Neu {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a == b);
  }
};
struct Ltu {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a >= b);
  }
};
struct Leu {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a > b);
  }
};
struct Gtu {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a <= b);
  }
};
struct Geu {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a < b);
  }
};
struct Num {
  template <class T>
  bool operator()(T a, T b) const {
    return !unordered(a, b);
  }
};
struct Nan {
  template <class T>
  bool operator()(T a, T b) const {
    return unordered(a, b);
  }
};

enum Combine : uint32_t { kPlain, kAnd, kOr, kXor };

inline uint32_t combined(uint32_t compared, uint32_t other, uint32_t how) {
  return how == kAnd ? compared & other : how == kOr ? compared | other : how == kXor ? compared ^ other : compared;
}

// mode: how it is combined with the predicate c. d is the result, e (if any) that of the comparison's opposite.
template <class T, class F>
Flow setp(Warp &w, const Inst &i, uint32_t lanes) {
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b);
  uint32_t r = 0;
  if (lanes == UINT32_MAX) {
    // Bytes first: that loop the compiler can make wide.
    uint8_t yes[32];
#pragma GCC ivdep
    for (uint32_t l = 0; l < 32; l++) yes[l] = F{}(value(a[l]), value(b[l]));
    for (uint32_t k = 0; k < 4; k++) {
      uint64_t eight;
      memcpy(&eight, yes + 8 * k, 8);
      r |= static_cast<uint32_t>(eight * 0x0102040810204080ull >> 56) << (8 * k);
    }
  } else {
    each_lane(lanes, [&](uint32_t l) { r |= static_cast<uint32_t>(F{}(value(a[l]), value(b[l]))) << l; });
  }
  uint32_t other = i.c == kNone ? 0 : w.predicate(i.c);
  uint32_t opposite = combined(~r, other, i.mode);
  set_lanes(w.predicate(i.d), combined(r, other, i.mode), lanes);
  if (i.e != kNone) set_lanes(w.predicate(i.e), opposite, lanes);
  return Flow::next;
}

template <class T>
Handler comparison_of(std::string_view name) {
  if (name == "eq") return setp<T, Eq>;
  if (name == "ne") return setp<T, Ne>;
  if (name == "lt" || name == "lo") return setp<T, Lt>;
  if (name == "le" || name == "ls") return setp<T, Le>;
  if (name == "gt" || name == "hi") return setp<T, Gt>;
  if (name == "ge" || name == "hs") return setp<T, Ge>;
  if (name == "equ") return setp<T, Equ>;
  if (name == "neu") return setp<T, Neu>;
  if (name == "ltu") return setp<T, Ltu>;
  if (name == "leu") return setp<T, Leu>;
  if (name == "gtu") return setp<T, Gtu>;
  if (name == "geu") return setp<T, Geu>;
  if (name == "num") return setp<T, Num>;
  if (name == "nan") return setp<T, Nan>;
  return nullptr;
}

Handler comparison(std::string_view name, std::string_view type, bool ftz) {
  if (type == "u16" || type == "b16") return comparison_of<uint16_t>(name);
  if (type == "s16") return comparison_of<int16_t>(name);
  if (type == "u32" || type == "b32") return comparison_of<uint32_t>(name);
  if (type == "s32") return comparison_of<int32_t>(name);
  if (type == "u64" || type == "b64") return comparison_of<uint64_t>(name);
  if (type == "s64") return comparison_of<int64_t>(name);
  if (type == "f32") return ftz ? comparison_of<Ftz>(name) : comparison_of<float>(name);
  if (type == "f64") return comparison_of<double>(name);
  if (type == "f16") return comparison_of<F16>(name);
  if (type == "bf16") return comparison_of<BF16>(name);
  return nullptr;
}

// setp and set: the comparison into a predicate, for set into one of the program's own.
uint32_t compare(Coder &c, std::string_view type, uint32_t d, uint32_t e) {
  const Statement &s = c.statement();
  Handler h = comparison(s.parts[1], type, s.has("ftz"));
  if (!h) c.unknown();
  uint32_t mode = s.has("and") ? kAnd : s.has("or") ? kOr : s.has("xor") ? kXor : kPlain;
  c.want(mode == kPlain ? 3 : 4, mode == kPlain ? 3 : 4);
  uint32_t bytes = bytes_of_type(type);
  uint32_t a = c.source(1, bytes), b = c.source(2, bytes), p = mode == kPlain ? kNone : c.predicate(c.operand(3));
  Inst i = c.make(h);
  i.d = d, i.e = e, i.a = a, i.b = b, i.c = p, i.mode = mode;
  c.push(i);
  return d;
}

Flow set_word(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d), p = w.predicate(i.a);
  each_lane(lanes, [&](uint32_t l) { d[l] = p >> l & 1 ? i.mode : 0; });
  return Flow::next;
}

template <class T>
Flow selp(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b);
  uint32_t p = w.predicate(i.c);
  each_lane(lanes, [&](uint32_t l) {
    T x = a[l], y = b[l];
    d[l] = (p >> l & 1) ? x : y;
  });
  return Flow::next;
}

template <class T, class C>
struct Slct {
  T operator()(T a, T b, C c) const { return c >= 0 ? a : b; }
};

template <class T>
Flow testp(Warp &w, const Inst &i, uint32_t lanes) {
  const T *a = w.row<T>(i.a);
  uint32_t r = 0;
  each_lane(lanes, [&](uint32_t l) {
    T x = a[l];
    bool yes = i.mode == 0   ? std::isfinite(x)
               : i.mode == 1 ? std::isinf(x)
               : i.mode == 2 ? !std::isnan(x)
               : i.mode == 3 ? std::isnan(x)
               : i.mode == 4 ? std::isnormal(x)
                             : std::fpclassify(x) == FP_SUBNORMAL;
    r |= static_cast<uint32_t>(yes) << l;
  });
  set_lanes(w.predicate(i.d), r, lanes);
  return Flow::next;
}

}  // namespace

bool select_compare(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0], t = c.type();
  uint32_t bytes = bytes_of_type(t);
  if (op == "setp") {
    if (c.operands() == 0 || s.parts.size() < 3) c.unknown();
    const Operand &o = c.operand(0);
    uint32_t e = kNone;
    if (!o.second.empty() && o.second != "_") {
      Operand second;
      second.kind = Operand::Kind::name;
      second.name = o.second;
      e = c.predicate_dest(second);
    }
    compare(c, t, c.predicate_dest(o), e);
    return true;
  }
  if (op == "set") {
    if (s.parts.size() < 4) c.unknown();
    std::string_view to = s.parts[s.parts.size() - 2];
    if (bytes_of_type(to) != 4) c.unknown();
    uint32_t p = compare(c, t, c.temporary(4), kNone);
    uint32_t d = c.dest(0, 4);
    Inst i = c.make(set_word);
    i.d = d, i.a = p, i.mode = to == "f32" ? 0x3f800000 : UINT32_MAX;
    c.push(i);
    return true;
  }
  if (op == "selp") {
    c.want(4, 4);
    uint32_t a = c.source(1, bytes), b = c.source(2, bytes), p = c.predicate(c.operand(3)), d = c.dest(0, bytes);
    Inst i = c.make(bytes == 2 ? selp<uint16_t> : bytes == 4 ? selp<uint32_t> : selp<uint64_t>);
    i.d = d, i.a = a, i.b = b, i.c = p;
    c.push(i);
    return true;
  }
  if (op == "slct") {
    bool is_float = t == "f32";
    std::string_view of = s.parts[s.parts.size() - 2];
    bytes = bytes_of_type(of);
    Handler h = bytes == 2   ? (is_float ? ternary<uint16_t, uint16_t, uint16_t, float, Slct<uint16_t, float>>
                                         : ternary<uint16_t, uint16_t, uint16_t, int32_t, Slct<uint16_t, int32_t>>)
                : bytes == 4 ? (is_float ? ternary<uint32_t, uint32_t, uint32_t, float, Slct<uint32_t, float>>
                                         : ternary<uint32_t, uint32_t, uint32_t, int32_t, Slct<uint32_t, int32_t>>)
                             : (is_float ? ternary<uint64_t, uint64_t, uint64_t, float, Slct<uint64_t, float>>
                                         : ternary<uint64_t, uint64_t, uint64_t, int32_t, Slct<uint64_t, int32_t>>);
    return emit3(c, h, bytes, bytes, bytes, 4);
  }
  if (op == "testp") {
    static constexpr std::string_view kinds[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
    c.want(2, 2);
    uint32_t a = c.source(1, bytes), d = c.predicate_dest(c.operand(0));
    Inst i = c.make(t == "f32" ? testp<float> : testp<double>);
    i.d = d, i.a = a, i.mode = 6;
    for (uint32_t k = 0; k < 6; k++) {
      if (s.parts[1] == kinds[k]) i.mode = k;
    }
    if (i.mode == 6) c.unknown();
    c.push(i);
    return true;
  }
  return false;
}

}  // namespace cuda_on_cpu
