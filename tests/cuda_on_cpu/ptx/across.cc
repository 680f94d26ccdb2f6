// What lanes of a warp tell each other: shuffles, votes, matches, sums.
#include <algorithm>

#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

enum : uint32_t { kUp, kDown, kBfly, kIdx };

// d: result; a: what is exchanged; b: by how much; c: clamp and segment; f: the predicate, or kNone.
Flow shuffle(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  uint32_t *d = w.row<uint32_t>(i.d);
  const uint32_t *b = w.row<uint32_t>(i.b), *c = w.row<uint32_t>(i.c);
  uint32_t a[32], in_range = 0;
  memcpy(a, w.row<uint32_t>(i.a), sizeof a);
  uint32_t out[32];
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
    uint32_t by = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    uint32_t most = (l & segment) | (clamp & ~segment), least = l & segment;
    uint32_t from = 0;
    bool ok = false;
    switch (i.mode) {
      case kUp:
        from = l - by, ok = static_cast<int32_t>(from) >= static_cast<int32_t>(most);
        break;
      case kDown:
        from = l + by, ok = from <= most;
        break;
      case kBfly:
        from = l ^ by, ok = from <= most;
        break;
      default:
        from = least | (by & ~segment), ok = from <= most;
        break;
    }
    if (!ok) from = l;
    out[l] = a[from & 31];
    in_range |= static_cast<uint32_t>(ok) << l;
  }
  each_lane(lanes, [&](uint32_t l) { d[l] = out[l]; });
  if (i.f != kNone) set_lanes(w.predicate(i.f), in_range, lanes);
  return Flow::next;
}

enum : uint32_t { kAll, kAny, kUni, kBallot };

Flow vote(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  uint32_t yes = w.predicate(i.a) & lanes;
  if (i.mode == kBallot) {
    uint32_t *d = w.row<uint32_t>(i.d);
    each_lane(lanes, [&](uint32_t l) { d[l] = yes; });
    return Flow::next;
  }
  bool r = i.mode == kAll ? yes == lanes : i.mode == kAny ? yes != 0 : yes == lanes || yes == 0;
  set_lanes(w.predicate(i.d), r ? UINT32_MAX : 0, lanes);
  return Flow::next;
}

// mode: 1 for .all, where f is the predicate.
template <class T>
Flow match(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  const T *a = w.row<T>(i.a);
  uint32_t out[32];
  bool all = true;
  each_lane(lanes, [&](uint32_t l) {
    out[l] = 0;
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      uint32_t k = static_cast<uint32_t>(std::countr_zero(rest));
      out[l] |= static_cast<uint32_t>(a[k] == a[l]) << k;
    }
    all &= out[l] == lanes;
  });
  uint32_t *d = w.row<uint32_t>(i.d);
  each_lane(lanes, [&](uint32_t l) { d[l] = i.mode == 0 ? out[l] : all ? lanes : 0; });
  if (i.mode == 1 && i.f != kNone) set_lanes(w.predicate(i.f), all ? UINT32_MAX : 0, lanes);
  return Flow::next;
}

Flow active_mask(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d);
  each_lane(lanes, [&](uint32_t l) { d[l] = lanes; });
  return Flow::next;
}

Flow elect(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  uint32_t leader = static_cast<uint32_t>(std::countr_zero(lanes)), *d = w.row<uint32_t>(i.d);
  each_lane(lanes, [&](uint32_t l) { d[l] = leader; });
  set_lanes(w.predicate(i.f), 1u << leader, lanes);
  return Flow::next;
}

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
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

template <class T, class F>
Flow reduce(Warp &w, const Inst &i, uint32_t lanes) {
  if (!all_here(w, i, lanes)) return Flow::meet;
  const T *a = w.row<T>(i.a);
  uint32_t rest = lanes & (lanes - 1);
  T r = a[std::countr_zero(lanes)];
  for (; rest != 0; rest &= rest - 1) r = F{}(r, a[std::countr_zero(rest)]);
  T *d = w.row<T>(i.d);
  each_lane(lanes, [&](uint32_t l) { d[l] = r; });
  return Flow::next;
}

