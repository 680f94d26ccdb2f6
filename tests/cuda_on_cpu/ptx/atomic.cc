// atom and red: real atomic instructions on host memory, lane after lane.
#include <cmath>

#include "ptx/half.h"
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b, T) const {
    return static_cast<T>(a + b);
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b, T) const {
    return b < a ? b : a;
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b, T) const {
    return b > a ? b : a;
  }
};
struct And {
  template <class T>
  T operator()(T a, T b, T) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b, T) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b, T) const {
    return a ^ b;
  }
};
struct Exch {
  template <class T>
  T operator()(T, T b, T) const {
    return b;
  }
};
struct Cas {
  template <class T>
  T operator()(T a, T b, T c) const {
    return a == b ? c : a;
  }
};
struct Inc {
  template <class T>
  T operator()(T a, T b, T) const {
    return a >= b ? 0 : a + 1;
  }
};
struct Dec {
  template <class T>
  T operator()(T a, T b, T) const {
    return a == 0 || a > b ? b : a - 1;
  }
};

template <class T>
struct AddFloat {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  Bits operator()(Bits a, Bits b, Bits) const { return std::bit_cast<Bits>(std::bit_cast<T>(a) + std::bit_cast<T>(b)); }
};
template <bool IsB>
struct AddHalf {
  static uint16_t one(uint16_t a, uint16_t b) {
    return IsB ? float_to_bf16(odd_fma(bf16_to_float(a), 1, bf16_to_float(b)))
               : float_to_f16(odd_fma(f16_to_float(a), 1, f16_to_float(b)));
  }
  uint16_t operator()(uint16_t a, uint16_t b, uint16_t) const { return one(a, b); }
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t) const {
    return one(static_cast<uint16_t>(a), static_cast<uint16_t>(b)) |
           static_cast<uint32_t>(one(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16))) << 16;
  }
};

// mode: the space. list: what is added and so on, then where the old values go (as many again), or nothing (count
// elements, e != kNone: with results). c: the third operand.
template <class T, class F>
Flow atomic(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *base = w.row<uint64_t>(i.a);
  const T *third = i.c == kNone ? nullptr : w.row<T>(i.c);
  w.poll(base[std::countr_zero(lanes)] + static_cast<uint64_t>(i.imm));
  bool changed = false;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
    uint64_t address = base[l] + static_cast<uint64_t>(i.imm);
    Space space = static_cast<Space>(i.mode);
    if (space == Space::shared) address &= 0xffffffff;
    // Vectors are aligned as a whole, but each element is an atomic of its own.
    uint8_t *p = resolve_slowly(w, i, space, address, static_cast<uint32_t>(sizeof(T)) * i.count, l);
    if (!p) return Flow::fault;
    for (uint32_t k = 0; k < i.count; k++) {
      T *at = reinterpret_cast<T *>(p) + k, operand = w.row<T>(i.list[k])[l],
        old = __atomic_load_n(at, __ATOMIC_RELAXED), next;
      do next = F{}(old, operand, third ? third[l] : T{0});
      while (!__atomic_compare_exchange_n(at, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
      changed |= next != old;
      if (i.e != kNone) w.row<T>(i.list[i.count + k])[l] = old;
    }
  }
  // One that leaves memory as it was is looking only.
  if (changed) w.progressed = true;
  return Flow::next;
}

template <class F>
Handler unsigned_of(uint32_t bytes) {
  return bytes == 4   ? atomic<uint32_t, F>
         : bytes == 8 ? atomic<uint64_t, F>
         : bytes == 2 ? atomic<uint16_t, F>
                      : nullptr;
}

Handler handler_of(std::string_view op, std::string_view t) {
  uint32_t bytes = bytes_of_type(t);
  if (op == "add") {
    if (t == "f32") return atomic<uint32_t, AddFloat<float>>;
    if (t == "f64") return atomic<uint64_t, AddFloat<double>>;
    if (t == "f16") return atomic<uint16_t, AddHalf<false>>;
    if (t == "bf16") return atomic<uint16_t, AddHalf<true>>;
    if (t == "f16x2") return atomic<uint32_t, AddHalf<false>>;
    if (t == "bf16x2") return atomic<uint32_t, AddHalf<true>>;
    return bytes >= 4 ? unsigned_of<Add>(bytes) : nullptr;
  }
  if (t[0] == 'f') return nullptr;
  if (op == "min")
    return t == "s32"                  ? atomic<int32_t, Min>
           : t == "s64"                ? atomic<int64_t, Min>
           : t[0] == 'u' && bytes >= 4 ? unsigned_of<Min>(bytes)
                                       : nullptr;
  if (op == "max")
    return t == "s32"                  ? atomic<int32_t, Max>
           : t == "s64"                ? atomic<int64_t, Max>
           : t[0] == 'u' && bytes >= 4 ? unsigned_of<Max>(bytes)
                                       : nullptr;
  if (op == "and") return unsigned_of<And>(bytes);
  if (op == "or") return unsigned_of<Or>(bytes);
  if (op == "xor") return unsigned_of<Xor>(bytes);
  if (op == "exch") return unsigned_of<Exch>(bytes);
  if (op == "cas") return unsigned_of<Cas>(bytes);
  if (op == "inc" && t == "u32") return atomic<uint32_t, Inc>;
  if (op == "dec" && t == "u32") return atomic<uint32_t, Dec>;
  return nullptr;
}

}  // namespace

