// mov and what is like it: copies of registers, packing and taking apart, addresses of windows, clocks, and hints that
// do nothing.
#include <time.h>

#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

Flow move_predicate(Warp &w, const Inst &i, uint32_t lanes) {
  set_lanes(w.predicate(i.d), w.predicate(i.a), lanes);
  return Flow::next;
}

// count elements of c bytes each, lowest first.
Flow pack(Warp &w, const Inst &i, uint32_t lanes) {
  each_lane(lanes, [&](uint32_t l) {
    uint64_t v = 0;
    for (uint32_t k = 0; k < i.count; k++) {
      uint64_t one = 0;
      memcpy(&one, w.rows + i.list[k] + l * i.c, i.c);
      v |= one << (8 * i.c * k);
    }
    memcpy(w.rows + i.d + l * i.c * i.count, &v, i.c * i.count);
  });
  return Flow::next;
}
Flow unpack(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t whole = i.c * i.count;
  each_lane(lanes, [&](uint32_t l) {
    uint64_t v = 0;
    memcpy(&v, w.rows + i.a + l * whole, whole);
    for (uint32_t k = 0; k < i.count; k++) {
      uint64_t one = v >> (8 * i.c * k);
      memcpy(w.rows + i.list[k] + l * i.c, &one, i.c);
    }
  });
  return Flow::next;
}

// An address of a window into a generic one, or back. A null pointer stays one only where PTX promises it: nowhere.
Flow into_window(Warp &w, const Inst &i, uint32_t lanes) {
  uint64_t *d = w.row<uint64_t>(i.d);
  const uint64_t *a = w.row<uint64_t>(i.a);
  uint64_t window = static_cast<uint64_t>(i.imm);
  each_lane(lanes, [&](uint32_t l) { d[l] = a[l] | window; });
  return Flow::next;
}
Flow out_of_window(Warp &w, const Inst &i, uint32_t lanes) {
  uint64_t *d = w.row<uint64_t>(i.d);
  const uint64_t *a = w.row<uint64_t>(i.a);
  each_lane(lanes, [&](uint32_t l) { d[l] = a[l] & ~kWindowMask; });
  return Flow::next;
}
// mode: 1 where an address without a window counts, 2 where one of another block of the cluster does not.
Flow is_in_window(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *a = w.row<uint64_t>(i.a);
  uint32_t r = 0;
  each_lane(lanes, [&](uint32_t l) {
    bool in = (a[l] & kWindowMask) == static_cast<uint64_t>(i.imm);
    if (i.mode == 2 && (a[l] & 0xff000000) != 0) in = false;
    r |= static_cast<uint32_t>(in) << l;
  });
  set_lanes(w.predicate(i.d), r, lanes);
  return Flow::next;
}

uint64_t window_of(Coder &c, std::string_view space) {
  if (space == "shared" || space == "shared::cta" || space == "shared::cluster") return kSharedWindow;
  if (space == "local") return kLocalWindow;
  if (space == "param" || space == "param::entry") return kParameterWindow;
  if (space == "global" || space == "const") return 0;
  c.unknown();
}

bool select_address(Coder &c, std::string_view op) {
  const Statement &s = c.statement();
  if (c.type() != "u64" && op == "cvta") c.unknown();
  if (op == "isspacep") {
    c.want(2, 2);
    uint64_t window = window_of(c, s.parts[1]);
    uint32_t a = c.source(1, 8), d = c.predicate_dest(c.operand(0));
    Inst i = c.make(is_in_window);
    i.d = d, i.a = a, i.imm = static_cast<int64_t>(window),
    i.mode = s.parts[1] == "shared" || s.parts[1] == "shared::cta" ? 2 : 1;
    c.push(i);
    return true;
  }
  bool is_back = s.parts[1] == "to";
  uint64_t window = window_of(c, s.parts[is_back ? 2 : 1]);
  c.want(2, 2);
  uint32_t a = c.source(1, 8), d = c.dest(0, 8);
  // A parameter's address is generic from the beginning.
  Inst i = c.make(window == 0 || window == kParameterWindow ? unary<uint64_t, uint64_t, Same>
                  : is_back                                 ? out_of_window
                                                            : into_window);
  i.d = d, i.a = a, i.imm = static_cast<int64_t>(window);
  c.push(i);
  return true;
}

