// Barriers of blocks, warps and clusters, fences, and sleeping.
#include <algorithm>

#include "ptx/lanes.h"
#include "ptx/turn.h"

namespace cuda_on_cpu {
namespace {

// mode of a barrier
enum : uint32_t { kSync, kArrive, kAnd, kOr, kPopc };

// a: which; b: how many threads, or kNone; c: the predicate of a vote; d: where the result goes.
Flow barrier(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t first = static_cast<uint32_t>(std::countr_zero(lanes)), which = w.row<uint32_t>(i.a)[first];
  if (which >= w.block->barriers.size()) return w.fail(Ended::illegal_address, i, "a barrier beyond 15");
  Barrier &b = w.block->barriers[which];
  b.expected = i.b == kNone ? 0 : w.row<uint32_t>(i.b)[first];
  // With a number of threads, a warp counts as a whole.
  uint32_t count = static_cast<uint32_t>(std::popcount(lanes));
  b.arrived += i.b != kNone && lanes == w.live ? 32 : count;
  if (i.c != kNone) {
    b.yes += static_cast<uint32_t>(std::popcount(w.predicate(i.c) & lanes));
    b.votes += count;
  }
  w.waits_at = which;
  w.waits = i.mode != kArrive;
  w.progressed = true;
  return Flow::wait;
}

void give_result(Warp &w, const Split &s, const Barrier &b) {
  const Inst &i = w.program->code[s.pc - 1];
  if (i.handler != barrier || i.d == kNone) return;
  if (i.mode == kPopc) {
    uint32_t *d = w.row<uint32_t>(i.d);
    each_lane(s.lanes, [&](uint32_t l) { d[l] = b.yes; });
  } else {
    set_lanes(w.predicate(i.d), (i.mode == kAnd ? b.yes == b.votes : b.yes != 0) ? UINT32_MAX : 0, s.lanes);
  }
}

// The lanes of `a` come here, or have exited, before any of them goes on.
Flow meet_lanes(Warp &w, const Inst &i, uint32_t lanes) {
  uint32_t mask = w.row<uint32_t>(i.a)[std::countr_zero(lanes)] & w.live;
  return (w.lanes & mask) == mask ? Flow::next : Flow::meet;
}

Flow fence(Warp &, const Inst &, uint32_t) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return Flow::next;
}
Flow sleep_now(Warp &w, const Inst &, uint32_t) {
  w.poll(1);
  return Flow::slept;
}
Flow trap(Warp &w, const Inst &i, uint32_t) { return w.fail(Ended::trap, i, "the kernel traps"); }

Flow cluster_arrive(Warp &w, const Inst &, uint32_t lanes) {
  Cluster &c = *w.block->cluster;
  w.cluster_phase = c.phase;
  c.arrived += static_cast<uint32_t>(std::popcount(lanes));
  w.progressed = true;
  if (c.arrived >= c.alive) c.arrived = 0, c.phase++;
  return Flow::next;
}
Flow cluster_wait(Warp &w, const Inst &, uint32_t) {
  Cluster &c = *w.block->cluster;
  // Threads that have exited are not waited for.
  if (c.arrived > 0 && c.arrived >= c.alive) c.arrived = 0, c.phase++;
  return c.phase != w.cluster_phase ? Flow::next : Flow::retry;
}

bool select_block_barrier(Coder &c) {
  const Statement &s = c.statement();
  bool is_red = s.has("red"), is_arrive = s.has("arrive");
  size_t first = is_red ? 1 : 0, last = c.operands() - (is_red ? 1 : 0);
  if (c.operands() <= first || last < first + 1 || last > first + 2) c.unknown();
  uint32_t a = c.source(first, 4), b = last == first + 2 ? c.source(first + 1, 4) : kNone;
  uint32_t d = kNone, vote = kNone, mode = is_arrive ? kArrive : kSync;
  if (is_red) {
    mode = s.has("and") ? kAnd : s.has("or") ? kOr : kPopc;
    vote = c.predicate(c.operand(c.operands() - 1));
    d = mode == kPopc ? c.dest(0, 4) : c.predicate_dest(c.operand(0));
  }
  Inst i = c.make(barrier);
  i.a = a, i.b = b, i.c = vote, i.d = d, i.mode = mode;
  c.push(i);
  return true;
}

}  // namespace

void release_barrier(Block &block, uint32_t which) {
  Barrier &b = block.barriers[which];
  for (Warp &w : block.warps) {
    for (Split &s : w.splits) {
      if (s.state != Split::State::at_barrier || s.barrier != which) continue;
      give_result(w, s, b);
      s.state = Split::State::ready;
    }
  }
  b = Barrier{};
}

void recheck_barriers(Block &block) {
  for (uint32_t k = 0; k < block.barriers.size(); k++) {
    const Barrier &b = block.barriers[k];
    if (b.arrived > 0 && b.arrived >= (b.expected != 0 ? b.expected : block.alive)) release_barrier(block, k);
  }
}

bool select_barrier(Coder &c) {
  const Statement &s = c.statement();
  std::string_view op = s.parts[0];
  if (op == "bar" && s.parts.size() > 1 && s.parts[1] == "warp") {
    c.want(1, 1);
    uint32_t a = c.source(0, 4);
    Inst i = c.make(meet_lanes);
    i.a = a;
    c.push(i);
    return true;
  }
  if (op == "barrier" && s.has("cluster")) {
    if (s.has("arrive"))
      c.push(c.make(cluster_arrive));
    else if (s.has("wait"))
      c.push(c.make(cluster_wait));
    else
      c.unknown();
    return true;
  }
  if (op == "bar" || op == "barrier") return select_block_barrier(c);
  if (op == "membar" || op == "fence") return c.push(c.make(fence)), true;
  if (op == "nanosleep") {
    c.want(1, 1);
    c.source(0, 4);
    return c.push(c.make(sleep_now)), true;
  }
  if (op == "trap" || op == "brkpt") return c.push(c.make(trap)), true;
  return false;
}

}  // namespace cuda_on_cpu
