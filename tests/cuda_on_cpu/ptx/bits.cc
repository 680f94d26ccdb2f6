// Bits: logic, shifts, fields, counts and permutations. Of predicates too.
#include <algorithm>

#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct CNot {
  template <class T>
  T operator()(T a) const {
    return a == 0;
  }
};

// Shifts beyond the width give 0, or the sign.
template <class T>
struct Shl {
  T operator()(T a, uint32_t n) const { return n >= 8 * sizeof(T) ? 0 : static_cast<T>(a << n); }
};
template <class T>
struct Shr {
  T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? static_cast<T>(a < 0 ? -1 : 0) : static_cast<T>(a >> n);
  }
};

struct PopC {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct Clz {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
template <class T, bool Amount>
struct BFind {
  uint32_t operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    U u = static_cast<U>(a < 0 ? ~a : a);
    if (u == 0) return UINT32_MAX;
    uint32_t zeros = static_cast<uint32_t>(std::countl_zero(u));
    return Amount ? zeros : static_cast<uint32_t>(8 * sizeof(T)) - 1 - zeros;
  }
};
struct BRev {
  template <class T>
  T operator()(T a) const {
    T r = 0;
    for (size_t k = 0; k < 8 * sizeof(T); k++) r |= static_cast<T>((a >> k & 1) << (8 * sizeof(T) - 1 - k));
    return r;
  }
};

template <class T>
struct Bfe {
  T operator()(T a, uint32_t from, uint32_t length) const {
    constexpr uint32_t width = 8 * sizeof(T);
    from &= 255, length &= 255;
    using U = std::make_unsigned_t<T>;
    if (length == 0) return 0;
    U fill = a < 0 ? ~U{0} : U{0};
    bool sign = std::is_signed_v<T> && (a >> std::min(from + length - 1, width - 1) & 1);
    U u = from >= width ? fill : static_cast<U>(a) >> from;
    if (length < width) u &= (U{1} << length) - 1;
    uint32_t have = from >= width ? 0 : std::min(length, width - from);
    if (sign && have < width) u |= have == 0 ? ~U{0} : ~((U{1} << have) - 1);
    if (!sign && from >= width) u = 0;
    return static_cast<T>(u);
  }
};
template <class T>
Flow bfi(Warp &w, const Inst &i, uint32_t lanes) {
  constexpr uint32_t width = 8 * sizeof(T);
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b);
  const uint32_t *c = w.row<uint32_t>(i.c), *e = w.row<uint32_t>(i.e);
  each_lane(lanes, [&](uint32_t l) {
    uint32_t from = c[l] & 255, length = e[l] & 255;
    if (length == 0 || from >= width) return void(d[l] = b[l]);
    T mask = length >= width ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
    mask = static_cast<T>(mask << from);
    d[l] = static_cast<T>((b[l] & ~mask) | ((a[l] << from) & mask));
  });
  return Flow::next;
}

struct BMsk {
  uint32_t operator()(uint32_t from, uint32_t length, bool wrap) const {
    if (wrap) from &= 31, length &= 31;
    if (from >= 32) return 0;
    uint32_t mask = length >= 32 ? UINT32_MAX : (1u << length) - 1;
    return mask << from;
  }
};
struct BMskClamp {
  uint32_t operator()(uint32_t a, uint32_t b) const { return BMsk{}(a, b, false); }
};
struct BMskWrap {
  uint32_t operator()(uint32_t a, uint32_t b) const { return BMsk{}(a, b, true); }
};
template <class T, bool Wrap>
struct SzExt {
  T operator()(T a, uint32_t n) const {
    if (Wrap) n &= 31;
    if (n >= 32) return a;
    if (n == 0) return 0;
    return static_cast<T>(static_cast<T>(static_cast<uint32_t>(a) << (32 - n)) >> (32 - n));
  }
};

template <bool Left, bool Wrap>
struct Funnel {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t n) const {
    n = Wrap ? n & 31 : std::min(n, 32u);
    uint64_t both = static_cast<uint64_t>(high) << 32 | low;
    return Left ? static_cast<uint32_t>(both << n >> 32) : static_cast<uint32_t>(both >> n);
  }
};