bool select_shuffle(Coder &c) {
  const Statement &s = c.statement();
  bool has_mask = s.has("sync");
  c.want(has_mask ? 5 : 4, has_mask ? 5 : 4);
  uint32_t a = c.source(1, 4), b = c.source(2, 4), third = c.source(3, 4), mask = has_mask ? c.source(4, 4) : kNone;
  Inst i;
  Operand second;
  second.kind = Operand::Kind::name;
  second.name = c.operand(0).second;
  uint32_t f = second.name.empty() || second.name == "_" ? kNone : c.predicate_dest(second);
  uint32_t d = c.dest(0, 4);
  i = c.make(shuffle);
  i.d = d, i.a = a, i.b = b, i.c = third, i.e = mask, i.f = f;
  i.mode = s.has("up") ? kUp : s.has("down") ? kDown : s.has("bfly") ? kBfly : kIdx;
  c.push(i);
  return true;
}

Handler reduction(const Statement &s, std::string_view t) {
  if (s.has("add")) return reduce<uint32_t, Sum>;
  if (s.has("and")) return reduce<uint32_t, And>;
  if (s.has("or")) return reduce<uint32_t, Or>;
  if (s.has("xor")) return reduce<uint32_t, Xor>;
  if (s.has("min")) return t == "s32" ? reduce<int32_t, Min> : t == "u32" ? reduce<uint32_t, Min> : nullptr;
  if (s.has("max")) return t == "s32" ? reduce<int32_t, Max> : t == "u32" ? reduce<uint32_t, Max> : nullptr;
  return nullptr;
}

}  // namespace

bool select_warp(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "shfl") return select_shuffle(c);
  if (op == "vote") {
    if (!s.has("sync")) c.unknown();
    c.want(3, 3);
    uint32_t mode = s.has("all") ? kAll : s.has("any") ? kAny : s.has("uni") ? kUni : kBallot;
    uint32_t a = c.predicate(c.operand(1)), mask = c.source(2, 4),
             d = mode == kBallot ? c.dest(0, 4) : c.predicate_dest(c.operand(0));
    Inst i = c.make(vote);
    i.d = d, i.a = a, i.e = mask, i.mode = mode;
    c.push(i);
    return true;
  }
  if (op == "match") {
    c.want(3, 3);
    uint32_t bytes = bytes_of_type(c.type());
    uint32_t a = c.source(1, bytes), mask = c.source(2, 4), d = c.dest(0, 4), f = kNone;
    if (!c.operand(0).second.empty()) {
      Operand second;
      second.kind = Operand::Kind::name;
      second.name = c.operand(0).second;
      f = c.predicate_dest(second);
    }
    Inst i = c.make(bytes == 4 ? match<uint32_t> : match<uint64_t>);
    i.d = d, i.a = a, i.e = mask, i.f = f, i.mode = s.has("all");
    c.push(i);
    return true;
  }
  if (op == "activemask") {
    c.want(1, 1);
    uint32_t d = c.dest(0, 4);
    Inst i = c.make(active_mask);
    i.d = d;
    c.push(i);
    return true;
  }
  if (op == "elect") {
    c.want(2, 2);
    Operand second;
    second.kind = Operand::Kind::name;
    second.name = c.operand(0).second;
    uint32_t mask = c.source(1, 4), d = c.dest(0, 4), f = c.predicate_dest(second);
    Inst i = c.make(elect);
    i.d = d, i.e = mask, i.f = f;
    c.push(i);
    return true;
  }
  if (op == "redux") {
    c.want(3, 3);
    Handler h = c.type() == "f32" ? nullptr : reduction(s, c.type());
    if (!h) c.unknown();
    uint32_t a = c.source(1, 4), mask = c.source(2, 4), d = c.dest(0, 4);
    Inst i = c.make(h);
    i.d = d, i.a = a, i.e = mask;
    c.push(i);
    return true;
  }
  return false;
}

}  // namespace cuda_on_cpu
