// Copies that the hardware makes on its own, and the barriers in shared memory that count them. Here a copy is made at
// once: PTX allows any moment up to the wait.
#include "ptx/lanes.h"

namespace cuda_on_cpu {
namespace {

// imm, a: the destination, shared; f, e: the source's base and what is added; b: bytes; c: how many of them are read,
// or kNone.
Flow copy(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *to = w.row<uint64_t>(i.a), *from = w.row<uint64_t>(i.f);
  const uint32_t *read = i.c == kNone ? nullptr : w.row<uint32_t>(i.c);
  w.progressed = true;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest)), bytes = read ? read[l] : i.b;
    if (bytes > i.b) bytes = i.b;
    uint8_t *d = resolve<Space::shared>(w, i, (to[l] + static_cast<uint64_t>(i.imm)) & 0xffffffff, i.b, l);
    if (!d) return Flow::fault;
    // What is not read may be anything, an address that does not exist too.
    const uint8_t *s = nullptr;
    if (bytes > 0 &&
        !(s = resolve<Space::global>(
              w, i, from[l] + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(i.e))), i.b, l)))
      return Flow::fault;
    if (s) memcpy(d, s, bytes);
    memset(d + bytes, 0, i.b - bytes);
  }
  return Flow::next;
}
Flow nothing(Warp &, const Inst &, uint32_t) { return Flow::next; }

// --- mbarriers

struct Found {
  MBarrier *barrier = nullptr;
  Block *block = nullptr;
};

uint64_t shared_address(const Inst &i, const uint64_t *base, uint32_t lane) {
  return (base[lane] + static_cast<uint64_t>(i.imm)) & 0xffffffff;
}

Found find(Warp &w, const Inst &i, uint64_t address, bool make) {
  Block *b = w.block;
  if (uint32_t rank = static_cast<uint32_t>(address) >> kRankShift; rank != 0 && rank <= b->cluster->blocks.size())
    b = b->cluster->blocks[rank - 1];
  uint32_t at = static_cast<uint32_t>(address) & ((1u << kRankShift) - 1);
  if (make) return {&(b->mbarriers[at] = MBarrier{}), b};
  auto found = b->mbarriers.find(at);
  if (found == b->mbarriers.end() || at + 8 > b->shared.size()) {
    w.fail(Ended::illegal_address, i, "there is no mbarrier at shared address " + std::to_string(at));
    return {};
  }
  return {&found->second, b};
}

void settle(MBarrier &m) {
  if (m.pending > 0 || m.bytes != 0) return;
  m.phase++;
  m.pending = m.expected;
}

// b: the count, or kNone.
Flow init(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *base = w.row<uint64_t>(i.a);
  uint32_t l = static_cast<uint32_t>(std::countr_zero(lanes));
  uint64_t address = shared_address(i, base, l);
  if (!resolve<Space::shared>(w, i, address, 8, l)) return Flow::fault;
  MBarrier &m = *find(w, i, address, true).barrier;
  m.expected = w.row<uint32_t>(i.b)[l];
  m.pending = m.expected;
  return Flow::next;
}
Flow inval(Warp &w, const Inst &i, uint32_t lanes) {
  Found f = find(w, i, shared_address(i, w.row<uint64_t>(i.a), static_cast<uint32_t>(std::countr_zero(lanes))), false);
  if (!f.barrier) return Flow::fault;
  f.block->mbarriers.erase(
      static_cast<uint32_t>(shared_address(i, w.row<uint64_t>(i.a), static_cast<uint32_t>(std::countr_zero(lanes)))) &
      ((1u << kRankShift) - 1));
  return Flow::next;
}

enum : uint32_t { kArrive = 1, kDrop = 2, kExpect = 4, kComplete = 8 };

// b: a count of arrivals, or of bytes with kExpect and kComplete; kNone: 1.
Flow arrive(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *base = w.row<uint64_t>(i.a);
  w.progressed = true;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
    MBarrier *m = find(w, i, shared_address(i, base, l), false).barrier;
    if (!m) return Flow::fault;
    uint32_t n = i.b == kNone ? 1 : w.row<uint32_t>(i.b)[l];
    if (i.d != kNone) w.row<uint64_t>(i.d)[l] = m->phase;
    if (i.mode & kExpect) m->bytes += n;
    if (i.mode & kComplete) m->bytes -= n;
    if (i.mode & (kArrive | kDrop)) m->pending -= i.mode & kExpect ? 1 : n;
    if (i.mode & kDrop) m->expected--;
    settle(*m);
  }
  return Flow::next;
}