struct Prmt {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    uint64_t both = static_cast<uint64_t>(b) << 32 | a;
    uint32_t r = 0;
    for (int k = 0; k < 4; k++) {
      uint32_t choice = c >> (4 * k) & 15, byte = static_cast<uint32_t>(both >> (8 * (choice & 7))) & 255;
      if (choice & 8) byte = byte & 128 ? 255 : 0;
      r |= byte << (8 * k);
    }
    return r;
  }
};
Flow prmt_mode(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  const uint32_t *a = w.row<uint32_t>(i.a), *b = w.row<uint32_t>(i.b), *c = w.row<uint32_t>(i.c);
  // f4e, b4e, rc8, ecl, ecr, rc16, for c = 0 to 3
  static constexpr uint32_t choices[6][4] = {{0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
                                             {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
                                             {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
  each_lane(lanes, [&](uint32_t l) { d[l] = Prmt{}(a[l], b[l], choices[i.mode][c[l] & 3]); });
  return Flow::next;
}

template <class T>
Flow lop3(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a), *b = w.row<T>(i.b), *c = w.row<T>(i.c);
  uint32_t table = i.mode;
  each_lane(lanes, [&](uint32_t l) {
    T r = 0;
    for (uint32_t k = 0; k < 8; k++) {
      if (table >> k & 1) r |= (k & 4 ? a[l] : ~a[l]) & (k & 2 ? b[l] : ~b[l]) & (k & 1 ? c[l] : ~c[l]);
    }
    d[l] = r;
  });
  return Flow::next;
}

// Predicates: a word at a time.
template <class F>
Flow predicates(Warp &w, const Inst &i, uint32_t lanes) {
  set_lanes(w.predicate(i.d), F{}(w.predicate(i.a), w.predicate(i.b)), lanes);
  return Flow::next;
}
Flow not_predicate(Warp &w, const Inst &i, uint32_t lanes) {
  set_lanes(w.predicate(i.d), ~w.predicate(i.a), lanes);
  return Flow::next;
}

template <class F>
Handler logic(uint32_t bytes) {
  return bytes == 2   ? binary<uint16_t, uint16_t, uint16_t, F>
         : bytes == 4 ? binary<uint32_t, uint32_t, uint32_t, F>
                      : binary<uint64_t, uint64_t, uint64_t, F>;
}

bool select_logic(Coder &c, std::string_view op) {
  if (c.type() == "pred") {
    c.want(3, 3);
    uint32_t a = c.predicate(c.operand(1)), b = c.predicate(c.operand(2)), d = c.predicate_dest(c.operand(0));
    Inst i = c.make(op == "and" ? predicates<And> : op == "or" ? predicates<Or> : predicates<Xor>);
    i.d = d, i.a = a, i.b = b;
    c.push(i);
    return true;
  }
  uint32_t bytes = bytes_of_type(c.type());
  if (c.type()[0] != 'b' || bytes < 2 || bytes > 8) return false;
  return emit2(c,
               op == "and"  ? logic<And>(bytes)
               : op == "or" ? logic<Or>(bytes)
                            : logic<Xor>(bytes),
               bytes, bytes, bytes);
}

bool select_shift(Coder &c, std::string_view op) {
  std::string_view t = c.type();
  uint32_t bytes = bytes_of_type(t);
  Handler h = nullptr;
  if (op == "shl")
    h = bytes == 2   ? binary<uint16_t, uint16_t, uint32_t, Shl<uint16_t>>
        : bytes == 4 ? binary<uint32_t, uint32_t, uint32_t, Shl<uint32_t>>
        : bytes == 8 ? binary<uint64_t, uint64_t, uint32_t, Shl<uint64_t>>
                     : nullptr;
  else if (t[0] == 's')
    h = bytes == 2   ? binary<int16_t, int16_t, uint32_t, Shr<int16_t>>
        : bytes == 4 ? binary<int32_t, int32_t, uint32_t, Shr<int32_t>>
        : bytes == 8 ? binary<int64_t, int64_t, uint32_t, Shr<int64_t>>
                     : nullptr;
  else
    h = bytes == 2   ? binary<uint16_t, uint16_t, uint32_t, Shr<uint16_t>>
        : bytes == 4 ? binary<uint32_t, uint32_t, uint32_t, Shr<uint32_t>>
        : bytes == 8 ? binary<uint64_t, uint64_t, uint32_t, Shr<uint64_t>>
                     : nullptr;
  if (!h) return false;
  return emit2(c, h, bytes, bytes, 4);
}

bool select_field(Coder &c, std::string_view op) {
  std::string_view t = c.type();
  uint32_t bytes = bytes_of_type(t);
  if (bytes != 4 && bytes != 8) return false;
  if (op == "bfe") {
    Handler h = t == "u32"   ? ternary<uint32_t, uint32_t, uint32_t, uint32_t, Bfe<uint32_t>>
                : t == "s32" ? ternary<int32_t, int32_t, uint32_t, uint32_t, Bfe<int32_t>>
                : t == "u64" ? ternary<uint64_t, uint64_t, uint32_t, uint32_t, Bfe<uint64_t>>
                             : ternary<int64_t, int64_t, uint32_t, uint32_t, Bfe<int64_t>>;
    return emit3(c, h, bytes, bytes, 4, 4);
  }
  c.want(5, 5);
  uint32_t pa = c.source(1, bytes), pb = c.source(2, bytes), pc = c.source(3, 4), pe = c.source(4, 4),
           pd = c.dest(0, bytes);
  Inst i = c.make(bytes == 4 ? bfi<uint32_t> : bfi<uint64_t>);
  i.d = pd, i.a = pa, i.b = pb, i.c = pc, i.e = pe;
  c.push(i);
  return true;
}

bool select_permutation(Coder &c) {
  const Statement &s = c.statement();
  static constexpr std::string_view modes[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
  for (uint32_t m = 0; m < 6; m++) {
    if (!s.has(modes[m])) continue;
    c.want(4, 4);
    uint32_t pa = c.source(1, 4), pb = c.source(2, 4), pc = c.source(3, 4), pd = c.dest(0, 4);
    Inst i = c.make(prmt_mode);
    i.d = pd, i.a = pa, i.b = pb, i.c = pc, i.mode = m;
    c.push(i);
    return true;
  }
  return emit3(c, ternary<uint32_t, uint32_t, uint32_t, uint32_t, Prmt>, 4, 4, 4, 4);
}

bool select_lop3(Coder &c) {
  c.want(5, 5);
  if (c.statement().name != "lop3.b32" || c.operand(4).kind != Operand::Kind::integer) c.unknown();
  uint32_t pa = c.source(1, 4), pb = c.source(2, 4), pc = c.source(3, 4), pd = c.dest(0, 4);
  Inst i = c.make(lop3<uint32_t>);
  i.d = pd, i.a = pa, i.b = pb, i.c = pc, i.mode = static_cast<uint32_t>(c.operand(4).value);
  c.push(i);
  return true;
}

}  // namespace

bool select_bits(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0], t = c.type();
  uint32_t bytes = bytes_of_type(t);
  if (op == "and" || op == "or" || op == "xor") return select_logic(c, op);
  if (op == "not" && t == "pred") {
    c.want(2, 2);
    uint32_t a = c.predicate(c.operand(1)), d = c.predicate_dest(c.operand(0));
    Inst i = c.make(not_predicate);
    i.d = d, i.a = a;
    c.push(i);
    return true;
  }
  if (op == "not")
    return emit1(c,
                 bytes == 2   ? unary<uint16_t, uint16_t, Not>
                 : bytes == 4 ? unary<uint32_t, uint32_t, Not>
                              : unary<uint64_t, uint64_t, Not>,
                 bytes, bytes);
  if (op == "cnot")
    return emit1(c,
                 bytes == 2   ? unary<uint16_t, uint16_t, CNot>
                 : bytes == 4 ? unary<uint32_t, uint32_t, CNot>
                              : unary<uint64_t, uint64_t, CNot>,
                 bytes, bytes);
  if (op == "shl" || op == "shr") return select_shift(c, op);
  if (op == "popc")
    return emit1(c, bytes == 4 ? unary<uint32_t, uint32_t, PopC> : unary<uint32_t, uint64_t, PopC>, 4, bytes);
  if (op == "clz")
    return emit1(c, bytes == 4 ? unary<uint32_t, uint32_t, Clz> : unary<uint32_t, uint64_t, Clz>, 4, bytes);
  if (op == "brev")
    return emit1(c, bytes == 4 ? unary<uint32_t, uint32_t, BRev> : unary<uint64_t, uint64_t, BRev>, bytes, bytes);
  if (op == "bfind") {
    bool amount = s.has("shiftamt");
    Handler h = t == "u32"   ? (amount ? unary<uint32_t, uint32_t, BFind<uint32_t, true>>
                                       : unary<uint32_t, uint32_t, BFind<uint32_t, false>>)
                : t == "s32" ? (amount ? unary<uint32_t, int32_t, BFind<int32_t, true>>
                                       : unary<uint32_t, int32_t, BFind<int32_t, false>>)
                : t == "u64" ? (amount ? unary<uint32_t, uint64_t, BFind<uint64_t, true>>
                                       : unary<uint32_t, uint64_t, BFind<uint64_t, false>>)
                             : (amount ? unary<uint32_t, int64_t, BFind<int64_t, true>>
                                       : unary<uint32_t, int64_t, BFind<int64_t, false>>);
    return emit1(c, h, 4, bytes);
  }
  if (op == "bfe" || op == "bfi") return select_field(c, op);
  if (op == "prmt") return select_permutation(c);
  if (op == "lop3") return select_lop3(c);
  if (op == "bmsk")
    return emit2(c,
                 s.has("wrap") ? binary<uint32_t, uint32_t, uint32_t, BMskWrap>
                               : binary<uint32_t, uint32_t, uint32_t, BMskClamp>,
                 4, 4, 4);
  if (op == "szext") {
    bool wrap = s.has("wrap");
    return emit2(c,
                 t == "u32" ? (wrap ? binary<uint32_t, uint32_t, uint32_t, SzExt<uint32_t, true>>
                                    : binary<uint32_t, uint32_t, uint32_t, SzExt<uint32_t, false>>)
                            : (wrap ? binary<int32_t, int32_t, uint32_t, SzExt<int32_t, true>>
                                    : binary<int32_t, int32_t, uint32_t, SzExt<int32_t, false>>),
                 4, 4, 4);
  }
  if (op == "shf") {
    bool wrap = s.has("wrap"), left = s.has("l");
    using u = uint32_t;
    return emit3(c,
                 left ? (wrap ? ternary<u, u, u, u, Funnel<true, true>> : ternary<u, u, u, u, Funnel<true, false>>)
                      : (wrap ? ternary<u, u, u, u, Funnel<false, true>> : ternary<u, u, u, u, Funnel<false, false>>),
                 4, 4, 4, 4);
  }
  return false;
}

}  // namespace cuda_on_cpu
