// Whole numbers: sums, products, quotients, carries, and what is made of bytes.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

template <class T>
struct Wide;
template <>
struct Wide<uint16_t> {
  using type = uint32_t;
};
template <>
struct Wide<int16_t> {
  using type = int32_t;
};
template <>
struct Wide<uint32_t> {
  using type = uint64_t;
};
template <>
struct Wide<int32_t> {
  using type = int64_t;
};
template <>
struct Wide<uint64_t> {
  using type = unsigned __int128;
};
template <>
struct Wide<int64_t> {
  using type = __int128;
};

template <class T>
using U = std::make_unsigned_t<T>;

// 16-bit numbers would become signed int in a product; 64 bits never overflow them.
template <class T>
T wrap_mul(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class T>
T high(T a, T b) {
  using W = typename Wide<T>::type;
  return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (8 * sizeof(T)));
}

template <class T>
struct Add {
  T operator()(T a, T b) const { return static_cast<T>(static_cast<U<T>>(a) + static_cast<U<T>>(b)); }
};
template <class T>
struct Sub {
  T operator()(T a, T b) const { return static_cast<T>(static_cast<U<T>>(a) - static_cast<U<T>>(b)); }
};
template <class T>
struct AddSat {
  T operator()(T a, T b) const {
    T r;
    return __builtin_add_overflow(a, b, &r) ? (a < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max())
                                            : r;
  }
};
template <class T>
struct SubSat {
  T operator()(T a, T b) const {
    T r;
    return __builtin_sub_overflow(a, b, &r) ? (a < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max())
                                            : r;
  }
};
template <class T>
struct MulLo {
  T operator()(T a, T b) const { return wrap_mul(a, b); }
};
template <class T>
struct MulHi {
  T operator()(T a, T b) const { return high(a, b); }
};
template <class T>
struct MulWide {
  auto operator()(T a, T b) const {
    using W = typename Wide<T>::type;
    return static_cast<W>(static_cast<W>(a) * static_cast<W>(b));
  }
};
template <class T>
struct MadLo {
  T operator()(T a, T b, T c) const { return Add<T>{}(wrap_mul(a, b), c); }
};
template <class T>
struct MadHi {
  T operator()(T a, T b, T c) const { return Add<T>{}(high(a, b), c); }
};
template <class T>
struct MadHiSat {
  T operator()(T a, T b, T c) const { return AddSat<T>{}(high(a, b), c); }
};
template <class T>
struct MadWide {
  using W = typename Wide<T>::type;
  W operator()(T a, T b, W c) const { return Add<W>{}(MulWide<T>{}(a, b), c); }
};
// A division by zero is anything; the hardware gives all ones.
template <class T>
struct Div {
  T operator()(T a, T b) const {
    return b == 0                                           ? static_cast<T>(-1)
           : std::is_signed_v<T> && b == static_cast<T>(-1) ? Sub<T>{}(0, a)
                                                            : static_cast<T>(a / b);
  }
};
template <class T>
struct Rem {
  T operator()(T a, T b) const {
    return b == 0 ? a : std::is_signed_v<T> && b == static_cast<T>(-1) ? 0 : static_cast<T>(a % b);
  }
};
template <class T>
struct Min {
  T operator()(T a, T b) const { return a < b ? a : b; }
};
template <class T>
struct Max {
  T operator()(T a, T b) const { return a > b ? a : b; }
};
template <class T>
struct MinRelu {
  T operator()(T a, T b) const { return std::max<T>(0, std::min(a, b)); }
};
template <class T>
struct MaxRelu {
  T operator()(T a, T b) const { return std::max<T>(0, std::max(a, b)); }
};
template <class T>
struct Abs {
  T operator()(T a) const { return a < 0 ? Sub<T>{}(0, a) : a; }
};
template <class T>
struct Neg {
  T operator()(T a) const { return Sub<T>{}(0, a); }
};
template <class T>
struct Sad {
  T operator()(T a, T b, T c) const { return Add<T>{}(c, a > b ? Sub<T>{}(a, b) : Sub<T>{}(b, a)); }
};
template <class T, bool Hi>
struct Mul24 {
  T operator()(T a, T b) const {
    auto low = [](T x) { return static_cast<int64_t>(static_cast<T>(static_cast<uint32_t>(x) << 8) >> 8); };
    int64_t p = low(a) * low(b);
    return static_cast<T>(Hi ? p >> 16 : p);
  }
};
template <class T, bool Hi>
struct Mad24 {
  T operator()(T a, T b, T c) const { return Add<T>{}(Mul24<T, Hi>{}(a, b), c); }
};