bool select_mov(Coder &c) {
  const Operand &to = c.operand(0), &from = c.operand(1);
  std::string_view t = c.type();
  uint32_t bytes = bytes_of_type(t);
  if (t == "pred") {
    uint32_t a = c.predicate(from), d = c.predicate_dest(to);
    Inst i = c.make(move_predicate);
    i.d = d, i.a = a;
    c.push(i);
    return true;
  }
  if (bytes < 2 || bytes > 8) c.unknown();
  bool packs = from.kind == Operand::Kind::vector, unpacks = to.kind == Operand::Kind::vector;
  if (packs && unpacks) c.unknown();
  if (packs || unpacks) {
    const Operand &vector = packs ? from : to;
    uint32_t each = bytes / static_cast<uint32_t>(vector.items.size());
    std::vector<Row> rows = c.rows(vector, packs, each);
    for (const Row &r : rows) {
      if (r.bytes != each) c.refuse("the elements of the vector are not as wide together as the register");
    }
    uint32_t whole = packs ? c.dest(0, bytes) : c.source(1, bytes);
    Inst i = c.make(packs ? pack : unpack);
    i.d = packs ? whole : kNone, i.a = packs ? kNone : whole, i.c = each;
    i.list = c.list(rows), i.count = static_cast<uint32_t>(rows.size());
    c.push(i);
    return true;
  }
  return emit1(c,
               bytes == 2   ? unary<uint16_t, uint16_t, Same>
               : bytes == 4 ? unary<uint32_t, uint32_t, Same>
                            : unary<uint64_t, uint64_t, Same>,
               bytes, bytes);
}

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

// A loop that does nothing but look at a clock is polling too. b: 4 or 8 bytes; mode: the upper half of it.
Flow read_time(Warp &w, const Inst &i, uint32_t lanes) {
  w.poll(1);
  uint64_t t = now_ns();
  if (i.mode) t >>= 32;
  if (i.b == 4) {
    uint32_t *d = w.row<uint32_t>(i.d);
    each_lane(lanes, [&](uint32_t l) { d[l] = static_cast<uint32_t>(t); });
  } else {
    uint64_t *d = w.row<uint64_t>(i.d);
    each_lane(lanes, [&](uint32_t l) { d[l] = t; });
  }
  return Flow::next;
}

Flow constant_policy(Warp &w, const Inst &i, uint32_t lanes) {
  uint64_t *d = w.row<uint64_t>(i.d);
  each_lane(lanes, [&](uint32_t l) { d[l] = 0x12f0000000000000; });
  return Flow::next;
}

}  // namespace

bool read_clock(Coder &c, std::string_view name, Row &into) {
  bool is_low = name == "%clock" || name == "%globaltimer_lo",
       is_high = name == "%clock_hi" || name == "%globaltimer_hi";
  if (!is_low && !is_high && name != "%clock64" && name != "%globaltimer") return false;
  into = {0, is_low || is_high ? 4u : 8u};
  into.place = c.temporary(into.bytes);
  Inst i = c.make(read_time);
  i.d = into.place, i.b = into.bytes, i.mode = is_high;
  c.push(i);
  return true;
}

bool select_move(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "mov") {
    c.want(2, 2);
    return select_mov(c);
  }
  if (op == "cvta" || op == "isspacep") return select_address(c, op);
  if (op == "createpolicy") {
    if (c.operands() == 0) c.unknown();
    uint32_t d = c.dest(0, 8);
    Inst i = c.make(constant_policy);
    i.d = d;
    c.push(i);
    return true;
  }
  // Hints: nothing that anybody can see depends on them.
  return op == "prefetch" || op == "prefetchu" || op == "applypriority" || op == "pmevent" || op == "setmaxnreg" ||
         op == "griddepcontrol" || op == "discard";
}

}  // namespace cuda_on_cpu