bool select_atomic(Coder &c) {
  const Statement &s = c.statement();
  bool is_atom = s.parts[0] == "atom";
  if (!is_atom && s.parts[0] != "red") return false;
  if (s.has("async")) c.unknown();
  static constexpr std::string_view ops[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
  std::string_view op;
  for (std::string_view o : ops) {
    if (s.has(o)) op = o;
  }
  std::string_view t = c.type();
  if (t == "noftz" && s.parts.size() > 2) t = s.parts[s.parts.size() - 2];
  Handler h = op.empty() ? nullptr : handler_of(op, t);
  if (!h) c.unknown();
  uint32_t bytes = bytes_of_type(t), elements = s.has("v2") ? 2 : s.has("v4") ? 4 : s.has("v8") ? 8 : 1;
  size_t first = is_atom ? 1 : 0;
  bool is_cas = op == "cas";
  c.want(first + (is_cas ? 3 : 2), first + 3);  // a cache hint may follow
  Space space = s.has("global")                                                       ? Space::global
                : s.has("shared") || s.has("shared::cta") || s.has("shared::cluster") ? Space::shared
                                                                                      : Space::generic;
  Inst at;
  c.address(c.operand(first), at, space);
  std::vector<Row> rows = c.rows(c.operand(first + 1), true, bytes);
  if (rows.size() != elements)
    c.refuse("the vector of " + std::string(s.name) + " has " + std::to_string(rows.size()) + " elements");
  bool has_result = is_atom && c.operand(0).kind != Operand::Kind::sink;
  if (has_result) {
    std::vector<Row> results = c.rows(c.operand(0), false, bytes);
    if (results.size() != elements)
      c.refuse("the result of " + std::string(s.name) + " has another number of elements");
    rows.insert(rows.end(), results.begin(), results.end());
  }
  for (const Row &r : rows) {
    if (r.bytes != bytes) c.refuse("a register of " + std::string(s.name) + " is not as wide as its type");
  }
  uint32_t third = is_cas ? c.source(first + 2, bytes) : kNone;
  Inst i = c.make(h);
  i.a = at.a, i.imm = at.imm, i.c = third, i.list = c.list(rows), i.count = elements, i.e = has_result ? 0 : kNone;
  i.mode = static_cast<uint32_t>(space);
  c.push(i);
  return true;
}

}  // namespace cuda_on_cpu