// Two 16-bit numbers in a word.
template <class T, class F>
struct Halves {
  uint32_t operator()(uint32_t a, uint32_t b) const {
    auto one = [](uint32_t x, uint32_t y) {
      return static_cast<uint32_t>(static_cast<uint16_t>(F{}(static_cast<T>(x), static_cast<T>(y))));
    };
    return one(a & 0xffff, b & 0xffff) | one(a >> 16, b >> 16) << 16;
  }
};

template <class T, template <class> class F>
constexpr Handler two = binary<T, T, T, F<T>>;

// Calls f with a value of the type that `name` says; false if it is no integer of 16, 32 or 64 bits.
template <class G>
bool with_integer(std::string_view name, G g) {
  if (name == "u16" || name == "b16")
    g(uint16_t{});
  else if (name == "s16")
    g(int16_t{});
  else if (name == "u32" || name == "b32")
    g(uint32_t{});
  else if (name == "s32")
    g(int32_t{});
  else if (name == "u64" || name == "b64")
    g(uint64_t{});
  else if (name == "s64")
    g(int64_t{});
  else
    return false;
  return true;
}

// --- carries: a bit for each lane, in a predicate of the program's own

// mode: 1 takes the carry in, 2 gives one out.
template <class T, bool Subtract>
Flow carry_sum(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b);
  uint32_t in = i.mode & 1 ? w.predicate(i.e) : 0, out = 0;
  each_lane(lanes, [&](uint32_t l) {
    unsigned __int128 c = in >> l & 1;
    unsigned __int128 r =
        Subtract ? static_cast<unsigned __int128>(a[l]) - b[l] - c : static_cast<unsigned __int128>(a[l]) + b[l] + c;
    d[l] = static_cast<T>(r);
    out |= (static_cast<uint32_t>(r >> (8 * sizeof(T))) & 1) << l;
  });
  if (i.mode & 2) set_lanes(w.predicate(i.e), out, lanes);
  return Flow::next;
}

template <class T, bool Hi>
Flow carry_mad(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b), *c = w.row<T>(i.c);
  uint32_t in = i.mode & 1 ? w.predicate(i.e) : 0, out = 0;
  each_lane(lanes, [&](uint32_t l) {
    U<T> p = static_cast<U<T>>(Hi ? high(a[l], b[l]) : wrap_mul(a[l], b[l]));
    unsigned __int128 r = static_cast<unsigned __int128>(p) + static_cast<U<T>>(c[l]) + (in >> l & 1);
    d[l] = static_cast<T>(r);
    out |= (static_cast<uint32_t>(r >> (8 * sizeof(T))) & 1) << l;
  });
  if (i.mode & 2) set_lanes(w.predicate(i.e), out, lanes);
  return Flow::next;
}

bool select_carry(Coder &c, std::string_view op) {
  const Statement &s = c.statement();
  bool takes = op == "addc" || op == "subc" || op == "madc";
  uint32_t mode = (takes ? 1 : 0) | (s.has("cc") ? 2 : 0);
  uint32_t bytes = bytes_of_type(c.type());
  Handler h = nullptr;
  bool is_mad = op == "mad" || op == "madc";
  if (!is_mad) {
    bool subtract = op == "sub" || op == "subc";
    if (bytes == 4) h = subtract ? carry_sum<uint32_t, true> : carry_sum<uint32_t, false>;
    if (bytes == 8) h = subtract ? carry_sum<uint64_t, true> : carry_sum<uint64_t, false>;
  } else {
    with_integer(c.type(), [&](auto t) {
      using T = decltype(t);
      if constexpr (sizeof(T) >= 4) h = s.has("hi") ? carry_mad<T, true> : carry_mad<T, false>;
    });
  }
  if (!h) c.unknown();
  Inst i;
  uint32_t a = c.source(1, bytes), b = c.source(2, bytes), third = is_mad ? c.source(3, bytes) : kNone,
           d = c.dest(0, bytes);
  c.want(is_mad ? 4 : 3, is_mad ? 4 : 3);
  i = c.make(h);
  i.d = d, i.a = a, i.b = b, i.c = third, i.e = c.carry(), i.mode = mode;
  c.push(i);
  return true;
}