// mode: 1 for a parity in b (4 bytes), else the state in b (8 bytes).
Flow test(Warp &w, const Inst &i, uint32_t lanes) {
  const uint64_t *base = w.row<uint64_t>(i.a);
  uint32_t r = 0;
  w.poll(shared_address(i, base, static_cast<uint32_t>(std::countr_zero(lanes))));
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest));
    MBarrier *m = find(w, i, shared_address(i, base, l), false).barrier;
    if (!m) return Flow::fault;
    bool done = i.mode ? (m->phase & 1) != (w.row<uint32_t>(i.b)[l] & 1) : m->phase != w.row<uint64_t>(i.b)[l];
    r |= static_cast<uint32_t>(done) << l;
  }
  set_lanes(w.predicate(i.d), r, lanes);
  return Flow::next;
}

// imm, a: the destination; f, e: the source; b: the bytes; c: the mbarrier's address (8 bytes), or kNone. mode: Space
// of the destination.
Flow bulk(Warp &w, const Inst &i, uint32_t lanes) {
  w.progressed = true;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    uint32_t l = static_cast<uint32_t>(std::countr_zero(rest)), bytes = w.row<uint32_t>(i.b)[l];
    Space to = static_cast<Space>(i.mode), from = to == Space::shared ? Space::global : Space::shared;
    uint64_t d = w.row<uint64_t>(i.a)[l] + static_cast<uint64_t>(i.imm),
             s = w.row<uint64_t>(i.f)[l] + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(i.e)));
    if (bytes % 16 != 0) return w.fail(Ended::illegal_address, i, "a bulk copy of a size that is no multiple of 16");
    for (uint32_t at = 0; at < bytes; at += 16) {
      uint8_t *dp = resolve_slowly(w, i, to, d + at, 16, l),
              *sp = dp ? resolve_slowly(w, i, from, s + at, 16, l) : nullptr;
      if (!sp) return Flow::fault;
      memcpy(dp, sp, 16);
    }
    if (i.c == kNone) continue;
    MBarrier *m = find(w, i, w.row<uint64_t>(i.c)[l] & 0xffffffff, false).barrier;
    if (!m) return Flow::fault;
    m->bytes -= bytes;
    settle(*m);
  }
  return Flow::next;
}

// --- other blocks of the cluster

template <class T>
Flow map_address(Warp &w, const Inst &i, uint32_t lanes) {
  T *d = w.row<T>(i.d);
  const T *a = w.row<T>(i.a);
  const uint32_t *rank = w.row<uint32_t>(i.b);
  each_lane(lanes, [&](uint32_t l) {
    d[l] = (a[l] & ~static_cast<T>(0xff000000)) | static_cast<T>((rank[l] + 1) << kRankShift);
  });
  return Flow::next;
}
template <class T>
Flow rank_of(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t *d = w.row<uint32_t>(i.d), own = w.block->rank;
  const T *a = w.row<T>(i.a);
  each_lane(lanes, [&](uint32_t l) {
    uint32_t rank = static_cast<uint32_t>(a[l]) >> kRankShift;
    d[l] = rank == 0 ? own : rank - 1;
  });
  return Flow::next;
}

// The row of a shared address's base: generic addresses lose their window.
void shared_operand(Coder &c, size_t k, Inst &at) {
  Space space = Space::shared;
  c.address(c.operand(k), at, space);
}