// --- products of bytes

template <class A, class B>
Flow dp4a(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  const uint32_t *a = w.row<uint32_t>(i.a), *b = w.row<uint32_t>(i.b), *c = w.row<uint32_t>(i.c);
  each_lane(lanes, [&](uint32_t l) {
    uint32_t sum = c[l];
    for (int k = 0; k < 32; k += 8)
      sum += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a[l] >> k)) *
                                   static_cast<int32_t>(static_cast<B>(b[l] >> k)));
    d[l] = sum;
  });
  return Flow::next;
}

template <class A, class B, bool Hi>
Flow dp2a(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  const uint32_t *a = w.row<uint32_t>(i.a), *b = w.row<uint32_t>(i.b), *c = w.row<uint32_t>(i.c);
  using A16 = std::conditional_t<std::is_signed_v<A>, int16_t, uint16_t>;
  each_lane(lanes, [&](uint32_t l) {
    uint32_t sum = c[l], bytes = Hi ? b[l] >> 16 : b[l];
    for (int k = 0; k < 2; k++)
      sum += static_cast<uint32_t>(static_cast<A16>(a[l] >> (16 * k))) *
             static_cast<uint32_t>(static_cast<B>(bytes >> (8 * k)));
    d[l] = sum;
  });
  return Flow::next;
}

bool select_products(Coder &c, std::string_view op) {
  const auto &p = c.statement().parts;
  bool a = p[p.size() - 2] == "s32", b = p.back() == "s32";
  if (op == "dp4a") {
    return emit3(c,
                 a   ? (b ? dp4a<int8_t, int8_t> : dp4a<int8_t, uint8_t>)
                 : b ? dp4a<uint8_t, int8_t>
                     : dp4a<uint8_t, uint8_t>,
                 4, 4, 4, 4);
  }
  bool hi = c.statement().has("hi");
  Handler h = a    ? (b    ? (hi ? dp2a<int8_t, int8_t, true> : dp2a<int8_t, int8_t, false>)
                      : hi ? dp2a<int8_t, uint8_t, true>
                           : dp2a<int8_t, uint8_t, false>)
              : b  ? (hi ? dp2a<uint8_t, int8_t, true> : dp2a<uint8_t, int8_t, false>)
              : hi ? dp2a<uint8_t, uint8_t, true>
                   : dp2a<uint8_t, uint8_t, false>;
  return emit3(c, h, 4, 4, 4, 4);
}

struct AbsDiff4Add {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    for (int k = 0; k < 32; k += 8) {
      uint32_t x = a >> k & 255, y = b >> k & 255;
      c += x > y ? x - y : y - x;
    }
    return c;
  }
};

bool select_sum(Coder &c, std::string_view op) {
  const Statement &s = c.statement();
  std::string_view t = c.type();
  bool is_sub = op == "sub";
  if (t == "u16x2" || t == "s16x2") {
    Handler h = op == "add"   ? binary<uint32_t, uint32_t, uint32_t, Halves<uint16_t, Add<uint16_t>>>
                : op == "sub" ? binary<uint32_t, uint32_t, uint32_t, Halves<uint16_t, Sub<uint16_t>>>
                : op == "min" ? (t == "u16x2" ? binary<uint32_t, uint32_t, uint32_t, Halves<uint16_t, Min<uint16_t>>>
                                              : binary<uint32_t, uint32_t, uint32_t, Halves<int16_t, Min<int16_t>>>)
                              : (t == "u16x2" ? binary<uint32_t, uint32_t, uint32_t, Halves<uint16_t, Max<uint16_t>>>
                                              : binary<uint32_t, uint32_t, uint32_t, Halves<int16_t, Max<int16_t>>>);
    if (s.has("relu")) c.unknown();
    return emit2(c, h, 4, 4, 4);
  }
  Handler h = nullptr;
  uint32_t bytes = bytes_of_type(t);
  if (s.has("sat") && t == "s32") {
    h = is_sub ? two<int32_t, SubSat> : two<int32_t, AddSat>;
  } else {
    bool known = with_integer(t, [&](auto v) {
      using T = decltype(v);
      if (op == "add")
        h = two<U<T>, Add>;
      else if (op == "sub")
        h = two<U<T>, Sub>;
      else if (op == "min")
        h = two<T, Min>;
      else if (op == "max")
        h = two<T, Max>;
      else if (op == "div")
        h = two<T, Div>;
      else if (op == "rem")
        h = two<T, Rem>;
      if constexpr (std::is_same_v<T, int32_t>) {
        if (s.has("relu")) h = op == "min" ? two<T, MinRelu> : two<T, MaxRelu>;
      }
    });
    if (!known) return false;
  }
  return emit2(c, h, bytes, bytes, bytes);
}