bool select_copy(Coder &c) {
  const Statement &s = c.statement();
  if (s.has("mbarrier")) {
    c.want(1, 1);
    Inst at;
    shared_operand(c, 0, at);
    Inst i = c.make(s.has("noinc") ? arrive : nothing);
    i.a = at.a, i.imm = at.imm, i.mode = kArrive;
    c.push(i);
    return true;
  }
  if (s.has("commit_group") || s.has("wait_group") || s.has("wait_all")) return c.push(c.make(nothing)), true;
  if (s.has("bulk")) {
    if (s.has("tensor") || s.has("prefetch") || s.has("multicast::cluster")) c.unknown();
    bool in = s.parts[3] == "shared::cluster" || s.parts[3] == "shared::cta";
    if (in && s.parts[4] != "global") c.unknown();
    c.want(in ? 4 : 3, in ? 5 : 4);
    Inst to, from;
    Space to_space = in ? Space::shared : Space::global, from_space = in ? Space::global : Space::shared;
    c.address(c.operand(0), to, to_space);
    c.address(c.operand(1), from, from_space);
    uint32_t bytes = c.source(2, 4), barrier = kNone;
    if (in) {
      Inst at;
      shared_operand(c, 3, at);
      if (at.imm != 0) c.unknown();
      barrier = at.a;
    }
    Inst i = c.make(bulk);
    i.a = to.a, i.imm = to.imm, i.f = from.a, i.e = static_cast<uint32_t>(from.imm), i.b = bytes, i.c = barrier;
    i.mode = static_cast<uint32_t>(in ? Space::shared : Space::global);
    c.push(i);
    return true;
  }
  if (!s.has("shared") && !s.has("shared::cta")) c.unknown();
  c.want(3, 5);
  if (c.operand(2).kind != Operand::Kind::integer) c.unknown();
  Inst to, from;
  shared_operand(c, 0, to);
  Space global = Space::global;
  c.address(c.operand(1), from, global);
  // A fourth operand is how many bytes are read; a fifth, or one of 64 bits, a hint.
  uint32_t read = kNone;
  if (c.operands() > 3) {
    Row r = c.source_row(c.operand(3), 4);
    if (r.is_predicate) c.unknown();
    if (r.bytes == 4) read = r.place;
  }
  Inst i = c.make(copy);
  i.a = to.a, i.imm = to.imm, i.f = from.a, i.e = static_cast<uint32_t>(from.imm),
  i.b = static_cast<uint32_t>(c.operand(2).value), i.c = read;
  if (i.b != 4 && i.b != 8 && i.b != 16) c.unknown();
  c.push(i);
  return true;
}

bool select_mbarrier(Coder &c) {
  const Statement &s = c.statement();
  std::string_view what = s.parts[1];
  Inst at;
  if (what == "init" || what == "inval") {
    c.want(what == "init" ? 2 : 1, what == "init" ? 2 : 1);
    shared_operand(c, 0, at);
    uint32_t b = what == "init" ? c.source(1, 4) : kNone;
    Inst i = c.make(what == "init" ? init : inval);
    i.a = at.a, i.imm = at.imm, i.b = b;
    c.push(i);
    return true;
  }
  if (what == "test_wait" || what == "try_wait") {
    c.want(3, 4);  // a hint of time may follow
    shared_operand(c, 1, at);
    bool parity = s.has("parity");
    uint32_t b = c.source(2, parity ? 4 : 8), d = c.predicate_dest(c.operand(0));
    Inst i = c.make(test);
    i.a = at.a, i.imm = at.imm, i.b = b, i.d = d, i.mode = parity;
    c.push(i);
    return true;
  }
  uint32_t mode = what == "arrive"        ? uint32_t{kArrive}
                  : what == "arrive_drop" ? uint32_t{kDrop}
                  : what == "expect_tx"   ? uint32_t{kExpect}
                  : what == "complete_tx" ? uint32_t{kComplete}
                                          : 0;
  if (mode == 0 || s.has("noComplete")) c.unknown();
  if (s.has("expect_tx") && mode <= kDrop) mode |= kExpect;
  bool has_result = c.operands() > 0 && c.operand(0).kind != Operand::Kind::address;
  size_t first = has_result ? 1 : 0;
  c.want(first + 1, first + 2);
  shared_operand(c, first, at);
  uint32_t b = c.operands() > first + 1 ? c.source(first + 1, 4) : kNone, d = has_result ? c.dest(0, 8) : kNone;
  Inst i = c.make(arrive);
  i.a = at.a, i.imm = at.imm, i.b = b, i.d = d, i.mode = mode;
  c.push(i);
  return true;
}

}  // namespace

bool select_asynchronous(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "cp" && s.parts.size() > 1 && s.parts[1] == "async") return select_copy(c);
  if (op == "mbarrier" && s.parts.size() > 1) return select_mbarrier(c);
  if (op == "mapa") {
    uint32_t bytes = bytes_of_type(c.type());
    return emit2(c, bytes == 4 ? map_address<uint32_t> : map_address<uint64_t>, bytes, bytes, 4);
  }
  if (op == "getctarank") {
    uint32_t bytes = s.has("shared::cluster") ? 4 : 8;
    return emit1(c, bytes == 4 ? rank_of<uint32_t> : rank_of<uint64_t>, 4, bytes);
  }
  return false;
}

}  // namespace cuda_on_cpu