bool select_product(Coder &c, std::string_view op) {
  const Statement &s = c.statement();
  Handler h = nullptr;
  uint32_t bytes = bytes_of_type(c.type()), out = bytes;
  bool is_mul = op == "mul", is_wide = s.has("wide"), is_hi = s.has("hi");
  if (!is_wide && !is_hi && !s.has("lo")) return false;
  if (s.has("sat")) {
    if (is_mul || !is_hi || c.type() != "s32") c.unknown();
    return emit3(c, ternary<int32_t, int32_t, int32_t, int32_t, MadHiSat<int32_t>>, 4, 4, 4, 4);
  }
  bool known = with_integer(c.type(), [&](auto v) {
    using T = decltype(v);
    if constexpr (sizeof(T) < 8) {
      using W = typename Wide<T>::type;
      if (is_wide) h = is_mul ? binary<W, T, T, MulWide<T>> : ternary<W, T, T, W, MadWide<T>>, out = 2 * bytes;
    }
    if (is_hi) h = is_mul ? two<T, MulHi> : ternary<T, T, T, T, MadHi<T>>;
    if (!is_wide && !is_hi) h = is_mul ? two<T, MulLo> : ternary<T, T, T, T, MadLo<T>>;
  });
  if (!known || !h) return false;
  return is_mul ? emit2(c, h, out, bytes, bytes) : emit3(c, h, out, bytes, bytes, out);
}

}  // namespace

bool select_integer(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "addc" || op == "subc" || op == "madc" || ((op == "add" || op == "sub" || op == "mad") && s.has("cc")))
    return select_carry(c, op);
  if (op == "add" || op == "sub" || op == "min" || op == "max" || op == "div" || op == "rem") return select_sum(c, op);
  if (op == "mul" || op == "mad") return select_product(c, op);
  if (op == "mul24" || op == "mad24") {
    bool hi = s.has("hi"), is_signed = c.type() == "s32";
    using u = uint32_t;
    using i = int32_t;
    if (op == "mul24")
      return emit2(c,
                   hi          ? (is_signed ? binary<i, i, i, Mul24<i, true>> : binary<u, u, u, Mul24<u, true>>)
                   : is_signed ? binary<i, i, i, Mul24<i, false>>
                               : binary<u, u, u, Mul24<u, false>>,
                   4, 4, 4);
    return emit3(c,
                 hi          ? (is_signed ? ternary<i, i, i, i, Mad24<i, true>> : ternary<u, u, u, u, Mad24<u, true>>)
                 : is_signed ? ternary<i, i, i, i, Mad24<i, false>>
                             : ternary<u, u, u, u, Mad24<u, false>>,
                 4, 4, 4, 4);
  }
  if (op == "abs" || op == "neg" || op == "sad") {
    Handler h = nullptr;
    uint32_t bytes = bytes_of_type(c.type());
    bool known = with_integer(c.type(), [&](auto v) {
      using T = decltype(v);
      h = op == "abs" ? unary<T, T, Abs<T>> : op == "neg" ? unary<T, T, Neg<T>> : ternary<T, T, T, T, Sad<T>>;
    });
    if (!known) return false;
    return op == "sad" ? emit3(c, h, bytes, bytes, bytes, bytes) : emit1(c, h, bytes, bytes);
  }
  if (op == "dp4a" || op == "dp2a") return select_products(c, op);
  if (s.name == "vabsdiff4.u32.u32.u32.add")
    return emit3(c, ternary<uint32_t, uint32_t, uint32_t, uint32_t, AbsDiff4Add>, 4, 4, 4, 4);
  return false;
}

}  // namespace cuda_on_cpu
